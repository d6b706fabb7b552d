"""Answers of policies: counted by outcome and timed, for the metrics."""

from collections import Counter, deque
from threading import Lock
from typing import Final, Literal

import numpy as np

from quantd.trading.effects import Ask
from quantd.trading.events import Decided

Source = Literal["decision", "request"]
"""Who asked: a round of the daemon, or a request to the API."""

Outcome = Literal["weights", "hold", "failed"]

LATEST: Final = 4096
"""Maximum number of answers whose time and confidence wait for the next scrape; the counts have all answers."""


class Predictions:
    """The predictions of one process. A prediction is one answer of a policy. Threads may add at the same time."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.counts: Counter[tuple[int, Source, Outcome]] = Counter()
        """By (agent, source, outcome)."""
        self.allocations: Counter[tuple[int, str]] = Counter()
        """Answers with weights, by (agent, method), the name at that time of the policy that answered."""
        self.durations: deque[tuple[int, Source, float]] = deque(maxlen=LATEST)
        """(agent, source, seconds)."""
        self.confidences: deque[tuple[int, str, float]] = deque(maxlen=LATEST)
        """(agent, method, confidence)."""

    def add(self, question: Ask, decided: Decided, seconds: float, source: Source, method: str) -> None:
        """Record the answer `decided` of the policy `method` to a question that took `seconds`.

        `source` says what caused the question: a decision of the run, or a request to the API.
        """
        agent = question.agent
        outcome: Outcome = "failed" if decided.failed else "hold" if decided.weights is None else "weights"
        with self._lock:
            self.counts[agent, source, outcome] += 1
            self.durations.append((agent, source, seconds))
            if decided.weights is not None:
                self.allocations[agent, method] += 1
                self.confidences.append((agent, method, confidence(decided.weights)))


def confidence(weights: bytes) -> float:
    """1 - entropy / ln(N + 1) of absolute weights and cash, as shares of their sum.

    Confidence measures how concentrated the weights (little-endian float64[N]) are: 0 if all N + 1 shares are equal, 1
    if one share is everything. Confidence is no probability of success: policies give no probability.
    """
    sizes = np.abs(np.frombuffer(weights, dtype="<f8"))
    shares = np.append(sizes, max(0.0, 1.0 - float(sizes.sum())))
    shares /= shares.sum()
    shares = shares[shares > 0.0]  # after the division, which may underflow to 0; log(0) is infinite
    return max(0.0, 1.0 + float(shares @ np.log(shares)) / float(np.log(len(sizes) + 1)))
