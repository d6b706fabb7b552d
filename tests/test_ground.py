"""The ground: our packages are ours, pure code is pure, baskets have one maker, every dependency is used."""

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
from coverage import CoverageData

from quantd.daemon.runtime import version
from quantd.daemon.runtime.version import python_files
from tests.support.checkout import ROOT

PACKAGES = ["trading", "strategies", "risk", "models", "adapters", "daemon", "server", "training", "research"]
PURE = [
    "trading",
    "strategies",
    "risk",
    "daemon/engine",
    "daemon/runtime/digest.py",
    "daemon/runtime/tally.py",
    "daemon/runtime/timeline.py",
]
FORBIDDEN = {
    "asyncio", "concurrent", "ctypes", "http", "logging", "multiprocessing", "os", "pathlib", "queue", "random",
    "secrets", "select",
    "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "urllib",
    "uuid",
}  # fmt: skip
ACTS = {"open", "print", "input", "exec", "eval", "breakpoint", "__import__"}
DRAWN = re.compile(r"(^|\.)(datetime|date)\.(now|utcnow|today)$|(^|\.)(np|numpy)\.random\b|(^|\.)default_rng$")

# a distribution's name where it is not that of its module
BELOW = (
    "quantd", "bundled", "engine_build", "extras", "records", "regular_file", "state_folder",
)  # fmt: skip
"""Modules of src/quantd itself, which every package may import."""

MODULES = {
    "exchange-calendars": "exchange_calendars",
    "prometheus-client": "prometheus_client",
    "scikit-learn": "sklearn",
    "alpaca-py": "alpaca",
    "paho-mqtt": "paho",
    "pyportfolioopt": "pypfopt",
    "pyyaml": "yaml",
    "ta-lib": "talib",
}


def sources(*places):
    """The source files of folders and modules, each of which is there."""
    return sorted(path for place in places for path in python_files(ROOT / place))


def imported(tree):
    """Dotted names of what a module imports, wherever the import stands; of ours without `quantd.`"""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.removeprefix("quantd.") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").removeprefix("quantd.")


@cache
def imports_of(path):
    """What a source file imports; a file is parsed once for all tests."""
    return frozenset(imported(ast.parse(path.read_text())))


def dotted(node):
    """`a.b.c` of an expression of names, else nothing."""
    if isinstance(node, ast.Attribute):
        head = dotted(node.value)
        return f"{head}.{node.attr}" if head else node.attr
    return node.id if isinstance(node, ast.Name) else ""


def impurities(source):
    """What in a source text acts on the world or reads it."""
    tree = ast.parse(source)
    names = [name for name in imported(tree) if name.split(".")[0] in FORBIDDEN]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ACTS:
            names.append(f"{node.func.id}()")
        elif isinstance(node, ast.Attribute | ast.Name) and DRAWN.search(dotted(node)):
            names.append(dotted(node))
        elif isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            names.append("async")
    return sorted(set(names))


def test_pure_code_reads_no_clock_draws_no_number_and_opens_nothing():
    files = sources(*PURE)
    visited = {str(path.relative_to(ROOT)) for path in files}
    assert {
        "daemon/engine/planning/plan.py",
        "daemon/engine/state/engine_state.py",
        "daemon/runtime/digest.py",
        "risk/pretrade/gate.py",
    } <= visited
    assert len(visited) >= len(list((ROOT / "daemon/engine").glob("*.py"))) + len(list((ROOT / "risk").glob("*.py")))
    # the ports describe the outside world with async protocols; the timeline waits for such a port and does nothing
    # else
    allowed = {ROOT / name: ["async"] for name in ("trading/ports.py", "daemon/runtime/timeline.py")}
    assert {
        str(f.relative_to(ROOT)): bad for f in files if (bad := impurities(f.read_text())) != allowed.get(f, [])
    } == {}


@pytest.mark.parametrize("place", ["trading/gone.py", "trading/empty"])
def test_code_that_a_replay_depends_on_and_is_not_there_is_an_error(place, tmp_path, monkeypatch):
    (tmp_path / "trading" / "empty").mkdir(parents=True)
    (tmp_path / "trading" / "orders.py").write_text("")
    digest = version.code_digest(tmp_path, ("trading/orders.py",))
    assert digest == version.code_digest(tmp_path, ("trading",))
    with pytest.raises(FileNotFoundError, match=place):
        version.code_digest(tmp_path, ("trading/orders.py", place))


