"""`quantd plan` of a run on a market that goes on, in mode live: what would be traded now, and what [live] refuses of
it."""

import json
from pathlib import Path

import numpy as np
import pytest

from quantd.adapters.store.handle import Store
from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import Parts, assemble_live
from quantd.daemon.config import read
from quantd.daemon.engine.state.snapshot import freeze
from quantd.risk.limits.catalogue import Reason
from quantd.server.api.routes.explanation_routes import Explaining
from quantd.trading.codec import decode
from quantd.trading.effects import Planned
from quantd.trading.sessions import DAY_NS
from tests.support.command_line import quantd
from tests.support.live_runs import NOW, RUN, TEXT, require_equal, slices, stretch, venue_of
from tests.support.remote_venue import Remote, Script

LIVE = (
    '[quantd]\nmode = "live"\nlive = true\n'
    + TEXT.replace("{broker}", "alpaca").replace("{policy}", "equal_weight")
    + '[live]\nmax_account_notional = "20000.00"\nmax_order_notional = "5000.00"\nramp = { days = 10, from = 0.1 }\n'
)


def live_parts() -> Parts:
    return assemble_live(read(LIVE, known_names()), NOW)


async def test_a_live_run_keeps_its_caps_and_its_plan_says_what_they_refuse(tmp_path: Path) -> None:
    of = live_parts()
    venue = venue_of(of)
    run = await stretch(tmp_path, of, Script(of.universe, DAY_NS, slices(6), venue, NOW), Remote(venue))
    require_equal(run, venue)
    state = run.service.shell.state
    assert state.live_sessions == 7
    held = sum(abs(lots) * mark for lots, mark in zip(venue.has.lots, state.marks.tolist(), strict=True))
    share = of.rules.live.share(7)  # type: ignore[union-attr]
    # the market may rise after an order; how much is held on a slow machine hangs on what came in time
    assert held < 1.1 * share * 20_000
    before = freeze(state)
    now = await Explaining(run.service, of, tmp_path).plan()
    assert freeze(state) == before
    assert {cut.reason for cut in now.refused if cut.who == "house"} <= {"account_notional", "order_notional", "ramp"}
    with Store.open(tmp_path) as store:
        plans = [e for _, data in store.entries(RUN, 1) for e in decode(data).effects if isinstance(e, Planned)]
    first = np.frombuffer(plans[0].reason, dtype=np.int8)
    assert set(first.tolist()) == {Reason.ACCOUNT_NOTIONAL}, "the first decision wants all of the book"
    assert {"max_account_notional", "ramp"} <= {row.limit for row in now.limits}
    assert sum(order.value for order in now.orders) <= share * 20_000


@pytest.mark.long
async def test_a_live_run_at_rest_can_be_planned_too(tmp_path: Path) -> None:
    of = live_parts()
    venue = venue_of(of)
    run = await stretch(tmp_path / "state", of, Script(of.universe, DAY_NS, slices(3), venue, NOW), Remote(venue))
    (tmp_path / "config.toml").write_text(LIVE)
    done = quantd(tmp_path, "plan", "--json")
    assert done.returncode == 0, done.stderr
    now = json.loads(done.stdout)
    assert [a["agent"] for a in now["answers"]] == ["mix"]
    assert now["ts"] == run.service.shell.state.now
    done = quantd(tmp_path, "plan")
    assert "gross exposure, ramp of a live start, session 4 of 10" in done.stdout
