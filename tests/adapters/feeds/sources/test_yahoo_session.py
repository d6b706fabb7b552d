"""Hostile answers of Yahoo, through yfinance itself: each is one sentence with the host, the value and the remedy."""

import json
import re
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from quantd.daemon.cli.setup import vendors
from tests.support.command_line import Done, quantd
from tests.support.library_words import LIBRARIES
from tests.support.venues.foreign_answers import FOREIGN, foreign
from tests.support.venues.served import served
from tests.support.venues.yahoo import Listing, Yahoo, home

FIRST = date(2024, 1, 2)
BARS = [
    (day, 100.0, 101.0, 99.0, 100.5, 1000.0)
    for day in (FIRST + timedelta(days=k) for k in range(40))
    if day.weekday() < 5 and day != date(2024, 1, 15)
]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vendors, "RETRY_FOR_S", 0.1)


def fetch(folder: Path, port: int, *more: str) -> Done:
    return quantd(
        folder, "data", "fetch", "SPY", "--from", "2024-01-04", "--to", "2024-02-02", "--no-cache", "--out",
        "x.parquet", "--url", f"http://127.0.0.1:{port}", *more, env=home(),
    )  # fmt: skip


def fetched(folder: Path, venue: Yahoo) -> tuple[Done, str]:
    """A download of SPY from a venue, and the venue's host."""
    with served(venue.app()) as port:
        return fetch(folder, port), f"127.0.0.1:{port}"


def require_sentence(done: Done, host: str) -> None:
    """Fail unless a download ended with one sentence that names vendor, host and remedy, and wrote nothing."""
    assert done.returncode in (1, 75), done.stdout
    assert done.stderr.startswith("yahoo: ")
    assert "SPY" in done.stderr or "cannot be reached" in done.stderr
    assert host in done.stderr
    assert done.stderr.endswith("Nothing was written.\n")
    assert re.search(r"\. (Try|Check|Take|Fetch)", done.stderr), "a remedy"
    assert not LIBRARIES.search(done.stderr), done.stderr
    assert not LIBRARIES.search(done.stdout), done.stdout


@pytest.mark.requirement("R-021")
@pytest.mark.parametrize("name", FOREIGN)
def test_an_answer_that_is_no_chart_is_one_sentence(tmp_path: Path, name: str) -> None:
    done, host = fetched(tmp_path, Yahoo({"SPY": Listing(BARS)}, foreign=FOREIGN[name]))
    require_sentence(done, "127.0.0.1:9" if name == "a redirect" else host)
    assert done.returncode == (1 if name in ("404", "400") else 75), done.stderr
    assert list(tmp_path.glob("*.parquet")) == []


@pytest.mark.requirement("R-021")
@pytest.mark.parametrize("name", FOREIGN)
def test_a_host_that_answers_everything_so_is_one_sentence_too(tmp_path: Path, name: str) -> None:
    """The cookie and the crumb, which yfinance requests before the chart, have the answer as well."""
    with served(foreign(FOREIGN[name])) as port:
        done = fetch(tmp_path, port)
    require_sentence(done, "127.0.0.1:9" if name == "a redirect" else f"127.0.0.1:{port}")


Result = dict[str, Any]
Edit = Callable[[Result], None]


def quote(result: Result) -> Result:
    quotes: Result = result["indicators"]["quote"][0]
    return quotes


def one(name: str, value: object) -> Edit:
    def edit(result: Result) -> None:
        quote(result)[name][10] = value

    return edit


def stamped(value: object) -> Edit:
    return lambda result: result["timestamp"].__setitem__(-1, value)


def event(kind: str, day: object = None, **values: object) -> Edit:
    def edit(result: Result) -> None:
        when = result["timestamp"][12] if day is None else day
        result["events"] = {kind: {"1": {"date": when, **values}}}

    return edit


def meta(key: str, value: object) -> Edit:
    return lambda result: result["meta"].__setitem__(key, value)


