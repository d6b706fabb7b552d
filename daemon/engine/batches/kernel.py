"""Rows of the market in one call: a plan of the answers that wait, then rows until agents are due."""

from typing import Final

from quantd.daemon.engine.batches.columns import Bars, Encoded, Rings, Sets
from quantd.daemon.engine.batches.layout import (
    A_DUE,
    A_EQUITY,
    A_FOLLOW,
    AGENTS,
    ASKED,
    F_HELD,
    F_PX,
    F_WEIGHTS,
    FILLED,
    LEVELS,
    ORDER_END,
    PLANNED,
    ROW,
    ROWS,
    SENT,
    SIZE,
    USED,
)  # fmt: skip
from quantd.daemon.engine.batches.round_kernel import make_plan
from quantd.daemon.engine.batches.rows_kernel import take_row
from quantd.trading.fill_prices import LimitFills
from quantd.trading.ledger.book import Postings
from quantd.trading.number_types import Floats, Ints

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
LEVELS_OF_PLAN: Final = 5
"""The plan may have raised a level; no row follows yet."""


class Kernel:
    """Rows of one batch."""

    ints: Ints
    floats: Floats
    ledger: Postings
    bars: Bars
    rings: Rings
    sets: Sets
    encoded: Encoded
    fills: LimitFills

    def __init__(
        self,
        ints: Ints,
        floats: Floats,
        ledger: Postings,
        bars: Bars,
        rings: Rings,
        sets: Sets,
        encoded: Encoded,
        fills: LimitFills,
    ) -> None:
        self.ints, self.floats, self.ledger, self.bars = ints, floats, ledger, bars
        self.rings, self.sets, self.encoded, self.fills = rings, sets, encoded, fills

    def take(self) -> int:
        """Plan the answers that wait, and take rows of the market. Returns why it stops."""
        ints: Ints = self.ints
        floats: Floats = self.floats
        bars: Bars = self.bars
        ints[USED] = ints[FILLED] = ints[SENT] = ints[PLANNED] = ints[ORDER_END] = ints[LEVELS] = 0
        agents: int = ints[AGENTS]
        if ints[ASKED] > 0:
            if not make_plan(ints, floats, self.ledger, bars, self.rings, self.sets, self.encoded):
                return OTHER_PLAN
            ints[ASKED], ints[ORDER_END] = 0, ints[USED]
            if ints[LEVELS] > 0:
                return LEVELS_OF_PLAN
        while ints[ROW] < ints[ROWS]:
            row: int = ints[ROW]
            if not take_row(ints, floats, self.ledger, bars, self.rings, self.sets, self.encoded, self.fills):
                return OTHER_ROW
            rest: bool = False
            for agent in range(agents):
                rest = rest or ints[ints[A_FOLLOW] + agent] > 0
            if rest or ints[ints[A_DUE] + row] > 0 or ints[LEVELS] > 0:
                self.weigh(ints[A_EQUITY] + row * (agents + 5) + 1)
                return LEVELS_OF_ROW if ints[LEVELS] > 0 else DUE
        return ENDED

    def weigh(self, equity: int) -> None:
        """Write the weights of the agents' positions."""
        ints: Ints = self.ints
        floats: Floats = self.floats
        n: int = ints[SIZE]
        px: int = ints[F_PX]
        for agent in range(ints[AGENTS]):
            scale: float = 1e6 / float(ints[equity + agent])
            weights: int = ints[F_WEIGHTS] + agent * n
            held: int = ints[F_HELD] + (agent + 1) * n
            for k in range(n):
                floats[weights + k] = floats[held + k] * floats[px + k] * scale + 0.0
