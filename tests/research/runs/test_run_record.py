"""What a run leaves for its figures agrees with the ledger and with costs worked by hand."""

import numpy as np
import pytest

from quantd.research.runs.run_record import Record
from quantd.trading.effects import Filled
from quantd.trading.execution import Costs
from tests.support.engine import World, block, walk


def recorded(costs: Costs, days: int = 700) -> tuple[Record, World]:
    rng = np.random.default_rng(3)

    def act(view: object) -> object:
        return rng.dirichlet(np.ones(3)) * 0.8

    world = World(block(walk(days, 3, 5)), [act], costs=costs)
    record = Record(world.universe, world)
    world.shell = world.fresh(record)
    return record, world.run()


def test_commission_is_the_ledgers_and_value_traded_that_of_the_fills() -> None:
    record, world = recorded(Costs(commission_bp=10.0))
    house = world.shell.state.ledger.house
    assert record.commission_micro == house.fees_micro > 0
    fills = [e for e in world.effects if isinstance(e, Filled)]
    assert len(fills) > 256  # more than are summed at once
    value = sum(abs(k) * p for f in fills for k, p in zip(f.lots, f.price_nano, strict=True)) / 1e9
    assert record.traded == pytest.approx(value, rel=1e-12)
    assert record.slippage_paid == 0.0
    assert record.costs == pytest.approx(value * 10e-4, rel=1e-6)


def test_spread_and_slippage_are_what_fills_paid_beyond_the_open() -> None:
    record, _ = recorded(Costs(spread_bp=4.0, slippage_bp=3.0), days=80)
    # half the spread and the slippage, of the value at the open; a fill beyond its limit pays less
    assert record.slippage_paid == pytest.approx(record.traded * 5e-4, rel=2e-3)
    assert record.commission_micro == 0


def test_there_is_one_equity_for_each_sample() -> None:
    record, world = recorded(Costs(), days=30)
    assert len(record.ts) == len(record.equity_micro) == len(record.gross) == world.shell.tally.samples
    assert record.equity_micro[-1] == world.shell.state.equity_micro
