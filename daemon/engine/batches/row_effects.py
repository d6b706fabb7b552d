"""The records of a row that a batch took."""

import numpy as np

from quantd.daemon.engine.batches import layout as place
from quantd.daemon.engine.batches.arrays import Arrays
from quantd.daemon.engine.safety.monitor import KNOWN_SAMPLES
from quantd.daemon.engine.state import State
from quantd.risk.switch import Switch
from quantd.risk.switch import losses as losses_of
from quantd.trading.effects import Assessed, Effect, Valued
from quantd.trading.instruments import MICRO
from quantd.trading.market import Floats


def row_effects(state: State, arrays: Arrays, closes: Floats, row: int, ts: int, *, losses: bool) -> list[Effect]:
    """The valuation of a row; before it, with `losses`, the record of those of the house, where one is due.

    `closes` float64[N] are those of the row, `ts` is its sample. The positions are those of the last row taken.
    """
    agents = len(state.agents)
    at = int(arrays.ints[place.A_EQUITY]) + row * (agents + 5)
    equity, *rest = arrays.ints[at : at + agents + 5].tolist()
    high, day_open, week_open = rest[agents + 1 :]
    found: list[Effect] = []
    if losses and (state.sample_no + row + 1) % KNOWN_SAMPLES == 0:
        known = losses_of(Switch(high_water=high, day_open=day_open, week_open=week_open), equity, state.rules.house)
        found += [Assessed(ts, known)] if known else []
    units = np.abs(arrays.numbers(place.F_HELD, state.universe.size) * state.universe.lot_size)
    found.append(
        Valued(
            ts=ts,
            equity_micro=equity,
            cash_micro=state.ledger.house.cash_micro,
            books=rest[: agents + 1],
            gross=float(units.dot(closes)) * MICRO / equity,
            drawdown=max(0.0, 1.0 - equity / max(high, 1)),
        )
    )
    return found
