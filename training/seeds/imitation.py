"""Behaviour cloning of a classical policy over the training part, before learning.

What can go wrong. A learner never holds exactly its teacher's positions, and would answer at random with other
positions: so each row is also shown with a random book. The share of cash, a softmax, falls slowly: so the number of
passes is chosen for UPDATES gradient steps, however few the rows.

What the order guarantees. The rows are added to the statistics of the normalisation first, and then scaled with these
statistics.
"""

import math
from typing import Final

import msgspec
import numpy as np
import torch
from torch import Tensor

from quantd.models.history.panel import Panel
from quantd.models.observation.sight import SightSpec, observed_by
from quantd.strategies.policies import POLICIES, nearest
from quantd.trading.market import Floats
from quantd.trading.ports import Policy
from quantd.training.learners.algorithms.on_policy import OnPolicy
from quantd.training.learners.cloning import CloningPlan, clone
from quantd.training.learners.distributions import uniform
from quantd.training.learners.record import Algorithm, learners
from quantd.training.market.walk import walk
from quantd.training.plans.data_plan import PlanError
from quantd.training.plans.plan import MarketPlan, Plan
from quantd.training.seeds.environment import Ground, allocations_of
from quantd.training.seeds.markets import Markets


def demonstrations(
    teacher: Policy, panel: Panel, sight: SightSpec, rows: range, of: MarketPlan
) -> tuple[Tensor, Tensor]:
    """Return (observations float32[T, D] before normalisation, the teacher's actions at them).

    The teacher decides at each close of `rows` with enough history, except the last, and the observations show the
    teacher's book. Actions are float32[T, N + 1] weights with cash last ("simplex"), float32[T, N] positions in [-1, 1]
    ("box"), or int64[T], the nearest allocation of the plan's grid ("discrete"). Raises ValueError for short positions
    where the kind is not "box", and for rows without history. Axes: T sessions, D entries of an observation, N assets.
    """
    observed = observed_by(sight, panel)
    start = max(rows.start, observed.warm)
    if rows.stop - start < 2:
        raise ValueError(
            f"{len(rows)} sessions to learn from, and the first {observed.warm} "
            f"of the panel only fill lookbacks: give more sessions"
        )
    decision_rows = range(start, rows.stop)
    walked = walk(teacher, panel, decision_rows, costs=of.costs, capital=of.capital, lot=None, observed=observed)
    return torch.from_numpy(walked.seen), targets(walked.weights, panel.symbols, of)


def targets(weights: Floats, symbols: tuple[str, ...], of: MarketPlan) -> Tensor:
    """Convert a teacher's weights float64[T, N] to actions of the kind `of.kind`.

    Raises ValueError for negative weights (short positions) where the kind is not "box". Axes: T sessions, N assets.
    """
    if of.kind == "box":
        return torch.from_numpy(np.clip(_within(weights, of.gross), -1.0, 1.0).astype(np.float32))
    if (weights < -1e-9).any():
        row, column = (int(v[0]) for v in np.nonzero(weights < -1e-9))
        raise ValueError(
            f"the teacher is short of {symbols[column]} ({weights[row, column]:.2f}): only actions of kind box allow "
            "short weights"
        )
    long_weights = _within(np.maximum(weights, 0.0), 1.0)
    with_cash = np.append(long_weights, np.maximum(0.0, 1.0 - long_weights.sum(axis=1, keepdims=True)), axis=1)
    if of.kind == "simplex":
        return torch.from_numpy((with_cash / with_cash.sum(axis=1, keepdims=True)).astype(np.float32))
    choices = allocations_of(of, symbols)
    assert choices is not None
    distances = np.square(with_cash[:, None, :] - choices.weights[None]).sum(axis=2)
    return torch.from_numpy(distances.argmin(axis=1).astype(np.int64))


def _within(weights: Floats, gross: float) -> Floats:
    """Scale down the rows of weights whose sum of absolute values exceeds `gross`."""
    total = np.abs(weights).sum(axis=1, keepdims=True)
    return weights * (gross / np.maximum(total, gross))


UPDATES: Final = 3_000
"""Minimum number of gradient steps: the softmax share of cash falls slowly, in proportion to itself."""


def imitate(plan: Plan, markets: Markets, learner: Algorithm, ground: Ground) -> list[float]:
    """Fit `learner` to the policy `plan.clone` in the training part. Returns each pass's mean loss.

    Each row of observations occurs with the teacher's book and with a random book. All these rows also initialise the
    normalisation of `ground`, the training environment. Raises PlanError for a learner that cannot imitate, an unknown
    policy, and too few sessions.
    """

    if not learners()[plan.agent].imitates or not isinstance(learner, OnPolicy):
        imitators = ", ".join(record.name for record in learners().values() if record.imitates)
        raise PlanError(f"clone = {plan.clone!r}: {plan.agent} cannot imitate; these can: {imitators}")
    rows = range(markets.train.first, markets.train.last + 1)
    try:
        if plan.clone not in POLICIES:
            raise ValueError(f"there is no policy {plan.clone!r} to learn from; {nearest(plan.clone, list(POLICIES))}")
        observations, teacher_actions = demonstrations(
            POLICIES[plan.clone]({}), markets.panel, plan.sight, rows, plan.market
        )
    except ValueError as error:
        raise PlanError(f"clone = {plan.clone!r}: {error}") from None
    observations, teacher_actions = observations.to(ground.device), teacher_actions.to(ground.device)
    # the learner will hold other books than its teacher: without rows of such books, chance would set its answers there
    observations, teacher_actions = (
        torch.cat([observations, _with_random_books(observations, plan.sight, learner.random)]),
        torch.cat([teacher_actions, teacher_actions]),
    )
    if plan.normalise:
        # added first, so that the next line scales by the statistics of these rows
        ground.normalised.observations.add(observations)
        observations = ground.normalised.scale.of(observations)
    defaults = CloningPlan()
    passes = max(1, math.ceil(UPDATES * defaults.minibatch / len(observations)))
    return clone(learner, observations, teacher_actions, msgspec.structs.replace(defaults, epochs=passes))


def _with_random_books(observations: Tensor, spec: SightSpec, random: torch.Generator) -> Tensor:
    """Return the R observations float32[R, D] with random books in place of the teacher's.

    A random book has long weights and cash that add up to 1, drawn uniformly. Axes: D entries of an observation.
    """
    changed = observations.clone()
    assets = spec.assets(observations.shape[1])
    # False: not positions of a box but weights that add up to 1, with cash last
    book = uniform(False, len(observations), assets + 1, random)
    column = spec.market(assets)
    for part in spec.book:
        values = book[:, :assets] if part == "weights" else book[:, assets:]
        changed[:, column : column + values.shape[1]] = values
        column += values.shape[1]
    return changed
