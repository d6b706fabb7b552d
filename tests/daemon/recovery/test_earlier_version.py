"""Stores that version f4dad46e left, and their next start with the present code, which decides otherwise.

`stopped` and `killed` are two runs of its `quantd run` over one market: one was stopped in order and one by kill -9,
both with eight open orders, a portfolio and a follow-up that waits for sales. That version itself ended both with an
equity of 102057.311356; EQUITY is that of the present code.
"""

import json
from pathlib import Path

import msgspec
import pytest

from quantd.adapters.store.handle import read_only
from quantd.daemon.engine.state.open_orders import Working
from quantd.daemon.engine.state.snapshot import Frozen
from quantd.daemon.runtime.loop import RunSnapshot
from tests.recorded_runs import processor
from tests.recorded_runs.archive import place, unpack
from tests.support.command_line import Done, program

STORES = Path(__file__).parent / "earlier_stores"
EQUITY = "102146.600137"


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A store, as it was left."""
    if why := processor.unsuited():
        pytest.skip(why)
    unpack(STORES / f"{request.param}.tar.xz", tmp_path)
    place(tmp_path)
    return tmp_path


def started(folder: Path) -> Done:
    """The present version's run of the store to the end of the market, as on the processor of the record."""
    return program(folder, "run", "--json", "--quiet", "--set", "feed.pace=fast", env=processor.SETTING)


@pytest.mark.long
@pytest.mark.parametrize("folder", ["stopped"], indirect=True)
def test_a_run_that_was_stopped_in_order_goes_on_with_what_was_open(folder: Path) -> None:
    records = read_only(folder / "state")
    run = records.current_run() or ""
    kept, last = records.latest_snapshot(run), records.last_seq(run)
    assert kept is not None
    state = msgspec.msgpack.decode(msgspec.msgpack.decode(kept[1], type=RunSnapshot).state, type=Frozen)
    assert (kept[0], [portfolio.name for portfolio in state.portfolios.values()]) == (last, ["core"])
    assert len([row for _, work in state.working for row in Working.thaw(work, 3).open_shares()]) >= 3
    assert any(agent[2] is not None for agent in state.agents), "no follow-up waits"
    done = started(folder)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["run"], summary["equity"]) == (run, EQUITY)


@pytest.mark.long
@pytest.mark.parametrize("folder", ["killed"], indirect=True)
def test_a_run_that_was_killed_is_left_as_it_is_and_the_message_says_how_it_goes_on(folder: Path) -> None:
    run = read_only(folder / "state").current_run() or ""
    last = read_only(folder / "state").last_seq(run)
    done = started(folder)
    assert done.returncode == 1
    assert "differs from the journal" in done.stderr
    assert "Nothing was traded. If another version of quantd recorded the run, start that version" in done.stderr
    assert read_only(folder / "state").last_seq(run) == last
