"""Backtests and sweeps that are started beside a run, their bounds, and the pinned reference, over HTTP."""

import asyncio
import contextlib
import re
from pathlib import Path
from typing import Any

import pytest

from quantd.adapters.store.queries import Reader
from quantd.daemon.jobs.job_log import JobLog
from quantd.research.jobs import research_jobs
from quantd.research.jobs.research_orders import MOST_POINTS, OrderRefused, ResearchOrder, check
from quantd.research.runs.backtest import BacktestJournal
from quantd.server.api.access import keyring
from quantd.server.api.server import Api
from quantd.server.requests.tokens import created
from quantd.trading.display_text import session_date
from tests.server.api.routes.outside_run import market
from tests.support.api_world import get, in_shared_loop, shared, standing_at_the_end, world
from tests.support.command_line import CONFIG, write

__all__ = ["shared", "world"]

PATH = "/api/v1/research"
LOOKBACK = "agents.trend.params.lookback"


async def post(world: Any, path: str, body: dict[str, Any], token: str = "") -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token or world.token}"}
    async with world.session.post(f"{PATH}/{path}", json={"reason": "a look", **body}, headers=headers) as response:
        return response.status, await response.json()


def commands_of_processes() -> list[str]:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            lines.append(path.read_bytes().decode(errors="replace"))
    return lines


async def ended(world: Any, id: str) -> dict[str, Any]:
    for _ in range(600):
        _, now = await get(world, f"{PATH}/jobs")
        job = next(line for line in now["jobs"] if line["id"] == id)
        if job["state"] not in ("queued", "running"):
            return dict(job)
        await asyncio.sleep(0.1)
    raise AssertionError(job)


@pytest.mark.long
async def test_a_backtest_with_a_changed_key_is_named_and_pinned_and_its_gap_has_no_causes(world: Any) -> None:
    status, plain = await post(world, "backtests", {})
    assert status == 200, plain
    assert (plain["kind"], plain["state"], plain["result"]) == ("backtest", "queued", "as the run")
    plain = await ended(world, plain["id"])
    assert re.fullmatch(r"as the run: run [0-9a-z]+, Sharpe -?\d+\.\d\d, .*", plain["result"])
    status, other = await post(world, "backtests", {"sets": [f"{LOOKBACK}=30"], "from": "2019-01-02"})
    assert status == 200, other
    other = await ended(world, other["id"])
    assert other["result"].startswith(f"{LOOKBACK}=30, feed.start=2019-01-02: run {other['backtest']}, Sharpe ")
    _, beside = await get(world, f"{PATH}/beside")
    assert (beside["pinned"], beside["backtest"]) == ("", plain["backtest"])
    names = {stored["run"]: stored["differs"] for stored in beside["stored"]}
    assert names == {plain["backtest"]: [], other["backtest"]: [f"{LOOKBACK} 30, here 60"]}
    assert beside["gap"] is not None
    status, answer = await post(world, "reference", {"backtest": other["backtest"]})
    assert (status, answer["pinned"]["backtest"], answer["pinned"]["who"]) == (200, other["backtest"], "api:owner")
    _, beside = await get(world, f"{PATH}/beside")
    assert (beside["pinned"], beside["backtest"]) == (other["backtest"], other["backtest"])
    assert beside["differs"] == [f"{LOOKBACK} 30, here 60"]
    assert (beside["gap"], beside["commissions"], beside["rest"]) == (None, None, None)
    await world.lanes.log.flush()
    again = JobLog(world.service)  # that of the next process
    assert research_jobs.pinned_of(again.runs()) == research_jobs.pinned_of(world.lanes.log.runs())
    status, answer = await post(world, "reference", {})
    assert (status, answer["pinned"]) == (200, None)
    _, beside = await get(world, f"{PATH}/beside")
    assert (beside["pinned"], beside["backtest"], beside["differs"]) == ("", plain["backtest"], [])
    status, answer = await post(world, "reference", {"backtest": "nothere"})
    assert (status, answer["code"]) == (404, "not_found")


