"""The search of the site: the questions that pages answer, in the index, and the script that ranks by them."""

import json
import subprocess
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypedDict

from scripts.site.pages import MAKERS, ROOT, Page

SCRIPT: Final = Path(__file__).with_name("search_worker.js")
"""Ranks sections by their words; the theme's own search finds only pages that have every word."""

QUESTIONS: Final = ROOT / "docs" / "questions.toml"
"""Page, or page and fragment -> the questions that it answers, in the words of those who ask."""


DRAWN: Final = ROOT / "tests" / "site_questions.toml"
"""Questions from public trackers and the places that answer them, to measure the search by."""


class Drawn(TypedDict):
    """A question from a tracker."""

    title: str
    source: str
    answers: list[str]


def search_script() -> str:
    """The search of the site, which leads to no page of MAKERS."""
    return SCRIPT.read_text(encoding="utf-8").replace('"@MAKERS@"', json.dumps(MAKERS)[1:-1])


def questions() -> dict[str, list[str]]:
    """Path of a page, or path and fragment of a heading -> its questions."""
    asked: dict[str, list[str]] = tomllib.loads(QUESTIONS.read_text(encoding="utf-8"))
    return asked


def question_faults(site_pages: Sequence[Page], asked: dict[str, list[str]]) -> list[str]:
    """A message for each key that names no page or no heading of its page."""
    anchors = {page.path: page.anchors | {""} for page in site_pages}
    return [
        f"{QUESTIONS.relative_to(ROOT)}: {key}: there is no such {'heading' if path in anchors else 'page'}"
        for key in asked
        for path, _, fragment in [key.partition("#")]
        if fragment not in anchors.get(path, ())
    ]


def with_questions(index: str, site_pages: Sequence[Page], asked: dict[str, list[str]]) -> str:
    """The generator's index (search.json) with the questions of each section, which no page shows."""
    places = {page.path: page.place.removesuffix(".md") + ".html" for page in site_pages}
    sections = {
        places[path] + mark + at: rows for key, rows in asked.items() for path, mark, at in [key.partition("#")]
    }
    document = json.loads(index)
    for item in document["items"]:
        item["questions"] = sections.get(item["location"], [])
    return json.dumps(document, ensure_ascii=False)


def hits(index: str, asked: Sequence[str]) -> list[list[str]]:
    """For each query, the places that the search shows first. Needs node.

    Args:
        index: The text of search.json.
        asked: The queries.
    """
    lines = (
        "const sent = []; globalThis.self = { postMessage: (message) => sent.push(message) };",
        search_script(),
        f"const items = {index}.items;",
        "self.onmessage({ data: { type: 0, data: { items } } });",
        f"for (const input of {json.dumps(asked)}) self.onmessage({{ data: {{ type: 2, data: {{ input }} }} }});",
        "const places = (message) => message.data.items.map((item) => items[item.id].location);",
        "console.log(JSON.stringify(sent.slice(1).map(places)));",
    )
    done = subprocess.run(["node", "-"], input="\n".join(lines), capture_output=True, text=True, check=True)
    places: list[list[str]] = json.loads(done.stdout)
    return places


def answered(places: Sequence[str], answers: Sequence[str]) -> bool:
    """Whether one of the first three places is an answer: a place, or the beginning of one if it has no fragment."""
    return any(
        place == answer or ("#" not in answer and place.startswith(answer))
        for place in places[:3]
        for answer in answers
    )


def measure(index: str, drawn: Sequence[Drawn]) -> list[str]:
    """A line for each question, with its first three places, and the number of those that are answered."""
    lines = []
    right = 0
    for question, places in zip(drawn, hits(index, [question["title"] for question in drawn]), strict=True):
        good = answered(places, question["answers"])
        right += good
        lines.append(f"{'yes' if good else 'no ':3} {question['title']} ({question['source']}): {' '.join(places[:3])}")
    return [*lines, f"{right} of {len(drawn)} answered among the first three"]
