"""A whole daemon with a gateway: killed, it has one order for an id; and the programs of examples/gateway trade there.

alpaca-trade-api and lumibot need other versions of packages than quantd does. Their tests run where the environment
names a Python that has them.
"""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
import pytest
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, QueryOrderStatus, TimeInForce
from alpaca.trading.requests import GetOrdersRequest, MarketOrderRequest

from quantd.adapters.store.handle import read_only
from tests.server.answering_daemon import paced, priced, started, trading
from tests.support.checkout import ROOT
from tests.support.command_line import environment, quantd, with_calendar, write
from tests.support.sockets import free_port

PACED = paced("2/s")

UNLIMITED = PACED.replace(
    "max_position_weight = 0.9\nmax_drawdown = 0.25\nvar = { limit = 0.03 }", 'profile = "research"'
)
"""The same without limits on one position, which the other agents would fill."""


def asked(what: Any, *given: Any, within_s: float = 60.0) -> Any:
    """The answer of a request, once the daemon is there and has a price."""
    until_s = time.monotonic() + within_s
    while True:
        try:
            return what(*given)
        except (OSError, APIError) as why:
            if isinstance(why, APIError) and why.status_code not in (429, None):
                raise
            if time.monotonic() > until_s:
                raise
        time.sleep(0.2)


def stopped(daemon: "subprocess.Popen[bytes]") -> None:
    daemon.send_signal(signal.SIGTERM)
    daemon.wait(30)


@pytest.mark.slow
def test_a_client_id_stays_used_over_fresh_and_carried_runs_of_an_account(tmp_path: Path) -> None:
    port = free_port()
    write(tmp_path, PACED + f"[gateway]\nport = {port}\n")
    with_calendar(tmp_path)
    assert quantd(tmp_path, "agent", "add", "bot", "--share", "0.1").returncode == 0
    secret = (tmp_path / "bot.token").read_text().strip()
    client = TradingClient("bot", secret, url_override=f"http://127.0.0.1:{port}")
    sent: dict[str, Any] = {}

    def send(name: str) -> Any:
        order = MarketOrderRequest(
            symbol="SPY", qty=2, side=OrderSide.BUY, time_in_force=TimeInForce.DAY, client_order_id=name
        )
        return asked(client.submit_order, order)

    def known() -> None:
        for name, order in sent.items():
            assert asked(client.get_order_by_client_id, name).id == order.id
            assert asked(client.get_order_by_id, order.id).symbol == "SPY"
            with pytest.raises(APIError) as used:
                send(name)
            assert (used.value.status_code, used.value.code) == (422, 40010001)
            assert str(order.id) in used.value.message

    daemon = started(tmp_path)
    try:
        account = asked(client.get_account).id
        sent["first"] = send("first")
        for options, name in ((("--fresh",), "second"), (("--carry",), "third"), ((), "fourth")):
            stopped(daemon)
            if options == ("--carry",):  # another agent, so that the account goes into a new run
                added = quantd(tmp_path, "agent", "add", "other", "--share", "0.1")
                assert added.returncode == 0, added.stderr
            daemon = started(tmp_path, *options)
            assert asked(client.get_account).id == account
            sent[name] = send(name)
            known()
        runs = read_only(tmp_path / "state").runs()
        assert [run.ended for run in runs] == ["--fresh", f"carried into {runs[2].run}", ""]
        listed = asked(client.get_orders, GetOrdersRequest(status=QueryOrderStatus.ALL))
        assert {order.client_order_id: order.id for order in listed} == {n: order.id for n, order in sent.items()}
    finally:
        stopped(daemon)


def shown(order: Any) -> tuple[Any, ...]:
    """What a program may not see change once an order is filled."""
    return (
        order.id,
        order.symbol,
        order.qty,
        order.filled_qty,
        order.filled_avg_price,
        order.filled_at,
        order.created_at,
    )


