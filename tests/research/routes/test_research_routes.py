"""The ledger of looks and the run beside a stored backtest, over HTTP."""

import asyncio
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from quantd.adapters.store.queries import Reader
from quantd.daemon.recovery.replay import save_config
from quantd.research.routes import research_routes
from quantd.research.routes.stored_backtests import StoredBacktests
from quantd.research.runs.looks import note_looks, withdraw
from tests.support.api_world import command, get, in_shared_loop, shared, standing_at_the_end, world
from tests.support.command_line import CONFIG, ROOT, answer, quantd, write
from tests.support.looks import look

__all__ = ["shared", "world"]

PATH = "/api/v1/research"


@in_shared_loop
async def test_looks_are_the_newest_of_the_ledger_and_a_changed_ledger_is_not_believed(shared: Any) -> None:
    note_looks(shared.folder, [look("first"), look("second")])
    status, body = await get(shared, f"{PATH}/looks?limit=1")
    assert status == 200, body
    assert (body["count"], body["trials"], [row["digest"] for row in body["looks"]]) == (2, 2, ["second"])
    assert body["looks"][0]["sharpe"] == look("second").sharpe
    withdraw(shared.folder, "first", "leak", "reads the next bar")
    _, body = await get(shared, f"{PATH}/looks")
    assert [line["withdrawn"] for line in body["looks"]] == ["", "leak: reads the next bar"]
    ledger = shared.folder / "looks.jsonl"
    text = ledger.read_text()
    ledger.write_text(text.replace("first", "fyrst"))
    _, body = await get(shared, f"{PATH}/looks")
    ledger.write_text(text)
    assert body["trials"] is None
    assert "unknown" in body["text"]


def stored(shared: Any, name: str, text: str = CONFIG, *options: str) -> dict[str, Any]:
    folder = shared.folder.parent / name
    folder.mkdir()
    write(folder, text)
    given = ("--journal", "--json", "--state", str(shared.folder), *options)
    document: dict[str, Any] = answer(quantd(folder, "backtest", *given))
    return document


@pytest.mark.long
@in_shared_loop
async def test_the_run_is_compared_with_a_backtest_of_its_own_configuration_and_another_names_the_keys_that_differ(
    shared: Any,
) -> None:
    _, body = await get(shared, f"{PATH}/beside")
    assert (body["ts"], body["missing"][:28]) == ([], "there is no stored backtest;")
    alike = stored(shared, "alike")
    dear = stored(shared, "dear", CONFIG.replace("commission_bp = 1.0", "commission_bp = 20.0"))["run"]
    short = stored(shared, "short", CONFIG, "--set", "agents.trend.params.lookback=30")["run"]
    status, body = await get(shared, f"{PATH}/beside?points=10")
    assert status == 200, body
    assert (body["backtest"], body["backtests"]) == (alike["run"], [short, dear, alike["run"]])
    differs = [["agents.trend.params.lookback 30, here 60"], ["broker.commission_bp 20.0, here 1.0"], []]
    assert [row["differs"] for row in body["stored"]] == differs
    assert body["stored"][2]["sharpe"] == pytest.approx(alike["performance"]["sharpe"])
    assert len({row["sharpe"] for row in body["stored"]}) == 3
    assert (body["differs"], body["gap"], body["commissions"], body["rest"]) == ([], 0.0, 0.0, 0.0)
    assert 2 < len(body["ts"]) <= 10
    for name, differing in zip((short, dear), differs, strict=False):
        status, body = await get(shared, f"{PATH}/beside?backtest={name}")
        assert (status, body["backtest"], body["differs"], body["unrepeated"]) == (200, name, differing, [])
        assert (body["gap"], body["commissions"], body["rest"]) == (None, None, None)
        equity, tested = Reader.open(shared.folder).equity(), Reader.open(shared.folder / "backtests", name).equity()
        assert body["own"][-1] == pytest.approx(equity[-1].equity_micro / equity[0].equity_micro)
        assert body["tested"][-1] == pytest.approx(tested[-1].equity_micro / tested[0].equity_micro)
    status, body = await get(shared, f"{PATH}/beside?backtest=nothere")
    assert (status, body["code"]) == (404, "not_found")
    _, body = await get(shared, f"{PATH}/looks")
    assert [row["differs"] for row in body["looks"][:3]] == differs
    _, body = await get(shared, f"{PATH}/compare?one={short}&other={alike['run']}")
    assert body["differs"] == ["agents.trend.params.lookback 30 and 60"]
    # a deposit is no return here either
    deposit = '[[schedules]]\nname = "savings"\ndo = "deposit"\namount = "5000.00"\ncron = "0 9 * * mon"\n'
    paid = stored(shared, "paid", CONFIG + deposit)
    _, body = await get(shared, f"{PATH}/beside")
    assert body["stored"][0]["sharpe"] == pytest.approx(paid["performance"]["sharpe"])
    assert paid["performance"]["paid_in"] > 0


