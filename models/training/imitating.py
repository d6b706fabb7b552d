"""Before learning: a policy is brought to do what a classical one did over the training part (behaviour cloning)."""

from models.learners.a2c import A2c
from models.learners.cloning import clone
from models.learners.ppo import Ppo
from models.training.ground import Ground
from models.training.learning import Learner
from models.training.markets import Markets
from models.training.plan import Plan, PlanError


def imitate(plan: Plan, markets: Markets, learner: Learner, ground: Ground) -> list[float]:
    """Fits `learner` to what `plan.clone` did in the training part alone; gives each pass's mean loss. What the teacher saw is also
    the first that the normaliser learns of. Raises PlanError."""
    from models.teachers import demonstrations

    if not isinstance(learner, Ppo | A2c):
        raise PlanError(f"clone = {plan.clone!r}: {plan.agent} cannot imitate; ppo and a2c can")
    of, rows = plan.market, range(markets.train.first, markets.train.last + 1)
    try:
        seen, done = demonstrations(
            plan.clone, {}, markets.panel, plan.sight, rows, of, costs=of.costs, capital=of.capital
        )
    except ValueError as error:
        raise PlanError(f"clone = {plan.clone!r}: {error}") from None
    if plan.normalise:
        ground.normalised.observations.add(seen)
        seen = ground.normalised.scaled(seen)
    return clone(learner.agent, seen, done)