@pytest.mark.long
async def test_a_pinned_backtest_that_is_gone_is_named_and_another_is_shown(world: Any) -> None:
    _, job = await post(world, "backtests", {})
    name = (await ended(world, job["id"]))["backtest"]
    await world.service.settled()
    run = world.lanes.log.begin(research_jobs.REFERENCE, due_ts=1, who="api:owner", reason="a look")
    world.lanes.log.end(run, "gone0000")
    _, beside = await get(world, f"{PATH}/beside")
    assert (beside["pinned"], beside["backtest"]) == ("gone0000", name)
    assert beside["lost"].startswith("the pinned backtest gone0000 cannot be read: ")


@pytest.mark.long
async def test_an_unfinished_backtest_is_neither_pinned_nor_shown_by_itself(world: Any) -> None:
    _, job = await post(world, "backtests", {"sets": [f"{LOOKBACK}=30"]})
    name = (await ended(world, job["id"]))["backtest"]
    journal = BacktestJournal(world.folder / "backtests", world.assembly, "half0000")
    journal.store.close()  # as a killed process leaves it
    _, beside = await get(world, f"{PATH}/beside")
    assert [stored["run"] for stored in beside["stored"]] == ["half0000", name]
    assert beside["backtest"] == name
    status, answer = await post(world, "reference", {"backtest": "half0000"})
    assert (status, answer["code"]) == (409, "conflict")
    assert answer["detail"].startswith("the backtest half0000 is not finished")


@pytest.mark.long
async def test_a_sweep_ends_with_its_best_point_and_its_verdict(world: Any) -> None:
    status, job = await post(world, "sweeps", {"over": [f"{LOOKBACK}=20:40:20"], "sets": ["risk.max_drawdown=0.3"]})
    assert status == 200, job
    job = await ended(world, job["id"])
    assert job["state"] == "succeeded", job
    form = rf"over {LOOKBACK}=20:40:20, risk.max_drawdown=0.3: 2 points, best {LOOKBACK}=(20|40)\. .+"
    assert re.fullmatch(form, job["result"]), job["result"]
    _, looks = await get(world, f"{PATH}/looks")
    assert {line["values"][LOOKBACK] for line in looks["looks"] if line["kind"] == "sweep"} == {"20", "40"}


@pytest.mark.long
async def test_one_of_each_kind_is_open_one_process_runs_and_a_cancelled_one_ends_with_its_process(world: Any) -> None:
    body = {"over": [f"{LOOKBACK}=20:119:1"]}
    _, first = await post(world, "sweeps", body)
    status, answer = await post(world, "sweeps", body)
    assert (status, answer["code"]) == (409, "conflict")
    assert answer["detail"].startswith("sweep is ")
    _, second = await post(world, "backtests", {})
    for _ in range(200):
        _, now = await get(world, f"{PATH}/jobs")
        states = {line["id"]: (line["state"], line["share"]) for line in now["jobs"]}
        if (states[first["id"]][1] or 0.0) > 0.0:
            break
        await asyncio.sleep(0.1)
    assert states[first["id"]][0] == "running"
    assert 0.0 < states[first["id"]][1] < 1.0
    assert states[second["id"]] == ("queued", None)
    status, answer = await post(world, f"jobs/{first['id']}/cancel", {"reason": "<b>too</b> long"})
    assert (status, answer["state"]) == (200, "failed")
    assert answer["result"].endswith(": cancelled by api:owner: <b>too</b> long")
    assert not any("sweep" in line and str(world.folder) in line for line in commands_of_processes())
    assert (await ended(world, second["id"]))["state"] == "succeeded"
    for id, code in ((first["id"], 409), ("99", 404), ("x", 404), ("9" * 30, 404)):
        status, _ = await post(world, f"jobs/{id}/cancel", {})
        assert status == code, id


async def test_the_end_of_the_daemon_ends_the_process_and_the_next_start_finds_it_interrupted(world: Any) -> None:
    _, job = await post(world, "sweeps", {"over": [f"{LOOKBACK}=20:119:1"]})
    await world.api.stop()
    await world.lanes.log.flush()
    assert world.lanes.log.get(int(job["id"])).state in ("queued", "running")
    answer = JobLog(world.service).get(int(job["id"]))
    assert answer is not None
    assert (answer.state, LOOKBACK in answer.result) == ("interrupted", True)
    world.api = Api(world.service, world.assembly, world.config, world.folder, None, "", world.lanes)
    await world.api.start()


