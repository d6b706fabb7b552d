"""The target weights that the policies of a run requested, by instant and agent."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from quantd.trading.market import Floats, Ints


class Equities(Protocol):
    """Instants of samples, and the equity of the house and of each book at them, micro-currency."""

    @property
    def ts(self) -> Sequence[int]:
        """The instants, ns UTC, ascending."""
        ...

    @property
    def known_micro(self) -> Sequence[int]:
        """The house's equity at last known prices, micro-currency."""
        ...

    @property
    def books_micro(self) -> Sequence[Sequence[int]]:
        """The equity of each book at each instant, micro-currency."""
        ...


class Requests:
    """Collects the answers of a run. An answer that is added again replaces the one before."""

    def __init__(self) -> None:
        self._weights: dict[tuple[int, int], bytes | None] = {}

    def add(self, ts: int, agent: int, weights: bytes | None) -> None:
        """Add an answer at an instant: float64[N] bytes, or None where the agent holds."""
        self._weights[ts, agent] = weights

    def exposures(self, record: Equities, agents: int) -> tuple[Ints, Floats]:
        """Return the samples with a decision, int64[K], and the exposure requested at each, as a share of equity.

        The weights of each agent count by the share of its book; opposite ones cancel, as in orders. An instant at
        which an agent holds is left out.
        """
        ts = np.asarray(record.ts)
        by_agent: list[list[tuple[int, bytes | None]]] = [[] for _ in range(agents)]
        for (at, agent), weights in sorted(self._weights.items()):
            if agent < agents:
                by_agent[agent].append((at, weights))
        instants = np.unique([at for answers in by_agent for at, _ in answers]).astype(np.int64)
        rows = np.searchsorted(ts, instants)
        kept = rows < len(ts)
        kept[kept] = ts[rows[kept]] == instants[kept]
        rows, instants = rows[kept], instants[kept]
        if not len(rows) or not all(by_agent):
            return np.zeros(0, dtype=np.int64), np.zeros(0)
        books = np.array([record.books_micro[row] for row in rows.tolist()], dtype=np.float64)
        equity = np.asarray(record.known_micro, dtype=np.float64)[rows]
        size = max((len(weights) for answers in by_agent for _, weights in answers if weights is not None), default=0)
        if not size:
            return np.zeros(0, dtype=np.int64), np.zeros(0)
        hold, total = np.full(size // 8, np.nan).tobytes(), np.zeros((len(rows), size // 8))
        for agent, answers in enumerate(by_agent):
            targets = np.frombuffer(b"".join(weights or hold for _, weights in answers)).reshape(len(answers), -1)
            newest = np.searchsorted([at for at, _ in answers], instants, side="right") - 1
            share = np.where(newest >= 0, books[:, agent] / equity, np.nan)
            total += share[:, None] * targets[newest]
        exposure = np.abs(total).sum(axis=1)
        return rows[np.isfinite(exposure)], exposure[np.isfinite(exposure)]
