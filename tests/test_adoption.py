"""The page of what adopters ask for: its sum is that of its rows, and each "has" names a test that is there."""

import re
from collections import Counter

from tests.support.checkout import ROOT
from tests.support.named_tests import absent

PAGE = ROOT / "docs" / "develop" / "adoption.md"
GRADES = ("has", "partly", "lacks")


def rows(text: str) -> list[tuple[str, str, str]]:
    """(what is asked, grade, evidence) of each row."""
    return re.findall(rf"^\| (.+?) \| ({'|'.join(GRADES)}) \| (.+) \|$", text, re.MULTILINE)


def test_thirty_rows_have_a_grade_and_evidence_and_add_up_to_the_sum() -> None:
    text = PAGE.read_text(encoding="utf-8")
    counts = Counter(grade for _, grade, _ in rows(text))
    assert counts.total() == 30
    assert f"Has {counts['has']}, partly {counts['partly']}, lacks {counts['lacks']}." in text


def test_what_is_there_is_shown_by_a_test_that_is_there() -> None:
    text = PAGE.read_text(encoding="utf-8")
    tests_of = {
        request: re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", evidence) for request, grade, evidence in rows(text)
    }
    assert [request for request, grade, _ in rows(text) if grade == "has" and not tests_of[request]] == []
    assert {request: missing_tests for request, tests in tests_of.items() if (missing_tests := absent(tests))} == {}
