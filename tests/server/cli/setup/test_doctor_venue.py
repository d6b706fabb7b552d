"""`quantd doctor --venue`: the account by queries, and orders of a run of its own at the venue's test network."""

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from quantd.adapters.feeds.table_files.actions import ACTIONS
from quantd.server.cli.setup.venue_trial import ACTIONS_FILE, config_text
from tests.proofs.conformance.rigs.binance import MARKETS
from tests.proofs.conformance.rigs.ccxt import ASSETS
from tests.proofs.live_exchange import PAIRS
from tests.support.checkout import ROOT
from tests.support.command_line import environment, quantd
from tests.support.recorded_answers import read_back
from tests.support.venues import binance, bybit, kraken
from tests.support.venues.alpaca import AlpacaServer
from tests.support.venues.alpaca_data import KEY, SECRET, AlpacaData, minutes
from tests.support.venues.binance import Exchange, Market
from tests.support.venues.ibkr import Gateway
from tests.support.venues.ibkr_data import DataGateway, days

KEYS = {"QUANTD_ALPACA_KEY": KEY, "QUANTD_ALPACA_SECRET": SECRET}
PRICE = 90_000.0


@asynccontextmanager
async def venue_and_data() -> AsyncIterator[tuple[AlpacaServer, tuple[str, ...]]]:
    """The venue and its bars of minutes, and the options that lead to both."""
    venue, data = AlpacaServer(key=KEY, secret=SECRET, cash="100000"), AlpacaData()
    venue.book.auto = True
    await venue.start()
    venue.list("BTC/USD", f"{PRICE:.2f}")
    data.crypto["BTC/USD"] = minutes(PRICE, 3200, 30)
    runner = web.AppRunner(data.app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    feed = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield venue, ("--set", f"broker.url={venue.url}", "--set", f"feed.url={feed}", "--json")
    finally:
        await venue.stop()
        await runner.cleanup()


Made = tuple[int, list[tuple[str, bool | None, str]]]
"""The exit code, and of each check its name, result and text."""


class BinanceWithBars(Exchange):
    """The exchange with a bar for every minute up to now."""

    def _signed(self, key: str, query: str, fields: dict[str, str]) -> None:
        if "signature" in fields:  # bars are for everybody
            super()._signed(key, query, fields)

    def _get_klines(self, fields: dict[str, str]) -> list[list[object]]:
        minute = 60_000
        first, newest = -(-int(fields["startTime"]) // minute), int(time.time() * 1000) // minute
        last = min(newest, first + int(fields.get("limit", "500")) - 1)
        return [
            [k * minute, *(f"{PRICE + k % 7 + d:.2f}" for d in (0, 1, -1, 0)), "12.5", (k + 1) * minute - 1, "1", 3,
             "1", "1", "0"]
            for k in range(first, last + 1)
        ]  # fmt: skip


@pytest.mark.slow
async def test_the_lot_is_the_exchange_s_own_and_its_order_is_cancelled(tmp_path: Path) -> None:
    pytest.importorskip("ccxt")
    exchange = BinanceWithBars([Market("BTC", "USDT", "0.01", "0.00001", "0.00001", "5")], time.time_ns)
    exchange.balances = {"USDT": Decimal(10_000)}
    await exchange.start()
    keys = {"QUANTD_CCXT_KEY": exchange.key, "QUANTD_CCXT_SECRET": exchange.secret}
    options = ("--set", f"broker.url={exchange.url}", "--set", f"feed.url={exchange.url}", "--json")
    code, checks = await doctor(tmp_path, *options, "--symbol", "BTC/USDT", "--order", name="binance", keys=keys)
    await exchange.stop()
    assert code == 0, checks
    assert [name for name, ok, _ in checks if ok][6:] == ["order", "list", "cancel", "stream", "books"]
    (order,) = exchange.orders.values()
    assert (order.status, order.filled) == ("CANCELED", 0)
    assert 25 <= order.qty * Decimal(PRICE) < 26


async def doctor(folder: Path, *options: str, name: str = "alpaca", keys: dict[str, str] = KEYS) -> Made:
    """A program of its own, as a daemon takes the signals of its process; (exit code, its checks)."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "quantd.daemon.cli", "doctor", "--venue", name, *options, cwd=folder,
        env=environment() | keys, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert not err, err.decode()
    return checked(int(process.returncode or 0), out.decode())


def checked(code: int, out: str) -> Made:
    """The exit code and the checks of a document."""
    return code, [(check["name"], check["ok"], check["text"]) for check in json.loads(out)["checks"]]


async def queries(folder: Path, *options: str, name: str = "alpaca", keys: dict[str, str] = KEYS) -> Made:
    """The doctor in a thread of this process, where it comes to no order; (exit code, its checks)."""
    done = await asyncio.to_thread(quantd, folder, "doctor", "--venue", name, *options, env=keys)
    assert not done.stderr, done.stderr
    return checked(done.returncode, done.stdout)


@pytest.mark.long
async def test_an_order_far_away_and_the_smallest_round_trip_leave_the_account_as_it_was(tmp_path: Path) -> None:
    async with venue_and_data() as (venue, options):
        venue.book.positions["BTC/USD"] = Decimal(2)  # of its owner
        venue.misbehave("500 after", "submit")  # the first answer is lost: the order is looked up
        code, checks = await doctor(tmp_path, *options, "--order", "--fill")
        assert [name for name, ok, _ in checks if ok is not True] == [], checks
        assert code == 0
        assert [name for name, _, _ in checks[6:]] == ["order", "list", "cancel", "stream", "buy", "sell", "books"]
        orders = list(venue.book.orders.values())
        assert [(order.side, order.status) for order in orders] == [
            ("buy", "canceled"), ("buy", "filled"), ("sell", "filled"),
        ]  # fmt: skip
        assert orders[0].limit == Decimal(72_000)
        assert all(25 <= order.qty * Decimal(PRICE) < 50 for order in orders)
        assert venue.book.positions == {"BTC/USD": 2}
        assert not os.listdir(tmp_path), "its run leaves nothing here"


@pytest.mark.slow
async def test_an_order_that_the_venue_never_ends_is_named_with_the_way_out(tmp_path: Path) -> None:
    async with venue_and_data() as (venue, options):
        venue.misbehave("503", "cancel", 10_000)
        code, checks = await doctor(tmp_path, *options, "--order")
        assert code == 1
        order = next(iter(venue.book.orders.values()))
        assert order.open
        name, ok, text = checks[-1]
        assert (name, ok) == ("books", False)
        assert text.startswith(f"{order.client_id} may be open at the venue; cancel all orders of the account: ")
        assert text.endswith("quantd emergency --venue alpaca --cancel-all")


async def test_with_money_and_without_an_asked_order_the_venue_gets_queries_alone(tmp_path: Path) -> None:
    async with venue_and_data() as (venue, options):
        for more, tried in (((), None), (("--live", "--order", "--fill"), "four permissions")):
            code, checks = await queries(tmp_path, *options, *more)
            assert code == 0
            assert [name for name, ok, _ in checks if ok] == [
                "keys", "account", "currency", "clock", "universe", "withdrawal",
            ]  # fmt: skip
            assert [tried in text for _, ok, text in checks if ok is None] == ([True] if tried else [])
        assert venue.book.orders == {}


async def test_the_addresses_are_those_of_a_configuration_that_trades_at_the_venue(tmp_path: Path) -> None:
    async with venue_and_data() as (venue, options):
        text = config_text("alpaca", "BTC/USD", "0.0001")
        for address in (option for option in options if ".url=" in option):
            section, _, url = address.partition(".url=")
            text = text.replace(f"[{section}]", f'[{section}]\nurl = "{url}"')
        (tmp_path / "mine.toml").write_text(text)
        (tmp_path / ACTIONS_FILE).write_text(",".join(ACTIONS) + "\n")
        code, checks = await queries(tmp_path, "-c", "mine.toml", "--json")
        assert (code, "account" in [name for name, ok, _ in checks if ok]) == (0, True)
        assert venue.book.orders == {}


async def test_no_order_is_tried_where_a_check_of_the_account_failed(tmp_path: Path) -> None:
    async with venue_and_data() as (venue, options):
        venue.key = "another"
        code, checks = await queries(tmp_path, *options, "--order")
        assert code == 1
        assert checks[-1] == ("order", None, "not tried: a check of the account failed")
        assert venue.book.orders == {}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--order",), "name it with --venue"),
        (("--venue", "paper"), 'venue "paper" sends orders to nobody'),
        (("--venue", "alpca"), "--venue alpca is no venue of quantd: Did you mean alpaca?"),
        (("--venue", "krakn"), "Did you mean kraken?"),
        (("--venue", "nyse"), "write one of alpaca, binance, "),
        (("--venue", "kraken"), "needs --live"),
    ],
)
def test_what_is_asked_wrong_is_refused_with_its_remedy(tmp_path: Path, options: tuple[str, ...], text: str) -> None:
    done = quantd(tmp_path, "doctor", *options)
    assert done.returncode != 0
    assert text in done.stdout + done.stderr


@pytest.mark.long
async def test_the_account_behind_a_gateway_is_checked(tmp_path: Path) -> None:
    pytest.importorskip("ib_async")
    gateway = DataGateway()
    gateway.cash = Decimal(25000)
    await gateway.start()
    gateway.add("SPY", "400.00")
    today = datetime.now(UTC).date()
    gateway.tape["SPY"] = days(today - timedelta(days=9), 5)
    options = ("--set", f"broker.url={gateway.url}", "--symbol", "SPY", "--json")
    code, checks = await queries(tmp_path, *options, name="ibkr", keys={"QUANTD_IBKR_ACCOUNT": gateway.account})
    assert code == 0, checks
    assert ("account", True, "responds; 25000.00 USD in cash, 0 positions") in checks
    (name, ok, text) = checks[-1]
    assert (name, ok) == ("bars", True)
    assert re.fullmatch(r"5 days of SPY, the newest 20\d\d-\d\d-\d\d", text)
    gateway.denied["SPY"] = (354, "Requested market data is not subscribed.")
    code, checks = await doctor(tmp_path, *options, name="ibkr", keys={"QUANTD_IBKR_ACCOUNT": gateway.account})
    assert code == 0
    assert checks[-1][1] is None
    assert "Requested market data is not subscribed. (code 354)" in checks[-1][2]
    gateway.accounts = ["U7654321"]
    code, checks = await queries(tmp_path, *options, name="ibkr", keys={"QUANTD_IBKR_ACCOUNT": "U7654321"})
    assert code != 0
    assert "U7654321 has money, and mode is not live" in checks[-1][2]
    await gateway.stop()
    code, checks = await queries(tmp_path, *options, name="ibkr", keys={"QUANTD_IBKR_ACCOUNT": gateway.account})
    assert code != 0
    assert "the gateway at 127.0.0.1" in checks[-1][2]
    assert gateway.orders == []


@pytest.mark.slow
async def test_a_run_of_its_own_trades_through_a_gateway_and_its_books_are_equal(tmp_path: Path) -> None:
    """The daemon with its own configuration, in mode paper. The bars are of a pair, because they never pause."""
    pytest.importorskip("ib_async")
    gateway, data = await Gateway(cash="25000").start(), AlpacaData()
    gateway.add("BTC/USD", f"{PRICE:.2f}")
    gateway.auto = True
    gateway.misbehave("answer lost", "submit")  # the first order: it is there, and nobody hears of it
    data.crypto["BTC/USD"] = minutes(PRICE, 3200, 30)
    runner = web.AppRunner(data.app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    feed = f"http://127.0.0.1:{runner.addresses[0][1]}"
    options = ("--set", f"broker.url={gateway.url}", "--set", "feed.kind=alpaca", "--set", f"feed.url={feed}", "--json")
    keys = KEYS | {"QUANTD_IBKR_ACCOUNT": gateway.account}
    code, checks = await doctor(tmp_path, *options, "--symbol", "BTC/USD", "--order", "--fill", name="ibkr", keys=keys)
    await gateway.stop()
    await runner.cleanup()
    assert code == 0, checks
    assert [name for name, ok, _ in checks if ok][6:] == [
        "order",
        "list",
        "cancel",
        "stream",
        "buy",
        "sell",
        "books",
    ], checks
    assert len({order.ref for order in gateway.orders}) == len(gateway.orders)
    assert sorted(order.status for order in gateway.orders) == ["Cancelled", "Filled", "Filled"]
    assert gateway.positions == {"BTC/USD": 0}


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
def test_a_recording_that_is_asked_wrong_is_refused_with_its_remedy(
    tmp_path: Path, options: tuple[str, ...], text: str
) -> None:
    (tmp_path / "config.toml").write_text("")
    done = quantd(tmp_path, "doctor", *options)
    assert done.returncode != 0
    assert text in done.stdout + done.stderr