EDITS: dict[str, Edit] = {
    "NaN": one("close", float("nan")),
    "Infinity": one("close", float("inf")),
    "a text for a price": one("close", "abc"),
    "a list for a price": one("close", [1.0]),
    "a text for a volume": one("volume", "many"),
    "a date beyond the calendar": stamped(10**15),
    "a date before the calendar": lambda result: result.__setitem__("timestamp", [-(10**12)] * len(BARS)),
    "a text for a date": stamped("tomorrow"),
    "too few dates": lambda result: result.__setitem__("timestamp", result["timestamp"][:5]),
    "no quote": lambda result: result["indicators"].__setitem__("quote", []),
    "no closes": lambda result: quote(result).pop("close"),
    "no meta": lambda result: result.pop("meta"),
    "a zone of another planet": meta("exchangeTimezoneName", "Mars/Phobos"),
    "a path for a zone": meta("exchangeTimezoneName", "../../etc/passwd"),
    "null for a zone": meta("exchangeTimezoneName", None),
    "a split of nothing": event("splits", numerator=0, denominator=0),
    "a text for a split": event("splits", numerator="a", denominator="b"),
    "an endless split": event("splits", numerator=1e300, denominator=1),
    "a text for a dividend": event("dividends", amount="x"),
    "an endless dividend": event("dividends", amount=1e300),
    "a dividend beyond the calendar": event("dividends", 10**15, amount=1),
}


def edited(edit: Edit) -> Callable[[str], str]:
    def change(text: str) -> str:
        document = json.loads(text)
        if len(document["chart"]["result"][0].get("timestamp", ())) > 12:
            edit(document["chart"]["result"][0])
        return json.dumps(document)

    return change


@pytest.mark.parametrize("name", EDITS)
def test_a_chart_with_a_wrong_value_is_one_sentence(tmp_path: Path, name: str) -> None:
    done, host = fetched(tmp_path, Yahoo({"SPY": Listing(BARS)}, changed=edited(EDITS[name])))
    require_sentence(done, "it lists 1e+300" if "endless" in name else host)


@pytest.mark.parametrize("number", ["1e400", "9" * 400])
def test_a_number_beyond_the_machine_is_one_sentence(tmp_path: Path, number: str) -> None:
    done, host = fetched(
        tmp_path,
        Yahoo({"SPY": Listing(BARS)}, changed=lambda text: re.sub(r'("close": \[)[^,]+', rf"\g<1>{number}", text)),
    )
    require_sentence(done, host)


@pytest.mark.parametrize(("value", "reason"), [(1e300, "nan"), (-5.0, "non_positive")])
def test_a_price_that_nobody_can_pay_is_put_aside_and_the_others_are_written(
    tmp_path: Path, value: float, reason: str
) -> None:
    done, _ = fetched(tmp_path, Yahoo({"SPY": Listing(BARS)}, changed=edited(one("close", value))))
    assert done.returncode == 0, done.stderr
    assert f"quarantined: 1 x {reason}" in done.stdout
    assert not done.stderr


def test_the_words_of_yahoo_about_an_unknown_symbol_are_shown(tmp_path: Path) -> None:
    done, _ = fetched(tmp_path, Yahoo({}))
    assert done.returncode == 1
    assert "no bar of SPY: SPY: No data found, symbol may be delisted. Check how it spells them" in done.stderr


def test_the_currency_of_a_refused_symbol_is_an_option_that_works(tmp_path: Path) -> None:
    venue = Yahoo({"SPY": Listing(BARS, currency="EUR")})
    done, _ = fetched(tmp_path, venue)
    assert done.returncode == 1
    assert "SPY is quoted in EUR, not in USD. Fetch it with --currency EUR" in done.stderr
    with served(venue.app()) as port:
        again = fetch(tmp_path, port, "--currency", "EUR")
    assert again.returncode == 0, again.stderr
