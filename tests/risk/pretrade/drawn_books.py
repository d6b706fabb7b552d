"""Baskets and states of books in small exact numbers, and what limits leave of them by their definitions."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from quantd.risk.pretrade.gate_bounds import Bounds
from quantd.risk.pretrade.scenes import READY, Scene
from quantd.risk.pretrade.standing import Basket, Factor, Standing

Floats = NDArray[np.float64]


def give(target: Any, **given: Any) -> None:
    """Set fields. An array becomes a buffer of its own, a number of numpy one of Python."""
    for name, value in given.items():
        if isinstance(value, np.ndarray):
            value = np.array(value, dtype=np.int64 if value.dtype == np.int64 else np.float64).data
        setattr(target, name, value.item() if isinstance(value, np.generic) else value)


def basket_of(**given: Any) -> Basket:
    """A basket with these arrays and amounts, and nothing else: what is read unasked shows."""
    basket = Basket(len(given["px"]))
    basket.cash = basket.equity = basket.up_cash = basket.open_loss = basket.open_gain = basket.traded = 0.0
    basket.derived = True
    give(basket, **given)
    return basket


def bounds_of(**given: Any) -> Bounds:
    """One state, and no limit but these."""
    bounds = Bounds()
    bounds.rows, bounds.families, bounds.tails, bounds.forms = [], [], [], []
    bounds.two_states = bounds.pairs = False
    bounds.equity = bounds.cash = -1
    give(bounds, **given)
    return bounds


class Rare:
    """Makes what a scene asks for, and records that it did."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.scene: Scene
        self.returns: list[Floats] = []
        self.matrices: list[Floats] = []
        self.links: Floats

    def add_returns(self) -> None:
        self.asked.append("returns")
        for losses, returns in zip(self.scene.losses, self.returns, strict=True):
            give(losses, returns=returns, ready=True)

    def add_matrices(self) -> None:
        self.asked.append("matrices")
        for spread, matrix in zip(self.scene.spreads, self.matrices, strict=True):
            give(spread, matrix=matrix, ready=True)

    def add_links(self, sides: list[int]) -> None:
        self.asked.append(sides)
        give(self.scene, links=self.links, has_links=True)


def scene_of(basket: Basket, rare: Rare, rows: int = READY) -> Scene:
    """A scene at the prices of a basket. No order to reduce is barred."""
    rare.scene = Scene(basket.px, np.zeros(basket.n).data, rows, rare)
    return rare.scene


def drawn(rng: np.random.Generator, basket: Basket) -> None:
    """Prices and adding orders, some of no lots, in small whole numbers."""
    n = basket.n
    size = rng.integers(0, 4, n) * 1.0
    wish = (size + rng.integers(0, 2, n)) * rng.choice([-1.0, 1.0], n)
    give(basket, px=rng.choice([1.0, 2.0, 4.0], n), size=size, wish=wish, reason=np.zeros(n, dtype=np.int64))
    basket.changes = 0


def added(basket: Basket) -> Floats:
    """The value of the adding orders by side, short | long."""
    size = np.asarray(basket.size)
    value = np.where(size > 0.0, size * np.asarray(basket.px), 0.0)
    buys = np.asarray(basket.wish) > 0.0
    return np.concatenate((np.where(buys, 0.0, value), np.where(buys, value, 0.0)))


def outer(state: Standing) -> Floats:
    """The positive parts of the range of a state, short | long."""
    return np.array([*state.shorts, *state.longs])


def wide(state: Standing) -> Floats:
    """The range of a state, its least exposures negated | its largest."""
    return np.array([*state.low, *state.high])


def stands(state: Standing) -> Floats:
    """The exposures that decide whether a limit is already breached."""
    basket = state.basket
    return np.array(state.high) if state.settled else np.asarray(basket.lots) * np.asarray(basket.px)


def stated(rng: np.random.Generator, state: Standing, *, unpriced: bool = False) -> None:
    """A state of a book with adding orders: what it holds, a range around that, equity and what orders take of it.

    With `unpriced` nothing has a price that has no order.
    """
    basket, n = state.basket, state.basket.n
    drawn(rng, basket)
    unit, unread = float(rng.choice([0.125, 1.0])), np.full(n, np.nan)
    px = np.asarray(basket.px) * unit
    held = rng.integers(-3, 4, n) * px
    around = np.zeros(2 * n) if state.settled else rng.choice([0.0, 0.0, 1.0, 3.0], 2 * n) * unit
    give(basket, px=px, lots=unread if state.settled else held / px, up=unread, down=unread, reduced=unread)
    exposed = np.concatenate((-held, held)) + around
    give(state, low=exposed[:n], high=exposed[n:])
    state.sums()
    if state.settled:
        # what reads the one for the other shows
        sides = outer(state) + rng.choice([0.0, 0.0, 1.0], 2 * n) * unit
        give(state, shorts=sides[:n], longs=sides[n:], sum_short=sides[:n].sum(), sum_long=sides[n:].sum())
    if unpriced:
        basket.px = np.where(np.asarray(basket.size) > 0.0, px, np.nan).data
    equity = float(rng.integers(13, 60))
    give(
        state, equity=equity * unit, before=(equity + float(rng.integers(-12, 9))) * unit,
        spent=float(rng.integers(-20, 10)) * unit, traded=float(rng.integers(0, 20)) * unit,
        now=(equity + float(rng.integers(-12, 9))) * unit, slip=rng.choice([0.0, 0.25]), wider=rng.choice([1.0, 1.5]),
    )  # fmt: skip
    basket.near = float(rng.choice([0.0, 0.5])) * unit
    state.reach()


class Expected:
    """What some limits leave of adding orders, one limit at a time: a factor of all, or ceilings of single orders."""

    def __init__(self, state: Standing) -> None:
        self.state, self.basket, self.near = state, state.basket, state.basket.near
        self.equity, self.now = state.equity, state.now
        self.left = state.equity - state.slip * float(added(state.basket).sum())
        self.factor, self.code = 1.0, 0
        self.ceiling: Floats | None = None
        self.barred = 0

    def take(self, factor: float, code: int) -> None:
        """A factor; the first of equal ones is the reason."""
        if max(factor, 0.0) < self.factor:
            self.factor, self.code = max(factor, 0.0), code

    def cap(self, ceiling: Floats, code: int) -> bool:
        """Ceilings; whether one cuts an order."""
        size = np.asarray(self.basket.size)
        cuts = bool((ceiling < size).any())
        self.ceiling, self.barred = np.where(size > 0.0, ceiling, np.inf) if cuts else None, code
        return cuts

    def check(self, factor: Factor) -> None:
        """Compares with the factor found."""
        assert factor.capped == (self.ceiling is not None)
        if self.ceiling is None:
            assert factor.value == pytest.approx(self.factor, rel=1e-9, abs=1e-12)
            assert factor.code == self.code
        else:
            assert factor.cap_code == self.barred
            assert list(factor.ceiling) == pytest.approx(self.ceiling.tolist())


def one_order(state: Standing, value: float, side: float = 1.0) -> None:
    """Nothing but one order of this value, of an equity of 16, of which an order takes nothing."""
    one, none = np.ones(1), np.zeros(1)
    give(state.basket, px=one * value, size=one, wish=one * side, lots=none, near=0.0, changes=0)
    give(state, low=none, high=none, equity=16.0, now=16.0, before=16.0, slip=0.0, wider=1.0)
    state.sums()
    state.reach()
