"""Compiling the kernels: private folder, one of several processes, no folder, no compiler; each in its own process."""

import os
import shutil
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from quantd.daemon.assembly import compiler
from tests.support.checkout import ROOT

pytestmark = pytest.mark.skipif(find_spec("numba") is None, reason="numba is not installed")

KERNELS = """
from quantd.trading.jit import Entry, Floats, add_scaled, inner

@inner
def share(value: float) -> float:
    return value * 0.1 + 0.3

@inner
def total(values: Floats, rows: Floats, count: int) -> float:
    found = 0.0
    for k in range(count):
        found += share(values[k])
        add_scaled(rows[0], rows[1], values[k])
    return found + rows[0, 0]

TOTAL = Entry(total)
"""

BEGIN = """
import sys
import numpy as np
import kernels
from quantd.daemon.assembly import compiler
from quantd.trading.jit import interpreted
values, rows = np.arange(5.0) / 7.0, np.ones((2, 9)) / 3.0
expected = interpreted(kernels.total)(values, rows.copy(), 5)
entry = kernels.TOTAL
def check():
    assert entry.run(values, rows.copy(), 5) == expected
def hits():
    return sum(compiler._made[kernels.total].stats.cache_hits.values())
"""

WAITED = BEGIN + "print(repr(compiler.compile_kernels(wait=True, say=print))); check(); print('hits', hits())\n"

PROTECTED = "import ctypes; assert ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) == 0\n"
"""What systemd's MemoryDenyWriteExecute does, where the kernel has it."""


