"""Baskets and states of books in small exact numbers, and what limits leave of them by their definitions."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantd.risk.pretrade.gate_bounds import Bounds
from quantd.risk.pretrade.scenes import READY, Scene
from quantd.risk.pretrade.standing import Basket, Standing

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


def stands(state: Standing) -> Floats:
    """The exposures that decide whether a limit is already breached."""
    basket = state.basket
    return np.array(state.high) if state.settled else np.asarray(basket.lots) * np.asarray(basket.px)
