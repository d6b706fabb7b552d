"""The pages of docs/deploy say what the files of deploy/ do."""

import re
from pathlib import Path

import pytest

from tests.support.checkout import ROOT

PAGES = ROOT / "docs" / "deploy"
ITEMS = (
    "tests", "security", "monitoring", "load balance", "backup", "continuous integration", "documents",
    "error handling", "logging", "performance",
)  # fmt: skip


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the rows of the table with this first heading."""
    text = (PAGES / page).read_text()
    (table,) = re.findall(rf"^\| {heading} \|.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()]


def named(text: str) -> list[Path]:
    """The places of the repository that a text links or names."""
    linked = [PAGES / link for link in re.findall(r"\]\(([\w./-]+)", text)]
    return linked + [ROOT / name for name in re.findall(r"`((?:tests|deploy|benchmarks|\.ci)/?[\w./-]*)`", text)]


@pytest.mark.requirement("R-229")
def test_each_item_of_the_readiness_checklist_has_evidence_that_is_there() -> None:
    checklist = rows("machines.md", "item")
    assert [row[0].strip("| ") for row in checklist] == list(ITEMS)
    for row in checklist:
        places = named(row[1])
        assert places, row[0]
        assert [place for place in places if not place.exists()] == [], row[0]


@pytest.mark.requirement("R-226", "R-230")
def test_the_page_of_machines_has_sizes_and_notes_without_a_secret() -> None:
    text = (PAGES / "machines.md").read_text()
    for heading in ("## Sizes", "## A small virtual machine", "## A container service"):
        assert heading in text
    sizes = [row[0].strip("| ") for row in rows("machines.md", "machine")]
    assert sizes[-1] == "8 cores, 16 GiB, 50 GB"
    work = " ".join(row[0] for row in rows("machines.md", "work"))
    for word in ("daemon", "symbol", "agent", "train"):
        assert word in work
    assert "two CPUs, 2 GiB" in text
    assert "/etc/credstore" in text
    assert not re.search(r"(?i)(?:password|secret|key) ?[:=] ?\S", text)
