"""Compiles the kernels with numba, where it is installed, for commands that run many samples.

The daemon never calls this: its service forbids memory that is writable and executable. The compiled code is kept in a
private folder, named by the sources of the kernels, the versions of its tools and the CPU.
"""

import gc
import os
import platform
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from fcntl import LOCK_EX, flock
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock, Thread, main_thread
from types import FunctionType
from typing import Any, Final

import numpy as np

import quantd.daemon.runtime.loop  # noqa: F401 - a kernel is recorded where its module is imported
from quantd.trading import jit

PAYS_LOADING: Final = 20_000
"""Bars of single symbols from which a run is shorter with compiled code that is kept: loading takes 0.4 s."""

PAYS_COMPILING: Final = 500_000
"""Bars of single symbols from which a run pays for compiling."""

KEPT_S: Final = 30 * 86_400.0
"""How long compiled code that nothing uses is kept."""

ROOM_BYTES: Final = 64 * 2**20
"""Free disk space below which nothing is kept."""

COMPILING: Final = "compiling the kernels, once, about 15 s; the run goes on meanwhile"

_made: dict[Callable[..., Any], Any] = {}
"""Function -> its dispatcher, once `compile_kernels` was called."""

_one_at_a_time: Final = Lock()

Say = Callable[[str], object]


def _silent(text: str) -> None:
    """Discard a message."""


def compile_for(symbol_bars: int, say: Say = _silent) -> None:
    """Compile in the background if a run over so many bars of single symbols pays for it. `say` gets what a user should
    know: that something is compiled, or why not."""
    if symbol_bars < PAYS_LOADING or find_spec("numba") is None:
        return
    if symbol_bars < PAYS_COMPILING and not any(_folders().glob("*/*/*.nbi")):
        return  # without an import of numba
    if why := compile_kernels(wait=False, say=say, kept_only=symbol_bars < PAYS_COMPILING):
        say(f"the kernels are interpreted, which is slower: {why}")


def compile_kernels(*, wait: bool, say: Say = _silent, kept_only: bool = False) -> str:
    """Let numba compile each kernel at its first call, for the types of that call.

    Without `wait` a kernel is interpreted until a thread has compiled it, and stays so if that fails. The process ends
    when the kernel that is being compiled is kept. With `kept_only` a kernel without kept code stays interpreted.
    Returns the reason why kernels stay interpreted, empty where they are compiled.
    """
    try:
        import numba
        from numba import config
    except (ImportError, OSError) as error:  # OSError: memory that is writable and executable is forbidden
        return f"{type(error).__name__}: {error}"
    if config.DISABLE_JIT:  # type: ignore[attr-defined]
        return "NUMBA_DISABLE_JIT is set"
    folder = cache_folder(numba.__version__)
    kept = any(folder.glob("*/*.nbi"))
    if kept_only and not kept:
        return ""
    if unusable := _prepare(folder):
        say(f"compiled kernels are not kept: {unusable}")
    if unusable or not kept:
        say(COMPILING)
    config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]
    _dispatchers(numba.njit, keep=not unusable)
    for entry in jit.ENTRIES:
        if kept_only and not any(folder.glob(f"*/*.{entry.python.__name__}-*.nbi")):
            continue
        entry.run = _begun(entry, _made[entry.python], None if unusable else folder, wait=wait, say=say)
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
    return _folders() / named.hexdigest()


def _folders() -> Path:
    known = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return known / "quantd" / "kernels"


def _cpu() -> str:
    from llvmlite import binding
    from numba import config

    chosen = (config.CPU_NAME, config.CPU_FEATURES)  # type: ignore[attr-defined]
    return f"{binding.get_host_cpu_name()} {sorted(binding.get_host_cpu_features().items())} {chosen}"


def _prepare(folder: Path) -> str:
    """Make the folder and remove those that nothing has used for long. Returns why it cannot be used, else nothing.

    Its files are pickles, so that nobody else may write there.
    """
    try:
        for place in (folder.parent, folder):
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
            found = place.stat()
            if found.st_uid != os.geteuid() or found.st_mode & 0o022:
                return f"others may write into {place}"
        TemporaryFile(dir=folder).close()
        if shutil.disk_usage(folder).free < ROOM_BYTES:
            return f"the disk of {folder} is full"
        os.utime(folder)
        for other in folder.parent.iterdir():
            if other.stat().st_mtime < time.time() - KEPT_S:
                shutil.rmtree(other, ignore_errors=True)
    except OSError as error:
        return str(error)
    return ""


