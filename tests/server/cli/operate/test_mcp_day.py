"""A day with an outside agent over MCP: shadow, promotion, a refusal explained, kill -9, and a replay.

The daemon trades recorded bars in a process of its own, at three sessions a second: a client that came after half a
minute would find the tests of the promotion over. The SDK's client speaks to a process `quantd mcp`. The settings make
a promotion likely within half a year: four weekly tests at 12.5 % each after 40 returns, against a champion that may
hold 2 % of a symbol while prices rise. They are no settings for money.
"""

import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters

from tests.server.answering_daemon import started
from tests.server.cli.operate.mcp_calls import call
from tests.support.command_line import CONFIG, answer, environment, quantd, write

DAY = (
    CONFIG.replace('pace = "fast"', 'pace = "3/s"')
    .replace('at_end = "stop"', 'at_end = "wait"')
    .replace("end = 2019-03-29", "end = 2019-12-31")
    .replace("capital = 0.4", "capital = 0.3")
    .replace("max_position_weight = 0.25", "max_position_weight = 0.2")
    .replace('policy = "momentum"', 'policy = "equal_weight"')
    .replace("params = { lookback = 60 }\n", "limits = { max_position_weight = 0.02 }\n")
    .replace(
        "[[schedules]]",
        """[[agents]]
name = "guest"
policy = "external"
capital = 0.3
shadow = true
challenges = "trend"
[promotion]
samples = 80
measure = "mean"
confidence = 0.5
looks = 4
max_drawdown_ratio = 100
[[schedules]]
name = "compare"
do = "promote"
cron = "0 16 * * fri"
[[schedules]]""",
        1,
    )
    + "rate = { proposals = 6000 }\n"
)


def server(folder: Path) -> StdioServerParameters:
    arguments = ["-m", "quantd.daemon.cli", "mcp", "--agent", "guest", "--token-file", "robot.token"]
    return StdioServerParameters(command=sys.executable, args=arguments, env=os.environ | environment(), cwd=folder)


async def each_session(client: Client, what: Callable[[Any], Awaitable[bool]], within_s: float = 180.0) -> None:
    """Calls `what` with the standing of each new instant until it returns true."""
    seen = ""
    with anyio.fail_after(within_s):
        while True:
            worked, mode = await call(client, "standing")
            if worked and mode["time"] != seen:
                seen = mode["time"]
                if await what(mode):
                    return
            await anyio.sleep(0.02)


@pytest.mark.long
async def test_a_day_with_an_outside_agent_over_mcp(tmp_path: Path) -> None:
    write(tmp_path, DAY)
    (tmp_path / "state").mkdir(mode=0o700)
    creation = quantd(tmp_path, "token", "create", "robot", "--scope", "propose", "--agent", "guest")
    (tmp_path / "robot.token").write_text(creation.stdout)
    process = started(tmp_path)
    decided: dict[str, Any] = {}
    number = 0

    async def trade(client: Client, mode: Any) -> bool:
        nonlocal number
        number += 1
        weights = {"SPY": 0.5 - 0.01 * (number % 2), "QQQ": 0.4}
        worked, proposal = await call(client, "propose", weights=weights, id=f"day-{number}", reason="follow the trend")
        if worked:
            decided[f"day-{number}"] = proposal["verdict"]
        return bool(mode["mode"] == "trading")

    try:
        async with Client(server(tmp_path)) as client:
            await each_session(client, lambda mode: trade(client, mode))
            worked, mode = await call(client, "standing")
            assert (worked, mode["mode"], mode["book"], mode["seat"]) == (True, "trading", "trend", "guest")
            assert {row["mode"] for row in decided.values()} == {"shadow", "trading"}
            done: Any = {}

            promoted = mode["time"]

            async def greedy(mode: Any) -> bool:
                nonlocal done
                if mode["time"] <= promoted:
                    return False  # orders of this instant are open until the next bar
                worked, done = await call(client, "propose", weights={"IWM": 0.95}, id="greedy", reason="all in")
                return worked

            await each_session(client, greedy)
            # the champion's book keeps its own limits
            cuts = [cut for cut in done["cuts"] if (cut["symbol"], cut["by"]) == ("IWM", "trend")]
            assert [cut["reason"] for cut in cuts if cut["reason"] != "sale"] == ["position_weight"], json.dumps(done)
            worked, why = await call(client, "why", what="IWM")
            assert worked, why
            explanation = json.dumps(why)
            assert "max_position_weight" in explanation
            assert "proposal greedy of api:robot" in explanation
            os.kill(process.pid, signal.SIGKILL)
            process.wait(10)
        process = started(tmp_path)
        async with Client(server(tmp_path)) as client:

            async def answered(mode: Any) -> bool:
                worked, again = await call(client, "propose", weights={"IWM": 0.95}, id="greedy", reason="all in")
                if worked:
                    assert (again["repeated"], again["verdict"]) == (True, done["verdict"])
                return worked

            await each_session(client, answered)
            _, listed = await call(client, "proposals", last=50)
            rows = {row["id"]: row for row in listed["proposals"]}
            assert all(rows[name]["outcome"] == row["outcome"] for name, row in list(decided.items())[-20:])
            worked, text = await call(
                client, "propose", weights={"SPY": 0.1}, id="late", reason="slow", expires="2019-01-31T21:00:00Z"
            )
            assert (worked, "has expired" in text) == (False, True)
            before = number
            with anyio.move_on_after(3):
                await each_session(client, lambda mode: never(trade(client, mode)))
            assert number > before
            worked, mode = await call(client, "standing")
            assert (worked, mode["mode"]) == (True, "trading")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    replayed = answer(quantd(tmp_path, "replay", "--json"))
    assert (replayed["same"], replayed["compared"]) == (True, replayed["steps"]), replayed
    again = answer(quantd(tmp_path, "replay", "--json"))
    assert again["digest"] == replayed["digest"]


async def never(work: Awaitable[bool]) -> bool:
    await work
    return False
