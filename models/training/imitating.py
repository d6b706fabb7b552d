"""Before learning: a policy is brought to do what a classical one did over the training part (behaviour cloning)."""

import math
from typing import Final

import msgspec
import torch
from torch import Tensor

from quantd.models.learners.a2c import A2c
from quantd.models.learners.cloning import CloningPlan, clone
from quantd.models.learners.ppo import Ppo
from quantd.models.sights import SightSpec
from quantd.models.training.ground import Ground
from quantd.models.training.learning import Learner
from quantd.models.training.markets import Markets
from quantd.models.training.plan import Plan, PlanError

UPDATES: Final = 3_000
"""Steps along the gradient: what it takes to leave cash alone, whose share falls by its own size only."""


def imitate(plan: Plan, markets: Markets, learner: Learner, ground: Ground) -> list[float]:
    """Fits `learner` to what `plan.clone` did in the training part alone, each row with the teacher's own book and with
    one drawn; gives each pass's mean loss. These rows are also the first that the normaliser learns of. Raises PlanError."""
    from quantd.models.teachers import demonstrations

    if not isinstance(learner, Ppo | A2c):
        raise PlanError(f"clone = {plan.clone!r}: {plan.agent} cannot imitate; ppo and a2c can")
    of, rows = plan.market, range(markets.train.first, markets.train.last + 1)
    try:
        seen, done = demonstrations(
            plan.clone, {}, markets.panel, plan.sight, rows, of, costs=of.costs, capital=of.capital
        )
    except ValueError as error:
        raise PlanError(f"clone = {plan.clone!r}: {error}") from None
    # a learner will not hold to the last bit what the teacher held: what it makes of other books must not be left to chance
    seen, done = torch.cat([seen, _other_books(seen, plan.sight, learner.agent.random)]), torch.cat([done, done])
    if plan.normalise:
        ground.normalised.observations.add(seen)
        seen = ground.normalised.scaled(seen)
    usual = CloningPlan()
    passes = max(1, math.ceil(UPDATES * usual.minibatch / len(seen)))
    return clone(learner.agent, seen, done, msgspec.structs.replace(usual, epochs=passes))


def _other_books(seen: Tensor, spec: SightSpec, random: torch.Generator) -> Tensor:
    """float32[R, D] with the book of each row drawn uniformly from all that are long and not leveraged."""
    changed = seen.clone()
    assets = (seen.shape[1] - ("cash" in spec.book)) // (spec.width + ("weights" in spec.book))
    clocks = -torch.log1p(-torch.rand((len(seen), assets + 1), generator=random))
    book = clocks / clocks.sum(-1, keepdim=True)
    column = assets * spec.width
    for part in spec.book:
        values = book[:, :assets] if part == "weights" else book[:, assets:]
        changed[:, column : column + values.shape[1]] = values
        column += values.shape[1]
    return changed
