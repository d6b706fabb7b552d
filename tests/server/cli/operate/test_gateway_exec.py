"""`quantd agent add --gateway` and `quantd gateway exec`: a program with keys of its own trades through the gateway."""

import os
import re
import shlex
import signal
import stat
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from alpaca.trading.client import TradingClient

from quantd.server import gateway
from tests.support.command_line import CONFIG, answer, environment, quantd, with_calendar, write
from tests.support.sockets import free_port

PACED = (
    CONFIG.replace('pace = "fast"', 'pace = "2/s"')
    .replace('at_end = "stop"', 'at_end = "wait"')
    .replace("end = 2019-03-29", "end = 2021-03-31")
    .replace("max_position_weight = 0.25", "max_position_weight = 0.9")  # whatever the other agents hold by then
)

BOT = '''
"""A program as it is: keys of its own in its text, and no address."""
import sys
import time

from alpaca.common.exceptions import APIError
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.requests import StockLatestTradeRequest
from alpaca.trading.client import TradingClient
from alpaca.trading.requests import MarketOrderRequest
from alpaca.trading.stream import TradingStream

client = TradingClient("AKREALKEY", "a-real-secret", paper=False)
data = StockHistoricalDataClient("AKREALKEY", "a-real-secret")
assert TradingStream("AKREALKEY", "x")._endpoint.startswith("ws://127.0.0.1:")
assert (client._api_key, client._secret_key != "a-real-secret") == ("bot", True)
while True:
    try:
        price = data.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="SPY"))["SPY"].price
        order = client.submit_order(MarketOrderRequest(symbol="SPY", qty=2, side="buy", time_in_force="day"))
        break
    except APIError as why:
        if why.status_code not in (404, 422, 429):
            raise
        time.sleep(0.1)
print("asked", client._base_url, price, order.id, sys.argv[1:], flush=True)
while client.get_order_by_id(order.id).status.value != "filled":
    time.sleep(0.1)
print("filled", [position.symbol for position in client.get_all_positions()], flush=True)
if sys.argv[1] == "wait":
    time.sleep(60)
sys.exit(int(sys.argv[1]))
'''


