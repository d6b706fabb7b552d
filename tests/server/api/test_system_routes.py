"""What the API serves about the daemon itself: runs, schedules, configuration, version, figures and models."""

import asyncio
import json
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from quantd.daemon.config import digest, flat
from quantd.daemon.runtime.version import lock_hash
from tests.support.api_world import RUN, get, in_shared_loop, standing_at_the_end
from tests.support.checkout import ROOT
from tests.support.command_line import CONFIG, answer, quantd

LEARNED = CONFIG.replace('"equal_weight"', f'"{ROOT}/models/shipped/scorer"')


@pytest.mark.long
@in_shared_loop
async def test_runs_are_those_of_the_store(shared: Any) -> None:
    status, listing = await get(shared, "/api/v1/runs")
    assert (status, listing["run"], [run["run"] for run in listing["runs"]]) == (200, RUN, [RUN])
    assert listing["runs"][0]["agents"] == ["even", "trend"]
    assert listing["runs"][0]["symbols"] == ["SPY", "QQQ", "IWM"]


@in_shared_loop
async def test_schedules_have_the_instants_around_the_present_of_the_run(shared: Any) -> None:
    _, answer_body = await get(shared, "/api/v1/schedules")
    (close,) = answer_body["schedules"]
    assert (close["name"], close["do"], close["agents"], close["when"]) == (
        "close",
        "rebalance",
        ["trend"],
        "at close-15m",
    )
    assert (close["last"], close["next"]) == ("2019-03-29T19:45:00Z", "2019-04-01T19:45:00Z")
    assert close["last_ts"] <= answer_body["ts"] < close["next_ts"]


@pytest.mark.long
async def test_the_configuration_has_each_key_with_its_source_and_no_secret(tmp_path: Path) -> None:
    sinks = '[alerts.sinks.webhook]\nurl = "https://hooks.example.org/services/T0/SECRET"\n'
    text = CONFIG.replace("[api]", f"{sinks}[api]")
    async with standing_at_the_end(tmp_path, text) as world:
        _, configuration = await get(world, "/api/v1/config")
        rows = {setting["key"]: setting for setting in configuration["settings"]}
        assert len(rows) == len(flat(world.config))
        line = 1 + next(k for k, text_line in enumerate(text.splitlines()) if text_line.startswith("cash ="))
        assert rows["broker.cash"]["source"].endswith(f"config.toml:{line}")
        assert rows["broker.cash"]["value"] == "100000.00"
        assert rows["api.open_reads"]["source"] == "default"
        assert "SECRET" not in json.dumps(configuration)
        assert "hooks.example.org" in json.dumps(configuration)
        assert world.token not in json.dumps(configuration)


@in_shared_loop
async def test_a_port_that_the_system_chose_is_the_value_of_its_key(shared: Any) -> None:
    _, configuration = await get(shared, "/api/v1/config")
    rows = {setting["key"]: setting for setting in configuration["settings"]}
    assert shared.config.api.port == 0
    assert rows["api.port"]["value"] == URL(shared.api.url).port
    assert rows["api.port"]["source"].endswith(", chosen by the system")
    assert configuration["digest"] == digest(shared.config)


@in_shared_loop
async def test_the_version_names_code_libraries_and_commit(shared: Any) -> None:
    _, version = await get(shared, "/api/v1/version")
    git = partial(subprocess.run, ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    assert version["commit"] == (await asyncio.to_thread(git)).stdout.strip()
    assert version["lock"] == lock_hash()
    assert version["libraries"]["aiohttp"] >= "3.14"


@pytest.mark.requirement("R-189")
async def test_figures_of_the_process_count_its_responses(world: Any) -> None:
    _, before = await get(world, "/api/v1/stats")
    await get(world, "/nothing")
    async with world.session.get("/api/v1/events") as stream:
        await stream.content.readline()
        _, stats = await get(world, "/api/v1/stats")
    assert stats["answers"]["4xx"] == before["answers"].get("4xx", 0) + 1
    assert (stats["streams"], before["streams"], stats["agents"]) == (1, 0, 2)
    assert stats["memory_bytes"] > 50e6
    assert stats["store_bytes"] > 10_000
    assert stats["uptime_s"] > before["uptime_s"] > 0


@pytest.mark.requirement("R-187", "R-202")
async def test_the_evaluation_of_a_model_is_that_of_its_artifact(tmp_path: Path) -> None:
    async with standing_at_the_end(tmp_path, LEARNED) as world:
        _, evaluations = await get(world, "/api/v1/policies")
        _, about = await get(world, "/api/v1")
    info = answer(quantd(ROOT, "models", "list", "models/shipped/scorer", "--json"))
    (row,) = evaluations["policies"]
    test = info["results"]["test"]["policy"]
    assert (row["agent"], row["model"], row["digest"]) == ("even", info["name"], info["digest"])
    for name in ("total_return", "annual_return", "sharpe", "max_drawdown"):
        assert row[name] == test[name]
    assert row["calmar"] == test["annual_return"] / test["max_drawdown"]
    assert (row["test_first"], row["test_last"]) == tuple(info["training"]["windows"]["test"].values())
    assert (row["iterations"], row["iterations_unit"]) == (info["training"]["chosen_iteration"], "gradient steps")
    assert row["sortino"] is None, "the shipped artifact is older than this field"
    assert "trained before records had it" in row["sortino_missing"]
    assert about["models"] == {info["name"]: test["sharpe"]}
    assert about["status"] == "ended"


@pytest.mark.requirement("R-188")
async def test_health_is_503_while_the_model_of_an_agent_is_suspended(world: Any) -> None:
    status, health = await get(world, "/health")
    assert (status, health["models"]) == (200, {"even": True, "trend": True})
    world.service.shell.state.agents[1].suspended = True
    status, health = await get(world, "/health")
    assert (status, health["ready"], health["models"]) == (503, False, {"even": True, "trend": False})
    assert (await get(world, "/api/v1/status"))[0] == 200
