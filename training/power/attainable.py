"""What a signal can earn: the reference rule beside equal weight on a part of the data that it was not chosen on.

What can go wrong. A learner would be blamed for a signal that nobody could trade: so a signal is attainable only where
the rule is above equal weight by a 95 % interval. The rule would fit the judged part: so it is chosen on the training
part alone. Rounding would give a rule that is equal weight an interval: so it has none.
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
        """True when the whole interval is above equal weight, so that a learner can be judged by this signal."""
        return self.low is not None and self.low > 0.0


def interval(daily: Floats) -> tuple[float, float] | None:
    """Return the 95 % interval of a yearly difference of log growth from its `daily` values float64[T].

    It is an interval of the stationary bootstrap. It is None where all days are equal, and for fewer days than the
    bootstrap needs.
    """
    bounds = mean_interval(daily, np.random.default_rng(STATIONARY_SEED))
    return None if bounds is None else (bounds[0] * PERIODS_PER_YEAR, bounds[1] * PERIODS_PER_YEAR)


def attained(panel: Panel, train: range, rows: range, signals: Sequence[Floats], of: MarketPlan) -> list[Attained]:
    """Return what the rule of each signal earns over `rows`; the rules are chosen over `train`.

    A signal is expected returns float64[T, N] of the panel. `of` has costs, capital and lots.
    """
    rules = chosen_rules(panel, train, signals, of, len(rows) - 1)
    # the last case is equal weight, on any signal
    *grown, equal = run_cases(panel, rows, train, [*zip(signals, rules, strict=True), (signals[0], Rule())], of)
    cells = []
    for rule, growth in zip(rules, grown, strict=True):
        bounds = None if rule == Rule() else interval(growth.daily - equal.daily)
        reference = equal.annual if rule == Rule() else growth.annual
        low, high = bounds or (None, None)
        cells.append(Attained(rule, reference, equal.annual, low, high, growth.turnover_annual))
    return cells
