"""A whole daemon with a gateway that is killed: one order for an id, the same id after the restart."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, QueryOrderStatus, TimeInForce
from alpaca.trading.requests import GetOrdersRequest, MarketOrderRequest

from quantd.adapters.store.handle import read_only
from tests.support.command_line import CONFIG, environment, quantd, with_calendar, write
from tests.support.sockets import free_port

PACED = (
    CONFIG.replace('pace = "fast"', 'pace = "2/s"')
    .replace('at_end = "stop"', 'at_end = "wait"')
    .replace("end = 2019-03-29", "end = 2021-03-31")
)


def started(folder: Path, *options: str) -> subprocess.Popen[str]:
    with (folder / "said").open("a") as said:
        command = [sys.executable, "-m", "quantd.daemon.cli", "run", "--quiet", *options]
        return subprocess.Popen(command, cwd=folder, env=environment(), stdout=said, stderr=said, text=True)


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


@pytest.mark.long
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
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


def stopped(daemon: subprocess.Popen[str]) -> None:
    daemon.send_signal(signal.SIGTERM)
    daemon.wait(30)


@pytest.mark.long
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
