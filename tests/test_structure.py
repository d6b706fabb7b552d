"""The structure: small folders that say what they are, names that occur once, lines that fit, links to every folder."""

import ast
import os
import re
from collections import defaultdict

import pytest

from quantd.daemon.runtime.version import python_files
from tests.support.checkout import BUILDINGS, ROOT

MOST_ENTRIES, MOST_OF_A_MODULE, MOST_OF_A_FUNCTION = 25, 600, 60
"""Entries of a folder, lines of a module, and lines of a function from its `def` to its end, without decorators."""

LONGER = {
    "one statement of a migration for each table; a migration is never edited": {
        "adapters/store/migrations/versions/r0001_first.py upgrade": 189,
    },
    "an action of a command: its arguments, and the imports that its help does not need": {
        "training/cli/learn/forests.py training_of": 64,
        "research/cli/learn/tune.py tune_plan": 74,
        "research/cli/look/report.py write_report": 62,
        "daemon/cli/setup/data_fetch.py fetch": 64,
        "research/cli/trade/replay.py replay": 85,
        "research/cli/trade/study.py study_compare": 63,
    },
    "written before functions had a limit; nothing is added here": {
        "adapters/feeds/recorded/replay.py Replay.load": 92,
        "daemon/app.py serve": 66,
        "daemon/assembly/engine_rules.py rules_of": 69,
        "research/cli/learn/evaluate.py evaluate": 72,
        "daemon/cli/look/features.py features_list": 65,
        "research/cli/trade/backtest.py _backtest": 89,
        "research/cli/trade/study.py study_rebalance": 87,
        "daemon/engine/planning/plan.py _house": 87,
        "daemon/engine/state/engine_state.py State.__init__": 93,
        "daemon/policies/user_file.py UserView.__init__": 71,
        "daemon/runtime/service.py Service.__init__": 74,
        "daemon/views/explanation.py explain": 74,
        "training/export/distillation.py distil": 67,
        "models/history/panel_files.py read_panel": 72,
        "training/market/walk.py walk": 68,
        "training/runs/evaluation.py evaluate": 69,
        "training/runs/training_run.py train": 85,
        "research/python_api/sweeps.py sweep": 71,
        "risk/limits/ruleset.py Rules.__init__": 76,
        "strategies/features/families.py _families": 101,
    },
}
"""Reason -> the modules and functions that may be longer than the limits, with the lines that they may have."""

PARALLEL = (
    ("adapters/brokers/alpaca", "adapters/brokers/ccxt", "adapters/brokers/paper"),
    ("adapters/brokers", "adapters/feeds/sources"),  # a vendor may be both
    ("adapters/brokers", "adapters/exchange", "adapters/feeds", "adapters/store"),  # their errors
    ("strategies/policies", "strategies/allocators", "strategies/weights"),  # a policy and its mathematics
    ("strategies/indicators", "strategies/features"),
)
"""Folders whose modules have the same names because they hold the same things of different kinds."""

RECORDS = {
    "adapters/feeds/sources": "VENDOR: Final",
    "adapters/sinks": "SINK: Final",
    "daemon/cli/look": "COMMAND: Final",
    "daemon/cli/operate": "COMMAND: Final",
    "daemon/cli/setup": "COMMAND: Final",
    "daemon/cli/trade": "COMMAND: Final",
    "research/cli/look": "COMMAND: Final",
    "research/cli/learn": "COMMAND: Final",
    "research/cli/setup": "COMMAND: Final",
    "research/cli/trade": "COMMAND: Final",
    "server/api/routes": "ROUTES: Final",
    "server/cli/look": "COMMAND: Final",
    "server/cli/operate": "COMMAND: Final",
    "server/cli/setup": "COMMAND: Final",
    "training/cli/learn": "COMMAND: Final",
    "daemon/views/report/sections": "SECTION: Final",
    "training/learners": "LEARNER: Final",
    "research/metrics": "@metric(",
    "research/reports/sections": "SECTION: Final",
    "risk/limits": "LIMITS: Final",
    "strategies/policies": "RECORDS: Final",
}
"""Folder that is a list of records -> the start of the line that declares one. A module with a record is found by the
folder's walk and adds nothing to read: it is no entry. Its other modules are."""

COMMANDS = re.compile("(daemon|server|training|research)/cli/")
"""A file of a command has the name of what it shows, which the package that computes it may have too."""


