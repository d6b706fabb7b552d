"""Only a regular file of bounded size is read, and no other process can make the reader wait."""

import os
import re
import subprocess
import sys
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Final

import pytest

from quantd import regular_file
from quantd.daemon.runtime.version import python_files
from quantd.regular_file import MIB, NotRead, read_regular
from tests.support.checkout import ROOT
from tests.support.command_line import CONFIG, quantd, write

HOLDER = """
import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
fcntl.fcntl(os.open(sys.argv[1], os.O_RDONLY), fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_file_up_to_the_bound_is_read_with_its_status(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 10)
    assert (read_regular(path, 10).data, read_regular(path, 10).status.st_size) == (b"x" * 10, 10)
    with pytest.raises(NotRead, match="has more than 9 bytes"):
        read_regular(path, 9)
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "b")


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "link to a device"])
def test_anything_else_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "device":
            path = Path("/dev/zero")
        case _:
            path.symlink_to("/dev/zero")
    with pytest.raises(NotRead, match="is not a regular file"):
        read_regular(path)


def test_a_link_is_followed_only_where_links_are_allowed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "b").symlink_to("a")
    assert read_regular(tmp_path / "b").data == b"x"
    with pytest.raises(NotRead, match="cannot be read"):
        read_regular(tmp_path / "b", links=False)


def test_a_lease_of_another_process_does_not_make_the_reader_wait(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x")
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(NotRead, match="is leased by another process"):
            read_regular(path)
        holder.kill()
    assert read_regular(path).data == b"x"


SYMBOLS = '["SPY", "QQQ", "IWM"]'


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/dev/zero", 'config.toml:5: [universe] symbols = "/dev/zero": this file is not a regular file'),
        ("pipe", "this file is not a regular file"),
        (".", "this file is not a regular file"),
        ("large", f"this file has more than {MIB:,} bytes"),
        ("latin", "this file is not UTF-8 text"),
        ("gone", "this file does not exist"),
    ],
)
def test_a_file_of_symbols_is_regular_and_bounded(tmp_path: Path, name: str, message: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_text("SPY\n" * (MIB // 4 + 1))
    (tmp_path / "latin").write_bytes(b"SPY # \xe4\n")
    write(tmp_path, CONFIG.replace(SYMBOLS, f'"{name}"'))
    process = quantd(tmp_path, "config", "check")
    assert (process.returncode, message in process.stderr + process.stdout) == (78, True), process


def test_a_file_of_symbols_within_the_bound_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "few").write_text("SPY\nQQQ # technology\n\nIWM\n")
    write(tmp_path, CONFIG.replace(SYMBOLS, '"few"'))
    assert quantd(tmp_path, "config", "check").returncode == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("#" * (MIB + 1), f"config.toml: has more than {MIB:,} bytes"),
        (f"[{'.'.join('a' * 20_000)}]\n", "config.toml:1: a key has more than 32 parts"),
        (f"\n{'.'.join('a' * 20_000)} = 1\n", "config.toml:2: a key has more than 32 parts"),
        ("x = { " + ".".join(['"a"'] * 33) + " = 1 }\n", "config.toml:1: a key has more than 32 parts"),
    ],
    ids=["size", "table", "key", "inline table"],
)
def test_a_configuration_that_takes_long_to_parse_is_refused_unparsed(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, text)
    process = quantd(tmp_path, "config", "check")
    assert (process.returncode, message in process.stderr + process.stdout) == (78, True), process


PRODUCT: Final = (
    "daemon", "research", "trading", "models", "risk", "strategies", "adapters", "src/quantd/__init__.py",
    "src/quantd/engine_build", "src/quantd/bundled", "src/quantd/state_folder.py", "src/quantd/extras.py",
    "scripts", "setup.py",
)  # fmt: skip
"""The code of the product, without the module itself."""

CHANGES: Final = re.compile(
    r"\bos\.(f?chmod|f?chown|unlink|remove|replace|renames?|rmdir|removedirs|link|symlink|truncate)\b"
    r"|\bshutil\.(rmtree|move|chown|copy2?|copymode|copystat|copytree)\b"
    r"|\bfrom (os|shutil) import .*(?:\*|\b(?:chmod|unlink|re(?:move|place|name)|rmtree|move|copy\w*)\b)"
    r"|\w\)?\.(chmod|unlink|rmdir|hardlink_to|symlink_to|link_to)\(|(?<!structs)\.(replace|rename)\([^,={}()]+(?:\([^()]*\))?\)"
)
"""Modes and owners are changed, and files removed, replaced and renamed. A path's `replace` has one argument."""

