"""The trading switch of one book as plain numbers: the engine's event handlers and its fast loop (fold) read and
move the same object."""

from typing import Final

RUN: Final = 0
"""All orders that comply pass."""

REDUCE: Final = 1
"""Only reducing orders pass."""

HALT: Final = 2
"""No order passes."""


class Switch:
    """State of one book's trading switch, which begins at RUN. Money is int micro-currency. `day_key` and `week_key`
    count days and Monday weeks since 1970. `last` is the last observed equity. `since_sample` (the sample's number) and
    `reason` belong to the last move to a stricter state; `trips` counts these moves."""

    state: int
    reason: str
    high_water: int
    day_open: int
    week_open: int
    day_key: int
    week_key: int
    since_sample: int
    trips: int
    last: int

    def __init__(self, high_water: int = 0) -> None:
        self.state = self.day_open = self.week_open = self.since_sample = self.trips = self.last = 0
        self.day_key = self.week_key = -1
        self.high_water, self.reason = high_water, ""

    def mark(self, equity: int, day: int, week: int) -> None:
        """Update the reference values with an equity, observed on a day and in a week.

        `equity` is in micro-currency, `day` and `week` count days and weeks since 1970; `day_key` and `week_key` are -1
        before the first equity. A day opens with the last equity of an earlier day, so that an overnight loss belongs
        to the day.
        """
        if self.day_key < 0:
            self.high_water = self.last = equity
        if day != self.day_key:
            self.day_key, self.day_open = day, self.last
        if week != self.week_key:
            self.week_key, self.week_open = week, self.last
        self.high_water = max(self.high_water, equity)
        self.last = equity
