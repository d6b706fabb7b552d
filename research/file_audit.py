"""Records the files that a policy opens while it decides, the programs it starts and the hosts it connects to.

What can go wrong: a policy reads the future from a file, and the look-ahead study does not see the file. An audit hook
records Python's own opens. Readers of native packages open files without an audit event, so a profiler records the
calls of these readers.

A backtest watches too, at next to no cost: the profiler sees the load of a policy file and the first FIRST decisions,
the hook sees all decisions.

The hook cannot be removed once it is installed, so it records within the context `watching` only. While a path is
inspected nothing is recorded, because the inspection itself opens files. Of a started program only the start is
recorded, not the files that it reads.
"""

import os
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import get_ident
from types import FrameType
from typing import Any, Final

from quantd.daemon.policies import user_file
from quantd.models.artifacts.manifest import MANIFEST
from quantd.trading.effects import Ask
from quantd.trading.events import Decided

NATIVE: Final = ("polars", "pyarrow", "duckdb")
"""Packages whose readers open files without an audit event."""

READERS: Final = ("read", "scan", "open", "connect", "load")
"""Prefixes of the names of functions in NATIVE whose first argument is a file."""

_OPENS: Final = frozenset({"open", "sqlite3.connect"})
"""Audit events whose first argument is a file."""

_STARTS: Final = frozenset({"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn"})
"""Audit events of started programs, whose first argument is the program."""

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
"""Prefixes of paths that are not recorded: the interpreter, installed packages, quantd's daemon, and system folders."""

DEVICES: Final = "/dev/"
"""Devices are not recorded."""

SHARED_MEMORY: Final = "/dev/shm/"
"""A folder below DEVICES with ordinary files, which are recorded."""

MAX_NAMES: Final = 64
"""Maximum number of recorded names: files, programs and hosts."""


FIRST: Final = 4
"""Decisions of a backtest in which readers of native packages are seen: one opens its file at the first or at each."""


class _Watch:
    """The state of this process's audit hook, which cannot be removed once installed.

    `opened` has the names recorded in the present context `watching`, as keys; None outside of the context.
    """

    def __init__(self) -> None:
        self.hooked = False
        self.opened: dict[str, None] | None = None
        self.thread = 0
        """The thread whose opens alone are recorded; 0 for all."""

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Record the file, program or host of an audit event. Outside of the context `watching` nothing is recorded."""
        if self.opened is None or not arguments or self.thread not in (0, get_ident()):
            return
        if event in _OPENS:
            self.note(arguments[0])
        elif event in _STARTS:
            self.mark(f"program {_argument_text(arguments[0])}")
        elif event == "socket.connect" and len(arguments) > 1:
            self.mark(f"network {_argument_text(arguments[1])}")

    def profile(self, frame: FrameType, event: str, argument: object) -> None:
        """Record the first argument of a call, a file, if the called function is a reader of a native package."""
        if event != "call" or self.opened is None:
            return
        code = frame.f_code
        if code.co_name.startswith(READERS):
            package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
            if package in NATIVE and code.co_argcount:
                self.note(frame.f_locals.get(code.co_varnames[0]))

    def mark(self, name: str) -> None:
        """Record a program or a host by its `name`."""
        if self.opened is not None and len(self.opened) < MAX_NAMES:
            self.opened[name] = None

    def note(self, file: object) -> None:
        """Record the real path of a file, or of each file in a list.

        Devices, Python code and paths that begin with one of _IGNORED are left out. Nothing is recorded outside of
        `watching` (`opened` is None). At most MAX_NAMES names are recorded.
        """
        if isinstance(file, (list, tuple)):
            for element in file[:MAX_NAMES]:
                self.note(element)
            return
        if isinstance(file, bytes):
            file = os.fsdecode(file)
        if not isinstance(file, (str, os.PathLike)) or self.opened is None or len(self.opened) >= MAX_NAMES:
            return
        watched, self.opened = self.opened, None  # the inspection itself must not be recorded
        try:
            path = os.path.realpath(file)
            is_device = path.startswith(DEVICES) and not path.startswith(SHARED_MEMORY)
            if not (is_device or path.endswith((".py", ".pyc")) or "__pycache__" in path or path.startswith(_IGNORED)):
                watched[path] = None
        finally:
            self.opened = watched


def _argument_text(argument: object) -> str:
    """Return the argument of an audit event as text: a program, or an address as host:port."""
    if isinstance(argument, tuple):
        return ":".join(map(str, argument[:2]))
    return os.fsdecode(argument) if isinstance(argument, str | bytes | os.PathLike) else repr(argument)


_WATCH: Final = _Watch()


def _hook() -> None:
    """Install the audit hook of this process, once."""
    if not _WATCH.hooked:
        sys.addaudithook(_WATCH.hook)
        _WATCH.hooked = True


def is_in_artifact(name: str) -> bool:
    """Return whether a file is of a trained artifact, whose training window is known."""
    return any((folder / MANIFEST).is_file() for folder in list(Path(name).parents)[:2])


@contextmanager
def watching(opened: dict[str, None]) -> Iterator[None]:
    """Add the real path of every file opened in the context to `opened`, except Python code and system files.

    A context within another one reports to both. A started program is added as "program NAME", and a connection as
    "network HOST:PORT". A profiler of the user, such as cProfile, goes on; then readers in compiled code are not seen.
    """
    _hook()
    # the profile sees readers in compiled code, whose files raise no audit event
    outer_opened, outer_profile = _WATCH.opened, sys.getprofile()
    _WATCH.opened = opened
    replaces = outer_profile is None or callable(outer_profile)  # cProfile cannot be put back by `setprofile`
    if replaces:
        sys.setprofile(_WATCH.profile)
    try:
        yield
    finally:
        if replaces:
            sys.setprofile(outer_profile)
        _WATCH.opened = outer_opened
        if outer_opened is not None:
            outer_opened |= opened


_LOADED: Final[dict[tuple[Path, int], dict[str, None]]] = {}
"""Policy file, as it is since an instant (ns UTC) -> what its code opened at its loads."""


def opened_at_load(path: Path) -> dict[str, None]:
    """Return the dictionary of what the code of a policy file, as it is now, opened at its loads."""
    try:
        changed = os.stat(path).st_mtime_ns
    except OSError:
        changed = 0
    return _LOADED.setdefault((path, changed), {})


def _load_watched(path: Path) -> AbstractContextManager[None]:
    """Return the context in which the code of a policy file is run at its load."""
    return watching(opened_at_load(path))


user_file.WATCH = _load_watched


def watched(decide: Callable[[Ask], Decided], opened: dict[str, None]) -> Callable[[Ask], Decided]:
    """Return `decide`, a function that answers the questions of a backtest, with what it opens added to `opened`."""
    _hook()
    count, thread = 0, get_ident()

    def seen(ask: Ask) -> Decided:
        nonlocal count
        if count < FIRST:
            count += 1
            with watching(opened):
                return decide(ask)
        before, _WATCH.opened, _WATCH.thread = _WATCH.opened, opened, thread
        try:
            return decide(ask)
        finally:
            _WATCH.opened, _WATCH.thread = before, 0

    return seen
