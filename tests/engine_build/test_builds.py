"""Builds of a small checkout of its own, each step by a real process: what is loaded, and what is never loaded."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.machinery import EXTENSION_SUFFIXES

import pytest

from quantd.engine_build import recipe
from quantd.engine_build.builder import obstacle
from tests.support.checkout import ROOT

SMALL = '''"""A module of the list."""

from quantd.trading.bounds import HOUSE, Floats, Whole

MOST = 2**62 - 1


class Book:
    size: int
    held: Floats
    spare: Floats

    def __init__(self, size: int, held: Floats) -> None:
        self.size = size
        self.held = held

    def at(self, k: int) -> float:
        return self.held[k]

    def total(self) -> float:
        found: float = 0.0
        for k in range(self.size):
            found += self.held[k]
        return found


def product(a: int, b: int) -> int:
    return a * b


def quotient(a: int, b: int) -> int:
    return a // b


def large(a: int, b: int) -> Whole:
    wide: Whole = a
    return wide * b


def fault(a: int) -> int:
    raise ValueError(f"{a} of {HOUSE}")
'''
USER = '''"""A module that uses another one of the list."""

from quantd.trading.small import MOST, Book, quotient


def mean(book: Book) -> float:
    return book.total() / float(book.size)


def half(a: int) -> int:
    return quotient(a, 2) if a < MOST else 0
'''
BOUNDS = '''"""A module that is not of the list."""

from typing import Annotated, TypeAlias

Floats: TypeAlias = Annotated["memoryview[float]", "d"]
Whole: TypeAlias = Annotated[int, object]
HOUSE = -1
'''
STATE = "from quantd.engine_build.state import label, reason; print(label(), '|', reason())"


class Checkout:
    """A folder with a package `quantd` of two listed modules, and the program that builds."""

    def __init__(self, folder):
        self.folder = folder
        self.builds = folder / "build" / "engine"
        self.source = folder / "src" / "quantd" / "trading" / "small.py"

    def environment(self, **variables):
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("QUANTD_", "PYTHON")) and k != "CC"}
        return inherited | {"PYTHONPATH": str(self.folder / "src"), "PYTHONDONTWRITEBYTECODE": "1"} | variables

    def python(self, *words, **variables):
        return subprocess.run(
            [sys.executable, *words], cwd=self.folder, env=self.environment(**variables),
            capture_output=True, text=True, timeout=250,
        )  # fmt: skip

    def build(self, *words, **variables):
        return self.python("-m", "quantd.engine_build", "build", *words, **variables)

    def compiled(self, *words, **variables):
        """How many modules a build compiles, and not takes from an earlier build."""
        process = self.build(*words, **variables)
        assert process.returncode == 0, process.stderr
        return int(re.search(r"^quantd: (\d) of 2 modules compiled, (\d) taken", process.stdout, re.MULTILINE)[1])

    def library(self, name):
        """A library of the only build."""
        (folder,) = self.made()
        return self.builds / folder / f"quantd.trading.{name}{EXTENSION_SUFFIXES[0]}"

    def state(self, **variables):
        process = self.python("-c", STATE, **variables)
        assert process.returncode == 0, process.stderr
        return process.stdout.strip()

    def made(self):
        """The builds that a start may load."""
        return sorted(folder.name for folder in self.builds.glob("[0-9a-f]*") if folder.is_dir())

    def run(self, text, **variables):
        """What a program prints, after the kind of file from which the small module comes."""
        head = "from quantd.trading import small, user\nprint(small.__file__.rpartition('.')[2], end=' ')\n"
        process = self.python("-c", head + text, **variables)
        assert process.returncode == 0, process.stderr
        return process.stdout.strip()


def lay(folder):
    """Write the checkout."""
    package = folder / "src" / "quantd"
    shutil.copytree(ROOT / "src/quantd/engine_build", package / "engine_build", ignore=shutil.ignore_patterns("__py*"))
    (package / "trading").mkdir()
    text = (package / "engine_build" / "recipe.py").read_text()
    module_list = '("quantd.trading.small", "quantd.trading.user")'
    text = re.sub(
        r"^MODULES: Final = \(.*?\)$", f"MODULES: Final = {module_list}", text, flags=re.MULTILINE | re.DOTALL
    )
    loop = '(InnerLoop("quantd.trading.small", "Book.total", "Book.__init__"),)'
    text = re.sub(r"^(INNER_LOOPS: .*?) = \(.*?\)$", rf"\1 = {loop}", text, flags=re.MULTILINE | re.DOTALL)
    assert module_list in text
    assert loop in text
    text = text.replace('"-O3"', '"-O0"')  # a third of the time
    files = {
        "engine_build/recipe.py": text, "__init__.py": "from quantd.engine_build import hook\n\nhook.install()\n",
        "trading/__init__.py": "", "trading/small.py": SMALL, "trading/user.py": USER, "trading/bounds.py": BOUNDS,
    }  # fmt: skip
    for name, content in files.items():
        (package / name).write_text(content)
    (folder / "pyproject.toml").write_text("")
    return Checkout(folder)


@pytest.fixture
def bare(tmp_path):
    """A checkout without a build."""
    return lay(tmp_path)


@pytest.fixture(scope="session")
def first_build(tmp_path_factory):
    """A checkout with a build, which tests copy."""
    if (why := obstacle()) and not os.environ.get("CI"):
        pytest.skip(why)
    checkout = lay(tmp_path_factory.mktemp("checkout"))
    process = checkout.build()
    assert process.returncode == 0, process.stderr
    return checkout


@pytest.fixture
def built(first_build, tmp_path):
    """A copy of the checkout with its build."""
    shutil.copytree(first_build.folder, tmp_path, dirs_exist_ok=True)
    return Checkout(tmp_path)


@pytest.mark.long
def test_a_build_is_one_folder_and_the_next_start_uses_it(built):
    assert built.state() == "release |"
    assert {entry.name for entry in built.builds.iterdir()} == {"lock", *built.made()}
    (folder,) = (built.builds / name for name in built.made())
    names = "engine_build.buffers", "trading.small", "trading.user"
    libraries = {f"quantd.{name}{EXTENSION_SUFFIXES[0]}" for name in names}
    assert {file.name for file in folder.iterdir()} == {"manifest", *libraries}
    before = folder.stat().st_mtime_ns
    assert built.build().returncode == 0
    assert (built.made(), folder.stat().st_mtime_ns) == ([folder.name], before)


@pytest.mark.long
def test_compiled_and_interpreted_modules_give_the_same(built):
    text = (
        "import array\n"
        "b = small.Book(3, memoryview(array.array('d', [1.0, 2.0, 4.5])))\n"
        "print(b.total(), user.mean(b), user.half(-7), small.quotient(-7, 2), small.large(2**62, 2**62), small.MOST)\n"
        "for f in (lambda: small.quotient(1, 0), lambda: small.fault(3)):\n"
        "    try: f()\n"
        "    except Exception as error: print(repr(error), error.__traceback__.tb_next.tb_lineno)\n"
    )
    compiled, interpreted = built.run(text), built.run(text, QUANTD_UNCOMPILED="1")
    assert (compiled[:3], interpreted[:2]) == ("so ", "py")
    assert compiled[3:] == interpreted[3:]
    assert "'3 of -1')" in compiled


def test_what_c_would_compute_wrongly_is_an_exception(built):
    text = (
        "import array\n"
        "b = small.Book(3, memoryview(array.array('d', [1.0, 2.0, 4.5])))\n"
        "for f in (lambda: small.product(2**40, 2**40), lambda: b.at(-1), lambda: b.at(3), lambda: user.mean(None),\n"
        "          lambda: setattr(b, 'size', 2**70), lambda: setattr(b, 'misspelt', 1), lambda: b.spare):\n"
        "    try: print(f())\n"
        "    except Exception as error: print(type(error).__name__)\n"
    )
    names = ["OverflowError", "IndexError", "IndexError", "AttributeError", "OverflowError", *["AttributeError"] * 2]
    assert built.run(text).split() == ["so", *names]


def test_an_edited_module_is_never_run_in_its_old_form(built):
    built.source.write_text(SMALL.replace("return a * b", "return a * b + 1"))
    assert built.run("print(small.product(2, 3))") == "py 7"
    small = "uncompiled (stale: small) | small changed since the last build; make build compiles it"
    assert built.state() == small
    built.source.write_text(SMALL)
    assert built.run("print(small.product(2, 3))") == "so 6"


def test_a_module_from_which_a_constant_came_makes_a_build_stale(built):
    (built.source.parent / "bounds.py").write_text(BOUNDS.replace("HOUSE = -1", "HOUSE = -2.5"))
    assert built.state().startswith("uncompiled (stale: bounds) | bounds changed")


def test_a_change_of_the_recipe_makes_a_build_stale(built):
    file = built.folder / "src/quantd/engine_build/recipe.py"
    file.write_text(file.read_text().replace('"-O0"', '"-O1"'))
    assert built.state().startswith("uncompiled (stale: recipe or Python) |")


def test_a_build_that_lacks_a_module_is_not_loaded_in_part(built):
    (folder,) = (built.builds / name for name in built.made())
    (folder / f"quantd.trading.user{EXTENSION_SUFFIXES[0]}").unlink()
    assert built.run("print(user.__file__.rpartition('.')[2])") == "py py"


@pytest.mark.long
def test_the_environment_turns_compiled_code_off_or_asks_for_the_checked_build(built):
    assert built.state(QUANTD_UNCOMPILED="1") == "uncompiled | QUANTD_UNCOMPILED is set; unset it"
    assert built.state(QUANTD_UNCOMPILED="0") == "release |"
    assert built.state(QUANTD_CHECKED="1") == "uncompiled | it was not built yet; make build-checked compiles it"


def compiler(folder, text):
    """A command in place of a C compiler."""
    file = folder / "own-cc"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return str(file)


def wait_for(happened):
    deadline = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.long
def test_a_background_build_is_not_waited_for_and_has_the_lowest_priority(bare):
    # its compiler waits until this test has seen that the command came back
    text = f"nice > {bare.folder}/priority\nwhile [ ! -e {bare.folder}/seen ]; do sleep 0.1; done\nexit 1"
    environ = {"CC": compiler(bare.folder, text)}
    assert bare.python("-m", "quantd.engine_build", "later", **environ).returncode == 0
    assert bare.run("print(small.product(2, 3))") == "py 6"
    wait_for(lambda: (bare.folder / "priority").is_file())
    assert "it is being compiled in the background; the next start uses the result" in bare.state(**environ)
    (bare.folder / "seen").touch()
    wait_for(lambda: (bare.builds / "failure").is_file())
    assert (bare.folder / "priority").read_text() == "19\n"
    wait_for(lambda: "own-cc failed with exit code 1" in bare.state(**environ))


@pytest.mark.long
def test_a_build_that_is_killed_leaves_nothing_to_load_and_the_next_one_removes_the_rest(bare):
    words = [sys.executable, "-m", "quantd.engine_build", "build"]
    environ = bare.environment(CC=compiler(bare.folder, f"touch {bare.folder}/begun\nexec sleep 600"))
    process = subprocess.Popen(words, cwd=bare.folder, env=environ, start_new_session=True)
    wait_for(lambda: (bare.folder / "begun").is_file())
    assert "it is being compiled in the background" in bare.state()
    second = bare.build()
    assert (second.returncode, "another process builds the engine" in second.stderr) == (1, True)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert list(bare.builds.glob(".making-*"))
    assert bare.made() == []
    assert bare.run("print(small.product(2, 3))") == "py 6"
    assert bare.build(CC="false").returncode == 1
    assert list(bare.builds.glob(".making-*")) == []


@pytest.mark.long
def test_a_compiler_that_fails_is_named_with_the_package_that_helps_and_not_tried_again_by_itself(bare):
    process = bare.build(CC="false")
    assert process.returncode == 1
    assert re.fullmatch(
        r"quantd: the engine is not compiled: false failed with exit code 1 on probe\.c: it printed nothing; "
        r"install a C compiler that works \(Debian: apt-get install gcc python3\.\d+-dev\)\n",
        process.stderr,
    )
    assert "uncompiled | false failed with exit code 1" in bare.state(CC="false")
    assert bare.python("-m", "quantd.engine_build", "later", CC="false").returncode == 0
    assert not (bare.builds / "log").exists()
    assert bare.state() == "uncompiled | it was not built yet; make build compiles it"


@pytest.mark.long
def test_a_machine_without_a_compiler_says_which_package_helps(bare):
    message = "there is no C compiler; install one (Debian: apt-get install gcc python3."
    assert f"uncompiled | {message}" in bare.state(PATH="/nonexistent")
    assert f"the engine is not compiled: {message}" in bare.build(PATH="/nonexistent").stderr
    assert "CC = gone: there is no such compiler" in bare.state(CC="gone")
    assert "-ffast-math changes the bits of results" in bare.state(CC="gcc -ffast-math")


def test_only_a_long_backtest_mentions_a_build_that_would_make_it_faster(built):
    code = "from quantd.engine_build.state import advice as a; print([a(20_000), a(20_001)])"
    message = "the engine runs uncompiled, and a compiled one is faster: QUANTD_UNCOMPILED is set; unset it"
    assert built.python("-c", code).stdout == "['', '']\n"
    assert built.python("-c", code, QUANTD_UNCOMPILED="1").stdout == f"['', '{message}']\n"


def test_a_missing_cython_is_named_with_the_command_that_installs_it(bare):
    process = bare.python("-S", "-c", STATE)
    message = f"uncompiled | Cython is not installed; {sys.executable} -m pip install cython=={recipe.CYTHON}"
    assert process.stdout.strip() == message, process.stderr


@pytest.mark.long
def test_a_checkout_that_cannot_be_written_runs_uncompiled(bare):
    (bare.folder / "build").write_text("")  # root may write everywhere, but not below a file
    assert bare.state().endswith("/build cannot be written; build as its owner: make build")
    process = bare.build()
    assert (process.returncode, "build/engine cannot be written" in process.stderr) == (1, True)
    assert bare.run("print()") == "py"


@pytest.mark.long
def test_a_refusal_of_a_listed_module_is_the_reason(bare):
    bare.source.write_text(SMALL + "\n\ndef none(a: int) -> int:\n    b = a\n    return b\n")
    process = bare.build()
    assert process.returncode == 1
    line = SMALL.count("\n") + 4
    assert f"trading/small.py:{line}: the local b holds a number and has no type; declare b: int" in process.stderr


@pytest.mark.long
def test_a_refusal_of_a_class_that_extends_a_compiled_one_is_the_reason(bare):
    text = "from quantd.trading.small import Book\n\n\nclass Shelf(Book):\n    size = 3\n"
    (bare.source.parent / "shelf.py").write_text(text)
    process = bare.build()
    assert process.returncode == 1
    refusal = "trading/shelf.py:5: Shelf has an attribute size of its class, which hides the field of Book"
    assert refusal in process.stderr
    declared = bare.python("-m", "quantd.engine_build", "declare")
    assert (declared.returncode, declared.stderr.startswith(refusal)) == (1, True)


def digests(checkout):
    """Name -> bytes, of the libraries of the newest build."""
    newest = max((checkout.builds / name for name in checkout.made()), key=lambda folder: folder.stat().st_mtime_ns)
    return {file.name.split(".")[2]: file.read_bytes() for file in newest.glob("*.so")}


@pytest.mark.long
def test_only_the_module_whose_body_changed_is_compiled_again(built):
    before = digests(built)
    body = "    grown: int = 1\n    return a * b + grown"  # with a first local, which the declaration has
    built.source.write_text(SMALL.replace("    return a * b", body, 1))
    assert built.compiled() == 1
    assert built.state() == "release |"
    assert built.run("print(small.product(2, 3), user.half(9))") == "so 7 4"
    after = digests(built)
    assert (after["small"] != before["small"], after["user"] == before["user"]) == (True, True)
    built.source.write_text(SMALL)
    (built.source.parent / "user.py").write_text(USER.replace("quotient(a, 2)", "quotient(a, 3)"))
    assert built.compiled() == 1
    assert built.run("print(small.product(2, 3), user.half(9))") == "so 6 3"


@pytest.mark.long
def test_a_changed_declaration_compiles_its_module_and_those_that_include_it(built):
    built.source.write_text(SMALL.replace("    size: int\n", "    more: float\n    size: int\n", 1))
    assert built.compiled() == 2
    assert built.run("b = small.Book(0, memoryview(bytearray(8)).cast('d')); b.more = 1.0; print(b.more)") == "so 1.0"
    (built.source.parent / "user.py").write_text(USER.replace("half(a: int)", "half(a: int, b: int = 3)"))
    assert built.compiled() == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new"),
    [('"-fwrapv", ', '"-fwrapv", "-fno-ident", '), ('"nonecheck": "True"', '"nonecheck": "False"')],
    ids=["of the C compiler", "of Cython"],
)
def test_other_settings_compile_every_module_again(built, old, new):
    file = built.folder / "src/quantd/engine_build/recipe.py"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    assert built.compiled() == 2


@pytest.mark.long
@pytest.mark.parametrize(
    "damage",
    [lambda data: data[:-1] + b"x", pytest.param(lambda data: data[: len(data) // 2], marks=pytest.mark.slow)],
)
def test_a_library_that_was_damaged_or_written_in_part_is_compiled_again_and_the_other_is_taken(built, damage):
    file, intact = built.library("small"), digests(built)["user"]
    file.write_bytes(damage(file.read_bytes()))
    shutil.copytree(built.folder, copy_folder := built.folder / "copy", ignore=shutil.ignore_patterns("copy"))
    assert built.compiled() == 1
    assert built.run("print(small.product(2, 3))") == "so 6"
    assert digests(built)["user"] == intact
    other_checkout = Checkout(copy_folder)  # the same damage, when the build is of another source
    (other_checkout.source.parent / "user.py").write_text(USER.replace("quotient(a, 2)", "quotient(a, 3)"))
    assert other_checkout.compiled() == 2
    assert other_checkout.run("print(small.product(2, 3), user.half(9))") == "so 6 3"


@pytest.mark.long
def test_a_checked_build_takes_nothing_of_a_release_build_and_checks_the_bounds_of_inner_loops(built):
    assert built.compiled("--kind", "checked") == 2
    text = (
        "b = small.Book(9, memoryview(bytearray(8)).cast('d'))\ntry: b.total()\nexcept IndexError: print('IndexError')"
    )
    assert built.run(text, QUANTD_CHECKED="1") == "so IndexError"
