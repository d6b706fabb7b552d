"""The page of the eleven areas names tests that are there."""

import re

import pytest

from tests.support.checkout import ROOT
from tests.support.named_tests import absent

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
    lines = re.findall(r"^\| ([a-z -]+) \|.*\| (`tests/.*) \|$", text, re.MULTILINE)
    return {area: re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", tests) for area, tests in lines}


@pytest.mark.requirement("R-268", "F-41")
def test_each_of_the_eleven_areas_has_tests_that_are_there() -> None:
    table = rows((ROOT / "docs/develop/areas.md").read_text(encoding="utf-8"))
    assert list(table) == AREAS
    assert {area: absent(tests) for area, tests in table.items()} == {area: [] for area in AREAS}
    assert min(map(len, table.values())) >= 2


def test_a_test_that_is_renamed_or_whose_module_is_gone_is_found() -> None:
    absent_tests = [("tests/test_areas.py", "test_of_yesterday"), ("tests/gone.py", "test_it")]
    this_test = ("tests/test_areas.py", "test_a_test_that_is_renamed_or_whose_module_is_gone_is_found")
    assert absent([*absent_tests, this_test]) == ["::".join(test) for test in absent_tests]
