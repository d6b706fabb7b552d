"""Paths that the process of a policy file may read: interpreter, packages, system libraries, and folders of the user.

In a user's folder the process may read files, but no secrets, no state folder (`secret_files`) and no hidden files. The
target of a link counts, so that a link to a file outside the folder is not readable. Of the system the process may read
the folders of programs and libraries only, so that a state folder below /usr/src or inside an environment is not
readable.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

from quantd.models.isolation.secret_files import (
    MOST_BYTES,
    STATE_NAMES,
    private,
    secret_in,
    state_folder_of,
)

SYSTEM: Final = (
    "/usr/bin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec", "/usr/share", "/usr/local/bin",
    "/usr/local/lib", "/usr/local/lib64", "/usr/local/share",
    "/lib", "/lib64", "/nix/store", "/etc/ld.so.cache", "/etc/localtime",
    "/dev/null", "/dev/zero", "/dev/urandom", "/dev/random",
    "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/sys/devices/system", "/sys/kernel/mm/transparent_hugepage",
)  # fmt: skip
"""System paths that libraries read; ONNX Runtime chooses its kernels by /proc/cpuinfo."""

OF_PREFIX: Final = ("bin", "lib", "lib64", "share", "pyvenv.cfg")
"""Entries that are readable in the folder of an interpreter or an environment."""

MOST_ENTRIES: Final = 50_000
"""Maximum number of files and folders that are examined for one policy; further ones are not readable."""


@dataclass(frozen=True, slots=True)
class Readable:
    """`paths` are readable, each with everything below it.

    `faults` are sentences about paths that a user may expect to be readable and that are not.
    """

    paths: list[str]
    faults: list[str]


@dataclass(slots=True)
class _Walk:
    """The search of a user's folders for readable files.

    `granted` are folders that are readable in any case, `hidden` paths that never are. `remaining` is the number of
    entries that may still be examined.
    """

    granted: Sequence[Path]
    hidden: Sequence[Path]
    remaining: int
    file: Path | None = None
    """The policy file, which is no secret to itself."""
    links: list[Path] = field(default_factory=list)
    secrets: list[tuple[Path, str]] = field(default_factory=list)
    """Files that are secrets by their content, with what is in each."""

    def search(self, folder: Path) -> tuple[bool, list[Path]]:
        """(whether everything in `folder` may be read, its readable files and completely readable subfolders).

        Entries that may not be read: private names, `hidden` paths, files with a secret in them, and all beyond the
        limit of entries (`remaining`). `granted` folders are readable already.
        """
        complete, readable_paths = True, list[Path]()
        try:
            with os.scandir(folder) as scan:
                entries = sorted(islice(scan, max(0, self.remaining) + 1), key=lambda entry: entry.name)
        except OSError:
            return False, []
        if not STATE_NAMES.isdisjoint(entry.name for entry in entries):
            return False, []  # a state folder of another instance, or a copy of one
        for entry in entries:
            self.remaining -= 1
            path = folder / entry.name
            if self.remaining < 0 or private(entry.name) or path in self.hidden:
                complete = False
            elif entry.is_symlink():
                self.links.append(path)  # the rights of its target count, whichever folder has the link
            elif entry.is_file():
                if path != self.file and (secret_kind := secret_in(path) if entry.stat().st_size <= MOST_BYTES else ""):
                    complete = False
                    self.secrets.append((path, secret_kind))
                else:
                    readable_paths.append(path)
            elif path in self.granted:
                continue
            elif entry.is_dir():
                all_inside, paths_below = self.search(path)
                complete = complete and all_inside
                readable_paths += [path] if all_inside else paths_below
            else:
                complete = False  # a pipe or a socket may belong to another program
        return complete, readable_paths


def readable(
    file: Path | None, packages: Sequence[Path], hidden: Sequence[Path], reads: Sequence[Path] = ()
) -> Readable:
    """Return the paths that the policy of `file` may read: its folder, the folders `reads`, and no path in `hidden`.

    A registered policy has no file. A file that is added later is readable in subfolders and `reads` only, and there
    only in folders without anything private.
    """
    sites = [site for site in sys.path if Path(site).name in ("site-packages", "dist-packages")]
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix}
    installed = [*(Path(prefix) / name for prefix in prefixes for name in OF_PREFIX), *map(Path, sites)]
    hidden_paths = [path.resolve() for path in hidden]
    always_readable = [
        readable_path
        for prefix in (*map(Path, SYSTEM), *installed, *packages)
        for readable_path in _without(prefix.resolve(), hidden_paths)
    ]
    walk = _Walk(always_readable, hidden_paths, MOST_ENTRIES, None if file is None else file.resolve())
    paths = set(always_readable)
    file_folder = [] if file is None else [file.parent.resolve()]
    folders = [*file_folder, *(extra.resolve() for extra in reads)]
    faults: list[str] = []
    for folder in folders:
        if any(folder == private_path or folder.is_relative_to(private_path) for private_path in hidden_paths):
            continue
        if (state := state_folder_of(folder)) is not None:
            faults.append(f"{folder} lies in the state folder {state}; keep policy files and their data elsewhere")
        else:
            complete, parts = walk.search(folder)
            paths |= {folder} if complete and folder not in file_folder else set(parts)
    faults += [
        f"{path} has {secret_kind} in it; policy files read no such file. Move data into a file of its own"
        for path, secret_kind in walk.secrets
    ]
    faults += [text for link in walk.links if (text := _fault(link, paths, folders))]
    if walk.remaining < 0:
        remedy = "give the policy file a folder of its own"
        faults.append(f"{file and file.parent} has more than {MOST_ENTRIES:,} files and is readable in part; {remedy}")
    return Readable(sorted(map(str, paths)), faults)


def _fault(link: Path, paths: set[Path], folders: Sequence[Path]) -> str:
    """Text about a link whose target is not readable; empty for a readable target, and for a target that is missing."""
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):  # RuntimeError: a loop, before Python 3.13
        return ""
    target_and_parents = (target, *target.parents)
    if not paths.isdisjoint(target_and_parents):
        return ""
    if private(target.name):
        return f"the link {link} points to {target}, which is private; policy files read no such file"
    if not set(folders).isdisjoint(target_and_parents):
        return ""
    folder = target if target.is_dir() else target.parent
    return f'the link {link} points to {target}, outside its folder; write [[agents]] reads = ["{folder}"]'


def _without(path: Path, hidden: Sequence[Path]) -> Iterator[Path]:
    """`path` if nothing in it is hidden, else the largest paths below it that contain nothing hidden."""
    if any(path == private_path or path.is_relative_to(private_path) for private_path in hidden):
        return
    if not any(private_path.is_relative_to(path) for private_path in hidden):
        yield path
        return
    for entry in path.iterdir():
        yield from _without(entry.resolve(), hidden)
