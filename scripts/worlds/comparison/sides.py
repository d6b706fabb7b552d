"""The sides of a comparison: a process with the sources of a checkout, or what such a process recorded."""

import json
import os
import platform
import subprocess
import sys
import tarfile
import time
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any, Final, Protocol

import msgspec

ROOT: Final = Path(__file__).resolve().parents[3]

SCRIPT: Final = ROOT / "scripts" / "compare_engines.py"

SOURCES: Final = (
    "adapters", "daemon", "models", "research", "risk", "server", "src", "strategies", "trading", "training",
)  # fmt: skip
"""Folders with the sources of an engine."""


class EngineEnded(Exception):
    """A side has no answer: its process ended, or no such world was recorded."""


class Side(Protocol):
    """Answers with the hash, features and events of worlds; a `verbose` answer has rows or steps, too."""

    def ask(self, seed: int, verbose: bool = False) -> None: ...

    def answer(self) -> dict[str, Any]: ...

    def close(self) -> None: ...


def serve(*, journal: bool, compiled: bool) -> None:
    """Drive the worlds whose seeds are lines of standard input; one line of JSON for each."""
    from quantd.engine_build import finder

    from .drive import drive

    if compiled and finder.loaded() is None:
        raise SystemExit("the engine is not compiled; run `make build`")
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # nothing else may write into the answers
    for line in sys.stdin:
        seed, _, verbose = line.strip().partition(" ")
        began = time.process_time()
        record = drive(int(seed), journal=journal)
        answer: dict[str, Any] = {
            "hash": record.digest(),
            "hits": sorted(record.features.hits),
            "events": record.features.events,
            "seconds": time.process_time() - began,
        }
        if verbose and journal:
            answer["steps"] = packed(record.steps)
        elif verbose:
            answer |= {"rows": [json.dumps(row) for row in record.rows], "kinds": record.events}
        out.write(json.dumps(answer) + "\n")
        out.flush()


def packed(steps: list[tuple[bytes, bytes]]) -> str:
    """Steps as text."""
    return b64encode(zlib.compress(msgspec.msgpack.encode(steps), 1)).decode()


def unpacked(text: str) -> list[tuple[bytes, bytes]]:
    """Steps from the text of `packed`."""
    return msgspec.msgpack.decode(zlib.decompress(b64decode(text)), type=list[tuple[bytes, bytes]])


class Engine:
    """A process that drives worlds with the sources of one checkout."""

    def __init__(self, checkout: Path, *, journal: bool = False, compiled: bool = False) -> None:
        settings = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        flags = [flag for flag, on in (("--journal", journal), ("--compiled", compiled)) if on]
        self._process = subprocess.Popen(
            [sys.executable, str(SCRIPT), "--serve", *flags],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=checkout,
            env={**os.environ, **settings, "PYTHONPATH": str(checkout / "src")},
        )  # fmt: skip

    def ask(self, seed: int, verbose: bool = False) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seed}{' verbose' if verbose else ''}\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise EngineEnded("an engine ended; its error is above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class Recorded:
    """The answers that a file of `--record` has."""

    def __init__(self, path: Path) -> None:
        self._path = path
        head, *lines = path.read_text().splitlines()
        if json.loads(head) != {"worlds": sources()}:
            raise EngineEnded(f"{path}: other scripts recorded it; record it again with --record")
        self._lines = {int(line.partition(",")[0].partition(":")[2]): line for line in lines}
        self._asked: list[int] = []

    def ask(self, seed: int, verbose: bool = False) -> None:
        self._asked.append(seed)

    def answer(self) -> dict[str, Any]:
        seed = self._asked.pop(0)
        if seed not in self._lines:
            raise EngineEnded(f"{self._path}: world {seed} was not recorded")
        answer: dict[str, Any] = json.loads(self._lines[seed])
        return answer

    def close(self) -> None:
        """Nothing runs."""


def record(engine: Side, seeds: Iterator[int], path: Path) -> int:
    """Write the answers of an engine with all steps; returns the number of worlds."""
    count = 0
    with path.open("w") as file:
        file.write(json.dumps({"worlds": sources()}) + "\n")
        for seed in seeds:
            engine.ask(seed, verbose=True)
            file.write(json.dumps({"seed": seed, **engine.answer()}) + "\n")
            count += 1
    return count


def sources() -> str:
    """Hex BLAKE2b of the scripts that make and record worlds."""
    named = blake2b(digest_size=8)
    for part in (SCRIPT, *sorted(SCRIPT.parent.glob("worlds/**/*.py"))):
        named.update(part.read_bytes())
    return named.hexdigest()


class Known:
    """The answers of the base of earlier runs, by seed, in a file of the user's cache; none for a folder."""

    def __init__(self, commit: str, *, journal: bool) -> None:
        self._lock, self._results, self._file = Lock(), dict[int, dict[str, Any]](), Path(os.devnull)
        if not commit:
            return
        parts = (sources(), journal, commit, sys.version, version("numpy"), platform.node())
        named = blake2b(repr(parts).encode(), digest_size=8).hexdigest()
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        self._file = caches / "quantd" / "worlds" / f"{named}.jsonl"
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._file.exists():
            for line in self._file.read_text().splitlines():
                answer = json.loads(line)
                self._results[answer.pop("seed")] = answer

    def find(self, seed: int) -> dict[str, Any] | None:
        return self._results.get(seed)

    def keep(self, seed: int, answer: dict[str, Any]) -> None:
        with self._lock, self._file.open("a") as file:
            file.write(json.dumps({"seed": seed, **answer}) + "\n")


@contextmanager
def checkout_of(base: str) -> Iterator[tuple[Path, str]]:
    """(folder of a checkout, its commit): `base` itself without a commit, or the sources of a commit in a temporary
    folder. The repository is not changed. Raises SystemExit for a name that is neither."""
    if (Path(base) / "src" / "quantd").is_dir():
        yield Path(base).resolve(), ""
        return
    git = ["git", "-C", str(ROOT)]
    commit_line = subprocess.run([*git, "rev-parse", "--verify", "--quiet", f"{base}^{{commit}}"], capture_output=True)
    if commit_line.returncode:
        raise SystemExit(f"--base {base}: neither a commit, nor the folder of a checkout, nor a file of --record")
    commit = commit_line.stdout.decode().strip()
    there = subprocess.run([*git, "ls-tree", "--name-only", commit], check=True, capture_output=True, text=True)
    folders = [name for name in SOURCES if name in there.stdout.split()]
    done = subprocess.run([*git, "archive", "--format=tar", commit, *folders], check=True, capture_output=True)
    with TemporaryDirectory() as folder, tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="tar")
        yield Path(folder), commit