def basket_makers(source):
    """Lines that construct an OrderBasket, under whatever name it was imported."""
    if "basket" not in source.lower():
        return []
    tree = ast.parse(source)
    names = {"OrderBasket"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names |= {alias.asname for alias in node.names if alias.name == "OrderBasket" and alias.asname}
    lines = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = dotted(node.func).split(".")[-1]
        decoded = called in ("convert", "Decoder", "decode") and any(
            dotted(a).split(".")[-1] in names for a in node.args
        )
        copied = called == "replace" and any("basket" in dotted(a).lower() for a in node.args)
        if called in names or decoded or copied:
            lines.append(node.lineno)
    return lines


@pytest.mark.requirement("R-150")
def test_an_order_basket_is_built_by_the_gate_and_the_codec_only():
    makers = {str(path.relative_to(ROOT)) for path in sources(*PACKAGES) if basket_makers(path.read_text())}
    assert makers - {"trading/codec.py"} == {"risk/pretrade/baskets.py"}


@pytest.mark.requirement("R-002")
def test_the_packages_are_ours_and_not_shadowed():
    for name in PACKAGES:
        module = import_module(f"quantd.{name}")
        assert module.__file__ is not None
        assert Path(module.__file__).resolve().is_relative_to(ROOT), f"{name} comes from {module.__file__}"


BARE = re.compile(r"\b(?:import|from)\b.*(?<![\w.])(?:" + "|".join(PACKAGES) + r")\b")
"""A line that may import one of our packages without `quantd.`"""


def bare_imports(source):
    """Lines that import one of our packages without `quantd.`, with its name."""
    if not BARE.search(source.replace("\\\n", " ")):
        return []
    imports = []
    for node in ast.walk(ast.parse(source)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        imports += [(node.lineno, name) for name in names if name.split(".")[0] in PACKAGES]
    return imports


def test_no_module_is_imported_under_two_names():
    """The folders lie at the top of the repository, so that a bare `risk` could be imported from there too."""
    for path in sources(*PACKAGES, "src", "tests", "benchmarks", "scripts"):
        for line, name in bare_imports(path.read_text()):
            pytest.fail(f"{path}:{line} imports {name}; write quantd.{name}")
    by_file = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and name.split(".")[0] in {"quantd", *PACKAGES}:
            by_file.setdefault(Path(file).resolve(), []).append(name)
    assert [names for names in by_file.values() if len(names) > 1] == []


def requirement(text):
    return re.split(r"[<>=!~\[; ]", text, maxsplit=1)[0]


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.requirement("R-003")
def test_every_declared_package_is_imported_somewhere():
    used = {name.split(".")[0] for path in sources(*PACKAGES) for name in imports_of(path)}
    declared = {requirement(text) for text in project()["dependencies"]} - {"tzdata"}  # zoneinfo reads it
    assert {name for name in declared if MODULES.get(name, name.replace("-", "_")) not in used} == set()


@pytest.mark.requirement("R-003")
def test_every_imported_package_is_declared():
    extras = project()["optional-dependencies"]
    declared = {
        requirement(t)
        for t in [
            *project()["dependencies"],
            *(
                e
                for name in ("train", "allocate", "calendars", "mcp", "phone", "ray", "sentiment", "study", "yahoo")
                for e in extras[name]
            ),
        ]
    }
    modules = {MODULES.get(name, name.replace("-", "_")) for name in declared} | {"pydantic_core"}  # of pydantic
    for path in sources(*PACKAGES):
        for name in imports_of(path):
            top = name.split(".")[0]
            assert top in sys.stdlib_module_names or top in {*PACKAGES, *BELOW} or top in modules, f"{path}: {name}"


def test_every_declared_package_is_locked_and_explained():
    locked = (ROOT / "constraints.txt").read_text()
    assert "://" not in locked
    names = {line.partition("==")[0] for line in locked.splitlines() if line}
    assert all("==" in line for line in locked.splitlines() if line)
    explained = (ROOT / "docs/develop/dependencies.md").read_text()
    extras = project()["optional-dependencies"]
    for text in [*project()["dependencies"], *(text for extra in extras.values() for text in extra)]:
        name = requirement(text)
        if name == "quantd":  # the extras that `dev` includes
            continue
        assert name in names or name == "torch", f"{name} is not in constraints.txt"
        assert f"| {name} |" in explained, f"{name} is not in docs/develop/dependencies.md"


@pytest.mark.requirement("R-268", "F-41")
def test_only_training_imports_torch_and_policies_run_without_it():
    for path in sources(*PACKAGES):
        if "torch" in {name.split(".")[0] for name in imports_of(path)}:
            assert path.is_relative_to(ROOT / "training"), path
    code = "import sys, quantd.models.artifacts.manifest, quantd.models.artifacts.runtime, quantd.daemon.config; "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_scripts_are_shell_and_can_be_run():
    for name in (
        ".ci/run",
        "run",
        "scripts/make-env",
        "scripts/make-wheel",
        "scripts/install-services",
        "scripts/install-system",
        "scripts/publication/make-sdist",
    ):
        path = ROOT / name
        assert path.stat().st_mode & 0o111, f"{name} is not executable"
        assert subprocess.run(["sh", "-n", str(path)], check=False).returncode == 0


@pytest.mark.requirement("R-010")
@pytest.mark.parametrize(
    ("python", "message"),
    [
        ("/no/such/python", "there is no /no/such/python"),
        ("./old", "quantd needs Python 3.11 or newer"),
        ("./bare", "has no venv module"),
    ],
)
def test_a_machine_that_lacks_something_is_told_in_one_sentence(tmp_path, python, message):
    (tmp_path / "scripts").mkdir()
    script = tmp_path / "scripts" / "make-env"
    script.write_text((ROOT / "scripts" / "make-env").read_text())
    (tmp_path / "old").write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.1\nexit 1\n')
    (tmp_path / "bare").write_text('#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; esac\nexit 0\n')
    for name in ("old", "bare"):
        (tmp_path / name).chmod(0o755)
    process = subprocess.run(
        ["sh", str(script), "core"],
        env={"PATH": "/usr/bin:/bin", "PY": python},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 1
    assert process.stdout == ""
    assert process.stderr.startswith("quantd: ")
    assert message in process.stderr
    assert process.stderr.count("\n") == 1


@pytest.mark.requirement("R-273")
def test_the_licence_is_mit_and_the_steps_of_a_contribution_are_targets_of_make():
    assert (ROOT / "LICENSE").read_text().startswith("MIT License\n")
    with (ROOT / "pyproject.toml").open("rb") as file:
        assert tomllib.load(file)["project"]["license"] == "MIT"
    steps = re.findall(r"(?m)^    make ([\w-]+)", (ROOT / "CONTRIBUTING.md").read_text())
    assert steps == ["test", "test-all", "check"]
    targets = set(re.findall(r"(?m)^([\w-]+):", (ROOT / "Makefile").read_text()))
    assert set(steps) <= targets


@pytest.mark.requirement("R-267")
@pytest.mark.parametrize(("covered", "code"), [(7, 2), (8, 0)])
def test_coverage_below_the_floor_fails_with_the_settings_of_make_coverage(tmp_path, covered, code):
    assert "--cov" in re.search(r"(?m)^coverage:.*\n\t(.*)", (ROOT / "Makefile").read_text())[1]
    source = tmp_path / "ten.py"
    source.write_text("".join(f"a{line} = 1\n" for line in range(10)))
    data = CoverageData(str(tmp_path / ".coverage"))
    data.add_lines({str(source): range(1, covered + 1)})
    data.write()
    words = ("report", f"--rcfile={ROOT}/pyproject.toml", f"--data-file={tmp_path}/.coverage", "--precision=0")
    process = subprocess.run([sys.executable, "-m", "coverage", *words], cwd=tmp_path, capture_output=True, text=True)
    assert process.returncode == code, process.stdout + process.stderr
