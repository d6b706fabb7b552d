"""Checks the p-values of an ablation in simulated markets: a linear ranker takes the place of the network.

The group "noise" predicts nothing, so that its p-values must be uniform. The group "signal" predicts the returns: its
share of rejections is the power of the test.
"""

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from msgspec import Struct

from quantd.research.studies.ablation.ablation_study import Variant, compared
from quantd.research.studies.ablation.ablation_trials import Trial, trial_of
from quantd.strategies.policies.linear_ranker import centred_ranks, relative, ridge_weights
from quantd.trading.market import Floats, Ints
from quantd.trading.statistics import sharpe

Group = Literal["noise", "signal"]

GROUPS: Final[dict[Group, range]] = {"signal": range(1), "noise": range(3, 6)}
"""Column indices of the features of each group. Features 1 and 2 are noise too, and never left out."""

FEATURES: Final = 6


class Simulation(Struct, frozen=True):
    """A simulated market of daily returns, and the parameters of the ranker that learns from it."""

    assets: int = 10
    train: int = 750
    """Sessions of the training part."""
    test: int = 504
    """Sessions of the test part."""
    strength: float = 0.04
    """Mean return that a signal of one standard deviation predicts, as a share of an asset's daily deviation."""
    persistence: float = 0.9
    """Autoregression coefficient of all features, from one session to the next."""
    deviation: float = 0.01
    """Daily standard deviation of an asset's idiosyncratic return; the market's return has the same one."""
    seeds: int = 5
    """Number of trainings, each on blocks drawn from the training part."""
    block: int = 20
    """Number of consecutive sessions of a block."""
    top: int = 3
    """Number of assets held."""
    penalty: float = 0.1
    """Ridge penalty of the ranker."""


def noise_variant(of: Simulation, group: Group, seed: int) -> Variant:
    """Return the ranker without the features of `group`, compared with the ranker with all features.

    Both rankers are trained and tested in the market that is simulated from `seed`.
    """
    draw = np.random.default_rng(seed)
    size = of.train + of.test
    features = _persistent(draw, of, size)
    # the return of the market, an asset's own return, and the part that feature 0 (the signal) predicts
    returns = of.deviation * (
        draw.normal(size=(size, 1)) + draw.normal(size=(size, of.assets)) + of.strength * features[:, :, 0]
    )
    ranks = centred_ranks(features)
    remaining = [k for k in range(FEATURES) if k not in GROUPS[group]]
    full: list[Trial] = []
    reduced: list[Trial] = []
    for _ in range(of.seeds):
        rows = _blocks(draw, of)
        for trials, columns in ((full, list(range(FEATURES))), (reduced, remaining)):
            trials.append(_trial(of, ranks[:, :, columns], returns, rows))
    return compared(group, (group,), full, reduced)


def p_values(of: Simulation, group: Group, draws: int, seed: int = 0) -> list[Variant]:
    """Return the comparison of `noise_variant` for each of `draws` markets, with the seeds `seed`, `seed` + 1, ..."""
    return [noise_variant(of, group, seed + index) for index in range(draws)]


def rejected(values: Sequence[float | None], level: float = 0.05) -> float:
    """Return the share of p-values up to `level`; None counts as not rejected."""
    return sum(value is not None and value <= level for value in values) / len(values)


def _persistent(draw: np.random.Generator, of: Simulation, size: int) -> Floats:
    """Return float64[size, N, F], features of N assets: autoregressions of order 1 with standard deviation 1."""
    shocks = draw.normal(size=(size, of.assets, FEATURES)) * (1.0 - of.persistence**2) ** 0.5
    shocks[0] /= (1.0 - of.persistence**2) ** 0.5  # the first session has no predecessor, but the same deviation
    for row in range(1, size):
        shocks[row] += of.persistence * shocks[row - 1]
    return shocks


def _blocks(draw: np.random.Generator, of: Simulation) -> Ints:
    """Return about `of.train` row indices of the training part, in blocks of consecutive sessions."""
    starts = draw.integers(0, of.train - of.block, of.train // of.block)
    return (starts[:, None] + np.arange(of.block)).ravel()


def _trial(of: Simulation, ranks: Floats, returns: Floats, rows: Ints) -> Trial:
    """Fit on `rows`, hold the `of.top` best-scored assets of each session of the test part, and return the account
    without costs."""
    weights = ridge_weights(ranks[rows], relative(returns[rows]), of.penalty)
    scores = ranks[of.train :] @ weights
    best = np.argsort(-scores, axis=1, kind="stable")[:, : of.top]
    returns_held = np.take_along_axis(returns[of.train :], best, axis=1).mean(axis=1)
    equity = np.concatenate(([1.0], np.cumprod(1.0 + returns_held)))
    return trial_of(ranks.shape[2], sharpe(returns_held), equity)