def _dispatchers(njit: Callable[..., Any], *, keep: bool) -> None:
    """Make the dispatcher of every kernel; each sees the others in place of the functions."""
    sources = {**{each: each for each in jit.INNER}, **jit.LOOPS}
    entries = {entry.python for entry in jit.ENTRIES}
    if _made.keys() == sources.keys():
        return
    without_wrappers = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "pipeline_class": _inner_compiler()}
    spaces: dict[int, dict[str, Any]] = {}
    for function, source in sources.items():
        space = spaces.setdefault(id(source.__globals__), dict(source.__globals__))
        own = FunctionType(source.__code__, space, source.__name__, source.__defaults__)
        own.__qualname__, own.__module__ = source.__qualname__, source.__module__
        # Python calls entries only, and the code of an entry has that of the others in it
        options = {"cache": keep} if function in entries else without_wrappers
        _made[function] = _of_types(njit(own, error_model="numpy", **options))
    for space in spaces.values():
        for name, value in space.items():
            if isinstance(value, FunctionType) and value in _made:
                space[name] = _made[value]


def _of_types(dispatcher: Any) -> Any:
    """The dispatcher, which a kernel that passes a constant calls as one that passes a variable. Else a function is
    compiled once more for each constant."""
    from numba.core.types import unliteral

    template = dispatcher.get_call_template

    def get_call_template(args: Sequence[Any], kws: Mapping[str, Any]) -> Any:
        plain: Callable[[Any], Any] = unliteral
        return template(tuple(map(plain, args)), {name: plain(kind) for name, kind in kws.items()})

    dispatcher.get_call_template = get_call_template
    return dispatcher


def _inner_compiler() -> Any:
    """The compiler of functions that only kernels call. LLVM optimises and translates these as parts of an entry, and
    not by themselves before: that would take nearly as long again."""
    from numba.core import codegen, compiler, compiler_machinery, typed_passes

    class Part(codegen.JITCodeLibrary):
        """The code of one such function: it has no address, and the entries link it."""

        def _optimize_final_module(self) -> None: ...

        def _finalize_final_module(self) -> None:
            self._finalize_dynamic_globals()  # type: ignore[no-untyped-call]
            self._finalized = True

        def get_pointer_to_function(self, name: str) -> int:
            self._ensure_finalized()  # type: ignore[no-untyped-call]
            return 0

        @property
        def codegen(self) -> "Part":
            return self

        def set_env(self, name: str, env: object) -> None: ...

    @compiler_machinery.register_pass(mutates_CFG=False, analysis_only=True)  # type: ignore[no-untyped-call]
    class Library(compiler_machinery.AnalysisPass):
        _name = "quantd_library"

        def __init__(self) -> None:
            compiler_machinery.AnalysisPass.__init__(self)  # type: ignore[no-untyped-call]

        def run_pass(self, state: Any) -> bool:
            state.library = Part(state.targetctx.codegen(), state.func_id.func_qualname)  # type: ignore[no-untyped-call]
            return False

    class Inner(compiler.CompilerBase):
        def define_pipelines(self) -> list[Any]:
            passes: Any = compiler.DefaultPassBuilder.define_nopython_pipeline(self.state)  # type: ignore[no-untyped-call]
            passes.add_pass_after(Library, typed_passes.NopythonTypeInference)
            passes.finalize()
            return [passes]

    return Inner


def _begun(
    entry: "jit.Entry[..., Any]", compiled: Any, folder: Path | None, *, wait: bool, say: Say
) -> Callable[..., Any]:
    """Compile an entry from its first call on: before that call, or in a thread during which it is interpreted."""
    interpreted, begun = jit.interpreted(entry.python), False

    def make(types: tuple[Any, ...]) -> None:
        with _one_at_a_time:
            if not main_thread().is_alive():  # the process ends
                return
            # a compiler makes millions of objects that live until its end: to look for garbage among them is in vain
            collects = gc.isenabled()
            gc.disable()
            try:
                _compile(compiled, types, folder)
            finally:
                if collects:
                    gc.enable()
        entry.run = compiled

    def attempt(types: tuple[Any, ...]) -> None:
        try:
            make(types)
        except Exception as error:  # whatever it is, the interpreted kernel gives the same result
            text = " ".join(str(error).split())
            say(f"the kernel {entry.python.__name__} is interpreted: {type(error).__name__}: {text:.300}")

    def run(*args: Any) -> Any:
        nonlocal begun
        if not begun:
            from numba import typeof

            begun = True
            types = tuple(map(typeof, args))
            if wait:
                make(types)
                return compiled(*args)
            # the process waits for its end: LLVM cannot be stopped, and what it has done is kept for the next run
            Thread(target=attempt, args=(types,), name="compile kernels").start()
        return interpreted(*args)

    return run


def _compile(compiled: Any, types: tuple[Any, ...], folder: Path | None) -> None:
    """Compile, or load what is kept. What cannot be loaded is removed and compiled again."""
    if folder is None:
        compiled.compile(types)
        return
    # of several processes one compiles, the others load what it kept
    with (folder / "lock").open("w") as lock:
        flock(lock, LOCK_EX)
        kept = list(folder.glob("*/*.nb[ic]"))
        try:
            compiled.compile(types)
        except Exception:
            if not kept:
                raise
            for path in kept:
                path.unlink(missing_ok=True)
            compiled.compile(types)
