"""`quantd agent add` and `quantd gateway exec`: table, book, token and lines of a client, and programs that trade."""

import json
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
from alpaca.trading.client import TradingClient
from mcp import Client, StdioServerParameters

from quantd.server import gateway
from quantd.server.requests.tokens import stored
from tests.server.answering_daemon import paced, priced, trading
from tests.server.cli.operate.mcp_calls import AGENT_TOOLS, call
from tests.support.command_line import CONFIG, answer, begun, environment, quantd, write
from tests.support.sockets import free_port

PACED = paced("2/s")
NOTED = CONFIG.replace("capital = 0.5\n", "capital = 0.5   # half of it\n").replace("capital = 0.4", "capital = 0.5")


def client_of(folder: Path, text: str) -> Client:
    """A client that starts what `claude mcp add` would."""
    (line,) = re.findall(r"^claude mcp add \S+ -- (.*)$", text, re.MULTILINE)
    program, *arguments = shlex.split(line)
    return Client(
        StdioServerParameters(command=program, args=arguments, env=os.environ | environment(), cwd=folder.parent)
    )


@pytest.mark.long
async def test_an_agent_is_added_before_the_first_start_and_its_client_serves(tmp_path: Path) -> None:
    write(tmp_path, NOTED)
    done = quantd(tmp_path, "agent", "add", "guest", "--share", "0.2", "--mcp", "--approval", "person")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "config.toml").read_text()
    agents = tomllib.loads(text)["agents"]
    assert [(agent["name"], agent["capital"]) for agent in agents] == [("even", 0.4), ("trend", 0.4), ("guest", 0.2)]
    limits = {"order_rate": {"orders": 300, "per": "1m"}}
    own = {"name": "guest", "policy": "external", "capital": 0.2, "limits": limits, "approval": "person"}
    assert agents[-1] == own
    assert "capital = 0.4   # half of it" in text
    assert "the shares become even 0.5 to 0.4, trend 0.5 to 0.4" in done.stdout
    token = tmp_path / "guest.token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    (known,) = stored(tmp_path / "state")
    assert (known.name, known.scope, known.agent) == ("guest", "propose", "guest")
    assert known.matches(token.read_text().strip().encode())
    assert token.read_text().strip() not in done.stdout
    (entry,) = re.findall(r"^or, [^{]*(\{.*\})$", done.stdout, re.MULTILINE)
    assert json.loads(entry)["mcpServers"]["quantd-guest"]["args"][0] == "mcp"
    assert quantd(tmp_path, "config", "check").returncode == 0


@pytest.mark.long
async def test_a_share_that_no_agent_has_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    write(tmp_path)
    done = quantd(tmp_path, "agent", "add", "guest", "--share", "0.1")
    assert done.returncode == 0, done.stderr
    agents = tomllib.loads((tmp_path / "config.toml").read_text())["agents"]
    assert [agent["capital"] for agent in agents] == [0.5, 0.4, 0.1]
    assert "curl -H" in done.stdout


@pytest.mark.long
@pytest.mark.parametrize(
    ("words", "code", "fault"),
    [
        (("even",), 78, "has an agent even already"),
        (("house",), 1, "reserved for a book of the house"),
        (("guest", "--share", "2"), 2, "Invalid value for '--share'"),
        (("../x",), 2, "'../x' is not a name of a token; write a lower-case letter"),
        (("9x",), 2, "'9x' is not a name of a token; write a lower-case letter"),
    ],
)
def test_what_cannot_be_added_changes_nothing(tmp_path: Path, words: tuple[str, ...], code: int, fault: str) -> None:
    write(tmp_path)
    before = (tmp_path / "config.toml").read_text()
    done = quantd(tmp_path, "agent", "add", *words)
    assert (done.returncode, fault in " ".join(done.stderr.split())) == (code, True), done.stderr
    assert (tmp_path / "config.toml").read_text() == before
    assert not list(tmp_path.glob("*.token"))


def status(folder: Path, ready: Any = lambda seen: True, within_s: float = 30.0) -> Any:
    """The status of a running daemon, once `ready` holds for it."""
    until_s = time.monotonic() + within_s
    while time.monotonic() < until_s:
        shown = quantd(folder, "status", "--json")
        if shown.returncode == 0 and ready(seen := answer(shown)):
            return seen
        time.sleep(0.1)
    raise AssertionError(shown)


