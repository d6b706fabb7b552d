"""Compares a new model with the model in use on the newest part of the data, on which the new model was not trained.

The two models are compared on the same days, with the same costs, capital and lots. A better model may become a
challenger; this module promotes nothing.

What can go wrong. A model that traded nothing has a return of 0, and would look better than a model in use that lost
money: so such a model never passes. A small gain would be luck: so the paired bootstrap requires a level of confidence.
A gain would come with a much larger drawdown: so the ratio of drawdowns is bounded. The model in use may have been
fitted on days of the comparison, which favours this model: so these days are counted.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from msgspec import Struct

from quantd.models.artifacts.manifest import Window
from quantd.models.history.panel import Panel
from quantd.models.history.splits import DAY_NS, Split
from quantd.strategies.policies.equal_weight import EqualWeight, EqualWeightParams
from quantd.trading.bootstrap import Gain, Measure, paired_gain
from quantd.trading.execution import Costs
from quantd.trading.market import Floats
from quantd.trading.ports import Policy, leaves
from quantd.trading.statistics import PERIODS_PER_YEAR, Performance, compounded, drawdowns, performance
from quantd.training.market.walk import Walk, walk

SCHEMA: Final = 1


class Rule(Struct, frozen=True, forbid_unknown_fields=True):
    """Requirements that a new model must meet over the newest part of the data, to become a challenger.

    The new model's performance measure is better by more than `min_gain` a year, with one-sided `confidence`. Its
    drawdown is at most `max_drawdown_ratio` times the drawdown of the model in use. The test is the paired, studentised
    circular block bootstrap of O. Ledoit and M. Wolf (2008), with blocks of `block` days. A later promotion has
    stricter rules, on live days. Raises ValueError for values out of range: 0 < confidence < 1, max_drawdown_ratio > 0,
    block >= 0.
    """

    measure: Measure = "sharpe"
    confidence: float = 0.8
    min_gain: float = 0.0
    max_drawdown_ratio: float = 1.5
    block: int = 5
    resamples: int = 4_000

    def __post_init__(self) -> None:
        if not (0.0 < self.confidence < 1.0 and self.max_drawdown_ratio > 0.0 and self.block >= 0):
            raise ValueError(f"{self} must have 0 < confidence < 1, max_drawdown_ratio > 0, block >= 0")


class Figures(Struct, frozen=True, forbid_unknown_fields=True):
    """Results of a model in a comparison, after costs."""

    performance: Performance
    turnover_annual: float


class Verdict(Struct, frozen=True, forbid_unknown_fields=True):
    """The result of a comparison of a new model with the model in use. `worth` is True when all requirements are met.

    `why` is the requirement that failed; empty when none failed. `current` is None without a model in use.
    """

    worth: bool
    why: str
    window: Window
    sessions: int
    challenger: Figures
    equal_weight: Figures
    current: Figures | None = None
    gain: float | None = None
    """Gain of the measure, annual."""
    p: float | None = None
    """One-sided p-value of the gain."""
    seen_by_current: int = 0
    """Sessions of the window inside the training of the model in use, which favour it."""

    @property
    def idle(self) -> bool:
        """True when the new model traded nothing, so that its return of 0 is no result."""
        return self.challenger.turnover_annual == 0.0


def judge(
    challenger: Policy,
    current: Policy | None,
    panel: Panel,
    newest: Split,
    rule: Rule,
    *,
    costs: Costs,
    capital: float,
    lot: float | Sequence[float],
    key: str,
) -> Verdict:
    """Compare the challenger with the model in use, `current`, on the part `newest` of the panel, and return whether it
    meets `rule`. `current` is None without a model in use; then any challenger that trades is worth using. `key` is the
    seed of the bootstrap's draws. Raises ValueError where a policy fails.
    """
    rows = newest.rows(panel.day_ns)

    def walked(policy: Policy) -> Walk:
        return walk(policy, panel, rows, costs=costs, capital=capital, lot=lot)

    challenger_walk = walked(challenger)
    window = Window(str(newest.first), str(newest.last))
    equal = _figures(walked(EqualWeight(EqualWeightParams())))
    idle = ""
    if not challenger_walk.turnover.any():
        idle = (
            f"it traded nothing on {len(challenger_walk.weights)} sessions, {window.first} to {window.last}: train it "
            f"on other or more bars, or with another plan"
        )
    if current is None:
        return Verdict(not idle, idle, window, len(challenger_walk.weights), _figures(challenger_walk), equal)
    current_walk = walked(current)
    gain = paired_gain(
        challenger_walk.returns,
        current_walk.returns,
        measure=rule.measure,
        risk_free_annual=challenger_walk.risk_free_annual,
        key=key.encode(),
        resamples=rule.resamples,
        block=rule.block,
    )
    until = max((getattr(policy, "trained_until_ns", 0) for policy in leaves(current)), default=0)
    drawdown = _largest_drawdown(challenger_walk.returns)
    allowed = rule.max_drawdown_ratio * _largest_drawdown(current_walk.returns)
    # `idle` first: doing nothing would look better than a model in use that lost money
    why = idle or _missed_requirement(rule, gain, drawdown, allowed)
    return Verdict(
        not why,
        why,
        window,
        len(challenger_walk.weights),
        _figures(challenger_walk),
        equal,
        _figures(current_walk),
        gain.value,
        gain.p,
        # the sessions that the current model was fitted or selected on
        int((panel.day_ns[rows.start : rows.stop] + DAY_NS <= until).sum()),
    )


def _missed_requirement(rule: Rule, gain: Gain, drawdown: float, allowed: float) -> str:
    """Return the requirement that a challenger misses; empty for none. `allowed` is its maximum drawdown."""
    alpha = 1.0 - rule.confidence
    if not gain.value > rule.min_gain:
        return f"its {rule.measure} is better by {gain.value:.2f} a year, and more than {rule.min_gain:g} is required"
    if gain.p > alpha:
        return f"its gain may be luck: p = {gain.p:.3g} is above {alpha:.3g}"
    return f"its drawdown of {drawdown:.1%} is above {allowed:.1%}" if drawdown > max(allowed, 1e-9) else ""


def _figures(walked: Walk) -> Figures:
    """Return the results of a policy's walk over the data."""
    measures = performance(walked.equity, PERIODS_PER_YEAR, walked.risk_free_annual)
    return Figures(measures, float(np.mean(walked.turnover)) * PERIODS_PER_YEAR)


def _largest_drawdown(returns: Floats) -> float:
    return float(drawdowns(compounded(returns)).max())