@pytest.mark.long
async def test_a_process_that_takes_too_long_or_dies_is_a_failure_with_its_reason(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(research_jobs, "LIMIT_S", 0.05)
    _, job = await post(world, "backtests", {})
    assert (await ended(world, job["id"]))["result"].endswith("0.05 s; its process was ended")
    monkeypatch.setattr(research_jobs, "LIMIT_S", 60.0)
    monkeypatch.setattr(research_jobs, "MOST_DATA", 64 << 20)
    _, job = await post(world, "backtests", {})
    answer = await ended(world, job["id"])
    assert answer["state"] == "failed", answer  # of want of memory
    assert answer["backtest"] == ""
    monkeypatch.setattr(research_jobs, "MOST_DATA", 4 << 30)
    _, job = await post(world, "backtests", {"sets": [f"{LOOKBACK}=-1"]})  # what only its policy can tell
    answer = await ended(world, job["id"])
    assert answer["state"] == "failed"
    assert "lookback" in answer["result"].partition(": ")[2], answer["result"]


REFUSED = {
    "no such key": (["agents.trend.params.lookbak=30"], "lookbak"),
    "no such agent": (["agents.nobody.capital=0.1"], "nobody"),
    "out of bounds": (["risk.max_drawdown=7"], "max_drawdown"),
    "no value": (["risk.max_drawdown"], "is not KEY=VALUE"),
    "a policy of a file": (["agents.trend.policy=/tmp/evil.py:act"], "a token may not open"),
    "a function": (["agents.trend.policy=evil.py"], "a token may not open"),
    "a file in a list": (['agents.trend.params.members=["../evil"]'], "a token may not open"),
    "another feed": (["feed.path=other.parquet"], "feed.path may not be changed here"),
    "another state": (["quantd.state=other"], "quantd.state may not be changed here"),
    "a whole agent": (["agents.trend={}"], "may not be changed here"),
    "what an agent reads": (["agents.trend.reads=x"], "may not be changed here"),
    "an address": (["store.url=x"], "store.url may not be changed here"),
    "hostile": (["<img src=x>=1"], "<img src may not be changed here"),
}


@pytest.mark.parametrize("case", REFUSED)
@in_shared_loop
async def test_an_override_is_refused_with_the_words_of_the_loader_or_the_reason_why_it_may_not_be_changed(
    shared: Any, case: str
) -> None:
    sets, words = REFUSED[case]
    status, answer = await post(shared, "backtests", {"sets": sets})
    assert (status, answer["code"]) == (422, "configuration"), answer
    assert words in answer["detail"]
    assert answer["errors"][0]["field"] == "sets"
    key, _, values = sets[0].partition("=")
    status, answer = await post(shared, "sweeps", {"over": [f"{key}={values}"] if values else [key]})
    assert (status, answer["code"], answer["errors"][0]["field"]) == (422, "configuration", "over"), answer
    _, now = await get(shared, f"{PATH}/jobs")
    assert now["jobs"] == []


@pytest.mark.long
@in_shared_loop
async def test_a_body_has_bounds_and_a_token_of_scope_read_starts_nothing(shared: Any) -> None:
    for path, body in (
        ("backtests", {"sets": ["risk.max_drawdown=0.3"] * 21}),
        ("backtests", {"sets": ["risk.max_drawdown=0.3\u202e"]}),
        ("backtests", {"from": "yesterday"}),
        ("sweeps", {"over": []}),
        ("sweeps", {}),
        ("backtests", {"reason": " "}),
    ):
        status, answer = await post(shared, path, body)
        assert status == 422, (path, body, answer)
    status, answer = await post(shared, "sweeps", {"over": [f"{LOOKBACK}=1:{MOST_POINTS + 1}:1"]})
    assert (status, answer["detail"][:27]) == (422, f"the sweep has {MOST_POINTS + 1} points; 2")
    _, secret = created(shared.folder, "looker", "read")
    await asyncio.sleep(0.6)  # the shortest time between two looks at the file of tokens
    for path in ("backtests", "sweeps", "jobs/1/cancel", "reference"):
        status, answer = await post(shared, path, {"over": ["a=1"]} if path == "sweeps" else {}, secret)
        assert (status, answer["code"]) == (403, "scope"), path


def test_the_keys_of_the_table_exist(tmp_path: Path) -> None:
    # [capital] without a schedule that reads it is refused
    schedule = '[[schedules]]\nname = "share"\ndo = "reallocate"\ncron = "0 16 28 * *"\n[capital]\nmethod = "fixed"\n'
    file = write(tmp_path, CONFIG + schedule)
    for text in (
        "account.cash_rate=0.01", "broker.spread_bp=3", "capital.method=equal_risk", "execution.style=close",
        "universe.symbols=SPY,QQQ", "agents.even.policy=inverse_volatility", "agents.even.min_trade=0.01",
        "agents.even.sizing.max_gross=0.5", "agents.trend.params={lookback = 20}", "feed.end=2019-02-28",
    ):  # fmt: skip
        check(ResearchOrder("backtest", (text,)), file, ())
    with pytest.raises(OrderRefused, match="max_drawdown"):
        check(ResearchOrder("backtest", ("risk.max_drawdown=7",)), file, (f"{LOOKBACK}=20",))
    over = (f"{LOOKBACK}=5,9",)
    with pytest.raises(OrderRefused, match="=7 sets a key that --over varies"):
        check(ResearchOrder("sweep", (f"{LOOKBACK}=7",), over), file, ())
    # a value of the trading run gives way to those of the sweep
    assert not any(
        "--set" in word for word in ResearchOrder("sweep", (), over).command(file, tmp_path, (f"{LOOKBACK}=20",))
    )


@pytest.mark.long
async def test_the_loop_answers_while_a_backtest_runs(tmp_path: Path) -> None:
    async with standing_at_the_end(tmp_path) as world:
        _, job = await post(world, "sweeps", {"over": [f"{LOOKBACK}=20:60:5"]})
        states = ["queued"]
        while states[-1] in ("queued", "running"):
            _, now = await get(world, f"{PATH}/jobs")
            states.append(next(line["state"] for line in now["jobs"] if line["id"] == job["id"]))
            await asyncio.sleep(0.02)
        assert states[-1] == "succeeded"
        assert states.count("running") > 2


@pytest.mark.long
async def test_weights_are_backtested_for_an_agent_up_to_the_market_time_and_no_further(tmp_path: Path) -> None:
    async with market(tmp_path) as world:
        sample = world.service.shell.state.sample  # the newest close; the present instant is the open after it
        now = str(session_date(sample))
        assert now < "2019-03-29"  # there are later bars
        _, secret = created(world.folder, "robot", "propose", agent="guest")
        await asyncio.sleep(keyring.CHECK_S)
        robot = {"Authorization": f"Bearer {secret}"}

        async def start(**body: Any) -> tuple[int, Any]:
            async with world.session.post("/api/v1/agents/guest/backtest", json=body, headers=robot) as response:
                return response.status, await response.json()

        status, job = await start(weights={"SPY": 0.2, "IWM": 0.1})
        assert status == 200, job
        status, busy = await start(weights={"SPY": 0.2})
        assert (status, busy["code"]) == (409, "conflict")
        job = await ended(world, job["id"])
        assert job["state"] == "succeeded", job
        assert f"feed.end={now}" in job["result"]
        assert re.search(r"Sharpe \S+, return a year \S+%, volatility \S+%, largest fall \S+%$", job["result"])
        # the newest bar of the stored backtest is that of the newest sample
        reader = Reader.open(world.folder / "backtests", job["backtest"])
        assert reader.equity()[-1].ts == sample
        for body, text in (
            ({"weights": {"SPY": 0.2}, "to": "2019-03-06"}, "is no period up to"),
            ({"weights": {"SPY": 1.3}}, "add up to 1.3"),
            ({"weights": {"NONE": 0.3}}, "not in the universe"),
            ({"weights": {"SPY": 0.3}, "policy": "x"}, "policy"),
        ):
            status, answer = await start(**body)
            assert (status, text in answer["detail"]) == (422, True), answer
        answers = [await start(weights={"SPY": 0.2}, to="2030-01-01") for _ in range(4)]
        assert answers[-1][0] == 429
        assert world.service.shell.state.outside == {}
