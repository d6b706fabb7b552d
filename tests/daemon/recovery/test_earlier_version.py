"""Stores that version f4dad46e left, and their next start with the present code.

`stopped` and `killed` are two runs of its `quantd run` over one market: one was stopped in order and one by kill -9,
both with eight open orders, a portfolio and a follow-up that waits for sales. EQUITY and DIGEST are those with
which that version itself ended both. `stops_at_venue` is its live session at a venue on the wire, with protective stops
there, two kills and clean stops.
"""

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from quantd.adapters.store.handle import read_only
from quantd.daemon.engine.state.open_orders import Working
from quantd.daemon.engine.state.snapshot import Frozen
from quantd.daemon.runtime.loop import RunSnapshot
from quantd.trading.codec import decode
from quantd.trading.effects import OrderBasket
from tests.recorded_runs import processor
from tests.recorded_runs.archive import place, unpack
from tests.support.checkout import ROOT
from tests.support.command_line import environment

STORES = Path(__file__).parent / "earlier_stores"
EQUITY = "102057.311356"
DIGEST = "5a4e5cbd4532b2748f4ece80a803657ff7329ddb4f3881c4a5f163bfb3abab62"

REPLAY = """
import sys
from pathlib import Path
import msgspec
from quantd.adapters.store.handle import read_only
from quantd.daemon.engine.state.snapshot import Frozen, freeze
from tests.recorded_runs.replaying import recorded, refolded, require_same, snapshots, state_of

folder = Path(sys.argv[1])
records, run = read_only(folder / "state"), "run00001"
then, there = recorded(records, run), snapshots(records, run)
last = msgspec.msgpack.decode(state_of(there[-1][1]).state, type=Frozen)
for seq, snapshot in [(0, b""), *there]:
    now = refolded(folder, records, run, seq=seq, snapshot=snapshot)
    require_same(run, then[seq:], now)
    assert msgspec.msgpack.decode(freeze(now.shell.state), type=Frozen) == last
print(len(then), [seq for seq, _ in there])
"""


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A store, as it was left."""
    if why := processor.unsuited():
        pytest.skip(why)
    unpack(STORES / f"{request.param}.tar.xz", tmp_path)
    place(tmp_path)
    return tmp_path


def program(folder: Path, *words: str) -> str:
    """What a program prints that ends well, with the linear algebra of the recorded runs."""
    environ = environment() | processor.SETTING
    done = subprocess.run([sys.executable, *words], cwd=folder, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def frozen(data: bytes) -> Frozen:
    """The state of a snapshot."""
    return msgspec.msgpack.decode(msgspec.msgpack.decode(data, type=RunSnapshot).state, type=Frozen)


@pytest.mark.long
@pytest.mark.parametrize("folder", ["stopped", "killed"], indirect=True)
def test_the_next_version_goes_on_with_what_was_open_to_the_same_micro(folder: Path) -> None:
    records = read_only(folder / "state")
    run = records.current_run() or ""
    kept, last = records.latest_snapshot(run), records.last_seq(run)
    baskets = [effect for _, data in records.entries(run) for effect in decode(data).effects]
    newest = next(effect for effect in reversed(baskets) if isinstance(effect, OrderBasket))
    assert len(newest.sym) == 4
    if kept is not None:
        state = frozen(kept[1])
        assert (kept[0], [portfolio.name for portfolio in state.portfolios.values()]) == (last, ["core"])
        assert len([row for _, work in state.working for row in Working.thaw(work, 3).open_shares()]) >= 3
        assert any(agent[2] is not None for agent in state.agents), "no follow-up waits"
    done = json.loads(
        program(folder, "-m", "quantd.daemon.cli", "run", "--json", "--quiet", "--set", "feed.pace=fast")
    )  # fmt: skip
    assert (done["equity"], done["digest"]) == (EQUITY, DIGEST)


@pytest.mark.long
@pytest.mark.parametrize("folder", ["stops_at_venue"], indirect=True)
def test_a_session_with_stops_at_the_venue_replays_from_its_start_and_from_each_snapshot(folder: Path) -> None:
    records = read_only(folder / "state")
    kept = records.latest_snapshot("run00001")
    assert kept is not None
    assert frozen(kept[1]).stops
    assert program(ROOT, "-c", REPLAY, str(folder)) == "909 [641, 909]\n"
