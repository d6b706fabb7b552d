"""What can be earned of a signal: the reference rule beside equal weight on a part that it was not chosen on.

What can go wrong: a learner is blamed for a signal that nobody could trade. A signal is attainable only where the rule
is above equal weight by a 95 % interval. The rule is chosen on the training part alone. A rule that is equal weight has
no interval, whatever the rounding of its account.
"""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from quantd.models.history.panel import Panel
from quantd.trading.bootstrap import STATIONARY_SEED, mean_interval
from quantd.trading.market import Floats
from quantd.trading.statistics import PERIODS_PER_YEAR
from quantd.training.plans.plan import MarketPlan
from quantd.training.power.reference_rule import Rule, chosen_rules, run_cases


class Attained(Struct, frozen=True):
    """Log growth a year of the reference rule and of equal weight on one part, after costs.

    `low` and `high` are the 95 % interval of the difference; None where the two are equal.
    """

    rule: Rule
    reference: float
    equal_weight: float
    low: float | None
    high: float | None
    turnover_annual: float

    @property
    def passes(self) -> bool:
        """Whether the reference rule is above equal weight, so that a learner can be judged."""
        return self.low is not None and self.low > 0.0


def interval(daily: Floats) -> tuple[float, float] | None:
    """Return the 95 % interval of a yearly difference of log growth from its days; None where all days are equal.

    It is that of the stationary bootstrap, and None for fewer days than it takes.
    """
    bounds = mean_interval(daily, np.random.default_rng(STATIONARY_SEED))
    return None if bounds is None else (bounds[0] * PERIODS_PER_YEAR, bounds[1] * PERIODS_PER_YEAR)


def attained(panel: Panel, train: range, rows: range, signals: Sequence[Floats], of: MarketPlan) -> list[Attained]:
    """Return what the rule of each signal earns over `rows`; the rules are chosen over `train`.

    A signal is expected returns float64[T, N] of the panel.
    """
    rules = chosen_rules(panel, train, signals, of, len(rows) - 1)
    *grown, equal = run_cases(panel, rows, train, [*zip(signals, rules, strict=True), (signals[0], Rule())], of)
    cells = []
    for rule, growth in zip(rules, grown, strict=True):
        bounds = None if rule == Rule() else interval(growth.daily - equal.daily)
        reference = equal.annual if rule == Rule() else growth.annual
        low, high = bounds or (None, None)
        cells.append(Attained(rule, reference, equal.annual, low, high, growth.turnover_annual))
    return cells
