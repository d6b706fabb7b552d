"""Which features the profile `lite` needs: each return feature is left out in turn, and the five with the largest drop
of the Sharpe ratio are chosen.

A linear ranker replaces the network, so that the choice takes seconds. The ranker uses the training part only: it is
fitted on the first half, and trades the second half after costs.
"""

from typing import Final

import numpy as np

from quantd.models.history.panel import Panel
from quantd.models.observation.return_features import FEATURES, LOOKBACK
from quantd.models.observation.table import sight
from quantd.research.studies.ablation.ablation_study import Variant, adjusted, compared
from quantd.research.studies.ablation.ablation_trials import Trial, trial_of
from quantd.strategies.policies.linear_ranker import centred_ranks, relative, ridge_weights
from quantd.trading.market import Floats, Ints
from quantd.trading.statistics import sharpe
from quantd.training.market.terms import USUAL_COSTS

SEEDS: Final = (1, 2, 3, 4, 5)
"""Seeds of the trainings, each on blocks drawn from the first half."""

BLOCK: Final = 60
"""Number of consecutive sessions of a block, about three months."""

AHEAD: Final = 5
"""Number of sessions that a score predicts the return of, and of sessions between two decisions."""

HELD: Final = 2
"""Number of assets held, of a universe of five."""

PENALTY: Final = 0.1
"""Ridge penalty of the ranker."""

CHOSEN: Final = 5
"""Number of features chosen."""


def feature_ablation(panel: Panel, rows: range) -> tuple[Variant, ...]:
    """Return a variant for each feature of FEATURES, in their order, measured in the sessions `rows` of the training
    part.

    Features that rank the assets in the same order are left out together, under the name of the first feature of the
    group.
    """
    observation, returns = sight(panel), panel.returns()
    begin = max(rows.start, LOOKBACK)
    used_rows = slice(begin, rows.stop)
    features = np.where(
        observation.mask[used_rows, :, None] > 0.0, observation.features[used_rows].astype(np.float64), np.nan
    )
    ranks, asset_returns = centred_ranks(features), returns[used_rows]
    groups = _same_order_groups(ranks)
    full = _trials(ranks, asset_returns)
    variants = []
    for group in groups:
        remaining = [k for k in range(len(FEATURES)) if k not in group]
        names = tuple(FEATURES[k] for k in group)
        variants.append(compared(names[0], names, full, _trials(ranks[:, :, remaining], asset_returns)))
    return adjusted(variants)


def lite_features(rows: tuple[Variant, ...]) -> tuple[str, ...]:
    """Return the names of the features with the largest drops, at most CHOSEN, in the order of FEATURES."""
    best = sorted((row for row in rows if row.drop is not None), key=lambda row: -(row.drop or 0.0))[:CHOSEN]
    return tuple(name for name in FEATURES if name in {row.name for row in best})


def _same_order_groups(ranks: Floats) -> list[list[int]]:
    """Return groups of column indices; the features of a group have equal ranks in `ranks` float64[T, N, F]."""
    groups: list[list[int]] = []
    for k in range(ranks.shape[2]):
        same = (columns for columns in groups if np.allclose(ranks[:, :, columns[0]], ranks[:, :, k], equal_nan=True))
        if (group := next(same, None)) is None:
            groups.append([k])
        else:
            group.append(k)
    return groups


def _trials(ranks: Floats, returns: Floats) -> list[Trial]:
    """Return a trial for each seed, fitted on the first half of the sessions and traded in the second."""
    half = len(ranks) // 2
    ahead = np.full_like(returns, np.nan)
    growth = np.cumprod(1.0 + np.nan_to_num(returns), axis=0)
    ahead[:-AHEAD] = growth[AHEAD:] / growth[:-AHEAD] - 1.0
    ahead[half - AHEAD :] = np.nan  # an outcome inside the traded half must not be learned from
    outcomes = relative(ahead)
    trials = []
    for seed in SEEDS:
        training_rows = _blocks(np.random.default_rng(seed), half)
        weights = ridge_weights(ranks[training_rows], outcomes[training_rows], PENALTY)
        trials.append(_traded(ranks[half:] @ weights, returns[half:], ranks.shape[2]))
    return trials


def _blocks(draw: np.random.Generator, size: int) -> Ints:
    starts = draw.integers(0, size - BLOCK, size // BLOCK)
    return (starts[:, None] + np.arange(BLOCK)).ravel()


def _traded(scores: Floats, returns: Floats, width: int) -> Trial:
    """Return the account that buys the HELD best-scored assets anew every AHEAD sessions.

    Its returns are after the usual costs of a plan, a share of the traded value. `width` is the number of features.
    """
    cost = (USUAL_COSTS.commission_bp + USUAL_COSTS.slippage_bp) / 1e4
    weights, net_returns = np.zeros(returns.shape[1]), np.zeros(len(returns) - 1)
    for t in range(len(returns) - 1):
        paid = 0.0
        if t % AHEAD == 0:
            order = np.argsort(-np.nan_to_num(scores[t], nan=-np.inf), kind="stable")[:HELD]
            target_weights = np.zeros(len(weights))
            target_weights[order] = np.isfinite(scores[t][order]) / HELD
            paid, weights = cost * float(np.abs(target_weights - weights).sum()), target_weights
        gain = weights * np.nan_to_num(returns[t + 1])
        net_returns[t] = float(gain.sum()) - paid
        weights = (weights + gain) / (1.0 + float(gain.sum()))
    return trial_of(width, sharpe(net_returns), np.concatenate(([1.0], np.cumprod(1.0 + net_returns))))
