"""Limits on volatility, value at risk, expected shortfall and stress losses."""

from collections.abc import Callable
from math import sqrt
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from quantd.risk.limits.bounds import ANNUAL, LOOKBACK, unmergeable
from quantd.risk.limits.case import Account
from quantd.risk.limits.context import Bools, Floats, Scenarios, Spread
from quantd.risk.limits.kinds import Form, Losses
from quantd.risk.limits.record import Barred, Forms, Label, Limit, Refusal, Tails, of_one
from quantd.risk.limits.settings import Limits, Stress, StressTable, Tail, value_of
from quantd.risk.measures.portfolio import SAMPLES_PER_YEAR
from quantd.risk.measures.stress import shock_returns
from quantd.risk.measures.tails import normal_quantile, normal_shortfall
from quantd.trading.instruments import Universe

if TYPE_CHECKING:
    from quantd.risk.limits.ruleset import Rules


def shock_missing(rules: "Rules", account: Account, asked: Floats) -> Bools | None:
    """Refuse instruments for which a stress scenario has no move, and all orders of a book that holds such an
    instrument."""
    unknown = rules.no_shock
    if unknown is None:
        return None
    return unknown | bool((account.carried() & unknown).any())


def sampled(mean: bool) -> Callable[[Tail, Limits, Universe], list[Losses]]:
    """Return the function that makes the limits of a VaR setting, or with `mean` of a CVaR setting, by the methods
    `historical` and `filtered`."""

    def losses(spec: Tail, limits: Limits, universe: Universe) -> list[Losses]:
        if spec.method not in ("historical", "filtered"):
            return []
        filtered = spec.method == "filtered"
        return [Losses(spec.limit, mean, spec.confidence, spec.lookback, sqrt(spec.horizon), filtered)]

    return losses


def stressed(spec: Stress, limits: Limits, universe: Universe) -> list[Losses]:
    """Return the limit on the loss in the worst stress scenario.

    A move that a scenario does not have counts as 0 here, because `shock_missing` refuses such orders.
    """
    moves = shock_returns(spec.shocks, universe)
    return [Losses(spec.limit, fixed=Scenarios(np.where(np.isnan(moves), 0.0, moves)))]


SPREADS: Final[dict[str, Callable[[Scenarios], Spread]]] = {
    "parametric": lambda scenarios: scenarios.shrunk,
    "ewma": lambda scenarios: scenarios.weighted,
}
"""Method of a normal VaR -> covariance."""


def normal(deviations: Callable[[float], float]) -> Callable[[Tail, Limits], list[Form]]:
    """Return the function that makes the quadratic limit of a VaR or CVaR under a normal distribution.

    `deviations` returns, for a confidence, the multiple of the book's standard deviation. The list is empty for a
    method without a normal distribution, such as historical simulation.
    """

    def form(spec: Tail, limits: Limits) -> list[Form]:
        if spec.method not in SPREADS:
            return []
        scale = deviations(spec.confidence) ** 2 * spec.horizon
        return [Form(spec.limit, SPREADS[spec.method], spec.lookback, scale)]

    return form


def volatility(most: float, limits: Limits) -> list[Form]:
    """Return the quadratic limit on annual volatility: the sample covariance over `volatility_lookback`, times the
    samples per year."""
    return [Form(most, lambda scenarios: scenarios.sample, limits.volatility_lookback, float(SAMPLES_PER_YEAR))]


def tighter_tail(key: str, a: Tail, b: Tail) -> Tail:
    """Return the one of two VaR or CVaR limits with the smaller `limit`. Raises ValueError where their estimators
    differ."""
    if msgspec.structs.replace(a, limit=b.limit) != b:
        raise ValueError(f"{key}: two estimators ({a} and {b}) cannot be merged; give both the same")
    return min(a, b, key=lambda tail: tail.limit)


def tighter_stress(key: str, a: Stress, b: Stress) -> Stress:
    """Return the stress limit with the smaller `limit` of the two, over the scenarios of both, each once."""
    return Stress(min(a.limit, b.limit), (*a.shocks, *(shock for shock in b.shocks if shock not in a.shocks)))