def folders(*tops):
    """Each folder of source, with the names of its modules, files and folders."""
    for top in tops:
        for here, below, files in os.walk(ROOT / top):
            below[:] = [name for name in below if name not in ("__pycache__", "shipped", "versions")]
            yield os.path.relpath(here, ROOT), below, [name for name in files if not name.endswith(".pyc")]


def functions(node, outer=""):
    """(qualified name, lines) of each function and method in a node, with those inside them."""
    for part in ("body", "handlers", "orelse", "finalbody", "cases"):
        for each in getattr(node, part, ()):
            inside = outer
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inside = f"{outer}{each.name}."
                if not isinstance(each, ast.ClassDef):
                    yield f"{outer}{each.name}", each.end_lineno - each.lineno + 1  # `lineno` is that of `def`
            yield from functions(each, inside)


def long_code(path, text):
    """What of a module is longer than the limits: `path`, or `path name` of a function, with its lines."""
    found = {} if (lines := text.count("\n")) <= MOST_OF_A_MODULE else {path: lines}
    for name, lines in functions(ast.parse(text)):
        if lines > MOST_OF_A_FUNCTION:
            found[f"{path} {name}"] = max(lines, found.get(f"{path} {name}", 0))
    return found


def faults_of(long, permitted):
    """Why code of these lines is not what LONGER says."""
    entries = {name: lines for own in permitted.values() for name, lines in own.items()}
    faults = [f"an entry of LONGER has no reason: {sorted(own)}" for reason, own in permitted.items() if not reason]
    for name, lines in sorted(long.items()):
        if name not in entries:
            faults.append(f"{name} has {lines} lines: split it where the idea splits, or write a reason into LONGER")
        elif lines > entries[name]:
            faults.append(f"{name} has grown from {entries[name]} to {lines} lines")
    return faults + [f"{name} is no longer long: remove it from LONGER" for name in sorted(entries.keys() - long)]


def repeated(homes):
    """Folders of one name that are not parallel, if there are any."""
    free = [home for home in homes if not COMMANDS.match(f"{home}/")]
    if len(free) < 2 or any(set(free) <= set(group) for group in PARALLEL):
        return []
    return free


def has_record(here, name):
    """Whether a file of a folder of records declares one; what `__init__.py` declares is the list."""
    if here not in RECORDS or not name.endswith(".py") or name == "__init__.py":
        return False
    return any(line.startswith(RECORDS[here]) for line in (ROOT / here / name).read_text().splitlines())


def test_a_folder_has_few_entries():
    crowded = {}
    for here, below, files in folders(*BUILDINGS, "benchmarks", "deploy", "docs", "scripts"):
        entries = len(below) + sum(not has_record(here, name) for name in files)
        if entries > MOST_ENTRIES:
            crowded[here] = entries
    assert crowded == {}


@pytest.mark.parametrize("here", RECORDS)
def test_a_folder_of_records_has_some_and_further_files_that_count(here):
    declared = {name: has_record(here, name) for name in os.listdir(ROOT / here) if name.endswith(".py")}
    assert set(declared.values()) == {True, False}


def test_a_package_says_what_it_is_in_its_first_line():
    for here, _, files in folders(*BUILDINGS):
        if any(name.endswith(".py") for name in files):
            assert "__init__.py" in files, here
            text = ast.get_docstring(ast.parse((ROOT / here / "__init__.py").read_text())) or ""
            assert re.match(r"[A-Z].{10,}[.:]", text), f"{here}/__init__.py says {text!r}"


@pytest.mark.parametrize("top", BUILDINGS)
def test_a_module_name_occurs_once_in_a_package(top):
    homes = defaultdict(list)
    for here, below, files in folders(top):
        for name in [*below, *(name[:-3] for name in files if name.endswith(".py"))]:
            if not name.startswith("__") and name != "kernel":  # a folder's loops over symbols
                homes[name].append(here)
    assert {name: twice for name, places in homes.items() if (twice := repeated(places))} == {}


def test_the_test_of_names_sees_a_repetition():
    assert repeated(["daemon/views", "daemon/engine"]) == ["daemon/views", "daemon/engine"]
    assert repeated(["daemon/cli/look", "daemon/views"]) == []
    assert repeated(["adapters/brokers/alpaca", "adapters/brokers/ccxt"]) == []
    assert repeated(["adapters/brokers/alpaca", "adapters/brokers/ccxt", "adapters/bus"]) != []


