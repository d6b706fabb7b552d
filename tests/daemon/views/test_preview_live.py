"""`quantd plan` of a run on a market that goes on, in mode live: what would be traded now, and what [live] refuses of
it."""

import json
from pathlib import Path

import pytest

from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import Parts, assemble_live
from quantd.daemon.config import read
from quantd.trading.sessions import DAY_NS
from tests.support.command_line import quantd
from tests.support.live_runs import NOW, TEXT, slices, stretch, venue_of
from tests.support.remote_venue import Remote, Script

LIVE = (
    '[quantd]\nmode = "live"\nlive = true\n'
    + TEXT.replace("{broker}", "alpaca").replace("{policy}", "equal_weight")
    + '[live]\nmax_account_notional = "20000.00"\nmax_order_notional = "5000.00"\nramp = { days = 10, from = 0.1 }\n'
)


def live_parts() -> Parts:
    return assemble_live(read(LIVE, known_names()), NOW)


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
