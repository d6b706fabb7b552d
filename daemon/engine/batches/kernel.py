"""Rows of the market in one call: a plan of the answers that wait, then rows until agents are due."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from quantd.daemon.engine.batches import layout as place
from quantd.daemon.engine.batches.gate_kernel import NEED_LINKS, NEED_MATRICES
from quantd.daemon.engine.batches.layout import Bars, Encoded, Gate, Rings
from quantd.daemon.engine.batches.round_kernel import make_plan
from quantd.daemon.engine.batches.rows_kernel import take_row
from quantd.trading.jit import Entry, inner

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Codes = NDArray[np.int8]

ENDED: Final = 0
"""All rows are taken."""
DUE: Final = 1
"""Agents are due at the last row, or the rest of a decision is."""
OTHER_ROW: Final = 2
"""The next row is one for `step`."""
OTHER_PLAN: Final = 3
"""The plan of the answers is one for `plan`."""
LEVELS_OF_ROW: Final = 4
"""A level may have changed at the last row."""
NEEDS: Final = 6
"""The plan needs covariances or links of the returns."""
LEVELS_OF_PLAN: Final = 5
"""The plan may have raised a level; no row follows yet."""


@inner
def take_rows(
    ints: Ints,
    floats: Floats,
    accounts: Ints,
    close_nano: Ints,
    open_nano: Ints,
    close: Floats,
    low: Floats,
    high: Floats,
    volume: Floats,
    fresh: Any,
    known: Floats,
    known_returns: Floats,
    by_date: Floats,
    date_returns: Floats,
    columns: Floats,
    fixed: Floats,
    matrices: Floats,
    rows: Floats,
    losses: Floats,
    first: Codes,
    house: Codes,
    freed: Codes,
    buffer: Any,
    names: Any,
) -> int:
    """Plan the answers that wait, and take rows of the market. Returns why it stops.

    `ints` and `floats` are of `quantd.daemon.engine.batches.layout`, `accounts` the ledger. The next arrays are the
    fields of the four tuples there: a tuple costs more at a call from Python.
    """
    bars = Bars(close_nano, open_nano, close, low, high, volume, fresh)
    rings = Rings(known, known_returns, by_date, date_returns, columns)
    gate = Gate(fixed, matrices, rows, losses, first, house, freed)
    encoded = Encoded(buffer, names)
    ints[place.USED] = ints[place.FILLED] = ints[place.SENT] = ints[place.PLANNED] = ints[place.ORDER_END] = 0
    n, agents = ints[place.SIZE], ints[place.AGENTS]
    ints[place.LEVELS] = ints[place.NEEDS] = 0
    if ints[place.ASKED] > 0:
        if not make_plan(ints, floats, accounts, bars, rings, gate, encoded):
            needed = ints[place.NEEDS]
            return NEEDS if needed in (NEED_MATRICES, NEED_LINKS) else OTHER_PLAN
        ints[place.ASKED], ints[place.ORDER_END] = 0, ints[place.USED]
        if ints[place.LEVELS] > 0:
            return LEVELS_OF_PLAN
    while ints[place.ROW] < ints[place.ROWS]:
        row = ints[place.ROW]
        if not take_row(ints, floats, accounts, bars, rings, gate, encoded):
            return OTHER_ROW
        rest = False
        for agent in range(agents):
            rest = rest or ints[ints[place.A_FOLLOW] + agent] > 0
        if rest or ints[ints[place.A_DUE] + row] > 0 or ints[place.LEVELS] > 0:
            px, size, cells = ints[place.F_PX], ints[place.F_LOT_SIZE], n * (ints[place.FIRST] + row)
            for k in range(n):
                floats[px + k] = close[cells + k] * floats[size + k]
            for agent in range(agents):
                scale = 1e6 / float(ints[ints[place.A_EQUITY] + row * (agents + 5) + agent + 1])
                weights, held = ints[place.F_WEIGHTS] + agent * n, ints[place.F_HELD] + (agent + 1) * n
                for k in range(n):
                    floats[weights + k] = floats[held + k] * floats[px + k] * scale + 0.0
            return LEVELS_OF_ROW if ints[place.LEVELS] > 0 else DUE
    return ENDED


TAKE_ROWS: Final = Entry(take_rows)
