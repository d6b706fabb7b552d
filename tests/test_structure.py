"""The structure: small folders that say what they are, names that occur once, lines that fit, links to every folder."""

import ast
import os
import re
import tomllib
from collections import defaultdict

import pytest

from quantd.daemon.cli.program import PACKAGES as COMMAND_PACKAGES
from quantd.daemon.runtime.version import python_files
from quantd.records import modules
from tests.support.checkout import BUILDINGS, ROOT

MOST_ENTRIES, MOST_OF_A_MODULE, MOST_OF_A_FUNCTION = 25, 600, 60
"""Entries of a folder, lines of a module, and lines of a function from its `def` to its end, without decorators."""

REASON = "# Long because "
"""Start of a line of the comment right above a longer function; the rest is the reason."""

RECORDS = {
    "adapters/brokers", "adapters/feeds/sources", "adapters/sinks", "daemon/edges", "daemon/jobs/kinds",
    "daemon/views/report/sections", "research/metrics", "research/reports/sections", "research/routes", "risk/limits",
    "server/api/routes", "strategies/policies", "training/learners",
    *(package.removeprefix("quantd.").replace(".", "/") for package in COMMAND_PACKAGES),
}  # fmt: skip
"""Folders that are lists of records. A module with a record is found there and adds nothing to read: it is no entry.
The `HELPERS` of the folder are."""

KERNELS = ("kernel", "kernel.py")
"""Loops over symbols, beside what calls them."""

COMMANDS = re.compile("(daemon|server|training|research)/cli/")
"""A file of a command has the name of what it shows, which the package that computes it may have too."""


def folders(*tops):
    """Each folder of source, with the names of its modules, files and folders."""
    for top in tops:
        for folder, subfolders, files in os.walk(ROOT / top):
            subfolders[:] = [name for name in subfolders if name not in ("__pycache__", "shipped", "versions")]
            yield os.path.relpath(folder, ROOT), subfolders, [name for name in files if not name.endswith(".pyc")]


def functions(node, outer=""):
    """(qualified name, node) of each function and method in a node, with those inside them."""
    for part in ("body", "handlers", "orelse", "finalbody", "cases"):
        for child in getattr(node, part, ()):
            inside = outer
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inside = f"{outer}{child.name}."
                if not isinstance(child, ast.ClassDef):
                    yield f"{outer}{child.name}", child
            yield from functions(child, inside)


def reason_above(lines, node):
    """The number of the line with the reason, in the comment right above a function or its decorators; else None."""
    number = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]) - 1
    while number and (line := lines[number - 1].lstrip()).startswith("#"):
        if line.startswith(REASON):
            return number
        number -= 1
    return None


def faults_of_length(path, text):
    """What of a module is too long without a reason, and the reasons above what is short."""
    lines = text.splitlines()
    faults = [f"{path} has {len(lines)} lines: split it"] if len(lines) > MOST_OF_A_MODULE else []
    reason_lines = set()
    for name, node in functions(ast.parse(text)):
        length = node.end_lineno - node.lineno + 1  # `lineno` is that of `def`
        if length <= MOST_OF_A_FUNCTION:
            continue
        if (number := reason_above(lines, node)) is None:
            remedy = f"split it where its idea splits, or write above it: {REASON}..."
            faults.append(f"{path} {name} has {length} lines: {remedy}")
        reason_lines.add(number)
    reasons = {number for number, line in enumerate(lines, 1) if line.lstrip().startswith(REASON)}
    return faults + [
        f"{path}:{number} is above no long function: remove it" for number in sorted(reasons - reason_lines)
    ]


def has_record(folder, name):
    """Whether a module or a folder is one of a list of records."""
    return folder in RECORDS and name.removesuffix(".py") in modules(f"quantd.{folder.replace('/', '.')}")


def test_a_folder_has_few_entries():
    crowded = {}
    for folder, subfolders, files in folders(*BUILDINGS, "benchmarks", "deploy", "docs", "scripts"):
        entries = sum(not has_record(folder, name) for name in (*subfolders, *files))
        if entries > MOST_ENTRIES:
            crowded[folder] = entries
    assert crowded == {}


def test_a_package_says_what_it_is_in_its_first_line():
    for folder, _, files in folders(*BUILDINGS):
        if any(name.endswith(".py") for name in files):
            assert "__init__.py" in files, folder
            text = ast.get_docstring(ast.parse((ROOT / folder / "__init__.py").read_text())) or ""
            assert re.match(r"[A-Z].{10,}[.:]", text), f"{folder}/__init__.py says {text!r}"


@pytest.mark.parametrize("top", BUILDINGS)
def test_a_module_name_occurs_once_in_a_package(top):
    homes = defaultdict(set)
    for folder, subfolders, files in folders(top):
        for name in [*subfolders, *(name for name in files if name.endswith(".py"))]:
            if home := home_of(folder, name):
                homes[name.removesuffix(".py")].add(home)
    assert {name: sorted(places) for name, places in homes.items() if len(places) > 1} == {}


def home_of(folder, name):
    """The folder in which a module's name must be the only one in its package; empty for a name that may occur again.

    The folders of a list of records are alike, one for each vendor for instance, and share a home: the list.
    """
    if name.startswith("__") or name in KERNELS or COMMANDS.match(f"{folder}/") or has_record(folder, name):
        return ""
    parent, _, last = folder.rpartition("/")
    return parent if has_record(parent, last) else folder


def test_no_module_imports_a_test_module():
    statement = re.compile(r"^(?:from|import) [\w.]*\btest_", re.MULTILINE)
    tops = filter(lambda top: (ROOT / top).exists(), ("tests", "benchmarks", "scripts"))  # a copy has tests alone
    files = [path for top in tops for path in python_files(ROOT / top)]
    assert [str(path) for path in files if statement.search(path.read_text())] == []


@pytest.mark.requirement("R-002")
def test_each_top_level_folder_has_a_link_in_the_installed_package():
    for top in BUILDINGS:
        link = ROOT / "src" / "quantd" / top
        assert link.is_symlink(), top
        assert os.readlink(link) == f"../../{top}"


def test_modules_and_functions_are_short_or_have_a_reason():
    faults = []
    for top in BUILDINGS:
        for path in python_files(ROOT / top):
            name = str(path.relative_to(ROOT))
            faults += faults_of_length(name, path.read_text())
    assert faults == []


def test_contracts_of_imports_have_no_exception_and_name_every_room():
    """`make check` runs import-linter with these contracts."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    orders = [contract for contract in contracts if contract["type"] == "layers"]
    assert [contract["name"] for contract in contracts if contract.get("ignore_imports")] == []
    assert [contract["name"] for contract in orders if contract.get("exhaustive") is not True] == []
    containers = {package for contract in orders for package in contract["containers"]}
    assert {"quantd", *(f"quantd.{name}" for name in BUILDINGS)} - containers == {"quantd.trading"}  # one room
