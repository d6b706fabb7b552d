"""Rows of the market in one call: a plan of the answers that wait, then rows until agents are due."""

from typing import Final

from quantd.daemon.engine.batches.columns import Bars, Encoded, Rings, Sets
from quantd.daemon.engine.batches.layout import (
    A_AHEAD,
    A_ANSWERED,
    A_BASKETS,
    A_CASH,
    A_COPIES,
    A_CROSSED,
    A_DUE,
    A_ENDS,
    A_EQUITY,
    A_FOLLOW,
    A_PART,
    A_PLANS,
    A_REASONS,
    A_REQUESTED,
    A_TIMES,
    AGENTS,
    AHEAD,
    ASKED,
    BASKETS,
    F_AHEAD,
    F_ANSWERS,
    F_CHANGE,
    F_HELD,
    F_PX,
    F_REQUESTED,
    F_ROWS,
    F_WEIGHTS,
    FILLED,
    LEVELS,
    NEXT,
    ORDERS,
    PLAN,
    PLANNED,
    PLANS,
    ROW,
    ROWS,
    SENT,
    SENT_N,
    SENT_SAMPLE,
    SIZE,
    USED,
)  # fmt: skip
from quantd.daemon.engine.batches.round_kernel import make_plan
from quantd.daemon.engine.batches.rows_kernel import TIMES, take_row
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
        """Plan the answers that wait, and take rows of the market. Answers told in advance are planned on the way.

        Returns why it stops.
        """
        ints: Ints = self.ints
        agents: int = ints[AGENTS]
        ints[USED] = ints[FILLED] = ints[SENT] = ints[PLANNED] = ints[LEVELS] = 0
        ints[PLANS] = ints[BASKETS] = ints[NEXT] = 0
        for agent in range(agents):
            ints[ints[A_REQUESTED] + agent] = 0
        if ints[ASKED] > 0:
            if not self.plan():
                return OTHER_PLAN
            ints[ASKED] = 0
            if ints[LEVELS] > 0:
                return LEVELS_OF_PLAN
        while ints[ROW] < ints[ROWS]:
            row: int = ints[ROW]
            filled: int = ints[FILLED]
            if not take_row(ints, self.floats, self.ledger, self.bars, self.rings, self.sets, self.encoded, self.fills):
                return OTHER_ROW
            self.keep_row(row, ints[FILLED] - filled)
            rest: bool = False
            for agent in range(agents):
                rest = rest or ints[ints[A_FOLLOW] + agent] > 0
            if rest or ints[ints[A_DUE] + row] > 0 or ints[LEVELS] > 0:
                if ints[LEVELS] > 0 or not self.answered(row):
                    self.weigh(ints[A_EQUITY] + row * (agents + 5) + 1)
                    return LEVELS_OF_ROW if ints[LEVELS] > 0 else DUE
                if ints[LEVELS] > 0:
                    return LEVELS_OF_PLAN
        return ENDED

    def plan(self) -> bool:
        """Plan the answers to the last row; False, without a change, where `plan` must do it."""
        ints: Ints = self.ints
        floats: Floats = self.floats
        n: int = ints[SIZE]
        before: int = ints[PLANNED]
        ints[PLANNED] = 0
        if not make_plan(ints, floats, self.ledger, self.bars, self.rings, self.sets, self.encoded):
            ints[PLANNED] = before
            return False
        made: int = ints[PLANNED]
        at: int = ints[A_PLANS] + PLAN * ints[PLANS]
        ints[at], ints[at + 1], ints[at + 2] = ints[ROW] - 1, made, ints[ORDERS] * made
        ints[at + 3], ints[at + 4], ints[at + 5] = ints[USED], ints[SENT_SAMPLE], ints[SENT_N]
        ints[PLANS] += 1
        if made == 0:
            ints[PLANNED] = before
            return True
        for agent in range(ints[AGENTS]):
            if ints[ints[A_PART] + agent] > 0:
                ints[ints[A_REQUESTED] + agent] = 1
                change: int = ints[F_CHANGE] + agent * n
                out: int = ints[F_REQUESTED] + agent * n
                for k in range(n):
                    floats[out + k] = floats[change + k]
        return True

    def answered(self, row: int) -> bool:
        """Plan the answers to a row, the last one, that were told in advance; False where there are none, or `plan`
        must do it."""
        ints: Ints = self.ints
        floats: Floats = self.floats
        n: int = ints[SIZE]
        agents: int = ints[AGENTS]
        at: int = ints[A_AHEAD] + ints[NEXT] * (1 + agents + n)
        if ints[NEXT] == ints[AHEAD] or ints[at] != row:
            return False
        for agent in range(agents):
            if ints[ints[A_FOLLOW] + agent] > ints[at + 1 + agent]:
                return False
        answers: int = ints[F_ANSWERS]
        told: int = ints[F_AHEAD] + ints[NEXT] * agents * n
        for agent in range(agents):
            ints[ints[A_ANSWERED] + agent] = ints[at + 1 + agent]
            ints[ints[A_FOLLOW] + agent] = 0  # a new decision replaces the rest of the last one
        for k in range(agents * n):
            floats[answers + k] = floats[told + k]
        for k in range(n):
            ints[ints[A_ENDS] + k] = ints[at + 1 + agents + k]
        ints[SENT_SAMPLE], ints[SENT_N] = ints[ints[A_TIMES] + TIMES * row + 2], 1
        if not self.plan():
            ints[LEVELS] = 0
            return False
        ints[NEXT] += 1
        return True

    def keep_row(self, row: int, orders: int) -> None:
        """Keep the positions and cash of the house after a row, and its fills of so many orders."""
        ints: Ints = self.ints
        floats: Floats = self.floats
        n: int = ints[SIZE]
        out: int = ints[F_ROWS] + row * n
        held: int = ints[F_HELD]
        for k in range(n):
            floats[out + k] = floats[held + k]
        ints[ints[A_CASH] + row] = self.ledger.house.cash_micro
        if orders == 0:
            return
        first: int = ints[A_REASONS]
        size: int = ints[A_CROSSED] - first
        copied: int = ints[A_COPIES] + ints[BASKETS] * size
        at: int = ints[A_BASKETS] + 2 * ints[BASKETS]
        ints[at], ints[at + 1] = row, orders
        for k in range(size):
            ints[copied + k] = ints[first + k]
        ints[BASKETS] += 1

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