@pytest.mark.long
@pytest.mark.parametrize("moved", ["run", "backtest"])
async def test_other_places_and_another_port_are_no_other_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: str
) -> None:
    """The run or the backtest reads copies of data and models, by DATA_DIR and MODELS_DIR, and has another port."""
    text = CONFIG.replace(str(ROOT / "data"), "data").replace('"equal_weight"', '"models/shipped/scorer"')
    text += '[account]\ncash_rate = "data/rates.csv"\n'
    shutil.copytree(ROOT / "models" / "shipped", tmp_path / "models" / "shipped")
    for folder in (tmp_path / "data", tmp_path / "other" / "data", tmp_path / "elsewhere"):
        folder.mkdir(parents=True)
        (folder / "rates.csv").write_text("date,rate\n2018-01-01,0.01\n2019-02-01,0.02\n")
        for name in ("us_daily.parquet", "us_actions.csv"):
            shutil.copy(ROOT / "data" / name, folder / name)
    variables = {"DATA_DIR": str(tmp_path / "elsewhere"), "MODELS_DIR": str(tmp_path / "models")}
    if moved == "run":
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        variables = {}
    async with standing_at_the_end(tmp_path, text) as run:
        write(tmp_path / "other", text)
        options = ("--journal", "--json", "--no-compare", "--state", str(run.folder), "--set", "api.port=4711")
        document = answer(quantd(tmp_path / "other", "backtest", *options, env=variables))
        shutil.rmtree(tmp_path / ("other" if moved == "run" else "elsewhere"))
        status, beside = await get(run, f"{PATH}/beside")
        assert (status, beside["backtest"], beside["differs"]) == (200, document["run"], [])
        assert beside["gap"] == pytest.approx(0.0, abs=1e-12)
        _, looks = await get(run, f"{PATH}/looks")
        assert looks["looks"][0]["differs"] == []


