"""The agents in examples/agents: their backtests from recorded answers, and the MCP client on a running daemon.

The answers of langgraph.jsonl are those of LangGraph 1.2. TradingAgents cannot run without keys: the answers of
tradingagents.jsonl are those of its bridge in front of a stand-in, which drew BUY, HOLD or SELL by symbol and date.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from quantd.bundled import find
from quantd.research.outside.questions import answer_of
from quantd.research.outside.stored_answers import StoredAnswers
from quantd.server.api.access import keyring
from quantd.server.requests.tokens import created
from tests.server.api.routes.outside_run import OUTSIDE, journalled
from tests.support.api_world import standing_at_the_end
from tests.support.checkout import DATA, ROOT
from tests.support.command_line import Done, environment, quantd

RECORDED = Path(__file__).parent / "recorded"
AGENTS = ROOT / "examples" / "agents"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(AGENTS, tmp_path / "examples" / "agents")
    (tmp_path / "data").symlink_to(DATA)
    return tmp_path


def backtest(folder: Path, name: str, *more: str) -> Done:
    command = ("backtest", "-c", f"examples/agents/{name}.toml", "--to", "2019-01-31", "--no-compare", "--json", *more)
    return quantd(folder, *command)


def answered(folder: Path, name: str) -> int:
    store = StoredAnswers(folder / "state" / name / "answers")
    lines = (RECORDED / f"{name}.jsonl").read_bytes().splitlines()
    for line in lines:
        key = json.loads(line)["id"]
        store.add(key, answer_of(line, key))
    return len(lines)


@pytest.mark.parametrize(("name", "fills"), [("langgraph", 6), ("tradingagents", 24)])
def test_an_example_runs_from_its_recorded_answers_without_a_question(folder: Path, name: str, fills: int) -> None:
    count = answered(folder, name)
    done = backtest(folder, name, "--most-questions", "0")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["outside"] == [{"agent": "guest", "asked": 0, "stored": count}]
    assert (count, document["fills"]) == (21, fills)


def test_a_changed_program_is_asked_anew_so_that_recorded_answers_cannot_stand_for_it(folder: Path) -> None:
    answered(folder, "langgraph")
    with (folder / "examples/agents/langgraph_agent.py").open("a") as program:
        program.write("# another agent\n")
    done = backtest(folder, "langgraph", "--most-questions", "0")
    assert done.returncode == 1
    assert "the budget of 0 questions is exhausted" in done.stderr


@pytest.mark.long
async def test_the_mcp_client_previews_and_proposes_on_a_running_daemon(tmp_path: Path) -> None:
    async with standing_at_the_end(tmp_path, OUTSIDE) as world:
        _, secret = created(world.folder, "robot", "propose", agent="guest")
        token = tmp_path / "robot.token"
        token.write_text(secret)
        await asyncio.sleep(keyring.CHECK_S)
        given = [
            "--agent",
            "guest",
            "--token-file",
            token,
            "--config",
            tmp_path / "config.toml",
            "--state",
            world.folder,
        ]
        command = [sys.executable, AGENTS / "mcp_client.py", *given]
        run = asyncio.to_thread(
            subprocess.run, command, env=os.environ | environment(), capture_output=True, text=True, check=False
        )
        done = await run
        assert (done.returncode, done.stderr) == (0, ""), done
        assert done.stdout.splitlines() == [
            "preview: every order passed the limits", "passed: every order passed the limits"
        ]  # fmt: skip
        (proposal,) = journalled(world)
        assert (proposal.agent, proposal.id, proposal.reason) == ("guest", "2019-03-29T20:00:00Z", "equal weights")


def test_the_mcp_client_without_a_daemon_says_so_in_place_of_a_traceback(tmp_path: Path) -> None:
    token = tmp_path / "robot.token"
    token.write_text("x")
    command = [sys.executable, AGENTS / "mcp_client.py", "--agent", "guest", "--token-file", token]
    command += ["--config", ROOT / "config.toml", "--state", tmp_path]
    done = subprocess.run(command, env=os.environ | environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"no daemon runs on the state folder {tmp_path}")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("file", sorted((ROOT / "examples").rglob("*.toml")), ids=lambda file: file.name)
def test_an_example_finds_the_bundled_bars_where_it_was_copied_to(tmp_path: Path, file: Path) -> None:
    feed = tomllib.loads(file.read_text(encoding="utf-8")).get("feed", {})
    for key in {"path", "actions", "exceptions"} & set(feed):
        if "state/" not in feed[key]:  # bars that are downloaded first
            assert find(feed[key], tmp_path).is_file()