@pytest.mark.parametrize("rounds", [pytest.param(4, marks=pytest.mark.long), pytest.param(50, marks=pytest.mark.slow)])
def test_kills_between_post_fill_and_answer_leave_one_order_for_each_id(tmp_path: Path, rounds: int) -> None:
    """A program that lost the answer sends its order again: it is taken once, with the id and the fills it had."""
    port, rng = free_port(), random.Random(rounds)
    write(tmp_path, UNLIMITED + f"[gateway]\nport = {port}\n")
    with_calendar(tmp_path)
    assert quantd(tmp_path, "agent", "add", "bot", "--share", "0.3").returncode == 0
    secret = (tmp_path / "bot.token").read_text().strip()
    client = TradingClient("bot", secret, url_override=f"http://127.0.0.1:{port}")
    filled: dict[str, tuple[Any, ...]] = {}
    answers: Counter[str] = Counter()
    daemon = started(tmp_path)
    try:
        for n in range(rounds):
            name, symbol = f"order {n}", ("SPY", "QQQ", "IWM")[n % 3]
            order = MarketOrderRequest(
                symbol=symbol, qty=1, side=OrderSide.BUY, time_in_force=TimeInForce.DAY, client_order_id=name
            )
            asked(client.get_account)
            with ThreadPoolExecutor(1) as pool:
                sending = pool.submit(client.submit_order, order)
                # before the answer; before the fill; about the fill, which comes with the next bar
                time.sleep(rng.uniform(*((0.0, 0.012), (0.01, 0.4), (0.3, 0.9))[n % 3]))
                daemon.send_signal(signal.SIGKILL if n % 2 else signal.SIGTERM)
                try:
                    first = sending.result(60)
                except OSError:
                    first = None
            daemon.wait(30)
            daemon = started(tmp_path)
            asked(client.get_account)
            try:
                again = asked(client.submit_order, order)  # as a program does that lost the answer
                answers["taken again" if first is None else "twice"] += 1
            except APIError as used:
                if (used.status_code, used.code) != (422, 40010001):
                    raise
                again = asked(client.get_order_by_client_id, name)
                answers["was there" if first is None else "answered"] += 1
            assert first is None or first.id == again.id
            for known, was in filled.items():
                assert shown(asked(client.get_order_by_client_id, known)) == was
            for each in asked(client.get_orders, GetOrdersRequest(status=QueryOrderStatus.CLOSED, limit=500)):
                filled.setdefault(each.client_order_id, shown(each))
        until_s = time.monotonic() + 60
        while asked(client.get_orders) and time.monotonic() < until_s:
            time.sleep(0.2)
        listed = asked(client.get_orders, GetOrdersRequest(status=QueryOrderStatus.ALL, limit=500))
        assert sorted(order.client_order_id for order in listed) == sorted(f"order {n}" for n in range(rounds))
        assert {order.status.value for order in listed} == {"filled"}, (tmp_path / "log.txt").read_text()
        fills = [row for page in pages(client) for row in page]
        assert Counter(row["order_id"] for row in fills) == Counter(str(order.id) for order in listed)
        held = {position.symbol: float(position.qty) for position in asked(client.get_all_positions)}
        assert held == Counter(("SPY", "QQQ", "IWM")[n % 3] for n in range(rounds))
        assert not answers["twice"], answers
        print(dict(answers))  # noqa: T201 - the counts are what a long run reports
    finally:
        stopped(daemon)


def pages(client: TradingClient) -> Iterator[list[dict[str, Any]]]:
    """The pages of the executions of a program."""
    token: dict[str, str] = {}
    while page := asked(client.get, "/account/activities/FILL", {"direction": "asc", **token}):
        yield page
        token = {"page_token": page[-1]["id"]}


PROGRAMS = ROOT / "examples" / "gateway"


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Path]:
    """The folder of a daemon with an agent `bot`, whose market goes on."""
    write(tmp_path, paced("5/s") + f"[gateway]\nport = {free_port()}\n")
    with_calendar(tmp_path)
    assert quantd(tmp_path, "agent", "add", "bot", "--share", "0.2").returncode == 0
    file = tmp_path / "config.toml"
    file.write_text(file.read_text().replace("limits = { order", "limits = { max_position_weight = 0.5, order"))
    with trading(tmp_path):
        priced(tmp_path)
        yield tmp_path


