"""The profit that a signal permits: a rule that knows the signal, beside equal weight, on data on which the rule was
not chosen.

What can go wrong. A learner would be blamed for a signal that nobody could trade: so a signal is attainable only where
the 95 % interval of the difference between rule and equal weight is above 0. The rule would fit the part on which it is
judged: so it is chosen on the training part alone. A rule that is equal to equal weight would get an interval from
rounding: so such a rule has no interval.
"""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from quantd.models.history.panel import Panel
from quantd.trading.bootstrap import STATIONARY_SEED, mean_interval
from quantd.trading.market import Floats
from quantd.trading.statistics import PERIODS_PER_YEAR
from quantd.training.plans.plan import MarketPlan
from quantd.training.power.reference_rule import Rule, chosen_rules, expected_by, run_cases


class Attained(Struct, frozen=True):
    """Log growth a year of the reference rule, which knows the signal, and of equal weight on one part, after costs.

    `low` and `high` are the 95 % interval of the rule's growth less the growth of equal weight; None where the two
    growths are equal.
    """

    rule: Rule
    reference: float
    equal_weight: float
    low: float | None
    high: float | None
    turnover_annual: float

    @property
    def passes(self) -> bool:
        """True when the whole 95 % interval is above equal weight, so that a learner can be judged by this signal."""
        return self.low is not None and self.low > 0.0


def interval(daily: Floats) -> tuple[float, float] | None:
    """Return the 95 % interval of a yearly difference of log growth from its `daily` values float64[T].

    The interval is computed by the stationary bootstrap. The result is None where all days are equal, and for fewer
    days than the bootstrap needs. Axes: T sessions.
    """
    bounds = mean_interval(daily, np.random.default_rng(STATIONARY_SEED))
    return None if bounds is None else (bounds[0] * PERIODS_PER_YEAR, bounds[1] * PERIODS_PER_YEAR)


def attained(panel: Panel, train: range, rows: range, signals: Sequence[Floats], of: MarketPlan) -> list[Attained]:
    """Return the growth of each signal's reference rule over `rows`; the rules are chosen over `train`.

    A reference rule trades a signal that it knows exactly; its best gain is what a learner can attain. A signal is
    expected returns float64[T, N] of the panel. `of` has costs, capital and lots. The rule `Rule()` is equal weight: it
    has no interval. Axes: T sessions, N assets.
    """
    rules = chosen_rules(panel, train, signals, of, len(rows) - 1)
    # the last case is equal weight, on any signal
    cases = [(expected_by(panel, train, signal)[rule.by], rule) for signal, rule in zip(signals, rules, strict=True)]
    *grown, equal = run_cases(panel, rows, train, [*cases, (signals[0], Rule())], of)
    cells = []
    for rule, growth in zip(rules, grown, strict=True):
        bounds = None if rule == Rule() else interval(growth.daily - equal.daily)
        reference = equal.annual if rule == Rule() else growth.annual
        low, high = bounds or (None, None)
        cells.append(Attained(rule, reference, equal.annual, low, high, growth.turnover_annual))
    return cells
