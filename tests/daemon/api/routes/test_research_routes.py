"""The ledger of looks and the run beside a stored backtest, over HTTP."""

import shutil
from typing import Any

import pytest

from quantd.adapters.store.queries import Reader
from quantd.research.runs.looks import note_looks
from tests.daemon.api.test_api import get, in_shared_loop, shared
from tests.research.runs.test_looks import look
from tests.support.command_line import CONFIG, answer, quantd, write

__all__ = ["shared"]

PATH = "/api/v1/research"


@in_shared_loop
async def test_looks_are_the_newest_of_the_ledger_and_a_changed_ledger_is_not_believed(shared: Any) -> None:
    note_looks(shared.folder, [look("first"), look("second")])
    status, found = await get(shared, f"{PATH}/looks?limit=1")
    assert status == 200, found
    assert (found["count"], found["trials"], [each["digest"] for each in found["looks"]]) == (2, 2, ["second"])
    assert found["looks"][0]["sharpe"] == look("second").sharpe
    ledger = shared.folder / "looks.jsonl"
    ledger.write_text(ledger.read_text().replace("first", "fyrst"))
    _, found = await get(shared, f"{PATH}/looks")
    assert found["trials"] is None
    assert "unknown" in found["text"]


@in_shared_loop
async def test_the_gap_to_a_stored_backtest_is_its_commissions_and_the_rest(shared: Any) -> None:
    _, found = await get(shared, f"{PATH}/beside")
    assert (found["ts"], found["missing"][:28]) == ([], "there is no stored backtest;")
    dear = shared.folder.parent / "dear"
    dear.mkdir()
    write(dear, CONFIG.replace("commission_bp = 1.0", "commission_bp = 20.0"))
    answer(quantd(dear, "backtest", "--journal", "--no-compare", "--json"))
    shutil.move(dear / "state" / "backtests", shared.folder / "backtests")
    status, found = await get(shared, f"{PATH}/beside?points=10")
    assert status == 200, found
    tested = Reader.open(shared.folder / "backtests")
    assert (found["backtest"], found["backtests"]) == (tested.run.run, [tested.run.run])
    own = Reader.open(shared.folder)
    ours, theirs = own.equity(), tested.equity()
    assert found["own"][-1] == pytest.approx(ours[-1].equity_micro / ours[0].equity_micro)
    assert found["tested"][-1] == pytest.approx(theirs[-1].equity_micro / theirs[0].equity_micro)
    assert len(found["ts"]) <= 10
    paid = [sum(float(fill.fee) for fill in reader.fills()) / 100_000.0 for reader in (own, tested)]
    assert found["commissions"] == pytest.approx(paid[1] - paid[0], rel=1e-6)
    assert found["gap"] == pytest.approx(found["commissions"] + found["rest"])
    assert found["commissions"] > abs(found["rest"])  # only the commission differs
    status, found = await get(shared, f"{PATH}/beside?backtest=nothere")
    assert (status, found["code"]) == (404, "not_found")


@in_shared_loop
async def test_without_two_stored_backtests_nothing_is_compared_and_the_remedy_is_named(shared: Any) -> None:
    shutil.rmtree(shared.folder / "backtests", ignore_errors=True)
    status, found = await get(shared, f"{PATH}/compare")
    assert (status, found["rows"]) == (200, [])
    assert found["missing"] == "there are fewer than two stored backtests; quantd backtest --journal makes one"


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
    newest, before = [each.run for each in Reader.open(shared.folder / "backtests").records.runs()][:-3:-1]
    status, found = await get(shared, f"{PATH}/compare?one={before}&other={newest}")
    assert status == 200, found
    told = answer(quantd(place, "report", "--compare", before, newest, "--json", "--state", str(shared.folder)))
    plain = ("one", "other", "samples", "sentence", "tests", "settings", "ts", "failures")
    assert {key: told[key] for key in plain} == {key: found[key] for key in plain}
    assert [list(row.values()) for row in found["rows"]] == told["rows"]
    assert [list(row.values()) for row in found["p_values"]] == told["p_values"]
    assert [found["own"], found["beside"]] == told["wealth"]
    assert [row["figure"] for row in found["rows"]][:2] == ["Total return", "Compound annual growth"]
    assert found["own"] != found["beside"]
    assert found["sentence"].startswith("Sharpe difference ")
    assert len(found["ts"]) == len(found["own"]) == len(found["beside"]) > 20
    assert (await get(shared, f"{PATH}/compare"))[1] == found, "the newest two"
    status, refused = await get(shared, f"{PATH}/compare?one={before}&other={before}")
    assert (status, refused["code"]) == (422, "incomparable"), refused
    short = ("--journal", "--no-compare", "--json", "--state", str(shared.folder), "--to", "2019-02-28")
    shorter = answer(quantd(place / "first", "backtest", *short))["run"]
    status, refused = await get(shared, f"{PATH}/compare?one={before}&other={shorter}")
    assert (status, refused["code"]) == (422, "incomparable"), refused
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
    got, found = await get(shared, f"{PATH}/compare?{query}")
    assert (got, found["code"]) == (status, code), found
