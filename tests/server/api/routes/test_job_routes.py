"""The jobs over the API: a run by hand is journalled, carried out once, polled to its end, and replays."""

import asyncio

import pytest

from quantd.daemon.jobs.job_table import JOBS
from quantd.daemon.recovery.replay import refold
from quantd.daemon.views.run_summary import summary
from quantd.risk.switch import HALT
from quantd.trading.codec import decode
from quantd.trading.orders import ScheduleRun
from tests.support.api_world import RUN, get, standing_at_the_end
from tests.support.command_line import CONFIG

SCHEDULES = "".join(
    f'[[schedules]]\nname = "{name}"\ndo = "{do}"\ncron = "0 16 3 sep *"\n{more}'
    for name, do, more in (
        ("yearly", "rebalance", 'agents = ["even"]\n'),
        ("capital", "reallocate", ""),
        ("out", "flatten", ""),
        ("saved", "snapshot", ""),
        ("the day", "daily_report", ""),
        ("off", "backup", "enabled = false\n"),
    )
)
TEXT = (
    CONFIG.split("[[schedules]]")[0]
    + SCHEDULES
    + '[capital]\nmethod = "equal_risk"\n[bus]\nport = 0\n[api]\nport = 0\n'
)


async def post(world, name, reason="by hand", headers=None):
    path = f"/api/v1/schedules/{name}/run"
    async with world.session.post(path, json={"reason": reason}, headers=headers or world.bearer) as response:
        return response.status, await response.json()


async def polled(world, id):
    for _ in range(3_000):
        status, run = await get(world, f"/api/v1/jobs/{id}")
        assert status == 200, run
        if run["state"] not in ("queued", "running", "retrying"):
            return run
        await asyncio.sleep(0.02)
    raise AssertionError(run)


@pytest.mark.long
async def test_a_rebalance_by_hand_is_journalled_trades_and_replays_exactly(tmp_path):
    async with standing_at_the_end(tmp_path, TEXT) as world:
        before = world.service.shell.tally.orders
        status, run = await post(world, "yearly", "new cash")
        assert status == 200, run["detail"]
        assert (status, run["state"], run["job"]) == (200, "queued", "rebalance")
        done = await polled(world, run["id"])
        assert done["state"] == "succeeded", done
        assert done["who"].startswith("api:")
        assert world.service.shell.tally.orders > before
        assert done["result"] == f"1 agents asked, {world.service.shell.tally.orders - before} orders"
        ids = []
        for name in ("capital", "saved", "out"):
            _, run = await post(world, name)
            ids.append((await polled(world, run["id"]))["result"])
        assert ids == ["done at the next sample", "done", "done"]
        assert world.service.shell.state.switch.state == HALT
        status, problem = await post(world, "yearly")
        assert (status, problem["code"]) == (409, "conflict")
        events = [decode(data).event for _, data in world.store.entries(RUN, 1)]
        runs = [(e.schedule, e.job, e.reason, e.who) for e in events if isinstance(e, ScheduleRun)]
        assert [fields[:2] for fields in runs] == [
            ("yearly", "rebalance"), ("capital", "reallocate"), ("saved", "snapshot"), ("out", "flatten"),
        ]  # fmt: skip
        assert runs[0][2] == "new cash"
        while world.store.last_seq(RUN) < world.service.journal.seq:
            await world.service.changed(0.05)
        shell, journal = refold(world.assembly, world.store, RUN, world.folder)
        assert journal.compared == world.service.journal.seq
        assert summary(shell, "x", "p", 1.0).digest == summary(world.service.shell, "x", "p", 1.0).digest


@pytest.mark.long
async def test_a_job_beside_trading_runs_by_hand_and_a_second_run_meanwhile_is_refused(tmp_path):
    async with standing_at_the_end(tmp_path, TEXT) as world:
        status, run = await post(world, "the%20day")
        assert status == 200
        status, problem = await post(world, "the%20day")
        assert (status, problem["code"]) == (409, "conflict")
        assert f"daily_report is queued already, as job run {run['id']}" in problem["detail"]
        await world.lanes.runners["reports"].once()
        done = await polled(world, run["id"])
        assert done["state"] == "succeeded", done
        assert done["result"].endswith(".html")
        assert done["seconds"] >= 0
        for words, count in (("html", 1), ("no such text", 0)):
            assert (await get(world, f"/api/v1/jobs?search={words}"))[1]["total"] == count, words
        _, listed = await get(world, "/api/v1/jobs?job=daily_report&limit=1")
        status, wrong = await get(world, "/api/v1/jobs?job=daly_report")
        assert (status, "the jobs are rebalance, " in wrong["detail"]) == (404, True), wrong
        assert [job["name"] for job in listed["jobs"]] == [job.name for job in JOBS]
        line = next(job for job in listed["jobs"] if job["name"] == "daily_report")
        assert line["last"] == done == listed["runs"][0]
        assert line["schedules"] == ["the day"]
        assert line["next"] == "2019-09-03T20:00:00Z"
        _, answer = await get(world, "/api/v1/schedules")
        schedules = {schedule["name"]: schedule for schedule in answer["schedules"]}
        assert schedules["the day"]["last_run"] == done
        assert schedules["the day"]["next"] == line["next"]
        assert schedules["yearly"]["last_run"] is None
        rows = world.store.job_runs(RUN)
        assert [(row.job, row.state) for row in rows if row.who] == [("daily_report", "succeeded")]


async def test_a_faulty_request_is_refused_and_nothing_is_journalled(tmp_path):
    async with standing_at_the_end(tmp_path, TEXT) as world:
        seq = world.service.journal.seq
        for name, body, status, code in (
            ("nightly", {"reason": "x"}, 404, "schedule"),
            ("off", {"reason": "x"}, 409, "conflict"),
            ("yearly", {"reason": "  "}, 422, "reason"),
            ("yearly", {}, 422, "command"),
            ("yearly", {"reason": "x", "when": "now"}, 422, "command"),
        ):
            async with world.session.post(f"/api/v1/schedules/{name}/run", json=body, headers=world.bearer) as response:
                problem = await response.json()
            assert (response.status, problem["code"]) == (status, code), problem
        assert world.service.journal.seq == seq
        for id in ("77", "x", "9" * 40):
            assert (await get(world, f"/api/v1/jobs/{id}"))[0] == 404
        world.service.status = "starting"
        status, problem = await post(world, "yearly")
        assert (status, problem["code"]) == (503, "not_ready")
        world.service.status = "ended"