ALLOWED: Final = {
    "adapters/listener.py": (
        Counter({"unlink": 1, "chmod": 1}),
        "a Unix socket is no regular file; nobody can connect",
    ),
    "src/quantd/engine_build/builder.py": (
        Counter({"unlink": 2, "rmtree": 4, "rename": 1}),
        "its text is part of the key of every build, and it changes the folder of the builds of this checkout alone",
    ),
    "src/quantd/engine_build/libraries.py": (
        Counter({"unlink": 1}),
        "as the builder: it removes its own copy of a library in the folder of a build",
    ),
    "setup.py": (
        Counter({"copytree": 1, "unlink": 2}),
        "a wheel is built before quantd can be imported; its folder is new",
    ),
    "scripts/site/snippets/execution.py": (
        Counter({"rename": 1, "copy": 1, "symlink_to": 3}),
        "links, copies and a result in the fresh folder of a page; the child of a snippet imports nothing before it",
    ),
}
"""File -> the changes that remain in it, and why."""


def changes(source: str) -> Counter[str]:
    """The names of the functions that change what a path names, with the number of their uses."""
    return Counter(next(filter(None, match.groups())) for match in CHANGES.finditer(source))


@pytest.mark.long
def test_modes_are_changed_and_files_replaced_and_removed_in_one_module() -> None:
    files = [path for place in PRODUCT for path in python_files(ROOT / place)]
    uses = {str(path.relative_to(ROOT)): changes(path.read_text()) for path in files}
    assert len(files) > 700
    assert {name: uses[name] for name in uses if uses[name] != ALLOWED.get(name, (Counter(), ""))[0]} == {}
    assert ALLOWED.keys() <= uses.keys()
    assert {*changes(Path(regular_file.__file__).read_text())} >= {"fchmod", "unlink", "rename"}


class Swap:
    """Puts a link in place of a path immediately before the n-th system call that Python announces (an audit event)."""

    EVENTS: Final = ("open", "os.chmod", "os.remove", "os.rename", "os.rmdir", "os.scandir", "os.truncate")
    active: "Swap | None" = None

    def __init__(self, path: Path, victim: Path, at: int) -> None:
        self.path, self.victim, self.left = path, victim, at

    def __call__(self, event: str) -> None:
        self.left -= 1
        if self.left < 0 and not self.path.is_symlink():
            Swap.active = None
            if os.path.lexists(self.path):
                os.rename(self.path, self.path.with_name("aside"))
            os.symlink(self.victim, self.path)

    @classmethod
    def heard(cls, event: str, _: tuple[object, ...]) -> None:
        if cls.active is not None and event in cls.EVENTS:
            cls.active(event)


sys.addaudithook(Swap.heard)

MOST_EVENTS: Final = 12
"""More than any of the actions has; after its last event the link is not put there."""


def _opened(path: Path, flags: int) -> None:
    os.close(regular_file.open_regular(path, flags))


ACTIONS: Final = {
    "modes of a file": ("file", lambda path: regular_file.restrict(path, 0o077)),
    "modes of a folder": ("folder", lambda path: regular_file.restrict(path, 0o077)),
    "reading": ("file", lambda path: _opened(path, os.O_RDONLY)),
    "emptying": ("file", lambda path: _opened(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)),
    "making": ("nothing", lambda path: _opened(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)),
    "an empty file": ("nothing", regular_file.create_empty),
    "a new file": ("file", lambda path: regular_file.new_file(path).close()),
    "replacing": ("file", lambda path: regular_file.write_whole(path, b"new", 0o600)),
    "replacing with the same mode": ("file", lambda path: regular_file.write_whole(path, b"new", keep_mode=True)),
    "removing": ("file", regular_file.remove),
    "removing a folder": ("folder", regular_file.remove_folder),
    "moving a file": ("file", lambda path: regular_file.move(path, path.with_name("moved"))),
    "moving onto a file": ("file", lambda path: regular_file.move(path.with_name("beside"), path)),
}


def _scene(folder: Path, kind: str) -> tuple[Path, Path]:
    """A path of ours, and a victim of the same kind beside it that everybody may write."""
    own_path, victim = folder / "ours", folder / "victim"
    for path in (own_path, victim):
        if kind == "folder":
            path.mkdir()
            (path / "content").write_text("as before")
            path.chmod(0o777)
        elif kind == "file" or path is victim:
            path.write_text("as before")
            path.chmod(0o666)
    (folder / "beside").write_text("beside")
    return own_path, victim


def _seen(path: Path) -> tuple[object, ...]:
    inner = path / "content"
    status = path.lstat()
    return status.st_mode, status.st_uid, status.st_ino, (inner if inner.exists() else path).read_text()