def test_a_test_lies_at_the_path_of_what_it_tests():
    """Each folder of tests that mirrors a package has a folder of that package."""
    for here, _, files in folders(*(f"tests/{top}" for top in BUILDINGS)):
        if any(name.startswith("test_") for name in files):
            assert (ROOT / here.removeprefix("tests/")).is_dir(), here


IMPORT_OF_A_TEST = re.compile(r"^\s*(?:from|import)\s[^#\n]*(?:\([^)]*)?\btest_", re.MULTILINE)
"""What each import of a test module matches; a syntax tree of each file would take half a minute."""


def imported_tests(text):
    """Dotted names of the test modules that a module imports, or imports from."""
    imported = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            home = "." * node.level + (node.module or "")
            imported.add(home)
            imported |= {f"{home}.{alias.name}" for alias in node.names if is_module(home, alias.name)}
    return sorted(name for name in imported if any(part.startswith("test_") for part in name.split(".")))


def is_module(home, name):
    """Whether `from home import name` is a module; a function of a module that is no test may begin with `test_`."""
    return home.startswith(".") or (ROOT / home.replace(".", "/") / f"{name}.py").exists()


def test_no_module_imports_a_test_module():
    imports = {}
    for top in ("tests", "benchmarks", "scripts", "examples"):
        for path in python_files(ROOT / top):
            text = path.read_text()
            if IMPORT_OF_A_TEST.search(text) and (modules := imported_tests(text)):
                imports[str(path.relative_to(ROOT))] = modules
    assert imports == {}


def test_the_test_of_imports_sees_each_form():
    listed = "from tests import (\n    support,\n    test_structure,\n)"
    for text in ("from tests.test_a import b", "    import tests.test_a", "from . import test_a", listed):
        assert IMPORT_OF_A_TEST.search(text)
    assert not IMPORT_OF_A_TEST.search("import tests.support\n\ndef test_a(): pass")
    assert imported_tests(listed) == ["tests.test_structure"]
    assert imported_tests("from tests.test_structure import folders") == ["tests.test_structure"]
    assert imported_tests("def late():\n    import tests.risk.test_a") == ["tests.risk.test_a"]
    assert imported_tests("from tests import support, test_structure") == ["tests.test_structure"]
    assert imported_tests("from . import test_a\nfrom .test_b import c") == ["..test_a", ".test_b", ".test_b.c"]
    assert imported_tests("from tests.support.checkout import ROOT\nfrom other import test_name") == []


@pytest.mark.requirement("R-002")
def test_each_top_level_folder_has_a_link_in_the_installed_package():
    for top in BUILDINGS:
        link = ROOT / "src" / "quantd" / top
        assert link.is_symlink(), top
        assert os.readlink(link) == f"../../{top}"


def test_modules_and_functions_are_short_or_listed_with_a_reason():
    long = {}
    for top in BUILDINGS:
        for path in python_files(ROOT / top):
            long |= long_code(str(path.relative_to(ROOT)), path.read_text())
    assert faults_of(long, LONGER) == []


def test_the_test_of_lengths_sees_functions_that_grow_shrink_and_appear():
    body = "        x = 1\n" * (MOST_OF_A_FUNCTION - 1)
    within = f"class Book:\n    @cache\n    def short(self):\n{body}"
    assert long_code("a.py", within) == {}
    beyond = {"a.py Book.short.inner": 61, "a.py Book.short": 62}
    inner = "        def inner():\n" + ("    " + body.splitlines(keepends=True)[0]) * MOST_OF_A_FUNCTION
    assert long_code("a.py", f"class Book:\n    async def short(self):\n{inner}") == beyond
    assert long_code("a.py", "\n" * 601) == {"a.py": 601}
    assert faults_of(beyond, {"a loop": dict.fromkeys(beyond, 62)}) == []
    assert [
        fault.split(": ")[0] for fault in faults_of(beyond, {"a loop": {"a.py Book.short": 61, "b.py gone": 70}})
    ] == [
        "a.py Book.short has grown from 61 to 62 lines",
        "a.py Book.short.inner has 61 lines",
        "b.py gone is no longer long",
    ]
    assert faults_of({}, {"": {}}) == ["an entry of LONGER has no reason: []"]
