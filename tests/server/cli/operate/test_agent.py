"""`quantd agent add`: the table, the book, the token and the lines of a client, before a run and beside one."""

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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters

from quantd.server.requests.tokens import stored
from tests.server.cli.operate.mcp_calls import AGENT_TOOLS, call
from tests.support.command_line import CONFIG, answer, environment, quantd, with_calendar, write

PACED = (
    CONFIG.replace('pace = "fast"', 'pace = "2/s"')
    .replace('at_end = "stop"', 'at_end = "wait"')
    .replace("end = 2019-03-29", "end = 2021-03-31")
    .replace("max_position_weight = 0.25", "max_position_weight = 0.9")  # whatever the other agents hold by then
)
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
    ],
)
def test_what_cannot_be_added_changes_nothing(tmp_path: Path, words: tuple[str, ...], code: int, fault: str) -> None:
    write(tmp_path)
    before = (tmp_path / "config.toml").read_text()
    done = quantd(tmp_path, "agent", "add", *words)
    assert (done.returncode, fault in " ".join(done.stderr.split())) == (code, True), done.stderr
    assert (tmp_path / "config.toml").read_text() == before
    assert not list(tmp_path.glob("*.token"))


@contextmanager
def trading(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A daemon on the configuration of `folder` whose market goes on."""
    with_calendar(folder)
    command = [sys.executable, "-m", "quantd.daemon.cli", "run", "--quiet"]
    with (folder / "said").open("w") as said:
        daemon = subprocess.Popen(command, cwd=folder, env=environment(), stdout=said, stderr=said, text=True)
        try:
            yield daemon
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(30)


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
