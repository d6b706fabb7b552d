"""Asks the search of a built site its questions in a browser.

The questions of `questions.toml` count the pages among the first hits. Those of traders (`trader_questions.toml`) count
the first hits that are the section of the answer.
"""

import html
import json
import re
import shutil
import subprocess
import tempfile
import threading
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final

from msgspec import Struct, convert

from scripts.site.pages import plain

WORKER: Final = Path(__file__).with_name("search_worker.js")
QUESTIONS: Final = Path(__file__).with_name("questions.toml")
TRADERS: Final = Path(__file__).with_name("trader_questions.toml")
FIRST: Final = 3
"""A page counts as found among so many pages."""

NEEDED: Final = 27
"""Questions whose page must be found."""

ANSWERED: Final = 22
"""Questions of traders whose first hit must have the answer."""

_TAG: Final = re.compile(r"<[^>]*>")

WAIT_S: Final = 60.0

_ASK: Final = """<!doctype html><script>
const questions = %s, found = {}, worker = new Worker("%s");
let at = 0, items;
const ask = () => at < questions.length ? worker.postMessage({type: 2, data: {input: questions[at]}})
  : fetch("found", {method: "POST", body: JSON.stringify(found)});
worker.onmessage = ({data: m}) => {
  if (m.type === 3) found[questions[at++]] = m.data.items.map((each) => items[each.id].location);
  ask();
};
fetch("search.json").then((answer) => answer.json()).then((index) => {
  items = index.items;
  worker.postMessage({type: 0, data: index});
});
</script>"""


class Question(Struct, frozen=True, forbid_unknown_fields=True):
    """A question of a trader, the section that must answer it, and the sentence that does.

    `section` is a page of the site without its suffix, and a fragment. `source` is the public thread where somebody
    asked it, empty without one.
    """

    ask: str
    section: str
    answer: str
    source: str = ""


class NoBrowserError(Exception):
    """No Chromium is installed, or it did not answer."""


def install(site: Path) -> None:
    """Put our ranking in the place of the theme's search worker, which finds only pages with every word."""
    (target,) = (site / "assets/javascripts/workers").glob("search.*.js")
    shutil.copyfile(WORKER, target)


def questions() -> dict[str, list[str]]:
    """Question -> the pages of which one must be found."""
    by_question: dict[str, list[str]] = tomllib.loads(QUESTIONS.read_text(encoding="utf-8"))["questions"]
    return by_question


def traders() -> list[Question]:
    """The questions of traders."""
    return convert(tomllib.loads(TRADERS.read_text(encoding="utf-8"))["question"], list[Question])


def unanswered(site: Path, asked: Sequence[Question]) -> dict[str, str]:
    """Each question whose first hit lacks its answer -> that hit. Raises NoBrowserError."""
    items = json.loads((site / "search.json").read_text(encoding="utf-8"))["items"]
    texts = {_section(item["location"]): words(_TAG.sub("", item["text"])) for item in items}
    first = {
        question: _section(places[0]) if places else "" for question, places in sections(site, asks(asked)).items()
    }
    return {
        question.ask: first[question.ask]
        for question in asked
        if first[question.ask] != question.section or words(plain(question.answer)) not in texts[question.section]
    }


def asks(asked: Iterable[Question]) -> list[str]:
    """The words of questions."""
    return [question.ask for question in asked]


def words(text: str) -> str:
    """A text as its words, without marks and lines."""
    return " ".join(re.findall(r"\w+", html.unescape(text)))


def missed(site: Path, asked: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Each question whose pages are not among the first hits -> the hits. Raises NoBrowserError."""
    places = hits(site, list(asked))
    return {
        question: places[question]
        for question, wanted in asked.items()
        if not set(places[question][:FIRST]) & set(wanted)
    }


def hits(site: Path, asked: Sequence[str]) -> dict[str, list[str]]:
    """The pages that a browser finds for each question, best first, without their suffix."""
    return {question: _pages(places) for question, places in sections(site, asked).items()}


def sections(site: Path, asked: Sequence[str]) -> dict[str, list[str]]:
    """The sections that a browser finds for each question, best first, as places of the site."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise NoBrowserError("the search is checked in a browser, and chromium is not installed")
    (worker,) = (site / "assets/javascripts/workers").glob("search.*.js")
    body = _ASK % (json.dumps(list(asked)), worker.relative_to(site))

    answers: SimpleQueue[bytes] = SimpleQueue()

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/ask.html":
                self._answer(body.encode())
            else:
                super().do_GET()

        def do_POST(self) -> None:
            answers.put(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer(b"")

        def _answer(self, content: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with _opened(browser, f"http://127.0.0.1:{server.server_port}/ask.html"):
                places: dict[str, list[str]] = json.loads(answers.get(timeout=WAIT_S))
        except Empty:
            raise NoBrowserError(f"{browser} did not answer within {WAIT_S:g} s") from None
        finally:
            server.shutdown()
    return places


def _section(place: str) -> str:
    return place.replace(".html", "", 1)


def _pages(places: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(place.partition("#")[0].removesuffix(".html") for place in places))


@contextmanager
def _opened(browser: str, address: str) -> Iterator[None]:
    """A browser without a window that has opened an address."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        words = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        quiet = subprocess.DEVNULL
        running = subprocess.Popen([*words, "--remote-debugging-port=0", address], stdout=quiet, stderr=quiet)
        try:
            yield
        finally:
            running.terminate()
            running.wait(20)
