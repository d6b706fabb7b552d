"""Faults inside the kernel of the gate, to plant where a search must find them."""

from collections.abc import Callable
from math import ceil
from typing import Any, Final

from quantd.risk.pretrade import kernel
from quantd.risk.pretrade.kernel import BASE, BEFORE, DOWN, NOW, RANGE, REDUCTIONS, SLIP, STATE, UP

Make = Callable[[Any], Any]
"""A function of the kernel -> the function with a fault."""


def post_trade_only(settle: Any) -> Any:
    """Exposures with every open and reducing order filled."""

    def faulty(n: int, *given: Any) -> None:
        settle(n, *given)
        work = given[7]
        for e in range(2):
            for k in range(BASE + (RANGE + 2 * e) * n, BASE + (RANGE + 2 * e + 1) * n):
                middle = (work[k + n] - work[k]) / 2
                work[k], work[k + n] = -middle, middle
            kernel._sums(n, e, work)

    return faulty


def open_ignored(settle: Any) -> Any:
    """Open orders take part in nothing but the caps."""

    def faulty(n: int, cash: float, equity: float, *given: Any) -> None:
        work = given[5]
        opened = slice(BASE + UP * n, BASE + (DOWN + 1) * n)
        kept = bytes(work[opened])
        work[opened] = memoryview(bytes(len(kept))).cast("d")
        settle(n, cash, equity, 0.0, 0.0, 1, 0.0, 0.0, *given[5:])
        work[opened] = memoryview(kept).cast("d")

    return faulty


def slip_ignored(settle: Any) -> Any:
    """Worst prices take nothing from equity."""

    def faulty(n: int, *given: Any) -> None:
        settle(n, *given)
        given[7][SLIP] = given[7][STATE + SLIP] = 0.0

    return faulty


def held_at_most(settle: Any) -> Any:
    """Equity of a breach is the highest; `held_highest` goes with it."""

    def faulty(n: int, *given: Any) -> None:
        settle(n, *given)
        given[7][NOW] = given[7][BEFORE]

    return faulty


def held_highest(standing: Any) -> Any:
    """What open orders could make of a position counts as held."""

    def faulty(n: int, e: int, k: int, work: Any, market: Any) -> float:
        first = BASE + (RANGE + 2 * e) * n + k
        low, high = -work[first], work[first + n]
        return float(high if high > -low else low)

    return faulty


def hedges_counted(losses: Any) -> Any:
    """Gains of orders that may not fill are counted."""

    def faulty(out: Any, returns: Any, first: int, fall: Any, rise: Any) -> None:
        losses(out, returns, first, fall, memoryview(bytes(8 * len(rise))).cast("d"))

    return faulty


def small_covariances(corners: Any) -> Any:
    def faulty(rows: Any, *given: Any) -> None:
        corners(rows, *given)
        rows[:4] *= 0.8

    return faulty


def rounded_up(floor: Any) -> Any:
    return lambda value: float(ceil(value)) if value < 1e15 else value


def reductions_free(count: Any) -> Any:
    def faulty(n: int, work: Any, *given: Any) -> Any:
        work[REDUCTIONS] = 0.0
        return count(n, work, *given)

    return faulty


def nothing(function: Any) -> Any:
    return lambda *given: None


FAULTS: Final[dict[str, list[tuple[str, Make]]]] = {
    "post-trade values only": [("settle", post_trade_only)],
    "open orders ignored": [("settle", open_ignored)],
    "worst prices take nothing from equity": [("settle", slip_ignored)],
    "hedges that have not filled count": [("losses", hedges_counted)],
    "covariances too small": [("corners", small_covariances)],
    "lots rounded up": [("floor", rounded_up)],
    "weights are not seen again at the lower equity": [("weigh_again", nothing)],
    "a limit that an open order may break is given up": [("settle", held_at_most), ("standing", held_highest)],
    "reductions are not counted": [("count", reductions_free)],
}
"""Name -> functions of the kernel and what is made of each."""


def plant(name: str, patch: Any) -> None:
    """Replaces functions of the kernel while `patch`, a pytest.MonkeyPatch, holds."""
    for function, make in FAULTS[name]:
        patch.setattr(kernel, function, make(getattr(kernel, function)))
