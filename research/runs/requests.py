"""The target weights that the policies of a run requested, by instant and agent."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from quantd.trading.market import Floats, Ints


class Equities(Protocol):
    """The instants of samples, and the equity of the account and of each book at each sample, in micro-currency."""

    @property
    def ts(self) -> Sequence[int]:
        """The instants of the samples, ns UTC, ascending."""
        ...

    @property
    def equity_micro(self) -> Sequence[int]:
        """The whole account's equity at last known prices, in micro-currency."""
        ...

    @property
    def books_micro(self) -> Sequence[Sequence[int]]:
        """The equity of each book at each instant, micro-currency."""
        ...


class Requests:
    """Collects the target weights that policies answer in a run.

    A second answer of one agent at one instant replaces the first.
    """

    def __init__(self) -> None:
        self._weights: dict[tuple[int, int], bytes | None] = {}

    def add(self, ts: int, agent: int, weights: bytes | None) -> None:
        """Add an agent's answer at an instant: the bytes of weights float64[N], or None where the agent holds."""
        self._weights[ts, agent] = weights

    def exposures(self, record: Equities, agents: int) -> tuple[Ints, Floats]:
        """Return the indices of K samples, int64[K], and the exposure requested at each, float64[K].

        The K samples are those with a decision. An exposure is a share of the whole account's equity: an agent's
        weights are multiplied by the share of its book in the equity. Opposite positions of two agents cancel, as in
        orders. A sample is omitted if the newest answer of an agent is to hold, because holding has no weights.
        """
        ts = np.asarray(record.ts)
        by_agent: list[list[tuple[int, bytes | None]]] = [[] for _ in range(agents)]
        for (instant, agent), weights in sorted(self._weights.items()):
            if agent < agents:
                by_agent[agent].append((instant, weights))
        instants = np.unique([instant for answers in by_agent for instant, _ in answers]).astype(np.int64)
        rows = np.searchsorted(ts, instants)
        is_sample = rows < len(ts)
        is_sample[is_sample] = ts[rows[is_sample]] == instants[is_sample]
        rows, instants = rows[is_sample], instants[is_sample]
        if not len(rows) or not all(by_agent):
            return np.zeros(0, dtype=np.int64), np.zeros(0)
        book_equity = np.array([record.books_micro[row] for row in rows.tolist()], dtype=np.float64)
        equity = np.asarray(record.equity_micro, dtype=np.float64)[rows]
        weight_bytes = max(
            (len(weights) for answers in by_agent for _, weights in answers if weights is not None), default=0
        )
        if not weight_bytes:
            return np.zeros(0, dtype=np.int64), np.zeros(0)
        # 8 bytes for each float64; NaN where an agent holds, so that the sample is omitted below
        no_weights, total_weights = (
            np.full(weight_bytes // 8, np.nan).tobytes(),
            np.zeros((len(rows), weight_bytes // 8)),
        )
        for agent, answers in enumerate(by_agent):
            targets = np.frombuffer(b"".join(weights or no_weights for _, weights in answers)).reshape(len(answers), -1)
            newest_answer = np.searchsorted([instant for instant, _ in answers], instants, side="right") - 1
            book_share = np.where(newest_answer >= 0, book_equity[:, agent] / equity, np.nan)
            total_weights += book_share[:, None] * targets[newest_answer]
        exposure = np.abs(total_weights).sum(axis=1)
        return rows[np.isfinite(exposure)], exposure[np.isfinite(exposure)]