@pytest.mark.parametrize("links", ["Linux", "without O_PATH", "without /proc"])
@pytest.mark.parametrize("action", ACTIONS)
def test_a_link_that_is_put_in_between_changes_nothing_of_what_it_names(
    tmp_path: Path, action: str, links: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if links == "without O_PATH":
        monkeypatch.setattr(regular_file, "_PATH", 0)
    if links == "without /proc":
        monkeypatch.setattr(os.path, "lexists", lambda path: not str(path).startswith("/proc/") and _exists(path))
    kind, act = ACTIONS[action]
    swapped = 0
    for at in range(MOST_EVENTS):
        folder = tmp_path / str(at)
        folder.mkdir()
        path, victim = _scene(folder, kind)
        before = _seen(victim)
        Swap.active = Swap(path, victim, at)
        try:
            with suppress(OSError):
                act(path)
        finally:
            swapped += Swap.active is None
            Swap.active = None
        assert _seen(victim) == before, f"the link was put there before event {at}"
    assert 0 < swapped < MOST_EVENTS


def _exists(path: object) -> bool:
    try:
        os.lstat(path)  # type: ignore[call-overload]
    except OSError:
        return False
    return True


def test_a_link_by_another_thread_changes_nothing_of_what_it_names(tmp_path: Path) -> None:
    """Thousands of tries: one thread swaps a file and a link, the other changes, empties, replaces and removes."""
    path, victim = _scene(tmp_path, "file")
    before, ended = _seen(victim), threading.Event()

    def swap() -> None:
        other = tmp_path / "other"
        while not ended.is_set():
            with suppress(OSError):
                os.symlink(victim, other)
                os.rename(other, path)
                other.write_text("ours")
                other.chmod(0o666)
                os.rename(other, path)

    thread = threading.Thread(target=swap)
    thread.start()
    refused = successes = 0
    try:
        for number in range(1_000_000):
            # a busy machine may run the other thread late
            if number >= 4_000 and successes and refused:
                break
            try:
                (
                    lambda: regular_file.restrict(path, 0o022),
                    lambda: _opened(path, os.O_RDWR | os.O_TRUNC),
                    lambda: regular_file.write_whole(path, b"new", 0o600, durable=False),
                    lambda: regular_file.remove(path, missing_ok=True),
                )[number % 4]()
                successes += 1
            except OSError:
                refused += 1
    finally:
        ended.set()
        thread.join()
    assert _seen(victim) == before
    assert successes
    assert refused


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a file of another user")
def test_a_file_of_another_user_is_neither_removed_nor_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("as before")
    os.chown(path, 12345, 12345)
    for act in (
        lambda: regular_file.remove(path),
        lambda: regular_file.write_whole(path, b"new"),
        lambda: regular_file.move(path, tmp_path / "b"),
        lambda: regular_file.restrict(path, 0o022),
    ):
        with pytest.raises(regular_file.Refused, match="belongs to another user"):
            act()
    assert path.read_text() == "as before"
    os.chown(tmp_path, 12345, 12345)  # root works in the folder of a service
    regular_file.write_whole(path, b"new")
    assert path.read_text() == "new"


def test_a_link_within_a_removed_folder_is_removed_and_not_what_it_names(tmp_path: Path) -> None:
    victim, folder = tmp_path / "victim", tmp_path / "folder"
    victim.mkdir()
    (victim / "content").write_text("as before")
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "away").symlink_to(victim)
    os.mkfifo(folder / "pipe")
    regular_file.remove_folder(folder)
    assert not folder.exists()
    assert (victim / "content").read_text() == "as before"


def test_an_exception_leaves_the_replaced_file_and_no_part(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("as before")
    with suppress(RuntimeError), regular_file.replacing(path) as file:
        file.write(b"new")
        raise RuntimeError
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("a", "as before")]


def test_a_file_that_another_container_writes_under_equal_numbers_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers of process and thread are those of this one; the space of numbers is another one's."""
    with monkeypatch.context() as elsewhere:
        regular_file._place.cache_clear()
        elsewhere.setattr(os, "readlink", lambda path: "pid:[1]")
        elsewhere.setattr(os, "uname", lambda: SimpleNamespace(nodename="other"))
        with regular_file.replacing(tmp_path / "file") as other_file:
            other_file.write(b"theirs, first half, ")
            regular_file._place.cache_clear()
            elsewhere.undo()
            regular_file.write_whole(tmp_path / "file", b"ours")
            assert (tmp_path / "file").read_bytes() == b"ours"
            other_file.write(b"second half")
    assert (tmp_path / "file").read_bytes() == b"theirs, first half, second half"
    assert os.listdir(tmp_path) == ["file"]
    regular_file._place.cache_clear()
