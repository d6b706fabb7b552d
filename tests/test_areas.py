"""The page of the eleven areas names tests that are there."""

import ast
import re

import pytest

from tests.support.checkout import ROOT

AREAS = [
    "configuration",
    "imports",
    "start",
    "assets",
    "risk",
    "allocation",
    "summary",
    "training",
    "position integration",
    "metrics",
    "clean-up",
]


def rows(text: str) -> dict[str, list[tuple[str, str]]]:
    """Area -> (module, test) of each test in its row."""
    found = re.findall(r"^\| ([a-z -]+) \|.*\| (`tests/.*) \|$", text, re.MULTILINE)
    return {area: re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", tests) for area, tests in found}


def absent(tests: list[tuple[str, str]]) -> list[str]:
    """Those of the tests that their module does not define."""
    found = []
    for path, name in tests:
        body = ast.parse((ROOT / path).read_text(encoding="utf-8")).body if (ROOT / path).exists() else []
        if name not in {node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}:
            found.append(f"{path}::{name}")
    return found


@pytest.mark.requirement("R-268", "F-41")
def test_each_of_the_eleven_areas_has_tests_that_are_there() -> None:
    table = rows((ROOT / "docs/develop/areas.md").read_text(encoding="utf-8"))
    assert list(table) == AREAS
    assert {area: absent(tests) for area, tests in table.items()} == {area: [] for area in AREAS}
    assert min(map(len, table.values())) >= 2


def test_a_test_that_is_renamed_or_whose_module_is_gone_is_found() -> None:
    gone = [("tests/test_areas.py", "test_of_yesterday"), ("tests/gone.py", "test_it")]
    here = ("tests/test_areas.py", "test_a_test_that_is_renamed_or_whose_module_is_gone_is_found")
    assert absent([*gone, here]) == ["::".join(each) for each in gone]
