"""The version of the code: the package's version, with a digest of the source files that decide trades."""

import os
import subprocess
from collections.abc import Sequence
from errno import ENOENT
from functools import cache
from hashlib import blake2b
from pathlib import Path

from quantd import bundled

VERSION = "0.3.0"

_REPLAY_SOURCES = (
    "trading", "strategies", "risk", "models/observation/return_features.py", "models/forests",
    "models/artifacts/ensemble.py",
    "models/artifacts/agent_policy.py", "models/artifacts/folder.py", "models/artifacts/loader.py",
    "models/artifacts/manifest.py",
    "models/artifacts/runtime.py", "models/artifacts/scorer_policy.py", "models/observation/sight.py",
    "models/observation/feature_sets.py",
    "adapters/brokers", "daemon/engine", "daemon/runtime/host", "daemon/runtime/loop.py", "daemon/runtime/timeline.py",
    "daemon/policies/loading.py", "daemon/runtime/digest.py", "daemon/runtime/tally.py",
)  # fmt: skip
"""Packages and modules that a replay depends on."""


@cache
def code_version() -> str:
    """`0.3.0+<12 hex>`, a version that changes with each file on which a replay depends."""
    return f"{VERSION}+{code_digest(Path(__file__).resolve().parents[2], _REPLAY_SOURCES)}"


@cache
def commit() -> str:
    """The commit of the checkout, with `+changes` where files differ from it; empty without git or a checkout."""
    root, command = Path(__file__).resolve().parents[2], ("describe", "--always", "--exclude=*", "--dirty=+changes")
    if not (root / ".git").exists():
        return ""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *command, "--abbrev=40"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def code_digest(root: Path, paths: Sequence[str]) -> str:
    """Return a digest, 12 hex digits, of the source files of folders and modules below `root`.

    Raises FileNotFoundError for a missing folder or module.
    """
    digest, root_chars = blake2b(digest_size=6), len(str(root)) + 1
    files = [str(file) for path in paths for file in python_files(root / path)]
    # by components and without the root: the digest is the same in every folder and on every system
    for file in sorted(files, key=lambda file: file.split(os.sep)):
        digest.update(file[root_chars:].encode())
        with open(file, "rb") as source:
            digest.update(source.read())
    return digest.hexdigest()


def python_files(path: Path) -> list[Path]:
    """The module `path`, or the modules below the folder `path`. Raises FileNotFoundError where there is none."""
    if path.is_file():
        return [path]
    files = [Path(folder, name) for folder, _, names in os.walk(path) for name in names if name.endswith(".py")]
    if not files:
        raise FileNotFoundError(ENOENT, "it has no Python source; install quantd again", str(path))
    return files


@cache
def lock_hash() -> str:
    """Digest of constraints.txt, the tested versions of the dependencies."""
    return blake2b((bundled.FOLDER / "constraints.txt").read_bytes(), digest_size=8).hexdigest()


@cache
def blas_name() -> str:
    """Name and version of numpy's linear algebra."""
    import numpy as np

    blas = np.__config__.CONFIG["Build Dependencies"]["blas"]
    return f"{blas['name']} {blas['version']}"
