"""Policies for workers, loaded as a user's file: one that remembers, one that hangs."""

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantd.trading.view import HOLD, Memory, Noted, View


@dataclass(frozen=True)
class Remembering:
    """Answers with all that it sees, so that a worker that sees anything else answers otherwise."""

    lookback: int = 5

    def act(self, view: View, memory: Memory) -> tuple[Any, Memory]:
        count = float(memory.get("count", np.zeros(1))[0]) + 1.0
        print(  # noqa: T201
            "what a policy prints is not an answer"
        )
        returns = np.nan_to_num(view.returns(self.lookback))
        seen = (
            returns.sum() + view.cash + view.weights.sum() + view.equity / 1e9 + view.time % 97 + view.sample_time % 89
        )
        raw = np.abs(returns.sum(axis=0)) + 0.01 + (seen % 1.0) / 10.0
        weights = 0.9 * raw / raw.sum()
        if count % 7 == 0:
            return Noted(HOLD, "every seventh is held", warns=True), {"count": np.array([count])}
        return weights, {"count": np.array([count])}


@dataclass(frozen=True)
class Hanging:
    """Never answers at samples whose time is `at`."""

    at: int
    lookback: int = 5

    def act(self, view: View, memory: Memory) -> tuple[Any, Memory]:
        if view.time == self.at:
            threading.Event().wait()
        return np.full(len(view.prices), 0.3), memory
