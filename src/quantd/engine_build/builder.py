"""Builds the engine in a scratch folder, and puts it in place by one rename.

Libraries of kept builds that would be made from the same are taken over. A build that is interrupted leaves a folder
that no start loads; the next build removes it. Of two processes one builds. A failure is recorded, so that starts do
not repeat it in the background.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from quantd.engine_build import c_compiler, finder, libraries
from quantd.engine_build.c_compiler import LONGEST, NoBuild
from quantd.engine_build.declarations import Declared, declare
from quantd.engine_build.recipe import BUFFERS, CYTHON, DIRECTIVES, INNER_LOOPS, LIBRARIES, MODULES, VARIANTS

SCRATCH: Final = ".making-"
LOCK: Final = "lock"
FAILURE: Final = "failure"
KEPT: Final = 4
"""Builds that are kept: a process that runs may load from an older one."""


class Busy(NoBuild):
    """Another process builds, or the source is being edited: the same build may succeed later."""


def read(module: str) -> str | None:
    """The text of a module of ours; None for another, and for a package."""
    file = finder.source(module)
    return file.read_text(encoding="utf-8") if module.startswith("quantd.") and file.is_file() else None


def others() -> dict[str, str]:
    """File -> text, of every module of the package that is not listed."""
    listed = set(map(finder.source, MODULES))
    texts: dict[str, str] = {}
    for folder, _, names in os.walk(finder.PACKAGE, followlinks=True):
        for file in (Path(folder, name) for name in sorted(names) if name.endswith(".py")):
            if file not in listed:
                texts[file.relative_to(finder.PACKAGE).as_posix()] = file.read_text(encoding="utf-8")
    return texts


def build(kind: str = "release", jobs: int = 1, note: Callable[[str], object] = str) -> Path:
    """Build the listed modules unless a whole build of this source is there. Returns its folder.

    `note` gets a line about what was compiled. Raises NoBuild and Busy.
    """
    with _alone():
        if there := _whole(kind):
            return there
        (finder.BUILDS / FAILURE).unlink(missing_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=finder.BUILDS))
        try:
            key = finder.key(kind)
            _make(scratch, kind, jobs, note)
            if finder.key(kind) != key:
                raise Busy("the source changed while it was compiled; build again")
            target = _put(scratch / "made", key)
        except Busy:
            raise
        except OSError as error:
            raise NoBuild(f"{error.filename or finder.BUILDS}: {str(error.strerror or error).lower()}") from None
        except NoBuild as why:
            _record(kind, str(why))
            raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return target


def obstacle() -> str:
    """Why nothing can be built here, with the remedy; empty where it can."""
    if finder.CHECKOUT is None:
        return "this installation has no build for this Python; install a wheel that has, or run from a checkout"
    try:
        _cython()
        c_compiler.find()
    except NoBuild as why:
        return str(why)
    folder = next(path for path in (finder.BUILDS, *finder.BUILDS.parents) if path.exists())
    return "" if os.access(folder, os.W_OK | os.X_OK) else f"{folder} cannot be written; build as its owner: make build"


def failure(kind: str) -> str:
    """Why the last build of this source by this compiler failed; empty without such a record."""
    with suppress(OSError, NoBuild):
        header, _, why = (finder.BUILDS / FAILURE).read_text(encoding="utf-8").partition("\n")
        if header == f"{finder.key(kind)} {c_compiler.find().identity()}":
            return why.strip()
    return ""


def running() -> bool:
    try:
        with (finder.BUILDS / LOCK).open("rb") as lock:
            flock(lock, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def _whole(kind: str) -> Path | None:
    """Return the folder of a build of this source whose libraries are as recorded; None without one.

    Of another build the damaged libraries are removed, so that no start loads them. Raises NoBuild where that fails.
    """
    while there := finder.fitting(kind):
        if not (damaged := libraries.damaged(there)):
            return there
        try:
            for module in damaged:
                finder.library(there, module).unlink()
        except OSError as error:
            why = str(error.strerror or error).lower()
            raise NoBuild(f"{there} is damaged and cannot be removed ({why}); remove it as its owner") from None
    return None


def _record(kind: str, why: str) -> None:
    with suppress(OSError, NoBuild):
        text = f"{finder.key(kind)} {c_compiler.find().identity()}\n{why}\n"
        (finder.BUILDS / FAILURE).write_text(text, encoding="utf-8")


@contextmanager
def _alone() -> Iterator[None]:
    """The only build; what an interrupted one left is removed. Raises NoBuild and Busy."""
    try:
        finder.BUILDS.mkdir(parents=True, exist_ok=True)
        lock = (finder.BUILDS / LOCK).open("wb")
    except OSError as error:
        raise NoBuild(
            f"{finder.BUILDS} cannot be written ({str(error.strerror).lower()}); build as its owner"
        ) from None
    with lock:
        try:
            flock(lock, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            raise Busy("another process builds the engine; wait for it") from None
        for remnant in finder.BUILDS.glob(f"{SCRATCH}*"):
            shutil.rmtree(remnant, ignore_errors=True)
        yield


def _cython() -> None:
    """Raises NoBuild without the Cython of the recipe."""
    remedy = f"{sys.executable} -m pip install cython=={CYTHON}"
    try:
        installed = version("cython")
    except PackageNotFoundError:
        raise NoBuild(f"Cython is not installed; {remedy}") from None
    if installed != CYTHON:
        raise NoBuild(f"Cython is {installed}, and the engine is built by {CYTHON}; {remedy}")


def _make(scratch: Path, kind: str, jobs: int, note: Callable[[str], object]) -> None:
    """Declare, translate, compile and load every module below a folder. Raises NoBuild and OSError."""
    _cython()
    compiler = c_compiler.find()
    probe = scratch / "probe.c"
    probe.write_text("#include <Python.h>\n", encoding="utf-8")
    compiler.compile(probe, scratch / "probe.so")  # fails before minutes are spent on translating
    declared = declare(read, MODULES, INNER_LOOPS, checked=kind == "checked", unlisted=others())
    if declared.refusals:
        lines = "\n".join(map(str, declared.refusals))
        raise NoBuild(f"the listed modules cannot be compiled with the same results:\n{lines}")
    folder = scratch / "made"
    folder.mkdir()
    sources = {name: finder.digest(finder.source(name)) for name in declared.read}
    origins = libraries.origins(declared, kind, compiler)
    records: dict[str, libraries.Record] = {}
    compiled: list[str] = []

    def one(module: str) -> None:
        library = finder.library(folder, module)
        record = libraries.take(module, origins[module], library)
        if record is None:
            compiler.compile(_translate(scratch, module), library, VARIANTS[kind])
            compiled.append(module)
        records[module] = record or libraries.Record(origins[module], finder.digest(library))

    _lay(scratch, declared)
    _each(one, jobs)
    about = f"# {kind}, Cython {CYTHON}, {compiler.identity()}, {EXTENSION_SUFFIXES[0]}"
    sources[BUFFERS] = "-"
    lines_ = [libraries.line_of(name, source, records.get(name)) for name, source in sources.items()]
    (folder / finder.MANIFEST).write_text("\n".join([about, *lines_]) + "\n", encoding="utf-8")
    _load(folder, kind)
    new = len(set(compiled) - {BUFFERS})
    note(f"{new} of {len(MODULES)} modules compiled, {len(MODULES) - new} taken from earlier builds")


def _lay(scratch: Path, declared: Declared) -> None:
    """Write the sources and declarations that are translated."""
    for module in MODULES:
        source = _source(scratch, module)
        source.parent.mkdir(parents=True, exist_ok=True)
        for package in source.relative_to(scratch).parents[:-1]:
            (scratch / package / "__init__.py").touch()
        source.write_text(declared.sources[module], encoding="utf-8")
        source.with_suffix(".pxd").write_text(declared.declarations[module], encoding="utf-8")


def _source(scratch: Path, module: str) -> Path:
    return scratch.joinpath(*module.split(".")).with_suffix(".py")


def _translate(scratch: Path, module: str) -> Path:
    """Return the C file of a module, or of the library that all modules share. Raises NoBuild where Cython fails.

    Cython's code for buffers is more than half of a module's, so that it is compiled once.
    """
    source = _source(scratch, module)
    file = source.with_suffix(".c")
    if module == BUFFERS:
        source.parent.mkdir(parents=True, exist_ok=True)
        options = [f"--generate-shared={file.relative_to(scratch)}"]
    else:
        directives = [f"-X{name}={value}" for name, value in DIRECTIVES.items()]
        options = [f"--shared={BUFFERS}", "-3", "-I.", *directives, str(source.relative_to(scratch))]
    words = [sys.executable, "-P", "-m", "cython", *options]
    done = subprocess.run(words, cwd=scratch, capture_output=True, text=True, errors="replace")
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[-LONGEST:]
        raise NoBuild(f"Cython {CYTHON} cannot translate {module}: {said}; report this as a fault")
    return file


def _each(action: Callable[[str], None], jobs: int) -> None:
    with ThreadPoolExecutor(jobs) as pool:
        for done in [pool.submit(action, module) for module in LIBRARIES]:
            done.result()


def _load(folder: Path, kind: str) -> None:
    """Open every library of a build in a process of its own, before a start does. Raises NoBuild where one fails."""
    code = (
        "import sys, pathlib, importlib.util as u; from quantd.engine_build import finder as f; "
        "b = f.Build(pathlib.Path(sys.argv[1]), sys.argv[2]); f.loaded = lambda: b; "
        "[u.module_from_spec(f.spec(n)) for n in f.LIBRARIES]"
    )
    search = os.pathsep.join(filter(None, (str(finder.PACKAGE.parent), os.environ.get("PYTHONPATH", ""))))
    process = subprocess.run(
        [sys.executable, "-c", code, str(folder), kind], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": search},
    )  # fmt: skip
    if process.returncode:
        raise NoBuild(f"the compiled libraries cannot be loaded: {' '.join(process.stderr.split())[-LONGEST:]}")


def _put(folder: Path, key: str) -> Path:
    """Write everything to the disk, then rename: a build that is there is whole, after a loss of power too."""
    target = finder.BUILDS / f"{key}-{finder.digest(folder / finder.MANIFEST)[:8]}"
    for path in (*folder.iterdir(), folder):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    if target.is_dir():  # damaged, else it would fit
        shutil.rmtree(target)
    folder.rename(target)
    builds = (candidate for candidate in finder.BUILDS.iterdir() if (candidate / finder.MANIFEST).is_file())
    for old in sorted(builds, key=lambda candidate: candidate.stat().st_mtime, reverse=True)[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
    return target
