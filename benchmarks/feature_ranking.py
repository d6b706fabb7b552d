"""Ranks features by their information coefficient, and chooses those of the profile `lite`.

python -m benchmarks.multi_agent prints the ranking.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from quantd.models.history.panel import Panel
from quantd.models.observation.return_features import FEATURES
from quantd.models.observation.table import sight
from quantd.trading.market import Floats

UNDONE: Final = ("ESG scores", "sentiment")
"""Inputs that the profile `full` lacks, because no such data is bundled."""

TOP: Final = 5

AHEAD: Final = 5
"""Sessions of the returns that a feature predicts."""

FEWEST: Final = 3
"""Minimum number of assets with a feature for a session to count."""


class Rank(NamedTuple):
    """Prediction of following returns by one feature."""

    feature: str
    correlation: float
    """Mean over sessions of the rank correlation, across assets, with the returns of the next AHEAD sessions."""
    t: float
    """That mean over its standard error; AHEAD sessions that overlap count as one."""


def ranked(panel: Panel, rows: range) -> list[Rank]:
    """Return features by |t|, the highest first, with outcomes in `rows` only.

    Sources: C. Spearman 1904; the information coefficient of R. Grinold and R. Kahn.
    """
    seen, returns = sight(panel), panel.returns()
    found = np.full((len(rows), len(FEATURES)), np.nan)
    for k, row in enumerate(rows[:-AHEAD]):
        following = returns[row + 1 : row + 1 + AHEAD].sum(axis=0)
        known = (seen.mask[row] > 0.0) & np.isfinite(following)
        if known.sum() >= FEWEST:
            wanted = _ranks(following[known, None])
            found[k] = (_ranks(seen.features[row][known].astype(np.float64)) * wanted).mean(axis=0)
    found = found[np.isfinite(found).all(axis=1)]
    mean = found.mean(axis=0)
    t = mean / (found.std(axis=0, ddof=1) / (len(found) / AHEAD) ** 0.5)
    made = [Rank(name, float(m), float(score)) for name, m, score in zip(FEATURES, mean, t, strict=True)]
    return sorted(made, key=lambda each: -abs(each.t))


def chosen(ranks: Sequence[Rank]) -> tuple[str, ...]:
    """Return the first TOP, in the order of FEATURES, without those that order the assets as an earlier one does."""
    kept: list[Rank] = []
    for rank in ranks:
        if len(kept) < TOP and not any(np.isclose(rank.t, other.t, rtol=1e-9) for other in kept):
            kept.append(rank)
    return tuple(name for name in FEATURES if name in {rank.feature for rank in kept})


def _ranks(values: Floats) -> Floats:
    """float64[N, F] ranks of each column, of mean 0 and deviation 1; equal values in their order."""
    ranks = values.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable").astype(np.float64)
    ranks -= ranks.mean(axis=0)
    return ranks / ranks.std(axis=0)
