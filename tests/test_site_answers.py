"""What a reader meets first: the first sentence of each page, and the answers to the questions of traders."""

import json
import re
from functools import cache
from pathlib import Path

import pytest
from msgspec.structs import replace

from scripts.site.builder import everything, llms
from scripts.site.links import target_of
from scripts.site.pages import Page, headings, plain, slug
from scripts.site.search import ANSWERED, WORKER, Question, traders, unanswered, words
from tests.support.services import require

LETTERS = 40
"""A first sentence has more letters than this."""

VERB = re.compile(
    r"\b(is|are|was|were|has|have|can|may|must|need|needs|lists?|shows?|says?|tells?|answers?|takes?|makes?|gives?|reads?"
    r"|reports?|states?|defines?|describes?|explains?|measures?|trades?|trains?|tests?|sends?|runs?|keeps?|holds?|passes"
    r"|moves?|uses?|helps?|bounds?|begins?|begin|counts?|computes?|compares?|writes?|leaves?|leads?|puts?|ends?|fills?"
    r"|ships|generates?|install|installs?|repeats?|replaces?|returns?|refuses?|checks?|closes?|changes?|works?|names?"
    r"|contains?|executed?|replay|follows?|turns?|stays?|records?|share|journals?|compiles?|build|settles?|values?"
    r"|beg[iu]n|cancel|own|starts?|looks)\b"
)


@cache
def found() -> tuple[Page, ...]:
    return tuple(everything(api=False))


def fault(page: Page) -> str:
    """What is wrong with the first sentence of a page; empty for a sentence that answers."""
    text = page.answer
    if sum(letter.isalpha() for letter in text) <= LETTERS:
        return f"{page.path}: {text!r} has at most {LETTERS} letters"
    if ":" in text:
        return f"{page.path}: {text!r} has a colon"
    return "" if VERB.search(text) else f"{page.path}: {text!r} has no verb"


@pytest.mark.long
def test_the_first_sentence_of_every_page_answers() -> None:
    assert [why for page in found() if (why := fault(page))] == []


@pytest.mark.parametrize(
    "text",
    ["**Open.** Nobody knows why this record was written in the year of the plague.", "    code only", "Sectors.",
     "quantd trades real money only when all of these are present, one and two: three.",
     "Weights for a basket, rebalanced live, within limits, without a verb."],
)  # fmt: skip
def test_a_first_sentence_that_answers_nothing_is_seen(text: str) -> None:
    assert fault(Page("a.md", "a.md", f"# A\n\n{text}\n"))


@pytest.mark.long
def test_the_index_for_models_has_a_sentence_for_each_page() -> None:
    lines = [line for line in llms(found()).splitlines() if line.startswith("- [")]
    assert len(lines) == len(found()) - 1, "all but the home page, which the index itself replaces"
    sentences = [line.split("): ", 1)[1] for line in lines]
    assert [line for line in sentences if len(line) < LETTERS or line.startswith("Not run here")] == []


def sections() -> dict[str, str]:
    """Page and fragment -> the words of its section, up to the next heading."""
    texts: dict[str, str] = {}
    for page in found():
        place = page.place.removesuffix(".md")
        at = place
        for line in page.text.split("\n"):
            if line.startswith("#") and (heading := next(iter(headings(line)), None)):
                at = f"{place}#{slug(heading[1])}"
            texts[at] = texts.get(at, "") + plain(line) + "\n"
    return {at: words(text) for at, text in texts.items()}


def test_twenty_five_questions_of_traders_have_their_answer_in_their_section() -> None:
    questions, texts = traders(), sections()
    assert len(questions) == len({question.ask for question in questions}) == 25 > ANSWERED
    assert sum(question.source.startswith("https://") for question in questions) >= 15
    assert [
        question.ask for question in questions if words(plain(question.answer)) not in texts.get(question.section, "")
    ] == []
    honest = [question for question in questions if re.match(r"No\b|Yes if|It should|You need no", question.answer)]
    assert len(honest) >= 10, "half of the honest answers are no"


def test_no_heading_repeats_a_question() -> None:
    """A heading with the words of a question would find it, whatever stands below."""
    titles = {
        words(text).lower() for page in found() if page.path == "docs/doors/faq.md" for _, text in headings(page.text)
    }
    exact = [question.ask for question in traders() if words(question.ask).lower() in titles]
    assert exact == ["can I lose more than I put in?"]


@pytest.mark.long
def test_a_first_hit_without_the_answer_is_no_answer(tmp_path: Path) -> None:
    require("chromium")
    workers = tmp_path / "assets/javascripts/workers"
    workers.mkdir(parents=True)
    (workers / "search.0.js").write_text(WORKER.read_text())
    texts = {
        "faq.html#pi": "<p>It runs on a <code>Raspberry</code> Pi &amp; others.</p>",
        "b.html": "A page of prices.",
    }
    items = [{"location": at, "title": at, "text": text, "path": []} for at, text in texts.items()]
    (tmp_path / "search.json").write_text(json.dumps({"config": {}, "items": items}))
    good = Question("raspberry pi", "faq#pi", "It runs on a `Raspberry` Pi & others.")
    wrong = replace(good, ask="a raspberry pi", answer="It does not run.")
    elsewhere = replace(good, ask="prices")
    silent = replace(good, ask="unheard")
    assert unanswered(tmp_path, [good, wrong, elsewhere, silent]) == {
        "a raspberry pi": "faq#pi", "prices": "b", "unheard": "",
    }  # fmt: skip


def test_each_venue_and_each_receiver_has_a_page() -> None:
    """A new sink or broker needs its page; the list is that of the code."""
    from quantd.daemon.assembly.brokers import venues
    from quantd.daemon.assembly.sinks import sinks

    paths = {page.path for page in found()}
    assert {f"docs/receivers/{kind}.md" for kind in sinks()} <= paths
    pages = {"ccxt": "kraken"}
    assert {f"docs/venues/{pages.get(kind, kind)}.md" for kind in venues()} <= paths
    links = {
        target_of(page.path, link)[0]
        for page in found()
        if page.path in ("docs/receivers/README.md", "docs/venues/README.md")
        for link in re.findall(r"\]\(([^)#]+)", page.text)
    }
    assert {path for path in paths if re.match(r"docs/(receivers|venues)/[a-z]", path)} <= links
