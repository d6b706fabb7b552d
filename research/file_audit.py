"""Records the files that a policy opens while it decides, the programs it starts and the hosts it connects to.

What can go wrong: a policy reads the future from a file, and the look-ahead study does not see the file. An audit hook
records Python's own opens. Native readers open files without an audit event, so a profiler records their calls.

The hook cannot be removed once it is installed, so it records within `watching` only. While a path is inspected nothing
is recorded, because the inspection itself opens files. What a started program reads is not recorded, only its start.
"""

import os
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

NATIVE: Final = ("polars", "pyarrow", "duckdb")
"""Packages whose readers open files without an audit event."""

READERS: Final = ("read", "scan", "open", "connect", "load")
"""Prefixes of their functions that take a file."""

_OPENS: Final = frozenset({"open", "sqlite3.connect"})

_STARTS: Final = frozenset({"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn"})
"""Audit events of started programs; what these read is not recorded."""

_IGNORED: Final = tuple(
    {
        *(os.path.realpath(path) + os.sep for path in sysconfig.get_paths().values()),
        os.path.realpath(sys.prefix) + os.sep,
        os.path.realpath(sys.base_prefix) + "/lib/",
        str(Path(__file__).resolve().parent.parent / "daemon") + os.sep,
        "/proc/",
        "/sys/",
        "/usr/share/zoneinfo/",
    }
)
"""Code, the interpreter's own files and the system's description of itself."""

DEVICES: Final = "/dev/"
MEMORY: Final = "/dev/shm/"
"""A folder of ordinary files among the devices."""

MOST: Final = 64
"""Maximum number of recorded files."""


class _Watch:
    """The state of this process's audit hook, which cannot be removed once installed."""

    def __init__(self) -> None:
        self.hooked = False
        self.opened: dict[str, None] | None = None

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.opened is None or not arguments:
            return
        if event in _OPENS:
            self.note(arguments[0])
        elif event in _STARTS:
            self.mark(f"program {_text(arguments[0])}")
        elif event == "socket.connect" and len(arguments) > 1:
            self.mark(f"network {_text(arguments[1])}")

    def profile(self, frame: FrameType, event: str, argument: object) -> None:
        if event != "call" or self.opened is None:
            return
        code = frame.f_code
        if code.co_name.startswith(READERS):
            package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
            if package in NATIVE and code.co_argcount:
                self.note(frame.f_locals.get(code.co_varnames[0]))

    def mark(self, name: str) -> None:
        """Record what is no file."""
        if self.opened is not None and len(self.opened) < MOST:
            self.opened[name] = None

    def note(self, named: object) -> None:
        if isinstance(named, (list, tuple)):
            for name in named[:MOST]:
                self.note(name)
            return
        if isinstance(named, bytes):
            named = os.fsdecode(named)
        if not isinstance(named, (str, os.PathLike)) or self.opened is None or len(self.opened) >= MOST:
            return
        watched, self.opened = self.opened, None  # the inspection itself must not be recorded
        try:
            path = os.path.realpath(named)
            device = path.startswith(DEVICES) and not path.startswith(MEMORY)
            if not (device or path.endswith((".py", ".pyc")) or path.startswith(_IGNORED)):
                watched[path] = None
        finally:
            self.opened = watched


def _text(argument: object) -> str:
    """Return the name of a program or of an address."""
    if isinstance(argument, tuple):
        return ":".join(map(str, argument[:2]))
    return os.fsdecode(argument) if isinstance(argument, str | bytes | os.PathLike) else repr(argument)


_WATCH: Final = _Watch()


@contextmanager
def watching(opened: dict[str, None]) -> Iterator[None]:
    """Add the real path of every file opened in the context to `opened`, except Python code and system files."""
    if not _WATCH.hooked:
        sys.addaudithook(_WATCH.hook)
        _WATCH.hooked = True
    before, profile = _WATCH.opened, sys.getprofile()
    _WATCH.opened = opened
    sys.setprofile(_WATCH.profile)
    try:
        yield
    finally:
        sys.setprofile(profile)
        _WATCH.opened = before
