"""The site of documents: the generated reference has every record, and what a page links to comes along."""

import json
import shutil

import pytest

import quantd
from quantd.daemon.config.keys import all_keys
from quantd.daemon.monitoring.metrics import COUNTERS, GAUGES, HISTOGRAMS
from quantd.risk.limits.catalogue import LIMITS
from scripts.site.builder import everything
from scripts.site.links import faults
from scripts.site.pages import Page, pages
from scripts.site.reference import command_line, glossary, records
from scripts.site.search import hits, question_faults, questions, with_questions
from scripts.site.snippets.execution import run_page
from scripts.site.snippets.extraction import snippets


@pytest.mark.long
def test_the_reference_has_every_record_and_its_links_lead_somewhere() -> None:
    site_pages = everything(api=False)
    assert faults(site_pages) == []
    texts = {page.path.removeprefix("docs/reference/").removesuffix(".md"): page.text for page in site_pages}
    expected = {
        "keys": {path[-1] for path, key in all_keys().items() if key.section is None},
        "commands": {f"## quantd {path}\n" for path in command_line.tree()},
        "metrics": {f"`quantd_{key}" for key in (COUNTERS | GAUGES | HISTOGRAMS)},
        "limits": {f"`{key}`" for key in LIMITS},
        "events": {f"## {kind.__name__}\n" for kind in records.event_kinds()},
        "exit-codes": {f"| {code} | `{key}` | {records.CODES[key]}" for key, code in records.codes().items()},
        "python-names": {f"## quantd.{name}\n" for name in quantd.__all__},
        "glossary": {f"## {name}\n" for name in glossary.terms()},
        "topics": {f"## {kind}\n" for kind in ("alert", "orders", "status", "command-answer")},
        "modules": {"| `gate.py` |", "## `daemon/engine/`\n"},
    }
    assert [(name, record) for name, rows in expected.items() for record in rows if record not in texts[name]] == []


@pytest.mark.skipif(not shutil.which("node"), reason="needs node")
def test_a_question_leads_to_the_section_that_answers_it_in_other_words() -> None:
    site_pages = [Page("a.md", "a.md", "# Deposits\n\n## Each month\n"), Page("b.md", "b.md", "# Averages\n")]
    asked = {"a.md#each-month": ["dollar cost averaging", "recurring buys"], "b.md": []}
    assert question_faults(site_pages, asked) == []
    items = [
        {"location": "b.html", "title": "Averages", "text": "Averaging a cost, dollar by dollar: cost cost cost"},
        {"location": "a.html", "title": "Deposits", "text": "Money paid in"},
        {"location": "a.html#each-month", "title": "Each month", "text": "The job deposit pays money in"},
    ]
    index = json.dumps({"items": items})
    queries = ["how do I average dollar cost?", "recurring buy"]
    assert [found[:1] for found in hits(index, queries)] == [["b.html"], []]
    weighed = with_questions(index, site_pages, asked)
    assert [found[:1] for found in hits(weighed, queries)] == [["a.html#each-month"]] * 2
    assert question_faults(site_pages, {"a.md#gone": [], "c.md": []}) == [
        "docs/questions.toml: a.md#gone: there is no such heading",
        "docs/questions.toml: c.md: there is no such page",
    ]


def test_each_page_that_guides_a_user_has_questions_and_every_question_has_a_page() -> None:
    asked = questions()
    assert question_faults(pages(), asked) == []
    assert {key: rows for key, rows in asked.items() if not 1 <= len(rows) <= 10} == {}
    guides = ("docs/trade/", "docs/risk/", "docs/operate/", "docs/venues/", "docs/learn/", "docs/deploy/")
    have = {key.partition("#")[0] for key in asked}
    paths = [page.path for page in pages() if page.path.startswith(guides) and not page.path.endswith("/README.md")]
    assert len(paths) > 30
    assert [path for path in paths if path not in have] == []


@pytest.mark.long
def test_each_command_of_readme_ends_as_expected_in_an_empty_home() -> None:
    """As a stranger types them, beside a run; servers take the places of Yahoo, Alpaca and ntfy."""
    (page,) = (page for page in pages() if page.path == "README.md")
    outcomes = run_page(page.path, list(snippets(page)))
    assert len(outcomes) >= 8
    assert [f"{outcome.ran}: {outcome.fault}" for outcome in outcomes if outcome.fault] == []