@contextmanager
def trading(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A daemon on the configuration of `folder` whose market goes on."""
    command = [sys.executable, "-m", "quantd.daemon.cli", "run", "--quiet"]
    with (folder / "said").open("a") as said:
        daemon = subprocess.Popen(command, cwd=folder, env=environment(), stdout=said, stderr=said, text=True)
        try:
            yield daemon
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(30)


def answers(port: int, name: str, secret: str) -> None:
    """Wait until the gateway answers."""
    until_s = time.monotonic() + 60
    while True:
        try:
            TradingClient(name, secret, url_override=f"http://127.0.0.1:{port}").get_account()
            return
        except OSError:
            assert time.monotonic() < until_s
            time.sleep(0.2)


def priced(folder: Path) -> None:
    """Wait until a run has closed a session, after which its agents order."""
    until_s = time.monotonic() + 30
    while (shown := quantd(folder, "status", "--json")).returncode or not answer(shown).get("fills"):
        assert time.monotonic() < until_s
        time.sleep(0.1)


# a process of its own, because the program takes the place of the command
def executed(folder: Path, *words: str) -> "subprocess.Popen[str]":
    line = [sys.executable, "-m", "quantd.daemon.cli", "gateway", "exec", *words]
    return subprocess.Popen(
        line, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def refused(folder: Path, code: int, text: str, *program: str) -> None:
    done = executed(folder, "--", *program)
    said, faults = done.communicate(timeout=60)
    assert (done.returncode, said, text in " ".join(faults.split())) == (code, "", True), faults


@pytest.mark.long
def test_a_program_with_keys_of_its_own_trades_the_book_of_the_agent(tmp_path: Path) -> None:
    write(tmp_path, PACED)
    with_calendar(tmp_path)
    (tmp_path / "my_bot.py").write_text(BOT)
    added = quantd(tmp_path, "agent", "add", "bot", "--share", "0.1", "--gateway")
    assert added.returncode == 0, added.stderr
    port = tomllib.loads((tmp_path / "config.toml").read_text())["gateway"]["port"]
    assert f"[gateway] is new, at port {port}" in added.stdout
    secret = (tmp_path / "bot.token").read_text().strip()
    assert stat.S_IMODE((tmp_path / "bot.token").stat().st_mode) == 0o600
    assert secret not in added.stdout
    refused(tmp_path, 1, "no gateway answers at", sys.executable, "my_bot.py", "0")
    with trading(tmp_path):
        answers(port, "bot", secret)
        done = executed(tmp_path, "--", sys.executable, "my_bot.py", "7")
        said, faults = done.communicate(timeout=120)
        assert done.returncode == 7, faults
        assert said.startswith(f"asked http://127.0.0.1:{port} ")
        assert "['7']" in said
        assert "filled ['SPY']" in said
        waiting = executed(tmp_path, "--agent", "bot", "--", sys.executable, "my_bot.py", "wait")
        assert waiting.stdout is not None
        assert waiting.stdout.readline().startswith("asked")
        assert waiting.stdout.readline().startswith("filled")
        waiting.send_signal(signal.SIGTERM)
        assert waiting.wait(20) == -signal.SIGTERM
        refused(tmp_path, 78, "leave -I out", sys.executable, "-I", "my_bot.py")
        refused(tmp_path, 78, "leave -uE out", sys.executable, "-uE", "my_bot.py")
        refused(tmp_path, 78, "there is no program nothing", "nothing")
        # the line in the program, as it was printed
        (line,) = re.findall(r"TradingClient\(.*\)$", added.stdout, re.MULTILINE)
        assert eval(line, {"TradingClient": TradingClient}).get_account().status.value == "ACTIVE"
        (shell,) = re.findall(r"(APCA_API_BASE_URL=.*)$", added.stdout, re.MULTILINE)
        script = 'test "$APCA_API_BASE_URL $APCA_API_KEY_ID $APCA_API_SECRET_KEY" = "$0"'
        asked = shlex.join(["sh", "-c", script, f"http://127.0.0.1:{port} bot {secret}"])
        assert subprocess.run(f"{shell} {asked}", shell=True).returncode == 0
        wrong = tmp_path / "bot.token"
        wrong.write_text("another")
        refused(tmp_path, 1, "does not know the token bot", "true")


@pytest.mark.long
def test_a_running_daemon_gets_its_gateway_with_the_agent(tmp_path: Path) -> None:
    write(tmp_path, PACED.replace("capital = 0.5", "capital = 0.3") + "[portfolios]\nplaces = 1\n")
    with_calendar(tmp_path)
    with trading(tmp_path):
        priced(tmp_path)
        added = quantd(tmp_path, "agent", "add", "bot", "--share", "0.1", "--gateway")
        assert added.returncode == 0, added.stderr
        assert "restarted by itself" in added.stdout
        port = tomllib.loads((tmp_path / "config.toml").read_text())["gateway"]["port"]
        answers(port, "bot", (tmp_path / "bot.token").read_text().strip())
        priced(tmp_path)
        placed = quantd(tmp_path, "agent", "add", "second", "--share", "0.1", "--gateway")
        assert placed.returncode == 0, placed.stderr
        assert "nothing restarts" in placed.stdout
        assert "--agent second -- python my_bot.py" in placed.stdout
        at_once = executed(tmp_path, "--agent", "second", "--", "sh", "-c", "exit 5")
        assert (at_once.communicate(timeout=60)[1], at_once.returncode) == ("", 5)
        refused(tmp_path, 78, "choose with --agent NAME", "true")


@pytest.mark.parametrize(
    ("config", "words", "text"),
    [
        ("", (), "has no table [gateway]"),
        ("[gateway]\nport = PORT\n", (), "has no file NAME.token"),
        ("[gateway]\nport = PORT\n", ("--agent", "bot"), "quantd agent add bot --gateway"),
    ],
)
def test_what_cannot_start_says_what_is_missing(tmp_path: Path, config: str, words: tuple[str, ...], text: str) -> None:
    write(tmp_path, CONFIG + config.replace("PORT", str(free_port())))
    done = executed(tmp_path, *words, "--", "true")
    faults = done.communicate(timeout=60)[1]
    assert (done.returncode, text in " ".join(faults.split())) == (78, True), faults


def test_the_sitecustomize_of_the_program_itself_is_imported_too(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.own_site = True\n")
    (tmp_path / "bot.py").write_text(
        "import sys\nfrom alpaca.trading.client import TradingClient\n"
        "print(sys.own_site, TradingClient('a', 'b')._base_url)\n"
    )
    path = f"{Path(gateway.__file__).parent / 'clients'}:{tmp_path}"
    values = {"APCA_API_BASE_URL": "http://127.0.0.1:1", "APCA_API_KEY_ID": "k", "APCA_API_SECRET_KEY": "s"}
    done = subprocess.run(
        [sys.executable, "bot.py"], cwd=tmp_path, env=os.environ | values | {"PYTHONPATH": path},
        capture_output=True, text=True,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("True http://127.0.0.1:1\n", "")
