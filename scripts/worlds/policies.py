"""Policies of random weights, and the built-in ones with their parameters."""

import random
from pathlib import Path
from typing import Any, Final

import numpy as np

from quantd.trading.ports import Policy
from quantd.trading.view import HOLD, Hold, Memory, Noted, View

from .engine import load


class RandomWeights:
    """A policy of random weights of one style. The weights depend on the seed and the number of samples only."""

    lookback = 2

    def __init__(self, hits: set[str], seed: int, style: str, level: float, faults: float) -> None:
        self.hits, self.seed, self.style, self.level, self.faults = hits, seed, style, level, faults
        self.uses_bars = style == "bars"

    def _hit(self, name: str) -> None:
        self.hits.add(f"policy: {name}")

    def act(self, view: View, memory: Memory) -> tuple[Any, Memory]:
        rng = np.random.default_rng((self.seed, view.sample))
        n = view.universe.size
        if self.faults and rng.random() < self.faults:
            return self._fault(int(rng.integers(6)), n, memory)
        if self.style == "memory":
            count = memory.get("count", np.zeros(1)) + 1.0
            memory = {"count": count, "last": view.weights.copy()}
            self._hit("memory")
        return self._weights(view, rng, n), memory

    def _fault(self, kind: int, n: int, memory: Memory) -> tuple[Any, Memory]:
        weights = np.full(n, self.level / n)
        if kind == 0:
            self._hit("raises")
            raise RuntimeError("the policy fails")
        if kind == 1:
            self._hit("returns NaN")
            weights[0] = np.nan
            return weights, memory
        if kind == 2:
            self._hit("returns too many weights")
            return np.full(n + 1, 0.1), memory
        if kind == 3:
            self._hit("leverage too high")
            return weights * 1e4, memory
        if kind == 4:
            self._hit("note")
            return Noted(weights, "a note", warns=bool(self.seed % 2)), memory
        self._hit("holds")
        return HOLD, memory

    def _weights(self, view: View, rng: np.random.Generator, n: int) -> np.ndarray | Hold:
        if self.style == "quiet" and view.weights.any():
            return view.weights
        weights = rng.exponential(size=n) * (rng.random(n) < 0.7)
        total = float(weights.sum())
        weights = weights * (self.level / total) if total > 0 else weights
        if self.style == "short":
            weights = weights * rng.choice((1.0, 1.0, -1.0), n)
        if self.style == "nudge":
            return 0.8 * view.weights + 0.2 * weights
        if self.style == "trend" and view.sample > 6:
            past = np.nan_to_num(view.returns(5).sum(axis=0))
            weights = np.where(past > 0, weights, 0.0)
        if self.style == "synchronous" and view.sample > 6:
            past = np.nan_to_num(view.synchronous(5).sum(axis=0))
            weights = np.where(past < 0, weights, 0.2 * weights)
            self._hit("synchronous returns")
        if self.style == "bars" and view.sample > 6:
            bars = view.bars(5)
            weights = np.where(np.nan_to_num(bars.high[-1] - bars.low[-1]) > 0.01 * view.prices, weights, 0.0)
            self._hit("bars")
        if self.style == "macro" and view.sample > 6:
            weights = weights * (0.5 if float(view.macro("vix", 1)[-1]) > 20.0 else 1.0)
            self._hit("macro series")
        if self.style == "in and out" and rng.random() < 0.3:
            return np.zeros(n)
        return weights


STYLES: Final = (
    "long", "short", "nudge", "trend", "in and out", "quiet", "memory", "bars", "synchronous", "macro",
)  # fmt: skip

BUILT_IN: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("equal_weight", {}),
    ("inverse_volatility", {"lookback": 20}),
    ("momentum", {"lookback": 30}),
    ("risk_parity", {"lookback": 30}),
    ("min_variance", {"lookback": 30}),
    ("mean_variance", {"lookback": 30}),
    ("max_diversification", {"lookback": 30}),
    ("max_sharpe", {"lookback": 30}),
    ("black_litterman", {"lookback": 30}),
    ("grouped", {"lookback": 30}),
    ("hrp", {"lookback": 30}),
    ("min_cvar", {"lookback": 30}),
    ("kelly", {"lookback": 30}),
    ("merton", {"lookback": 30}),
    ("signals", {"features": {"momentum_20": 1.0, "rsi_14": -0.5}, "top": 3}),
    ("buy_and_hold", {}),
    ("hold", {}),
    ("momentum_tilted", {}),
    ("dynamic", {}),
    ("ensemble", {"members": [{"policy": "equal_weight"}, {"policy": "momentum", "params": {"lookback": 20}}]}),
    (
        "regime_switched",
        {"bull": {"policy": "equal_weight"}, "bear": {"policy": "hold"}, "volatile": {"policy": "inverse_volatility"}},
    ),
)


def policy(draw: random.Random, seed: int, hits: set[str], styles: tuple[str, ...]) -> Policy:
    """A policy of one world; it notes in `hits` what it did."""
    if draw.random() < 0.2:
        name, params = draw.choice(BUILT_IN)
        hits.add(f"policy: {name}")
        return load(name, params, Path())
    faults = draw.choice((0.0, 0.0, 0.0, 0.03, 0.2))
    level = draw.choice((0.5, 0.95, 1.0, 1.0, 1.5))
    return RandomWeights(hits, seed, draw.choice(styles), level, faults)
