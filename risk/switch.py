"""The trading switch (RUN, REDUCE, HALT) of one book, and the loss limits that move it: drawdown, daily and weekly
loss.

What can go wrong: a deposit hides a loss, or a withdrawal looks like one. `flow` therefore scales the reference values,
so that each loss stays the same fraction of them. `tighten` only moves to a stricter state. `rearm` moves back to RUN
and sets the reference values anew, because the same loss would otherwise move the switch again at once.

A switch consists of plain numbers and is stored in snapshots. The switch itself never places or cancels an order.
"""

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from quantd.risk.limits.catalogue import DAY_NS, Limits
from quantd.risk.measures.portfolio import drawdown
from quantd.risk.switch_state import HALT as HALT
from quantd.risk.switch_state import REDUCE as REDUCE
from quantd.risk.switch_state import RUN as RUN
from quantd.risk.switch_state import Switch
from quantd.trading.execution import MOST


class FrozenSwitch(Struct, frozen=True):
    """A trading switch (`Switch`) as it is stored in a snapshot."""

    state: int = RUN
    reason: str = ""
    high_water: int = 0
    day_open: int = 0
    week_open: int = 0
    day_key: int = -1
    week_key: int = -1
    since_sample: int = 0
    trips: int = 0
    last: int = 0

    @classmethod
    def of(cls, switch: Switch) -> "FrozenSwitch":
        return cls(*(getattr(switch, name) for name in cls.__struct_fields__))

    def thaw(self) -> Switch:
        switch = Switch()
        for name in self.__struct_fields__:
            setattr(switch, name, getattr(self, name))
        return switch


STATE_LIMITS: Final[dict[str, Callable[[Switch, int], float]]] = {
    "max_drawdown": lambda switch, equity: drawdown(equity, switch.high_water),
    "max_daily_loss": lambda switch, equity: drawdown(equity, switch.day_open),
    "max_weekly_loss": lambda switch, equity: drawdown(equity, switch.week_open),
}
"""Key of `Limits` -> loss as a fraction of its reference equity."""


def observe(switch: Switch, equity_micro: int, key_ns: int, limits: Limits) -> str:
    """Update the reference values of the switch with an equity of session date `key_ns` (ns at 00:00 UTC). Returns
    the key of the first breached loss limit (drawdown, day, week), or ""."""
    day = key_ns // DAY_NS
    switch.mark(_bounded(equity_micro), day, (day + 3) // 7)  # 1970-01-01 was a Thursday: weeks begin on Monday
    if quiet(switch, equity_micro, limits, 1.0 - 1e-9):
        return ""
    return next((key for key, (loss, bound) in losses(switch, equity_micro, limits).items() if not loss <= bound), "")


def quiet(switch: Switch, equity_micro: int, limits: Limits, share: float) -> bool:
    """Whether every loss limit surely uses less than `share` of its bound."""
    if switch.day_open <= 0 or switch.week_open <= 0:
        return False  # with a reference of 0 or less, any loss is large
    # measured from the peak, a loss in money is at least as large as from any other reference
    peak = switch.high_water
    loss = peak - equity_micro
    if loss <= 0:
        return True
    least = share * peak
    for bound in (limits.max_drawdown, limits.max_daily_loss, limits.max_weekly_loss):
        if bound is not None and not loss < least * bound:
            return False
    return True


def losses(switch: Switch, equity_micro: int, limits: Limits) -> dict[str, tuple[float, float]]:
    """Return the loss limits that are on: key -> (loss as a fraction, bound)."""
    by_key: dict[str, tuple[float, float]] = {}
    for key, loss in STATE_LIMITS.items():
        bound = getattr(limits, key)
        if bound is not None:
            by_key[key] = (max(loss(switch, equity_micro), 0.0), bound)
    return by_key


def tighten(switch: Switch, state: int, reason: str, sample_no: int) -> bool:
    """Move the switch to a stricter state and count the move. Returns False, with nothing changed, if it is already
    that strict."""
    if state <= switch.state:
        return False
    switch.state, switch.reason, switch.since_sample = state, reason, sample_no
    switch.trips += 1
    return True


def rearm(switch: Switch, equity_micro: int, key_ns: int) -> None:
    """Move the switch back to RUN; the present equity becomes the high-water mark and the opening value of day and
    week. `key_ns` is the session date (ns at 00:00 UTC)."""
    day = key_ns // DAY_NS
    switch.state, switch.reason = RUN, ""
    switch.high_water = switch.day_open = switch.week_open = switch.last = _bounded(equity_micro)
    switch.day_key, switch.week_key = day, (day + 3) // 7


def flow(switch: Switch, amount_micro: int, equity_micro: int) -> None:
    """Scale the reference values for a deposit (positive) or withdrawal at equity `equity_micro`, so that every loss
    stays the same fraction of them.

    If the equity before or after the payment is not positive, the amount is added to the reference values instead. A
    switch without a first sample is not changed.
    """
    # no sample yet: there are no reference values
    if switch.day_key < 0:
        return
    after = equity_micro + amount_micro

    def moved(mark: int) -> int:
        if equity_micro <= 0 or after <= 0:
            return _bounded(mark + amount_micro)
        # mark x after / before, rounded to the nearest
        return _bounded((2 * mark * after + equity_micro) // (2 * equity_micro))

    switch.high_water, switch.last = moved(switch.high_water), moved(switch.last)
    switch.day_open, switch.week_open = moved(switch.day_open), moved(switch.week_open)


def _bounded(mark: int) -> int:
    """Return a reference value limited to -MOST to MOST: no balance can be larger, and compiled code holds no larger
    number."""
    return max(-MOST, min(mark, MOST))
