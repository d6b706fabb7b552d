"""Which features the profile `lite` needs: each feature of returns is left out alone, and the five of the largest drop
stay.

A linear ranker stands in for the network, so that the choice takes seconds. It sees the training part only: its first
half fits, and its second half is traded after costs.
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
"""Trainings, each on blocks drawn from the half that fits."""

BLOCK: Final = 60
"""Consecutive sessions of a block, about three months."""

AHEAD: Final = 5
"""Sessions of the returns that a score predicts, and between two decisions."""

HELD: Final = 2
"""Assets that are held: the better part of five."""

PENALTY: Final = 0.1

CHOSEN: Final = 5


def feature_ablation(panel: Panel, rows: range) -> tuple[Variant, ...]:
    """Return a row for each of FEATURES, in their order, in the sessions `rows` of the training part.

    Features that order the assets alike are left out together, under the name of the first.
    """
    seen, returns = sight(panel), panel.returns()
    begin = max(rows.start, LOOKBACK)
    part = slice(begin, rows.stop)
    features = np.where(seen.mask[part, :, None] > 0.0, seen.features[part].astype(np.float64), np.nan)
    ranks, moves = centred_ranks(features), returns[part]
    groups = _alike(ranks)
    full = _trials(ranks, moves)
    variants = []
    for group in groups:
        kept = [k for k in range(len(FEATURES)) if k not in group]
        names = tuple(FEATURES[k] for k in group)
        variants.append(compared(names[0], names, full, _trials(ranks[:, :, kept], moves)))
    return adjusted(variants)


def lite_features(rows: tuple[Variant, ...]) -> tuple[str, ...]:
    """Return the CHOSEN names with the largest drops, in the order of FEATURES."""
    best = sorted((row for row in rows if row.drop is not None), key=lambda row: -(row.drop or 0.0))[:CHOSEN]
    return tuple(name for name in FEATURES if name in {row.name for row in best})


def _alike(ranks: Floats) -> list[list[int]]:
    groups: list[list[int]] = []
    for k in range(ranks.shape[2]):
        same = (columns for columns in groups if np.allclose(ranks[:, :, columns[0]], ranks[:, :, k], equal_nan=True))
        if (group := next(same, None)) is None:
            groups.append([k])
        else:
            group.append(k)
    return groups


def _trials(ranks: Floats, returns: Floats) -> list[Trial]:
    half = len(ranks) // 2
    ahead = np.full_like(returns, np.nan)
    growth = np.cumprod(1.0 + np.nan_to_num(returns), axis=0)
    ahead[:-AHEAD] = growth[AHEAD:] / growth[:-AHEAD] - 1.0
    ahead[half - AHEAD :] = np.nan  # an outcome in the half that is traded teaches nothing
    outcomes = relative(ahead)
    trials = []
    for seed in SEEDS:
        drawn = _blocks(np.random.default_rng(seed), half)
        weights = ridge_weights(ranks[drawn], outcomes[drawn], PENALTY)
        trials.append(_traded(ranks[half:] @ weights, returns[half:], ranks.shape[2]))
    return trials


def _blocks(draw: np.random.Generator, size: int) -> Ints:
    starts = draw.integers(0, size - BLOCK, size // BLOCK)
    return (starts[:, None] + np.arange(BLOCK)).ravel()


def _traded(scores: Floats, returns: Floats, width: int) -> Trial:
    """Hold the best assets from each AHEAD-th session to the next, with the usual costs of a plan on traded value."""
    cost = (USUAL_COSTS.commission_bp + USUAL_COSTS.slippage_bp) / 1e4
    held, earned = np.zeros(returns.shape[1]), np.zeros(len(returns) - 1)
    for t in range(len(returns) - 1):
        paid = 0.0
        if t % AHEAD == 0:
            order = np.argsort(-np.nan_to_num(scores[t], nan=-np.inf), kind="stable")[:HELD]
            target = np.zeros(len(held))
            target[order] = np.isfinite(scores[t][order]) / HELD
            paid, held = cost * float(np.abs(target - held).sum()), target
        gain = held * np.nan_to_num(returns[t + 1])
        earned[t] = float(gain.sum()) - paid
        held = (held + gain) / (1.0 + float(gain.sum()))
    return trial_of(width, sharpe(earned), np.concatenate(([1.0], np.cumprod(1.0 + earned))))