def said(folder: Path, *program: str) -> str:
    """What a program prints under `quantd gateway exec`."""
    command = [sys.executable, "-m", "quantd.daemon.cli", "gateway", "exec", "--", *program]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def python_with(package: str, variable: str) -> str:
    """A Python with a package, which the environment names. Skips the test without one."""
    if not (found := os.environ.get(variable)):
        pytest.skip(f"{package} needs other versions of packages than quantd: name a Python that has it in {variable}")
    return found


@pytest.mark.long
def test_a_program_on_alpaca_py(bot: Path) -> None:
    text = said(bot, sys.executable, str(PROGRAMS / "with_alpaca_py.py"))
    assert re.search(r"^at most \d+ of \d+ (SPY|QQQ|IWM) would pass now", text, re.MULTILINE), text
    assert re.search(r"^bought \d+ (SPY|QQQ|IWM) at \d+", text, re.MULTILINE), text


@pytest.mark.slow
def test_a_notebook_on_alpaca_py(bot: Path) -> None:
    text = (PROGRAMS / "with_alpaca_py.py").read_text()
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text)])
    nbformat.write(notebook, bot / "bot.ipynb")
    said(bot, sys.executable, "-m", "jupyter", "execute", "--inplace", "bot.ipynb")
    cells = nbformat.read(bot / "bot.ipynb", 4).cells
    printed = "".join(output.get("text", "") for cell in cells for output in cell.outputs)
    assert re.search(r"^bought \d+ (SPY|QQQ|IWM) at \d+", printed, re.MULTILINE), printed


@pytest.mark.long
def test_a_program_on_alpaca_trade_api(bot: Path) -> None:
    python = python_with("alpaca-trade-api", "QUANTD_PYTHON_OF_ALPACA_TRADE_API")
    text = said(bot, python, str(PROGRAMS / "with_alpaca_trade_api.py"))
    assert "fill buy SPY ['2']" in text
    assert "refused: at most" in text
    assert "fill sell SPY []" in text


@pytest.mark.long
def test_the_broker_of_lumibot(bot: Path) -> None:
    text = said(bot, python_with("lumibot", "QUANTD_PYTHON_OF_LUMIBOT"), str(PROGRAMS / "with_lumibot.py"))
    assert re.search(r"^bought 2.* at \d+", text, re.MULTILINE), text
    assert "holds [('SPY', '2')]" in text
    assert re.search(r"^last price \d+", text, re.MULTILINE), text


@pytest.mark.long
@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_an_order_has_one_id_over_the_end_of_the_daemon(tmp_path: Path, how: signal.Signals) -> None:
    port = free_port()
    write(tmp_path, PACED + f"[gateway]\nport = {port}\n")
    with_calendar(tmp_path)
    added = quantd(tmp_path, "agent", "add", "bot", "--share", "0.1")
    assert added.returncode == 0, added.stderr
    secret = (tmp_path / "bot.token").read_text().strip()
    client = TradingClient("bot", secret, url_override=f"http://127.0.0.1:{port}")
    daemon = started(tmp_path)
    try:
        asked(client.get_account)
        order = MarketOrderRequest(
            symbol="SPY", qty=2, side=OrderSide.BUY, time_in_force=TimeInForce.DAY, client_order_id="only"
        )
        sent = asked(client.submit_order, order)
        daemon.send_signal(how)
        daemon.wait(30)
        daemon = started(tmp_path)
        again = asked(client.get_order_by_client_id, "only")
        assert again.id == sent.id
        with pytest.raises(APIError) as used:
            asked(client.submit_order, order)
        assert (used.value.status_code, used.value.code) == (422, 40010001)
        until_s = time.monotonic() + 30
        while (now := asked(client.get_order_by_id, sent.id)).status.value != "filled" and time.monotonic() < until_s:
            time.sleep(0.2)
        assert (now.status.value, float(now.filled_qty)) == ("filled", 2.0), (tmp_path / "said").read_text()
        assert [float(position.qty) for position in asked(client.get_all_positions)] == [2.0]
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(30)
