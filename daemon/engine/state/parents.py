"""Parent orders: the lots of a decision that are executed over time, and the number due at an instant.

A parent order reserves no cash and no exposure. Its child orders do, and each child passes the gate (the check of
limits) when it is due. Time is the time of events, not of the machine's clock.
"""

from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from quantd.trading.execution import split_row
from quantd.trading.statistics import sum_in_order

Style = Literal["marketable", "chase", "twap", "vwap", "participation", "open", "close"]

WORKED: Final = frozenset({"chase", "twap", "vwap", "participation"})
"""Styles that send children over time; with the other styles all lots of a decision are sent at once."""

U_SHAPE: Final = (1.7, 1.25, 1.05, 0.95, 0.85, 0.8, 0.75, 0.75, 0.8, 0.85, 0.95, 1.15, 1.9)
"""Assumed volume of a session's thirteen half hours, with mean about 1; `profile` replaces it.

Jain and Joh (1988), "The dependence between hourly prices and trading volume", found such a U; the numbers are rounded.
"""


class Execution(Struct, frozen=True):
    """How decisions are executed. `participation` is a fraction of the traded volume.

    For the styles twap and vwap: an order is executed over `over_ns` in `slices` equal parts of that time, and
    `profile` has the expected volume of equal intervals of a session. For the style chase: the limit price moves by
    `step_bp` basis points every `every_ns`, by at most `most` replacements.
    """

    style: Style = "marketable"
    over_ns: int = 1_800 * 10**9
    slices: int = 6
    participation: float = 0.1
    every_ns: int = 60 * 10**9
    step_bp: float = 5.0
    most: int = 5
    profile: tuple[float, ...] = U_SHAPE


class Parent(Struct):
    """One agent's part of one decision, in columns by row.

    `weights` is the recorded answer; `lots` are signed, `filled` unsigned. `worst_nano`, the price at the gate (the
    check of limits), bounds the price of each child. A row is executed from `start` to `close`, the end of the session
    that opened at `open`. `step` counts what was served: slices, lots of a participation, or children of a chase.
    `sent` is the instant of the last child, `seen` the units traded since `start`, `children` the numbers of its
    baskets.
    """

    agent: int
    sample: int
    ts: int
    style: Style
    weights: bytes
    sym: list[int]
    lots: list[int]
    worst_nano: list[int]
    start: list[int]
    open: list[int]
    close: list[int]
    filled: list[int] = []
    step: list[int] = []
    sent: list[int] = []
    seen: list[float] = []
    children: list[int] = []

    def __post_init__(self) -> None:
        if not self.filled:
            size = len(self.sym)
            self.filled, self.step, self.sent, self.seen = [0] * size, [0] * size, [0] * size, [0.0] * size

    def part(self, rows: list[int]) -> "Parent":
        """A parent order with only these rows of the present one."""
        columns = ("sym", "lots", "worst_nano", "start", "open", "close", "filled", "step", "sent", "seen")
        return replace(self, **{name: [getattr(self, name)[row] for row in rows] for name in columns})

    def fill(self, symbol: int, lots: int) -> None:
        """Count unsigned lots of a symbol that a child of the parent order filled."""
        if symbol in self.sym:
            self.filled[self.sym.index(symbol)] += lots

    def over(self, row: int, now: int) -> bool:
        """Whether a row (order of the parent) is filled, or its session has ended."""
        return self.filled[row] >= abs(self.lots[row]) or now >= self.close[row]

    def split(self, symbol: int, numerator: int, denominator: int) -> None:
        """Rescale a parent order's rows of a symbol by a split, as a venue rescales its orders."""
        for row in [row for row, column in enumerate(self.sym) if column == symbol]:
            self.lots[row], self.filled[row], self.worst_nano[row] = split_row(
                self.lots[row], self.filled[row], self.worst_nano[row], numerator, denominator
            )
            self.seen[row] *= numerator / denominator


def slices_due(rules: Execution, start: int, close: int, now: int) -> int:
    """Number of slices (equal parts of the execution time) that have begun: the first at `start`, the others evenly
    over the available time."""
    if now < start:
        return 0
    length = min(rules.over_ns, close - start)
    return min(rules.slices, (now - start) * rules.slices // length + 1)


def twap_lots(rules: Execution, size: int, due: int) -> int:
    """The total number of lots due once `due` slices have begun, of an order of `size` lots in equal slices; rounded
    down, but the last slice completes the order."""
    return size * due // rules.slices


def vwap_lots(rules: Execution, size: int, due: int, start: int, opened: int, close: int) -> int:
    """The total number of lots due once `due` slices have begun, of an order of `size` lots in slices by volume.

    The order is worked from `start` on; `opened` and `close` are the session's open and close, all in ns.
    """
    if due >= rules.slices:
        return size
    length, session = min(rules.over_ns, close - start), close - opened
    # as fractions of the session: the begin of the order, the end of its due slices, and its end
    begin_at = (start - opened) / session
    now_at, end_at = (begin_at + length / session * k / rules.slices for k in (due, rules.slices))
    volume_begin, volume_now, volume_end = (
        _volume_until(rules.profile, fraction) for fraction in (begin_at, now_at, end_at)
    )
    if not volume_end > volume_begin:
        return twap_lots(rules, size, due)
    # without the factor, a product just below an integer would lose one lot
    return min(size, int(size * (volume_now - volume_begin) / (volume_end - volume_begin) * (1.0 + 1e-12)))


def _volume_until(profile: Sequence[float], fraction: float) -> float:
    """Expected volume from the open to a fraction (0 to 1) of the session; even within each interval of `profile`."""
    intervals = min(max(fraction, 0.0), 1.0) * len(profile)
    complete = min(int(intervals), len(profile) - 1)
    return sum_in_order(profile[:complete]) + profile[complete] * (intervals - complete)


def participation_lots(rules: Execution, size: int, seen: float, lot_size: float) -> int:
    """Lots of `size` that are due once `seen` units were traded."""
    return min(size, int(rules.participation * seen / lot_size * (1.0 + 1e-12)))


def chase_nano(rules: Execution, mark_nano: int, buy: bool, children: int, tick_nano: int) -> int:
    """The limit price of a chase's next child after `children` earlier ones: `children` + 1 steps from the mark.

    The price is rounded to the tick, towards the mark.
    """
    step = int(mark_nano * rules.step_bp * (children + 1) / 1e4)
    if buy:
        return (mark_nano + step) // tick_nano * tick_nano
    return -(-(mark_nano - step) // tick_nano) * tick_nano
