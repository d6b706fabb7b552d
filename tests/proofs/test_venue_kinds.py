"""Each kind of a venue's unexpected word is shown at each venue, or has the reason why it cannot be there."""

import re

import pytest

from tests.proofs.conformance.suite import CASES, written
from tests.proofs.venue_kinds import CASE, KINDS, NONE, VENUES
from tests.support.checkout import ROOT

CELLS = [pytest.param(kind, venue, id=f"{kind['name']}-{venue}") for kind in KINDS for venue in VENUES]


def fault(kind: dict[str, str], venue: str) -> str:
    """Why a cell shows nothing; empty where it does."""
    cell = kind.get(venue, "")
    if not cell:
        return "the cell is empty"
    if cell.startswith(NONE):
        return "" if len(cell) > len(NONE) else "the reason is missing"
    if cell.startswith(CASE):
        name = cell.removeprefix(CASE)
        if name not in CASES:
            return f"there is no case {name!r}"
        reason = written().get(venue, {}).get(name)
        return f"{venue} does not offer it: {reason}" if reason else ""
    path, _, name = cell.partition("::")
    if not (ROOT / path).is_file():
        return f"there is no file {path}"
    return "" if re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE) else f"no test {name}"


@pytest.mark.parametrize(("kind", "venue"), CELLS)
def test_every_cell_is_a_test_that_exists_or_a_reason(kind: dict[str, str], venue: str) -> None:
    assert fault(kind, venue) == ""


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("", "empty"),
        (NONE, "reason"),
        (f"{CASE}no such case", "no case"),
        (f"{CASE}a blocked account says why", "does not offer"),
        ("tests/proofs/test_nothing.py::test_it", "no file"),
        ("tests/proofs/test_venue_kinds.py::test_it", "no test"),
    ],
)
def test_a_cell_that_shows_nothing_is_red(cell: str, words: str) -> None:
    assert words in fault({"name": "planted", "paper": cell}, "paper")