@pytest.mark.long
async def test_a_list_of_backtests_and_a_comparison_read_them_one_at_a_time_and_never_in_the_loop(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers, most, threads = [0], [0], set()

    def watched(name: str) -> None:
        read = getattr(StoredBacktests, name)

        def counted(self: StoredBacktests, *of: Any) -> Any:
            threads.add(threading.current_thread())
            readers[0] += name != "newest"
            most[0] = max(most[0], readers[0])
            time.sleep(0.3)
            try:
                return read(self, *of)
            finally:
                readers[0] -= name != "newest"

        monkeypatch.setattr(StoredBacktests, name, counted)

    async def replayed(config: Path, folder: Path, one: str, other: str) -> research_routes.ComparedBacktests:
        return research_routes.ComparedBacktests(one, other)

    for name in ("one", "another"):
        stored(world, name, CONFIG, "--no-compare")
    for name in ("newest", "described", "differing"):
        watched(name)
    monkeypatch.setattr(research_routes, "_compared_in_process", replayed)
    answers = await asyncio.gather(get(world, f"{PATH}/beside"), get(world, f"{PATH}/compare"))
    assert [status for status, _ in answers] == [200, 200]
    assert most == [1]
    assert threading.main_thread() not in threads


@pytest.mark.long
async def test_a_run_with_acts_that_a_backtest_does_not_repeat_has_a_gap_without_causes(world: Any) -> None:
    stored(world, "alike", CONFIG, "--no-compare")
    _, body = await get(world, f"{PATH}/beside")
    assert (body["differs"], body["gap"]) == ([], 0.0)
    assert (await command(world, {"command": "halt", "reason": "r"}, world.bearer))[0] == 200
    _, body = await get(world, f"{PATH}/beside")
    assert body["differs"] == body["unrepeated"] == ["the run has events that no backtest repeats: command (1)"]
    assert (body["gap"], body["commissions"], body["rest"]) == (None, None, None)


@in_shared_loop
async def test_without_two_stored_backtests_nothing_is_compared_and_the_remedy_is_named(shared: Any) -> None:
    shutil.rmtree(shared.folder / "backtests", ignore_errors=True)
    status, body = await get(shared, f"{PATH}/compare")
    assert (status, body["rows"]) == (200, [])
    assert body["missing"] == "there are fewer than two stored backtests; quantd backtest --journal makes one"


@pytest.mark.long
@in_shared_loop
async def test_two_stored_backtests_are_compared_as_the_command_does_by_a_process_of_its_own(shared: Any) -> None:
    place = shared.folder.parent
    for name in ("first", "second"):
        folder = place / name
        folder.mkdir()
        write(
            folder,
            CONFIG.replace("max_position_weight = 0.25", "max_position_weight = 0.15") if name == "second" else CONFIG,
        )
        answer(quantd(folder, "backtest", "--journal", "--no-compare", "--json", "--state", str(shared.folder)))
    newest, before = [run.run for run in Reader.open(shared.folder / "backtests").records.runs()][:-3:-1]
    status, body = await get(shared, f"{PATH}/compare?one={before}&other={newest}")
    assert status == 200, body
    report = answer(quantd(place, "report", "--compare", before, newest, "--json", "--state", str(shared.folder)))
    plain = ("one", "other", "samples", "sentence", "tests", "settings", "ts", "failures")
    assert {key: report[key] for key in plain} == {key: body[key] for key in plain}
    assert [list(row.values()) for row in body["rows"]] == report["rows"]
    assert [list(row.values()) for row in body["p_values"]] == report["p_values"]
    assert [body["own"], body["beside"]] == report["wealth"]
    assert [row["figure"] for row in body["rows"]][:2] == ["Total return", "Compound annual growth"]
    assert body["own"] != body["beside"]
    assert body["sentence"].startswith("Sharpe difference ")
    assert len(body["ts"]) == len(body["own"]) == len(body["beside"]) > 20
    assert (await get(shared, f"{PATH}/compare"))[1] == body, "the newest two"
    beside = (await get(shared, f"{PATH}/compare?other={before}"))[1]
    assert (beside["one"], beside["other"]) == (newest, before), "the newest that was not named"
    assert (await get(shared, f"{PATH}/compare?one={newest}"))[1]["other"] == before
    status, refused = await get(shared, f"{PATH}/compare?one={before}&other={before}")
    assert (status, refused["code"]) == (409, "incomparable"), refused
    short = ("--journal", "--no-compare", "--json", "--state", str(shared.folder), "--to", "2019-02-28")
    shorter = answer(quantd(place / "first", "backtest", *short))["run"]
    status, refused = await get(shared, f"{PATH}/compare?one={before}&other={shorter}")
    assert (status, refused["code"]) == (409, "incomparable"), refused
    assert "the runs differ in bars, dates and are not comparable" in refused["detail"]


@in_shared_loop
@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("one=nothere&other=nowhere", 404, "not_found"),
        ("one=nothere", 404, "not_found"),
        ("one=../x.json&other=b", 422, "query"),
        ("one=--out&other=b", 422, "query"),
    ],
)
async def test_a_comparison_of_what_is_no_stored_run_is_refused(
    shared: Any, query: str, status: int, code: str
) -> None:
    got, body = await get(shared, f"{PATH}/compare?{query}")
    assert (got, body["code"]) == (status, code), body


@pytest.mark.long
@in_shared_loop
async def test_the_past_under_another_limit_is_that_of_the_command_and_a_key_that_is_no_limit_is_refused(
    shared: Any,
) -> None:
    save_config(shared.folder, shared.config, shared.folder.parent / "config.toml", (), {})  # as a daemon's start does
    status, body = await get(shared, f"{PATH}/limit?limit=risk.max_drawdown%3D0.001")
    assert status == 200, body
    assert body["run"] == shared.service.run
    assert body["other"]["turns"][0]["switch"] != "RUN"
    assert body["sentence"].startswith("With risk.max_drawdown 0.001 this account would have ")
    for change in ("feed.path%3D/etc/passwd", "--help", "risk.profile%3Daggressive"):
        status, body = await get(shared, f"{PATH}/limit?limit={change}")
        assert (status, body["code"]) == (404, "not_found"), body
    status, body = await get(shared, f"{PATH}/limit?limit=risk.max_drawdown%3D7")
    assert (status, body["errors"][0]["field"]) == (422, "limit"), body
