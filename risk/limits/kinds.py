"""The kinds of limit: what each reads and how it is enforced."""

from collections.abc import Callable, Sequence
from math import inf
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantd.risk.limits.case import Case
from quantd.risk.limits.catalogue import Limits, Reason
from quantd.risk.limits.context import Bools, Floats, Scenarios, Spread
from quantd.risk.measures.portfolio import tail_count

Cap = Callable[[Case, Floats], Floats | None]
"""(case, lots) -> float64[N], the most unsigned lots that may be added of each symbol, whatever is asked of it;
None where `lots` keep it anyway. Not-a-number is 0."""


def refused(bad: Bools) -> Floats:
    return np.where(bad, 0.0, inf)


class Row(NamedTuple):
    """`held` . [y | w | cash_used | traded] + `load` . added <= `bound` x equity, load by side of symbol.

    `settled_load` and `settled_bound` hold after all fills, `bound` on the way there.
    """

    key: str
    reason: Reason
    held: Floats
    load: Floats
    bound: float
    settled_load: Floats
    settled_bound: float


def row_of(
    limits: Limits, key: str, reason: Reason, load: Floats, bound: float, *, net: bool = False, traded: bool = False
) -> Row:
    size = len(load)
    held = np.zeros(2 * size + 2)
    if traded:
        held[-1] = 1.0
    else:
        held[size : 2 * size] = load if net else 0.0
        held[:size] = 0.0 if net else load
    return Row(key, reason, held, load, bound * (1.0 + limits.in_flight), load, bound)


class Family(NamedTuple):
    """Gross exposure of all symbols with one label <= `bound` x equity, for each label from 1 to `names`; 0 is none.

    `settled_bound` holds after all fills, `bound` on the way there; `largest` is the most symbols with one label.
    """

    key: str
    reason: Reason
    labels: NDArray[np.int64]
    names: int
    bound: float
    settled_bound: float
    largest: int

    def sums(self, both: Floats) -> Floats:
        """float64[1 + names], what float64[N] sizes add up to under each label, that of none first."""
        found: Floats = np.bincount(self.labels, both)  # type: ignore[assignment]
        return found

    def over(self, both: Floats, most: float) -> list[int]:
        """The labels under which float64[N] sizes add up to more than `most`, or to no number."""
        beyond = ~(self.sums(both) <= most)
        beyond[0] = False
        found: list[int] = beyond.nonzero()[0].tolist()
        return found


def family_of(limits: Limits, key: str, reason: Reason, bound: float, names: Sequence[str]) -> Family:
    """A family of the symbols that bear the same name; "" is none."""
    known = sorted(set(names) - {""})
    labels = np.array([known.index(name) + 1 if name else 0 for name in names], dtype=np.int64)
    largest = max((names.count(name) for name in known), default=0)
    return Family(key, reason, labels, len(known), bound * (1.0 + limits.in_flight), bound, largest)


Measure = Callable[[Floats], Floats]
"""float64[..., m], the m worst losses with the least of them first -> float64[...], their measure."""


Largest = Callable[[Floats, Floats, int, float, float], float]
"""(base, adding, m, target, fall) -> the largest factor f that keeps measure(base + f adding) <= target - f fall."""


class TailLimit(NamedTuple):
    """`measure(losses)` of the worst-first tail x `scale` <= `bound` x equity.

    Of the returns of `lookback`, `filtered` or as they were, or of the `fixed` scenarios of which each counts.
    """

    key: str
    reason: Reason
    confidence: float
    lookback: int
    scale: float
    bound: float
    measure: Measure
    largest: Largest
    filtered: bool = False
    fixed: Scenarios | None = None

    def of(self, known: dict[int, Scenarios]) -> tuple[Scenarios, int]:
        """The scenarios, given those of each lookback, and how many of the worst are looked at."""
        if self.fixed is not None:
            return self.fixed, 1
        scenarios = known[self.lookback]
        if self.filtered:
            scenarios = scenarios.filtered
        return scenarios, tail_count(len(scenarios), self.confidence)


class Quad(NamedTuple):
    """scale x sum C_ij e_i e_j <= (bound x equity)^2, every entry at its own worst corner.

    `spread` gives the covariance C of the scenarios of `lookback`; None for the identity. `settled_bound` holds after
    all fills, `bound` on the way there.
    """

    key: str
    reason: Reason
    lookback: int
    scale: float
    bound: float
    settled_bound: float
    spread: Callable[[Scenarios], Spread] | None