class Place:
    """A cache of one test, and a module of kernels: its own, or that of another place."""

    def __init__(self, folder: Path, kernels: Path | None = None) -> None:
        self.folder, self.kernels = folder, kernels or folder / "kernels.py"
        if kernels is None:
            self.kernels.write_text(KERNELS)

    @property
    def kept(self) -> list[Path]:
        """The folders of compiled kernels."""
        return sorted((self.folder / "cache" / "quantd" / "kernels").glob("*"))

    def begin(self, code: str, **environ: str) -> "subprocess.Popen[str]":
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")}
        own = {
            "PYTHONPATH": f"{self.folder}:{self.kernels.parent}:{ROOT}",
            "XDG_CACHE_HOME": str(self.folder / "cache"),
        }
        command = [sys.executable, "-c", code]
        return subprocess.Popen(
            command, env=inherited | own | environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def __call__(self, code: str, **environ: str) -> list[str]:
        """The lines that a process prints."""
        return ended(self.begin(code, **environ))


def ended(process: "subprocess.Popen[str]") -> list[str]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert err == ""
    return out.splitlines()


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A place whose kernels a process has compiled, and the lines that it printed."""
    place = Place(tmp_path_factory.mktemp("first"))
    return place, place(WAITED)


@pytest.fixture
def compiled(first, tmp_path):
    """A place with a copy of the kept kernels: compiling takes a second."""
    shutil.copytree(first[0].folder / "cache", tmp_path / "cache")
    return Place(tmp_path, first[0].kernels)


def test_the_first_process_compiles_with_a_message_and_the_second_loads_without_one(first):
    place, said = first
    assert said == [compiler.COMPILING, "''", "hits 0"]
    # what only kernels call is part of their code, and not kept by itself
    assert [file.name.split("-")[0] for file in place.kept[0].glob("*/*.nbi")] == ["kernels.total"]
    assert place(WAITED) == ["''", "hits 1"]
    (folder,) = place.kept
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_kernel_is_interpreted_until_a_thread_has_compiled_it(place):
    code = BEGIN + (
        "import time\nassert compiler.compile_kernels(wait=False) == ''\nbefore = entry.run\ncheck()\n"
        "until = time.monotonic() + 60\n"
        "while entry.run is before and time.monotonic() < until: check()\n"
        "assert entry.run is compiler._made[kernels.total]\ncheck()\n"
        "compiler.interpret_kernels()\nassert entry.run is not compiler._made[kernels.total]\ncheck()\n"
    )
    assert place(code) == []


@pytest.mark.long
def test_of_two_processes_at_once_one_compiles_and_the_other_loads(place):
    both = [place.begin(WAITED) for _ in range(2)]
    assert sorted(ended(each)[-1] for each in both) == ["hits 0", "hits 1"]


@pytest.mark.long
def test_kept_code_that_cannot_be_loaded_is_made_again(compiled):
    for path in compiled.folder.glob("cache/quantd/kernels/*/*/*.nb[ic]"):
        path.write_bytes(path.read_bytes()[:40])
    assert compiled(WAITED) == ["''", "hits 0"]
    assert compiled(WAITED) == ["''", "hits 1"]


@pytest.mark.long
def test_without_a_usable_folder_it_compiles_and_keeps_nothing(place):
    (place.folder / "cache").write_text("a file where the folder should be")
    first, *rest = place(WAITED)
    assert first.startswith("compiled kernels are not kept: ")
    assert "Not a directory" in first
    assert rest == [compiler.COMPILING, "''", "hits 0"]


@pytest.mark.long
def test_a_folder_into_which_others_may_write_is_not_used(compiled):
    compiled.kept[0].chmod(0o777)
    assert compiled(WAITED)[0] == f"compiled kernels are not kept: others may write into {compiled.kept[0]}"


@pytest.mark.long
def test_code_of_other_sources_versions_or_processors_lies_apart_and_goes_when_nothing_uses_it(compiled):
    place = Place(compiled.folder)
    (first,) = place.kept
    assert place(WAITED, NUMBA_CPU_NAME="generic")[-1] == "hits 0"
    (generic,) = set(place.kept) - {first}
    old = time.time() - compiler.KEPT_S - 60.0
    os.utime(generic, (old, old))
    with (place.folder / "kernels.py").open("a") as file:
        file.write("# another version\n")
    assert place(WAITED)[-1] == "hits 0"
    assert generic not in place.kept
    assert first in place.kept
    assert len(place.kept) == 2


LATE = (
    BEGIN
    + """
assert compiler.compile_kernels(wait=False, kept_only={only}) == ''
check()
print('compiling', kernels.TOTAL.arrays)
"""
)


@pytest.mark.long
def test_a_process_that_ends_while_it_compiles_keeps_the_kernel_and_ends_well(place):
    assert place(LATE.format(only=False)) == ["compiling True"]
    assert list(place.kept[0].glob("*/*.total-*.nbi"))
    assert place(WAITED)[-1] == "hits 1"


@pytest.mark.long
def test_with_other_kernels_kept_one_without_kept_code_stays_interpreted(compiled):
    for path in compiled.kept[0].glob("*/*.total-*"):
        path.unlink()
    (compiled.kept[0] / "other").mkdir()
    (compiled.kept[0] / "other" / "kernel.other-1.py311.nbi").touch()
    assert compiled(LATE.format(only=True)) == ["compiling False"]
    assert not list(compiled.kept[0].glob("*/*.total-*.nbi"))


def test_where_memory_may_not_be_writable_and_executable_every_kernel_is_interpreted(place):
    can = subprocess.run([sys.executable, "-c", PROTECTED], capture_output=True, check=False).returncode == 0
    numba = place.folder / "numba.py"
    if not can:
        numba.write_text("raise PermissionError(13, 'cannot allocate executable memory')\n")
    code = (PROTECTED if can else "") + BEGIN + "print(compiler.compile_kernels(wait=True)); check()\n"
    (why,) = place(code)
    assert why.startswith("PermissionError: [Errno 13] cannot allocate executable memory")
    code = (PROTECTED if can else "") + BEGIN + "compiler.compile_for(compiler.PAYS_COMPILING, print); check()\n"
    (why,) = place(code)
    assert why.startswith("the kernels are interpreted, which is slower: PermissionError")


@pytest.mark.long
def test_numbas_own_switch_turns_compiling_off(place):
    code = BEGIN + "print(compiler.compile_kernels(wait=True)); check()\n"
    assert place(code, NUMBA_DISABLE_JIT="1") == ["NUMBA_DISABLE_JIT is set"]


@pytest.mark.long
def test_a_kernel_that_cannot_be_compiled_stays_interpreted_and_says_so(place):
    with (place.folder / "kernels.py").open("a") as file:
        file.write("@inner\ndef odd(values: Floats) -> object:\n    return values.nothing_of_this_name\n")
        file.write("class Odd:\n    nothing_of_this_name = 3\n")
        file.write("ODD = Entry(odd)\n")
    code = BEGIN + (
        "import time\ncompiler.compile_kernels(wait=False, say=print)\n"
        "before = kernels.ODD.run\n"
        "try: kernels.ODD.run(values)\n"
        "except AttributeError: pass\n"
        "time.sleep(2.0)\nassert kernels.ODD.run is before\n"
    )
    first, second = place(code)
    assert first == compiler.COMPILING
    assert second.startswith("the kernel odd is interpreted: TypingError: ")


@pytest.mark.quick_cases(2)
@pytest.mark.parametrize(
    ("kept", "bars", "imports"),
    [
        (False, compiler.PAYS_LOADING, False),
        (False, compiler.PAYS_COMPILING - 1, False),
        (False, compiler.PAYS_COMPILING, True),
        (True, compiler.PAYS_LOADING - 1, False),
        (True, compiler.PAYS_LOADING, True),
    ],
)
def test_only_a_run_that_is_long_enough_imports_numba(request, kept, bars, imports):
    place = request.getfixturevalue("compiled" if kept else "place")
    code = f"import kernels, sys\nfrom quantd.daemon.assembly import compiler\ncompiler.compile_for({bars})\n"
    assert place(code + "print('numba' in sys.modules)") == [str(imports)]
