"""`quantd emergency` as its user meets it: the real program at wire-level servers, with keys and nothing else."""

import asyncio
import json
import os
import pty
import re
import subprocess
import sys
import time
from dataclasses import replace
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.proofs.conformance.rigs.ccxt import ASSETS, MARKETS
from tests.support.checkout import ROOT
from tests.support.command_line import Done, program, quantd
from tests.support.running_server import running_server
from tests.support.venues import binance
from tests.support.venues.alpaca import AlpacaServer, listed
from tests.support.venues.ibkr import Gateway
from tests.support.venues.kraken import Exchange

PAGE = (ROOT / "docs/operate/emergency.md").read_text()
ALL = ("emergency", "--venue", "alpaca", "--cancel-all")
crypto = pytest.mark.skipif(find_spec("ccxt") is None, reason="the extra ccxt is not installed")


@running_server
def venue() -> AlpacaServer:
    server = listed(SPY="400.00", TSLA="200.00")
    server.book.auto = True
    server.book.positions |= {"SPY": Decimal(12), "TSLA": Decimal(-5)}
    order = {"symbol": "SPY", "qty": "10", "side": "buy", "type": "limit", "time_in_force": "gtc"}
    server.book.place(order | {"limit_price": "100.00"})
    return server


def keys(server: AlpacaServer) -> dict[str, str]:
    return {"QUANTD_ALPACA_KEY": server.key, "QUANTD_ALPACA_SECRET": server.secret}


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Each file and folder with its size and time of change."""
    return {str(p.relative_to(folder)): (p.stat().st_size, p.stat().st_mtime_ns) for p in folder.rglob("*")}


async def inside(folder: Path, server: AlpacaServer, *more: str, env: dict[str, str] | None = None) -> Done:
    env = keys(server) if env is None else env
    return await asyncio.to_thread(quantd, folder, *ALL, "--url", server.url, *more, env=env)


async def outside(folder: Path, *arguments: str, env: dict[str, str], **how: Any) -> Done:
    """The program as a process of its own, without a terminal unless `stdin` is one."""
    return await asyncio.to_thread(program, folder, *arguments, env=env, **{"stdin": subprocess.DEVNULL} | how)


def untouched(server: AlpacaServer) -> bool:
    return server.book.positions == {"SPY": 12, "TSLA": -5} and [o.open for o in server.book.orders.values()] == [True]


@pytest.mark.long
async def test_the_program_empties_the_account_and_writes_no_file(tmp_path: Path, venue: AlpacaServer) -> None:
    (order,) = venue.book.orders
    for name in ("home", "tmp", "work"):
        (tmp_path / name).mkdir()
    env = keys(venue) | {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp")}
    before = tree(tmp_path)
    done = await outside(tmp_path / "work", *ALL, "--close", "--yes", "--url", venue.url, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"cancelled: order {order}, buy 10 SPY" in done.stdout
    assert "closed: 12 SPY" in done.stdout
    assert "closed: -5 TSLA" in done.stdout
    assert done.stdout.splitlines()[-1] == "Alpaca: no open orders and no positions"
    assert venue.book.positions == {}
    assert tree(tmp_path) == before


@pytest.mark.long
async def test_in_a_pipe_without_yes_nothing_is_done(tmp_path: Path, venue: AlpacaServer) -> None:
    done = await inside(tmp_path, venue, "--close")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--yes" in done.stderr
    assert not venue.requests
    done = await outside(tmp_path, *ALL, "--url", venue.url, env=keys(venue), stdin=None, input="close\n")
    assert done.returncode == 2
    assert untouched(venue)


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize(("typed", "code"), [("PA0TEST", 0), ("close", 0), ("yes", 1), ("", 1)])
async def test_on_a_terminal_it_shows_the_account_and_asks(
    tmp_path: Path, venue: AlpacaServer, monkeypatch: pytest.MonkeyPatch, typed: str, code: int
) -> None:
    controller, terminal = pty.openpty()
    os.write(controller, f"{typed}\n".encode())
    with os.fdopen(controller, "w"), os.fdopen(terminal) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        done = await inside(tmp_path, venue, "--close")
    assert done.returncode == code, done.stderr
    assert "Alpaca, account PA0TEST" in done.stderr
    assert "buy 10 SPY" in done.stderr
    assert "would close -5 TSLA, worth -1,000.00" in done.stderr
    assert "positions worth 5,800.00 in all" in done.stderr
    assert "Type the account number PA0TEST or the word close" in done.stderr
    assert untouched(venue) is (code == 1)


async def test_a_dry_run_shows_and_does_nothing(tmp_path: Path, venue: AlpacaServer) -> None:
    done = await inside(tmp_path, venue, "--close", "--dry-run", "--yes")
    assert done.returncode == 0, done.stderr
    assert "would close 12 SPY, worth 4,800.00" in done.stdout
    document = json.loads((await inside(tmp_path, venue, "--dry-run", "--json")).stdout)
    assert document["dry_run"] is True
    assert [position["symbol"] for position in document["contents"]["positions"]] == ["SPY", "TSLA"]
    assert untouched(venue)


@pytest.mark.long
async def test_what_remains_has_a_line_and_exit_code_1(tmp_path: Path, venue: AlpacaServer) -> None:
    venue.book.auto = False
    done = await inside(tmp_path, venue, "--close", "--yes", "--timeout", "2")
    assert done.returncode == 1
    lines = [line for line in done.stdout.splitlines() if line.startswith("REMAINS: ")]
    assert len(lines) == 4
    assert any("position of -5 TSLA is still open" in line and "https://app.alpaca.markets" in line for line in lines)
    again = await inside(tmp_path, venue, "--yes", "--json")
    assert (again.returncode, json.loads(again.stdout)["done"]) == (0, True), "closing orders are orders"
    assert venue.book.positions == {"SPY": 12, "TSLA": -5}


async def test_json_is_one_document(tmp_path: Path, venue: AlpacaServer) -> None:
    done = await inside(tmp_path, venue, "--close", "--yes", "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(document) == {"venue", "dry_run", "done", "orders", "positions", "dust", "remaining"}
    assert [(o["symbol"], o["qty"], o["outcome"]) for o in document["orders"]] == [("SPY", "10", "cancelled")]
    assert {(p["symbol"], p["qty"], p["outcome"]) for p in document["positions"]} == {
        ("SPY", "12", "closed"), ("TSLA", "-5", "closed")
    }  # fmt: skip


@pytest.mark.parametrize("more", [("--yes",), ("--dry-run",), ("--close", "--yes", "--json")])
async def test_refused_keys_end_with_78_and_one_sentence(tmp_path: Path, venue: AlpacaServer, more: Any) -> None:
    done = await inside(tmp_path, venue, *more, env=keys(venue) | {"QUANTD_ALPACA_SECRET": "wrong-one"})
    assert (done.returncode, done.stdout) == (78, "")
    assert "unauthorized" in done.stderr
    assert "Check key and secret" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "wrong-one" not in done.stderr
    assert untouched(venue)


async def test_keys_come_from_systemd_credentials_too(tmp_path: Path, venue: AlpacaServer) -> None:
    (tmp_path / "alpaca_key").write_text(f"{venue.key}\n")
    (tmp_path / "alpaca_secret").write_text(f"{venue.secret}\n")
    done = await inside(tmp_path, venue, "--yes", env={"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("--venue", "alpaca", "--cancel-all", "--yes"), 78, "QUANTD_ALPACA_KEY and QUANTD_ALPACA_SECRET not set"),
        (("--venue", "kraken", "--cancel-all", "--yes"), 78, "QUANTD_CCXT_KEY and QUANTD_CCXT_SECRET not set"),
        (("--venue", "paper", "--cancel-all", "--yes"), 78, "no venue with an emergency exit"),
        (("--venue", "ccxt", "--cancel-all", "--yes"), 78, "an exchange such as kraken"),
        (("--venue", "ibkr", "--cancel-all", "--yes", "--url", "10.0.0.7:4001"), 78, "QUANTD_IBKR_ACCOUNT"),
        (("--venue", "alpaca", "--yes"), 2, "--cancel-all"),
        (("--venue", "alpaca", "--close", "--yes"), 2, "--close needs it too"),
        (("--cancel-all", "--yes"), 2, "--venue"),
        (("--venue", "alpaca", "--cancel-all", "--yes", "--url", "http://example.com"), 2, "https://"),
        (("--venue", "alpaca", "--cancel-all", "--yes", "--timeout", "0"), 2, "--timeout"),
    ],
)
def test_what_is_wrong_has_its_exit_code(tmp_path: Path, arguments: tuple[str, ...], code: int, text: str) -> None:
    done = quantd(tmp_path, "emergency", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
async def test_a_venue_that_is_away_is_one_sentence(tmp_path: Path, venue: AlpacaServer) -> None:
    await venue.down()
    shown = await inside(tmp_path, venue, "--dry-run", "--timeout", "1")
    assert shown.returncode == 1
    assert "did not give its account" in shown.stderr
    assert len(shown.stderr.splitlines()) == 1
    done = await inside(tmp_path, venue, "--close", "--yes", "--timeout", "1")
    assert done.returncode == 1
    assert done.stdout.count("REMAINS: ") == 2
    assert "could not be read" in done.stdout


@running_server
def kraken() -> Exchange:
    exchange = Exchange((replace(pair, bars=[]) for pair in MARKETS), ASSETS, time.time_ns)
    exchange.auto = True
    return exchange


async def closed(folder: Path, server: Any, name: str, key: str = "") -> Done:
    """What the command prints that closes all at an exchange."""
    env = {"QUANTD_CCXT_KEY": key or server.key, "QUANTD_CCXT_SECRET": server.secret}
    arguments = ("--venue", name, "--cancel-all", "--close", "--yes", "--url", server.url)
    return await asyncio.to_thread(quantd, folder, "emergency", *arguments, env=env)


@pytest.mark.long
@crypto
async def test_each_command_of_the_page_runs(tmp_path: Path, venue: AlpacaServer, kraken: Exchange) -> None:
    kraken.add("SOL", Decimal(7))
    env = keys(venue) | {"QUANTD_CCXT_KEY": kraken.key, "QUANTD_CCXT_SECRET": kraken.secret}
    commands = re.findall(r"^    quantd (emergency .*)$", PAGE, re.MULTILINE)
    assert len(commands) == 5
    for command in commands:
        words = command.split()
        url = kraken.url if "kraken" in words else venue.url
        asked = () if {"--yes", "--dry-run"} & set(words) else ("--yes",)
        done = await asyncio.to_thread(quantd, tmp_path, *words, *asked, "--url", url, env=env)
        assert (done.returncode, done.stderr) == (0, ""), command
    assert venue.book.positions == {}
    assert kraken.balances["SOL"] == 0


@pytest.mark.long
@crypto
@pytest.mark.parametrize("name", ["kraken", "binance"])
async def test_an_account_without_any_asset_has_nothing_to_close(tmp_path: Path, name: str, kraken: Exchange) -> None:
    server: Any = kraken
    if name == "binance":
        server = binance.Exchange([], time.time_ns)
        server.markets = {"BTCUSDT": binance.Market("BTC", "USDT", "0.01", "0.00001", "0.00001", "5")}
        server.rewrite = lambda request, text: (
            json.dumps(json.loads(text) | {"balances": []}) if request == "GET account" else text
        )
        await server.start()
    done = await closed(tmp_path, server, name)
    if name == "binance":
        await server.stop()
    assert (done.returncode, done.stderr) == (0, "")
    assert "REMAINS" not in done.stdout


@pytest.mark.long
@crypto
async def test_an_exchange_is_named_as_in_the_configuration(tmp_path: Path, kraken: Exchange) -> None:
    kraken.prices = {"SOL/USD": "150.00"}
    kraken.add("SOL", Decimal(7))
    kraken.add("XLTC", Decimal("0.01"))
    done = await closed(tmp_path, kraken, "kraken")
    assert (done.returncode, done.stderr) == (0, "")
    assert "closed: 7 SOL/USD" in done.stdout
    assert "left: 0.01 LTC/USD, less than the venue's least order of 0.04" in done.stdout
    assert kraken.balances["SOL"] == 0
    wrong = await closed(tmp_path, kraken, "kraken", "another-key")
    assert (wrong.returncode, wrong.stdout) == (78, "")
    assert "keys are refused" in wrong.stderr
    assert "another-key" not in wrong.stderr


@crypto
@pytest.mark.parametrize(
    ("more", "text"), [(("krakenn",), "Did you mean kraken"), (("kraken", "--paper"), "kraken has no sandbox")]
)
def test_an_exchange_that_does_not_exist_is_a_mistake(tmp_path: Path, more: tuple[str, ...], text: str) -> None:
    env = {"QUANTD_CCXT_KEY": "key-key", "QUANTD_CCXT_SECRET": "c2VjcmV0"}
    done = quantd(tmp_path, "emergency", "--cancel-all", "--yes", "--venue", *more, env=env)
    assert (done.returncode, done.stdout) == (78, "")
    assert text in done.stderr


@pytest.mark.long
async def test_at_a_gateway_the_orders_of_every_client_end_and_each_position_is_closed_once(tmp_path: Path) -> None:
    pytest.importorskip("ib_async")
    gateway = await Gateway(cash="100000").start()
    for symbol, price in (("SPY", "400.00"), ("TSLA", "200.00"), ("HALT", "5.00")):
        gateway.add(symbol, price)
    gateway.auto = True
    gateway.positions = {"SPY": Decimal(12), "TSLA": Decimal(-5), "HALT": Decimal(3)}
    gateway.refuse["HALT"] = 154, "Orders cannot be transmitted for a halted security."
    gateway.place("SPY", "10", "100")
    gateway.place("SPY", "-3", "500", client_id=9, order_id=3, ref="of another program")
    gateway.misbehave("answer lost", "submit")  # the order is there, and nobody hears of it
    command = ("emergency", "--venue", "ibkr", "--cancel-all", "--close", "--yes", "--paper", "--url", gateway.url)
    done = await asyncio.to_thread(
        quantd, tmp_path, *command, "--timeout", "8", env={"QUANTD_IBKR_ACCOUNT": gateway.account}
    )
    await gateway.stop()
    assert done.returncode == 1
    assert "closed: 12 SPY" in done.stdout
    assert "closed: -5 TSLA" in done.stdout
    assert "position of 3 HALT is still open" in done.stdout
    assert "halted security" in done.stdout
    assert gateway.positions == {"SPY": 0, "TSLA": 0, "HALT": 3}
    assert sorted(order.status for order in gateway.orders) == ["Cancelled", "Cancelled", "Filled", "Filled"]
