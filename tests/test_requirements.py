"""The page of requirements is true: what is called shown has a test, and the page is what the marks of tests say."""

from runpy import run_path

import pytest

from tests.support.checkout import ROOT

SCRIPT = run_path(str(ROOT / "scripts/requirements_page.py"))
Mark, MarkError, sections_of, marks_of, in_order, faults, page_of = (
    SCRIPT[name] for name in ("Mark", "MarkError", "sections_of", "marks_of", "in_order", "faults", "page_of")
)
SMALL = """
[first]
title = "First"
R-001 = "One."
R-002 = "Two."
R-003 = "Three."
F-01 = "Four."
[first.partly]
R-002 = "A half."
[first.missing]
R-003 = "All of it."
[first.left_out]
F-01 = "Its colour."
"""


@pytest.fixture(scope="module")
def sections():
    return sections_of((ROOT / "tests/requirements.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def marks():
    return SCRIPT["marks_below"](ROOT / "tests")


def mark(name, test="test_it"):
    return Mark(name, "tests/test_x.py", test, 7)


@pytest.mark.long
def test_every_shown_requirement_has_a_test_and_every_mark_a_requirement(sections, marks):
    assert faults(in_order(sections), marks) == []
    ids = [requirement.id for requirement in in_order(sections)]
    assert ids == [f"R-{k:03}" for k in range(1, 274)] + [f"F-{k:02}" for k in range(1, 43)]


@pytest.mark.long
def test_the_page_is_what_the_script_writes(sections, marks):
    page = (ROOT / "docs/requirements.md").read_text(encoding="utf-8")
    assert page == page_of(sections, marks), "run python scripts/requirements_page.py"


def test_a_shown_requirement_that_loses_its_tests_is_a_fault(sections, marks):
    requirements = in_order(sections)
    ids = [requirement.id for requirement in requirements if requirement.shown]
    assert len(ids) > 200
    for name in ids:
        (fault,) = faults(requirements, [entry for entry in marks if entry.id != name])
        assert fault.startswith(f"{name} is shown by no test")


def test_a_mark_more_or_less_changes_the_page(sections, marks):
    page = page_of(sections, marks)
    for k in range(0, len(marks), 50):
        assert page_of(sections, [*marks[:k], *marks[k + 1 :]]) != page
    assert page_of(sections, [*marks, mark("R-001")]) != page


@pytest.mark.parametrize(
    ("marked", "words"),
    [
        (("R-001", "F-01"), []),
        (("R-001", "R-002", "F-01"), []),
        ((), ["R-001 is shown by no test", "F-01 is shown by no test"]),
        (("R-001", "F-01", "R-274"), ["tests/test_x.py:7: R-274 is in no section"]),
        (
            ("R-001", "F-01", "R-003"),
            ["R-003 is called missing in tests/requirements.toml, and tests/test_x.py:7 shows it"],
        ),
    ],
)
def test_marks_that_do_not_fit_are_named(marked, words):
    messages = faults(in_order(sections_of(SMALL)), [mark(name) for name in marked])
    assert len(messages) == len(words)
    assert all(fault.startswith(word) for fault, word in zip(messages, words, strict=True))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (SMALL.replace('R-002 = "A half."', 'R-009 = "A half."'), "partly has R-009, which has no sentence"),
        (SMALL + '[second]\ntitle = "Second"\nR-001 = "Again."\n', "R-001 occurs twice"),
    ],
)
def test_a_contradiction_in_the_data_is_refused(text, words):
    with pytest.raises(MarkError, match=words):
        sections_of(text)


def test_marks_are_read_from_decorators_and_from_the_module():
    source = """
import pytest
pytestmark = [pytest.mark.long, pytest.mark.requirement("R-005")]
@pytest.mark.requirement("R-001", "R-002")
@given(x)
def test_one(): ...
class TestMore:
    @pytest.mark.requirement("R-003")
    async def test_two(self): ...
"""
    pairs = [(entry.id, entry.name) for entry in marks_of(source, "tests/test_x.py")]
    assert pairs == [("R-005", ""), ("R-001", "test_one"), ("R-002", "test_one"), ("R-003", "test_two")]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ('@pytest.mark.requirement("R-001")\ndef helper(): ...', "x.py:1: .* is on no test"),
        ('class TestX:\n    pytestmark = pytest.mark.requirement("R-001")', "x.py:2: .* is on no test"),
        ("@pytest.mark.requirement()\ndef test_x(): ...", "x.py:1: .* names no requirement"),
        ("@pytest.mark.requirement(ID)\ndef test_x(): ...", "x.py:1: ID is no text"),
    ],
)
def test_a_mark_that_shows_nothing_is_refused(source, words):
    with pytest.raises(MarkError, match=words):
        marks_of(source, "x.py")


def test_the_row_of_a_requirement_links_its_tests_and_says_what_is_lacking():
    page = page_of(sections_of(SMALL), [mark("R-001"), mark("R-001", "test_more"), mark("R-002", "")])
    link = "../tests/test_x.py"
    assert (
        f"| R-001 | One. | [tests/test_x.py::test_it]({link})<br>[tests/test_x.py::test_more]({link}) |  |\n"
        f"| R-002 | Two. | [tests/test_x.py]({link}) | *Partly.* A half. |\n"
        "| R-003 | Three. |  | *Missing.* All of it. |\n"
        "| F-01 | Four. |  | *Left out.* Its colour. |\n"
    ) in page
    assert "| shown | 1 | 1 |\n| partly | 1 | 0 |\n| missing | 1 | 0 |\n| with a part left out | 0 | 1 |\n" in page
    assert "- F-01: Its colour.\n" in page


def test_pytest_knows_the_mark(pytestconfig):
    assert any(line.startswith("requirement(*ids)") for line in pytestconfig.getini("markers"))
