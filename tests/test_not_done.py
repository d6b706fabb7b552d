"""The page of what quantd does not do: its lists are those of the code, and README's reasons for a no are on it."""

import re

import pytest

from scripts.site.pages import pages
from tests.support.checkout import ROOT

PAGE = ROOT / "docs" / "explain" / "not-done.md"
RECORD = {
    "brokers": ("adapters/brokers", "VENUE: Final"),
    "vendors": ("adapters/feeds/sources", "VENDOR: Final"),
    "alerts": ("adapters/sinks", "SINK: Final"),
}
"""What a row lists -> the folder whose modules have a record for each entry, and the start of the record."""

SAID = (
    "Interactive Brokers", "Binance", "real account", "Discord", "Slack", "options", "futures", "perpetual",
    "margin loan", "several currencies", "order books", "market making", "milliseconds", "amount of money", "taxes",
    "wash sale", "pattern day trader", "strategy that earns", "hosted service", "Windows", "Mac", "package index",
    "several machines", "thousands of symbols", "advice",
)  # fmt: skip
"""What somebody who asks for it must find in the first column."""

OF_README = {
    "to react to ticks": "ticks",
    "to read or quote an order book": "order books",
    "options, futures": "options, futures",
    "entries and exits of one symbol": "entries and exits",
    "accounts in several currencies": "several currencies",
    "many thousand symbols": "thousands of symbols",
    "a broker other than": "any other broker",
    "money at work next week": "real account",
    "signals, ideas or a strategy": "strategy that earns",
    "a hosted service": "hosted service",
}
"""Start of a row of README's table -> what the page says of it in its first column."""


def first_cells(text: str) -> list[str]:
    """The first column of every table, without headings."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [
        line.split(" | ")[0].removeprefix("| ") for line in lines if not line.startswith(("| not here", "| you want"))
    ]


def missing(text: str) -> list[str]:
    cells = "\n".join(first_cells(text))
    return [word for word in SAID if word not in cells]


def listed(text: str, kind: str) -> set[str]:
    """The names in code after `KIND:` of a row; what follows a semicolon is no part of the list."""
    (names,) = re.findall(rf"\| {kind}: ([^;|]+)", text)
    return set(re.findall(r"`([\w-]+)`", names))


def recorded(kind: str) -> set[str]:
    folder, start = RECORD[kind]
    return {
        path.parent.name if path.name == "__init__.py" else path.stem
        for path in (ROOT / folder).rglob("*.py")
        if any(line.startswith(start) for line in path.read_text(encoding="utf-8").splitlines())
    }


def test_the_page_says_what_quantd_does_not_do() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert missing(text) == []
    assert missing(text.replace("wash sale rules, ", "")) == ["wash sale"]
    assert all(len(line.split(" | ")) == 2 for line in text.splitlines() if line.startswith("| ")), (
        "each has what there is"
    )


@pytest.mark.parametrize("kind", RECORD)
def test_what_there_is_instead_is_what_the_code_has(kind: str) -> None:
    """A new broker, vendor or receiver turns a no into a yes, and the page with it."""
    names = recorded(kind)
    assert len(names) >= 3
    assert listed(PAGE.read_text(encoding="utf-8"), kind) == names


def test_each_no_of_readme_is_on_the_page() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text[text.index("## Is quantd for me?") : text.index("## What it covers")]
    cells, page = first_cells(table), "\n".join(first_cells(PAGE.read_text(encoding="utf-8")))
    assert [start for start in OF_README if not any(cell.startswith(start) for cell in cells)] == []
    assert len(cells) == len(OF_README)
    assert [claim for claim in OF_README.values() if claim not in page] == []


def test_no_other_page_promises_what_this_one_denies() -> None:
    """A page that names one of these brokers says no, or names it as a source of files."""
    denied = re.compile(r"quantd (?:trades|sends orders|connects) (?:at|to) (?:Interactive Brokers|Binance|Bybit)")
    assert [page.path for page in pages() if denied.search(page.text)] == []
    assert denied.search("quantd sends orders to Binance")