@pytest.mark.long
async def test_a_vacant_place_is_the_book_of_an_agent_without_a_restart(tmp_path: Path) -> None:
    write(tmp_path, PACED.replace("capital = 0.5", "capital = 0.3") + "[portfolios]\nplaces = 1\n")
    before = (tmp_path / "config.toml").read_text()
    with trading(tmp_path):
        run = status(tmp_path, lambda seen: seen["ready"] and seen["orders"] > 0)["run"]
        done = quantd(tmp_path, "agent", "add", "guest", "--share", "0.1", "--mcp")
        assert done.returncode == 0, done.stderr
        assert "in a vacant place of [portfolios]; nothing restarts" in done.stdout
        async with client_of(tmp_path, done.stdout) as client:
            assert {tool.name for tool in (await client.list_tools()).tools} == AGENT_TOOLS
            worked, answered = await call(client, "propose", weights={"SPY": 0.2}, id="a", reason="first")
            assert worked, answered
            worked, end = await call(client, "wait", id="a")
            assert worked, end
            assert [order["state"] for order in end.get("orders", [])] == ["filled"], end
        assert status(tmp_path)["run"] == run
    assert (tmp_path / "config.toml").read_text() == before


def equities(seen: dict[str, Any]) -> dict[str, float]:
    return {agent["name"]: float(agent["equity"]) for agent in seen["agents"]}


@pytest.mark.long
async def test_a_running_daemon_restarts_by_itself_with_a_new_agent(tmp_path: Path) -> None:
    # `trend` holds most of its book in cash, and `even` nothing: it has to sell for its part
    text = PACED.replace("params = { lookback = 60 }", "params = { invested = 0.2 }")
    write(tmp_path, text.replace("capital = 0.5", "capital = 0.6").replace('"momentum"', '"equal_weight"'))
    with trading(tmp_path) as process:
        first = status(tmp_path, lambda seen: seen["ready"] and seen["fills"] > 0)
        refused = quantd(tmp_path, "agent", "add", "greedy", "--share", "0.9")
        assert (refused.returncode, "nothing was changed" in refused.stderr) == (1, True), refused
        assert "; --sell lets them sell for the rest, or ask for a smaller --share" in refused.stderr
        assert not (tmp_path / "greedy.token").exists()
        done = quantd(tmp_path, "agent", "add", "guest", "--share", "0.1", "--mcp", "--sell")
        assert done.returncode == 0, done.stderr
        assert "the daemon restarted by itself with --carry: guest has " in done.stdout
        assert "[feed] start becomes" in done.stdout
        paid = status(tmp_path, lambda seen: seen["ready"] and equities(seen).get("guest", 0.0) > 9_800.0)
        assert equities(paid)["trend"] > 30_000.0, "each pays its part, and no book is emptied"
        async with client_of(tmp_path, done.stdout) as client:
            worked, answered = await call(client, "propose", weights={"SPY": 0.2}, id="a", reason="first")
            assert worked, answered
            worked, end = await call(client, "wait", id="a")
            assert worked, end
            assert [order["state"] for order in end.get("orders", [])] == ["filled"], end
        second = status(tmp_path)
        assert {agent["switch"] for agent in second["agents"]} == {"RUN"}, "a payment is no loss"
        assert process.poll() is None, "it is the same process"
        assert second["run"] != first["run"]
        assert {agent["name"] for agent in second["agents"]} == {"even", "trend", "guest"}


@pytest.mark.long
def test_before_the_first_price_a_place_is_refused_without_a_trace_and_a_restart_begins_later(tmp_path: Path) -> None:
    standing = PACED.replace('pace = "2/s"', 'pace = "real"').replace("capital = 0.5", "capital = 0.3")
    write(tmp_path, standing + "[portfolios]\nplaces = 1\n")
    with trading(tmp_path):
        status(tmp_path, lambda seen: seen.get("ready"))
        refused = quantd(tmp_path, "agent", "add", "guest", "--share", "0.1")
        assert (refused.returncode, "no session has closed yet" in refused.stderr) == (75, True), refused.stderr
        assert (list(tmp_path.glob("*.token")), stored(tmp_path / "state")) == ([], ())
        added = quantd(tmp_path, "agent", "add", "guest", "--share", "0.1", "--approval", "person")
        assert added.returncode == 0, added.stderr
        assert "[feed] start becomes 2019-01-03, after the market time" in added.stdout


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


# a process of its own, because the program takes the place of the command
def executed(folder: Path, *words: str) -> "subprocess.Popen[str]":
    return begun(folder, "gateway", "exec", *words)


def refused(folder: Path, code: int, text: str, *program: str) -> None:
    done = executed(folder, "--", *program)
    said, faults = done.communicate(timeout=60)
    assert (done.returncode, said, text in " ".join(faults.split())) == (code, "", True), faults


@pytest.mark.long
def test_a_program_with_keys_of_its_own_trades_the_book_of_the_agent(tmp_path: Path) -> None:
    write(tmp_path, PACED)
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
