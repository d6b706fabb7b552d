"""The structure: small folders that say what they are, names that occur once, lines that fit, links to every folder."""

import ast
import os
import re
from collections import defaultdict

import pytest

from quantd.daemon.runtime.version import python_files
from tests.support.checkout import ROOT

PACKAGES = ("trading", "strategies", "risk", "models", "adapters", "research", "daemon")
MOST, MOST_OF_A_KIND = 15, 25
OF_A_KIND = {"trading", "strategies/policies", "risk/limits", "tests/support", "docs/decisions"}
"""Folders that list one kind of thing."""

GOING = {"jit.py", "kernel.py"}
"""Modules of trading/ that compiled modules replace; they do not count."""

PARALLEL = (
    ("adapters/brokers/alpaca", "adapters/brokers/ccxt", "adapters/brokers/paper"),
    ("adapters/brokers", "adapters/feeds/sources"),  # a vendor may be both
    ("adapters/brokers", "adapters/exchange", "adapters/feeds", "adapters/store"),  # their errors
    ("strategies/policies", "strategies/allocators", "strategies/weights"),  # a policy and its mathematics
    ("strategies/indicators", "strategies/features"),
)
"""Folders whose modules have the same names because they hold the same things of different kinds."""

COMMANDS = "daemon/cli/"
"""A file of a command has the name of what it shows, which the package that computes it may have too."""


def folders(*tops):
    """Each folder of source, with the names of its modules, files and folders."""
    for top in tops:
        for here, below, files in os.walk(ROOT / top):
            below[:] = [name for name in below if name not in ("__pycache__", "shipped", "versions")]
            yield os.path.relpath(here, ROOT), below, [name for name in files if not name.endswith(".pyc")]


def repeated(homes):
    """Folders of one name that are not parallel, if there are any."""
    free = [home for home in homes if not f"{home}/".startswith(COMMANDS)]
    if len(free) < 2 or any(set(free) <= set(group) for group in PARALLEL):
        return []
    return free


def test_a_folder_has_few_entries():
    crowded = {
        here: len(below) + len(set(files) - GOING)
        for here, below, files in folders(*PACKAGES, "benchmarks", "deploy", "docs", "scripts")
        if len(below) + len(set(files) - GOING) > (MOST_OF_A_KIND if here in OF_A_KIND else MOST)
    }
    assert crowded == {}


def test_a_package_says_what_it_is_in_its_first_line():
    for here, _, files in folders(*PACKAGES):
        if any(name.endswith(".py") for name in files):
            assert "__init__.py" in files, here
            text = ast.get_docstring(ast.parse((ROOT / here / "__init__.py").read_text())) or ""
            assert re.match(r"[A-Z].{10,}[.:]", text), f"{here}/__init__.py says {text!r}"


@pytest.mark.parametrize("top", PACKAGES)
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
    for here, _, files in folders(*(f"tests/{top}" for top in PACKAGES)):
        if any(name.startswith("test_") for name in files):
            assert (ROOT / here.removeprefix("tests/")).is_dir(), here


@pytest.mark.requirement("R-002")
def test_each_top_level_folder_has_a_link_in_the_installed_package():
    for top in PACKAGES:
        link = ROOT / "src" / "quantd" / top
        assert link.is_symlink(), top
        assert os.readlink(link) == f"../../{top}"


def test_no_module_is_long():
    long = {
        str(path.relative_to(ROOT)): lines
        for top in PACKAGES
        for path in python_files(ROOT / top)
        if path.name != "kernel.py" and (lines := path.read_text().count("\n")) > 450
    }
    assert long == {}
