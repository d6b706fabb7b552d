"""The limit on the joint weight of two correlated instruments.

What can go wrong: an instrument whose correlation is not known passes as uncorrelated. Comparisons are therefore
written in negated form, so that NaN counts as correlated.

A pair complies if one of the two weighs at most `min_weight`, or both together at most `joint_weight`. If a pair
complies, it also complies with smaller positions.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from quantd.risk.limits.context import Bools, Floats, Scenarios
from quantd.risk.limits.settings import Correlation

UNKNOWN: Final = 3.0
"""Code of a link that was not computed."""


def joint_bound(spec: Correlation) -> float:
    """Return the largest permitted joint weight; 0 in strict mode, where one of the two instruments must weigh at most
    `spec.min_weight`.
    """
    return 0.0 if spec.strict else spec.joint_weight


def links_of(scenarios: Scenarios, wanted: Bools, spec: Correlation) -> Floats:
    """Return float64[N, N], a code that says whether the two instruments of a pair tend to lose together.

    The code is 1 if they do so on the same side (both long or both short), -1 on opposite sides, 2 in both cases, 0 in
    neither, and `UNKNOWN` where one of the two is not marked in `wanted` (bool[N]).
    """
    n = len(wanted)
    # few symbols: the links of all pairs are cached, and `wanted` does not matter
    if scenarios.sample.small():
        side_links = scenarios.sample.linked(spec.threshold)
        if side_links is None:
            return np.zeros((n, n))
        return _coded(side_links[:n, :n], side_links[:n, n:])
    columns = np.flatnonzero(wanted)
    rho = scenarios.correlation(columns.tolist())
    links = np.full((n, n), UNKNOWN)
    # written so that a correlation that is not a number counts as linked
    links[np.ix_(columns, columns)] = _coded(~(rho <= spec.threshold), ~(-rho <= spec.threshold))
    return links


def _coded(together: Bools, opposed: Bools) -> Floats:
    """Return a code for each pair: 1 if the two lose `together` on the same side, -1 if on `opposed` sides, 2 if on
    both, 0 if on neither."""
    return np.where(together, np.where(opposed, 2.0, 1.0), np.where(opposed, -1.0, 0.0))


def joint_weight(scenarios: Scenarios, exposures: Floats, equity: float, near: float, spec: Correlation) -> float:
    """Return the largest joint weight of a correlated pair in which both weigh more than `spec.min_weight`; 0 without a
    pair.

    `exposures` float64[2N] are the sizes of the short side of each symbol, then of the long side. `near` is the
    tolerance for rounding, in account currency.
    """
    sides = (exposures > spec.min_weight * equity + near).nonzero()[0]
    if len(sides) < 2 or equity <= 0.0:
        return 0.0
    heavy_exposures = exposures[sides]
    pair_values = np.add.outer(heavy_exposures, heavy_exposures)[_linked(scenarios, sides, len(exposures) // 2, spec)]
    return float(pair_values.max(initial=0.0) / equity)


def _linked(scenarios: Scenarios, sides: NDArray[np.int64], n: int, spec: Correlation) -> Bools:
    """Return bool[k, k]: which pairs of k `sides` tend to lose together.

    A side below `n` is the short side of that symbol, a side from `n` on the long side of symbol `side - n`.
    """
    # few symbols: the links of all pairs are cached
    if scenarios.sample.small():
        side_links = scenarios.sample.linked(spec.threshold)
        if side_links is None:
            return np.zeros((len(sides), len(sides)), dtype=np.bool_)
        return side_links[sides[:, None], sides]
    columns, bought = sides % n, sides >= n
    rho = scenarios.correlation(columns.tolist())
    # written so that a correlation that is not a number counts as linked
    same_side = np.equal.outer(bought, bought)
    linked: Bools = ~(np.where(same_side, rho, -rho) <= spec.threshold) & np.not_equal.outer(columns, columns)
    return linked
