"""`quantd doctor --venue NAME --record DIR`: the venue's answers as files, without secrets, that the adapter decodes.

Folders of such files under tests/recorded_answers, one for each venue that somebody recorded, are decoded too.
"""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.proofs.conformance.rigs.binance import MARKETS
from tests.proofs.conformance.rigs.ccxt import ASSETS
from tests.proofs.live_exchange import PAIRS
from tests.support.checkout import ROOT
from tests.support.command_line import quantd
from tests.support.recorded_answers import read_back
from tests.support.venues import binance, bybit, kraken
from tests.support.venues.alpaca import AlpacaServer
from tests.support.venues.ibkr import Gateway

ACCOUNT = "DU7654321"
FOLDERS = sorted(path for path in (ROOT / "tests" / "recorded_answers").glob("*") if path.is_dir())


def echoing(venue: Any) -> Any:
    """A server that writes key and secret, and the number of the account, into each answer."""
    words = json.dumps(f"key={venue.key} and {venue.secret} of 99887766")
    venue.rewrite = lambda name, text: f'{text[:-1]}, "echo": {words}, "uid": 99887766}}' if text[-1] == "}" else text
    return venue


def alpaca() -> AlpacaServer:
    venue = AlpacaServer(key="PKALPACATEST", secret="a-secret-of-alpaca", cash="100000")
    venue.list("BTC/USD", "90000.00")
    echoing(venue)
    return venue


def spot(module: Any) -> Callable[[], Any]:
    def make() -> Any:
        venue = module.Exchange((replace(market) for market in MARKETS), time.time_ns)
        venue.add("USDT", Decimal(10_000))
        return echoing(venue)

    return make


def kraken_with_a_balance() -> kraken.Exchange:
    venue = kraken.Exchange([replace(pair, bars=[]) for pair in PAIRS], ASSETS, time.time_ns)
    venue.add("ZUSD", Decimal(10_000))
    echoing(venue)
    return venue


def gateway() -> Gateway:
    venue = Gateway(ACCOUNT, cash="25000")
    venue.add("SPY", "400.00")
    return venue


VENUES: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "alpaca": (alpaca, ("--symbol", "BTC/USD")), "kraken": (kraken_with_a_balance, ("--symbol", "BTC/USD", "--live")),
    "binance": (spot(binance), ("--symbol", "BTC/USDT")), "bybit": (spot(bybit), ("--symbol", "BTC/USDT")),
    "ibkr": (gateway, ("--symbol", "SPY")),
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("name", VENUES)
async def test_the_answers_of_a_venue_are_files_without_secrets_that_its_adapter_decodes(
    tmp_path: Path, name: str
) -> None:
    pytest.importorskip("ib_async" if name == "ibkr" else "ccxt")
    make, options = VENUES[name]
    venue = make()
    await venue.start()
    keys = {"IBKR_ACCOUNT": ACCOUNT}
    if name != "ibkr":
        family = "ALPACA" if name == "alpaca" else "CCXT"
        keys = {f"{family}_KEY": venue.key, f"{family}_SECRET": venue.secret}
    done = await asyncio.to_thread(
        quantd, tmp_path, "doctor", "--venue", name, *options, "--record", "answers",
        "--set", f"broker.url={venue.url}", "--json", env={f"QUANTD_{key}": value for key, value in keys.items()},
    )  # fmt: skip
    await venue.stop()
    checks = json.loads(done.stdout)["checks"]
    assert checks[-1]["name"] == "record", checks
    files = sorted((tmp_path / "answers").iterdir())
    assert checks[-1]["text"].startswith(f"{len(files)} answers in answers; ")
    text = "".join(path.read_text() for path in files)
    for secret in (*keys.values(), "99887766"):
        assert secret not in text
    seen = await read_back(tmp_path / "answers")
    assert seen.unread == []
    assert len(set(seen.decoded)) >= 3, seen.decoded


def one_answer(folder: Path, path: str, body: object) -> Path:
    row = {"venue": "alpaca", "method": "GET", "path": path, "status": 200, "body": body}
    folder.mkdir()
    (folder / "1.json").write_text(json.dumps(row))
    return folder


async def test_recorded_answers_are_decoded_and_another_form_is_named(tmp_path: Path) -> None:
    clock = {"timestamp": "2026-11-27T10:00:00-05:00", "is_open": True, "next_open": "", "next_close": ""}
    for folder in (one_answer(tmp_path / "good", "/v2/clock", clock), *FOLDERS):
        seen = await read_back(folder)
        assert seen.unread == []
        assert seen.decoded
    seen = await read_back(one_answer(tmp_path / "bad", "/v2/clock", {"timestamp": 5}))
    (fault,) = seen.unread
    assert "/v2/clock" in fault


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--record", "new"), "name it with --venue"),
        (("--venue", "alpaca", "--record", "."), "it has config.toml; name a new or an empty folder"),
    ],
)
def test_what_is_asked_wrong_is_refused_with_its_remedy(tmp_path: Path, options: tuple[str, ...], text: str) -> None:
    (tmp_path / "config.toml").write_text("")
    done = quantd(tmp_path, "doctor", *options)
    assert done.returncode != 0
    assert text in done.stdout + done.stderr
