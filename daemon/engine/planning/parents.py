"""What is worked over time: a decision's lots as a parent, and how many of them are due at an instant.

A parent is no order and reserves nothing: its children are, each made by the gate when it is due. Only event times
drive it.
"""

from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Struct

from quantd.trading.execution import split_row

Style = Literal["marketable", "chase", "twap", "vwap", "participation", "open", "close"]

WORKED: Final = frozenset({"chase", "twap", "vwap", "participation"})
"""Styles that send children over time; the others send what was decided whole."""

U_SHAPE: Final = (1.7, 1.25, 1.05, 0.95, 0.85, 0.8, 0.75, 0.75, 0.8, 0.85, 0.95, 1.15, 1.9)
"""Volume of a session's thirteen half hours, the mean about 1. An assumption: the U that Jain and Joh (1988, "The
dependence between hourly prices and trading volume") found, with round numbers of nobody's venue. `profile` replaces
it."""


class Execution(Struct, frozen=True):
    """How decisions become orders. `over_ns` and `slices` are of twap and vwap, `participation` a share of the volume
    seen, `every_ns`, `step_bp` and `most` (replacements) of chase; `profile` weighs equal parts of a session."""

    style: Style = "marketable"
    over_ns: int = 1_800 * 10**9
    slices: int = 6
    participation: float = 0.1
    every_ns: int = 60 * 10**9
    step_bp: float = 5.0
    most: int = 5
    profile: tuple[float, ...] = U_SHAPE


class Parent(Struct):
    """One agent's part of one decision, in columns by row. `weights` is the answer it came from; `lots` are signed,
    `filled` unsigned; no child goes out beyond `worst_nano`, which the whole was judged at. A row is worked from
    `start` to `close`, the end of its session that opened at `open`. `step` counts what was served (slices, lots of a
    participation, children of a chase), `sent` is when the last child was, `seen` the units traded since `start`;
    `children` are the numbers of its baskets."""

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

    def fill(self, symbol: int, lots: int) -> None:
        """Lots of a symbol, unsigned, were filled by a child."""
        if symbol in self.sym:
            self.filled[self.sym.index(symbol)] += lots

    def over(self, row: int, now: int) -> bool:
        """Whether nothing is left to be sent of a row: it is filled, or its session has ended."""
        return self.filled[row] >= abs(self.lots[row]) or now >= self.close[row]

    def split(self, symbol: int, numerator: int, denominator: int) -> None:
        """Rescale what is left, as a venue rescales its orders."""
        for row in [row for row, column in enumerate(self.sym) if column == symbol]:
            self.lots[row], self.filled[row], self.worst_nano[row] = split_row(
                self.lots[row], self.filled[row], self.worst_nano[row], numerator, denominator
            )
            self.seen[row] *= numerator / denominator


def slices_due(rules: Execution, start: int, close: int, now: int) -> int:
    """How many of the slices have begun: the first at `start`, the others evenly over the time there is."""
    if now < start:
        return 0
    length = min(rules.over_ns, close - start)
    return min(rules.slices, (now - start) * rules.slices // length + 1)


def twap_lots(rules: Execution, whole: int, due: int) -> int:
    """Lots of `whole` that are due with `due` slices: as many of each, rounded down until the last."""
    return whole * due // rules.slices


def vwap_lots(rules: Execution, whole: int, due: int, start: int, opened: int, close: int) -> int:
    """Lots of `whole` that are due with `due` slices, where each has the weight that the profile gives its time."""
    if due >= rules.slices:
        return whole
    length, session = min(rules.over_ns, close - start), close - opened
    begin = (start - opened) / session
    until, end = (begin + length / session * k / rules.slices for k in (due, rules.slices))
    before, now, after = (_volume(rules.profile, part) for part in (begin, until, end))
    if not after > before:
        return twap_lots(rules, whole, due)
    # a share that is exactly whole lots must not lose one to the last bit of a division
    return min(whole, int(whole * (now - before) / (after - before) * (1.0 + 1e-12)))


def _volume(profile: Sequence[float], part: float) -> float:
    """What the profile expects by a part (0 to 1) of the session; even within each of its parts."""
    at = min(max(part, 0.0), 1.0) * len(profile)
    done = min(int(at), len(profile) - 1)
    return sum(profile[:done]) + profile[done] * (at - done)


def participation_lots(rules: Execution, whole: int, seen: float, lot_size: float) -> int:
    """Lots of `whole` that are due once `seen` units were traded."""
    return min(whole, int(rules.participation * seen / lot_size * (1.0 + 1e-12)))


def chase_nano(rules: Execution, mark_nano: int, buy: bool, children: int, tick_nano: int) -> int:
    """The limit of a chase's next child, after `children` others: a step further from the mark each time, on the tick
    and never further."""
    step = int(mark_nano * rules.step_bp * (children + 1) / 1e4)
    if buy:
        return (mark_nano + step) // tick_nano * tick_nano
    return -(-(mark_nano - step) // tick_nano) * tick_nano
