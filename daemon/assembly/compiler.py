"""Compiles the kernels with numba, where it is installed, for commands that run many samples.

The daemon never calls this: its service forbids memory that is writable and executable. The compiled code is kept in a
private folder, named by the sources of the kernels, the versions of its tools and the CPU.
"""

import os
import platform
from collections.abc import Callable
from fcntl import LOCK_EX, flock
from hashlib import blake2b
from pathlib import Path
from threading import Lock, Thread
from types import FunctionType
from typing import Any, Final

import numpy as np

from quantd.trading import jit

_made: dict[Callable[..., Any], Any] = {}
"""Function -> its dispatcher, once `compile_kernels` was called."""

_one_at_a_time: Final = Lock()


def compile_kernels(*, wait: bool) -> str:
    """Let numba compile each kernel at its first call. Without `wait` it is interpreted until that is done in a thread.

    Returns the reason why kernels stay interpreted, empty where they are compiled.
    """
    try:
        import numba
        from numba import config
    except (ImportError, OSError) as error:  # OSError: memory that is writable and executable is forbidden
        return f"{type(error).__name__}: {error}"
    folder = cache_folder(numba.__version__)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]
    _dispatchers(numba.njit)
    for entry in jit.ENTRIES:
        compiled = _made[entry.python]
        entry.run = compiled if wait else _begun(entry, compiled, folder)
        entry.arrays = True
    return ""


def interpret_kernels() -> None:
    """Interpret every kernel again."""
    for entry in jit.ENTRIES:
        entry.run = jit.interpreted(entry.python)
        entry.arrays = False


def cache_folder(numba_version: str) -> Path:
    """The private folder of compiled kernels: of this user, these sources, versions and CPU."""
    named = blake2b(digest_size=8)
    for file in sorted({Path(function.__code__.co_filename) for function in (*jit.INNER, *jit.LOOPS.values())}):
        named.update(file.read_bytes())
    named.update(repr((numba_version, np.__version__, platform.python_version(), _cpu())).encode())
    known = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return known / "quantd" / "kernels" / named.hexdigest()


def _cpu() -> str:
    from llvmlite import binding

    return f"{binding.get_host_cpu_name()} {sorted(binding.get_host_cpu_features().items())}"


def _dispatchers(njit: Callable[..., Any]) -> None:
    """Make the dispatcher of every kernel; each sees the others in place of the functions."""
    if _made:
        return
    spaces: dict[int, dict[str, Any]] = {}
    sources = {**{each: each for each in jit.INNER}, **jit.LOOPS}
    for function, source in sources.items():
        space = spaces.setdefault(id(source.__globals__), dict(source.__globals__))
        own = FunctionType(source.__code__, space, source.__name__, source.__defaults__)
        own.__qualname__, own.__module__ = source.__qualname__, source.__module__
        _made[function] = njit(own, cache=True, error_model="numpy")
    for space in spaces.values():
        for name, value in space.items():
            if isinstance(value, FunctionType) and value in _made:
                space[name] = _made[value]


def _begun(entry: "jit.Entry[..., Any]", compiled: Any, folder: Path) -> Callable[..., Any]:
    """Interpret an entry, and compile it in a thread from its first call on, for the types of that call."""
    interpreted, begun = jit.interpreted(entry.python), False

    def make(types: tuple[Any, ...]) -> None:
        # of several processes one compiles, the others load what it kept
        with _one_at_a_time, (folder / "lock").open("w") as lock:
            flock(lock, LOCK_EX)
            compiled.compile(types)
        entry.run = compiled

    def run(*args: Any) -> Any:
        nonlocal begun
        if not begun:
            from numba import typeof

            begun = True
            Thread(target=make, args=(tuple(map(typeof, args)),), name="compile kernels", daemon=True).start()
        return interpreted(*args)

    return run
