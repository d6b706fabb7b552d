"""The records of a row that a batch took, and the alerts of its plan."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantd.daemon.engine.batches import layout as place
from quantd.daemon.engine.batches.arrays import Arrays
from quantd.daemon.engine.planning.gate_account import account_of, limits_in_force
from quantd.daemon.engine.safety.monitor import KNOWN_SAMPLES, market_context, watch_plan
from quantd.daemon.engine.state import HOUSE, State
from quantd.risk.pretrade.gate import Verdict, measure
from quantd.risk.switch import Switch
from quantd.risk.switch import losses as losses_of
from quantd.trading.effects import Assessed, Effect, Valued
from quantd.trading.events import Tick
from quantd.trading.instruments import MICRO
from quantd.trading.market import Floats


def row_effects(
    state: State, arrays: Arrays, closes: Floats, cash_micro: int, row: int, ts: int, *, losses: bool
) -> list[Effect]:
    """The valuation of a row; before it, with `losses`, the record of those of the house, where one is due.

    `closes` float64[N] and `cash_micro` are those of the row, `ts` is its sample. The positions are
    those of the last row taken.
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
            cash_micro=cash_micro,
            books=rest[: agents + 1],
            gross=float(units.dot(closes)) * MICRO / equity,
            drawdown=max(0.0, 1.0 - equity / max(high, 1)),
        )
    )
    return found


class SampleRows(NamedTuple):
    """The account at R samples in columns, as `Valued` has it for one.

    `ts` and `key` are those of the ticks. `books_micro` int64[R, agents + 1] are equities by book, the unallocated one
    last.
    """

    ts: list[int]
    key: list[int]
    equity_micro: list[int]
    cash_micro: list[int]
    books_micro: NDArray[np.int64]
    gross: list[float]
    drawdown: list[float]


def sample_rows(state: State, arrays: Arrays, closes: Floats, first: int, ticks: Sequence[Tick]) -> SampleRows:
    """The valuations of rows of a batch from number `first` on; `closes` float64[R, N] and `ticks` are theirs."""
    agents, count = len(state.agents), len(ticks)
    at, width = int(arrays.ints[place.A_EQUITY]) + first * (agents + 5), agents + 5
    rows = arrays.ints[at : at + count * width].reshape(count, width)
    equity, high = rows[:, 0].tolist(), rows[:, agents + 2].tolist()
    size, cash = state.universe.size, int(arrays.ints[place.A_CASH]) + first
    lots = arrays.floats[int(arrays.ints[place.F_ROWS]) + first * size :][: count * size].reshape(count, size)
    units = np.abs(lots * state.universe.lot_size)
    return SampleRows(
        ts=[tick.ts for tick in ticks],
        key=[tick.key for tick in ticks],
        equity_micro=equity,
        cash_micro=arrays.ints[cash : cash + count].tolist(),
        books_micro=rows[:, 1 : agents + 2].copy(),
        gross=[float(held.dot(row)) * MICRO / own for held, row, own in zip(units, closes, equity, strict=True)],
        drawdown=[max(0.0, 1.0 - own / max(top, 1)) for own, top in zip(equity, high, strict=True)],
    )


def plan_alerts(state: State, arrays: Arrays) -> list[Effect]:
    """The alerts about limits whose level the last plan raises. The state is that of its sample."""
    size, part, books = state.universe.size, int(arrays.ints[place.A_PART]), (HOUSE, *range(len(state.agents)))
    ctx, reasons = market_context(state), arrays.first.reshape(-1, size)
    passed = arrays.numbers(place.F_PASSED, size).copy()
    passes = arrays.numbers(place.F_PASSES, len(state.agents) * size).reshape(-1, size)
    accounts = {book: account_of(state, book) for book in books}
    house = Verdict(passed, arrays.house.copy(), ctx, accounts[HOUSE], limits_in_force(state, HOUSE))
    plans = [(HOUSE, house)]
    for number in range(len(state.agents)):
        if arrays.ints[part + number]:
            limits, lots = limits_in_force(state, number), passes[number].copy()
            plans.append((number, Verdict(lots, reasons[number].copy(), ctx, accounts[number], limits)))
    measure([verdict for _, verdict in plans], [house])
    return watch_plan(state, plans)
