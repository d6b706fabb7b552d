"""The books of the house and of the agents, as the fold reads them."""

from typing import Final

from quantd.daemon.engine.core.limiter import Limiter
from quantd.risk.monitor.ceilings import Bands
from quantd.trading.ledger.book import Book
from quantd.trading.number_types import Floats, Ints, ReadFloats, float_zeros

LOSSES: Final = 3
"""Drawdown, daily and weekly loss."""


class BookColumns:
    """One book: positions, equity, the marks of its losses and its growth, with its limits.

    `held` are signed lots as floats. `micro` is its equity at the last sample. `low` and `high` are the bounds of each
    loss between which neither its level nor the switch changes.
    """

    book: Book
    held: Floats
    held_view: ReadFloats
    """The same lots for functions that write to none: compiled code makes this view by way of a Python object."""
    micro: int
    peak: int
    """High-water mark in micro."""
    day_open: int
    week_open: int
    day: int
    week: int
    last: int
    low: Floats
    high: Floats
    grown: float
    """Growth so far, equity and flows of the sample before, as `Realised.basis` has them."""
    equity: float
    flows: float
    limiter: Limiter
    bands: Bands
    rising: Bands
    """Bands of levels that may only rise, while orders are open."""

    def __init__(self, size: int) -> None:
        self.held, self.low, self.high = float_zeros(size), float_zeros(LOSSES), float_zeros(LOSSES)
        self.micro = self.peak = self.day_open = self.week_open = self.day = self.week = self.last = 0
        self.grown = self.equity = self.flows = 0.0
        self.held_view = self.held

    def take_lots(self) -> None:
        """Copy the lots of the book."""
        book: Book = self.book
        lots: Ints = book.held
        held: Floats = self.held
        for k in range(len(held)):
            held[k] = float(lots[k])

    def calm(self, equity: int, day: int, week: int) -> bool:
        """Whether an equity in micro leaves every loss between its bounds."""
        opened: int = self.day_open if day == self.day else self.last
        began: int = self.week_open if week == self.week else self.last
        peak: int = max(self.peak, equity)
        if opened <= 0 or began <= 0:
            return False
        for k in range(LOSSES):
            reference: int = peak if k == 0 else opened if k == 1 else began
            loss: float = max(1.0 - float(equity) / float(reference), 0.0)
            if not self.low[k] < loss < self.high[k]:
                return False
        return True

    def observe(self, equity: int, day: int, week: int) -> None:
        """Move the marks of the losses, and the growth, to an equity in micro."""
        if day != self.day:
            self.day_open, self.day = self.last, day
        if week != self.week:
            self.week_open, self.week = self.last, week
        self.peak, self.last, self.micro = max(self.peak, equity), equity, equity
        now: float = float(equity)
        if self.equity > 0.0:
            self.grown = self.grown * ((now - self.flows) / self.equity)
        self.equity, self.flows = now, 0.0