def _tail(name: str, key: str) -> Label:
    """Return a label that adds confidence, horizon and method to `name`."""

    def label(limits: Limits, about: str) -> str:
        spec: Tail | None = value_of(limits, key)
        if spec is None:
            return name
        days = "1 day" if spec.horizon == 1 else f"{spec.horizon} days"
        return f"{name} {100 * spec.confidence:.4g} % {days}, {spec.method}"

    return label


_SHOCK_MISSING: Final = 35

LIMITS: Final = (
    Limit(
        "max_volatility",
        200,
        lambda limits, about: f"volatility a year, {limits.volatility_lookback} samples",
        refusals=(Refusal(12, "VOLATILITY", "annual volatility would exceed max_volatility", sales_free=True),),
        kinds=(Forms(10, volatility),),
        example="max_volatility = 0.2",
        profiles={"conservative": 0.10, "balanced": 0.12, "aggressive": 0.40},
        bounds=ANNUAL,
        about="annual volatility of the book after the order, over `volatility_lookback` samples",
        formula="`√(252 × Q(C)) ≤ limit × E`, with the sample covariance `C`",
        equity="E",
    ),
    Limit(
        "var",
        210,
        _tail("VaR", "var"),
        refusals=(Refusal(10, "VAR", "value at risk would exceed its limit", sales_free=True),),
        kinds=(Tails(10, sampled(mean=False)), Forms(20, normal(normal_quantile))),
        example="var = { limit = 0.03 }",
        tighter=tighter_tail,
        profiles={"conservative": Tail(limit=0.025), "balanced": Tail(limit=0.05), "aggressive": Tail(limit=0.08)},
        about=(
            "value at risk: `{ limit, method, confidence, horizon, lookback }`; method `historical`, `filtered`, "
            "`parametric` or `ewma`"
        ),
        formula=(
            "Historical and filtered `√horizon × (m-th largest loss) ≤ limit × E`; parametric and ewma `z × "
            "√(horizon × Q(C)) ≤ limit × E`"
        ),
        equity="E",
    ),
    Limit(
        "cvar",
        220,
        _tail("CVaR (expected shortfall)", "cvar"),
        refusals=(Refusal(11, "CVAR", "expected shortfall would exceed its limit", sales_free=True),),
        kinds=(Tails(20, sampled(mean=True)), Forms(30, normal(normal_shortfall))),
        example="cvar = { limit = 0.04 }",
        tighter=tighter_tail,
        profiles={"conservative": Tail(limit=0.035), "balanced": Tail(limit=0.05), "aggressive": Tail(limit=0.10)},
        about="expected shortfall, the same keys",
        formula=(
            "Historical and filtered `√horizon × (mean of the m largest losses) ≤ limit × E`; parametric and "
            "ewma `φ(z) / (1 − confidence) × √(horizon × Q(C)) ≤ limit × E`"
        ),
        equity="E",
    ),
    Limit(
        "stress",
        340,
        of_one("stress scenario", ", worst"),
        refusals=(
            Refusal(34, "STRESS", "the loss in a stress scenario would exceed stress.limit", sales_free=True),
            Refusal(_SHOCK_MISSING, "SHOCK_MISSING", "a stress scenario has no move for this instrument"),
        ),
        kinds=(Tails(30, stressed), Barred(80, shock_missing, _SHOCK_MISSING)),
        example="stress = { limit = 0.3 }",
        tighter=tighter_stress,
        table=StressTable,
        about=(
            'worst of named scenarios: `{ limit = 0.3, scenarios = ["2008", "2020", "2022", "rates+200bp"] }`, '
            "or of your own in `[[risk.shocks]]`"
        ),
        formula="`largest loss ≤ limit × E`, with the moves of each scenario as its returns",
        equity="E",
    ),
    Limit(
        "volatility_lookback",
        450,
        "samples of the volatility",
        "number",
        always=True,
        tighter=unmergeable,
        bounds=LOOKBACK,
        about="number of samples of the volatility, the average correlation and the diversification (252)",
    ),
)
