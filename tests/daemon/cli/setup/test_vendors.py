"""Vendors that give no answer: the first error comes within ten seconds, and names vendor, host and remedy."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from quantd.adapters.feeds.sources import ccxt, http_client, yahoo_session
from quantd.adapters.feeds.vendor import Request
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.setup import vendors
from quantd.daemon.cli.setup.vendors import universe_of
from tests.support.command_line import quantd
from tests.support.library_words import LIBRARIES
from tests.support.sockets import free_port
from tests.support.venues.foreign_answers import FOREIGN, foreign
from tests.support.venues.served import served
from tests.support.venues.yahoo import home

MAPPING = """
name = "my vendor"
url = "{base}/bars/{symbol}?from={start}&to={end}"
rows = "data.items"
ts = "when"
open = "o"
high = "h"
low = "l"
close = "c"
volume = "v"
"""
SOURCES = {
    "yahoo": ("SPY",),
    "alpaca": ("SPY", "--source", "alpaca"),
    "kraken": ("BTC/USD", "--source", "ccxt", "--exchange", "kraken", "--interval", "1h"),
    "my vendor": ("EURUSD", "--source", "http", "--mapping", "vendor.toml", "--interval", "1h"),
}
OUT = ("--out", "x.parquet")
KEYS = {"QUANTD_ALPACA_KEY": "key", "QUANTD_ALPACA_SECRET": "secret"}


def arguments(folder: Path, source: str, url: str) -> list[str]:
    (folder / "vendor.toml").write_text(MAPPING.replace("{base}", url))
    at = [] if source == "my vendor" else ["--url", url]
    return ["data", "fetch", *SOURCES[source], *at, "--from", "2024-01-04", "--to", "2024-01-31", "--no-cache", *OUT]


@contextmanager
def black_hole() -> Iterator[int]:
    """A server that accepts every connection and never answers."""
    accepted: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    accepted.append(listener.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    for connection in accepted:
        connection.close()


@pytest.mark.long
@pytest.mark.parametrize("source", SOURCES)
def test_a_refused_connection_is_one_sentence_with_the_host_and_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.setattr(vendors, "RETRY_FOR_S", 0.1)
    port = free_port()
    done = quantd(tmp_path, *arguments(tmp_path, source, f"http://127.0.0.1:{port}"), env=KEYS | home())
    assert done.returncode == 75, done.stderr
    assert f"{source}: 127.0.0.1:{port} cannot be reached: " in done.stderr
    assert "refused" in done.stderr
    assert ". Check the network and the address" in done.stderr
    assert not LIBRARIES.search(done.stderr)
    assert list(tmp_path.glob("*.parquet")) == []


@pytest.mark.parametrize("source", SOURCES)
def test_a_host_whose_name_is_not_resolved_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.setattr(vendors, "RETRY_FOR_S", 0.1)
    done = quantd(tmp_path, *arguments(tmp_path, source, "http://bars.invalid"), env=KEYS | home())
    assert done.returncode == 75, done.stderr
    assert f"{source}: bars.invalid cannot be reached: its name is not resolved" in done.stderr


@pytest.mark.long
def test_each_failure_before_another_attempt_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vendors, "RETRY_FOR_S", 3.0)
    done = quantd(tmp_path, *arguments(tmp_path, "alpaca", f"http://127.0.0.1:{free_port()}"), env=KEYS | home())
    first, second, *_, last = done.stderr.splitlines()
    assert first.endswith("Trying again for up to 3 s; Ctrl-C stops")
    assert second.startswith("alpaca: attempt 2 failed too: 127.0.0.1:")
    assert last == "Nothing was written."


@pytest.mark.long
@pytest.mark.parametrize("source", SOURCES)
def test_a_host_that_never_answers_is_named_after_its_time_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.setattr(vendors, "RETRY_FOR_S", 0.1)
    for module in (ccxt, http_client, yahoo_session):
        monkeypatch.setattr(module, "FIRST_ANSWER_S", 0.5)
    with black_hole() as port:
        done = quantd(tmp_path, *arguments(tmp_path, source, f"http://127.0.0.1:{port}"), env=KEYS | home())
    assert done.returncode == 75, done.stderr
    line = done.stderr.splitlines()[0]
    assert f"{source}: 127.0.0.1:{port} cannot be reached: " in line
    assert re.search("no answer within|does not answer", line)


@pytest.mark.one_of(2)
@pytest.mark.requirement("R-021")
@pytest.mark.parametrize("source", ["alpaca", "kraken", "my vendor"])
@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_answer_of_any_vendor_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, name: str
) -> None:
    monkeypatch.setattr(vendors, "RETRY_FOR_S", 0.1)
    with served(foreign(FOREIGN[name])) as port:
        done = quantd(tmp_path, *arguments(tmp_path, source, f"http://127.0.0.1:{port}"), env=KEYS | home())
    assert done.returncode in (1, 75), done.stderr
    assert done.stderr.startswith(f"{source}: ")
    assert not LIBRARIES.search(done.stderr), done.stderr
    assert "Malformed" not in done.stderr
    assert done.stderr.endswith("Nothing was written.\n")


def test_a_name_that_is_no_source_leads_to_the_source_that_has_its_bars() -> None:
    request = Request(universe_of(["BTC/USD"], None, ""), "1d")
    texts = {}
    for name in ("Kraken", "binance", "yfinanc", "polygon"):
        with pytest.raises(Failure) as refused:
            vendors.source_of([name], request, None)
        texts[name] = str(refused.value)
    assert texts["Kraken"].endswith("by ccxt: --source ccxt --exchange kraken")
    assert texts["binance"].endswith("by ccxt: --source ccxt --exchange binance")
    assert texts["yfinanc"] == "'yfinanc' is not a source. Did you mean yfinance?"
    assert "There are " in texts["polygon"]
    assert "--source ccxt --exchange kraken" in texts["polygon"]
