"""Faults inside the gate, to plant where a search must find them. The gate must be uncompiled."""

from collections.abc import Callable
from math import ceil
from typing import Any, Final

from quantd.risk.pretrade.judge import Gate
from quantd.risk.pretrade.loops import Loops
from quantd.risk.pretrade.standing import Basket, Standing
from quantd.trading.number_types import float_zeros

Make = Callable[[Any], Any]
"""A method -> the method with a fault."""


def post_trade_only(settle: Any) -> Any:
    """Exposures with every open and reducing order filled."""

    def faulty(self: Standing, bounds: Any) -> None:
        settle(self, bounds)
        for k in range(self.basket.n):
            middle = (self.high[k] - self.low[k]) / 2
            self.low[k], self.high[k] = -middle, middle
        self.sums()

    return faulty


def open_ignored(settle: Any) -> Any:
    """Open orders take part in nothing but the caps."""

    def faulty(self: Standing, bounds: Any) -> None:
        basket = self.basket
        names = ("up", "down", "up_cash", "open_loss", "derived", "open_gain", "traded")
        kept = {name: getattr(basket, name) for name in names}
        basket.up, basket.down, basket.derived = float_zeros(basket.n), float_zeros(basket.n), True
        basket.up_cash = basket.open_loss = basket.open_gain = basket.traded = 0.0
        settle(self, bounds)
        for name, value in kept.items():
            setattr(basket, name, value)

    return faulty


def slip_ignored(settle: Any) -> Any:
    """Worst prices take nothing from equity."""

    def faulty(self: Standing, bounds: Any) -> None:
        settle(self, bounds)
        self.slip = 0.0

    return faulty


def held_at_most(settle: Any) -> Any:
    """Equity of a breach is the highest; `held_highest` goes with it."""

    def faulty(self: Standing, bounds: Any) -> None:
        settle(self, bounds)
        if not self.settled:
            self.now = self.before

    return faulty


def held_highest(stands: Any) -> Any:
    """What open orders could make of a position counts as held."""
    return lambda self, k: self.high[k] if self.high[k] > self.low[k] else -self.low[k]


def hedges_counted(losses: Any) -> Any:
    """Gains of orders that may not fill are counted."""

    def faulty(self: Any, out: Any, size: int, returns: Any, fall: Any, rise: Any) -> None:
        losses(self, out, size, returns, fall, float_zeros(len(rise)))

    return faulty


def small_covariances(corners: Any) -> Any:
    def faulty(self: Any, out: Any, matrix: Any, of: Any, n: int, sided: bool) -> None:
        corners(self, out, matrix, of, n, sided)
        for row in (out.shorts, out.longs, out.less, out.more):
            for k in range(n):
                row[k] *= 0.8

    return faulty


def rounded_up(floor: Any) -> Any:
    return lambda self, value: float(ceil(value)) if value < 1e15 else value


def reductions_free(count: Any) -> Any:
    def faulty(self: Gate) -> Any:
        self.basket.reductions = 0
        return count(self)

    return faulty


def nothing(function: Any) -> Any:
    return lambda *arguments: None


FAULTS: Final[dict[str, list[tuple[type, str, Make]]]] = {
    "post-trade values only": [(Standing, "settle", post_trade_only)],
    "open orders ignored": [(Standing, "settle", open_ignored)],
    "worst prices take nothing from equity": [(Standing, "settle", slip_ignored)],
    "hedges that have not filled count": [(Loops, "losses", hedges_counted)],
    "covariances too small": [(Loops, "corners", small_covariances)],
    "lots rounded up": [(Basket, "floor", rounded_up)],
    "weights are not seen again at the lower equity": [(Gate, "weigh_again", nothing)],
    "a limit that an open order may break is given up": [
        (Standing, "settle", held_at_most), (Standing, "stands", held_highest)
    ],
    "reductions are not counted": [(Gate, "count", reductions_free)],
}  # fmt: skip
"""Name -> methods of the gate and what is made of each."""


def plant(name: str, patch: Any) -> None:
    """Replaces methods of the gate while `patch`, a pytest.MonkeyPatch, holds."""
    for owner, method, make in FAULTS[name]:
        patch.setattr(owner, method, make(getattr(owner, method)))
