"""Present risk measures of the house and of each agent, for reports, the API and metrics.

They take some milliseconds between steps and are never part of a decision.
"""

from typing import Final

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from quantd.daemon.engine.planning.gate_account import limits_in_force
from quantd.daemon.engine.safety.monitor import market_context
from quantd.daemon.engine.state import HOUSE, State
from quantd.daemon.engine.valuation import realised_by_date
from quantd.risk.assessment import Assessment, Book, Settings, assess
from quantd.risk.limits.catalogue import Limits
from quantd.risk.measures.liquidity import PARTICIPATION
from quantd.risk.measures.stress import SHIPPED
from quantd.risk.monitor.realised import KEPT

METRICS: Final = {
    "volatility": "volatility_annual",
    "var": "historical",
    "cvar": "historical",
    "max_drawdown": "max_drawdown",
    "sharpe": "sharpe",
    "sortino": "sortino",
    "calmar": "calmar",
    "beta": "beta",
    "correlation": "benchmark_correlation",
    "diversification": "diversification",
}
"""Name of a metric -> field of `Assessment`."""


class Metrics(Struct, frozen=True):
    """One book's metrics, fractions and ratios; None for those whose reason is in `missing`.

    `correlation` and `beta` are to the benchmark. `var` and `cvar` are historical, at `confidence`. Drawdown and ratios
    cover the last year of samples.
    """

    confidence: float
    volatility: float | None
    var: float | None
    cvar: float | None
    max_drawdown: float | None
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    beta: float | None
    correlation: float | None
    diversification: float | None
    missing: dict[str, str]


class Assessed(Struct, frozen=True):
    """The measures of the house and of each agent at `ts` (market time)."""

    ts: int
    house: Assessment
    agents: dict[str, Assessment]


def assessed(state: State) -> Assessed:
    """The measures of all books of a state, between steps."""
    state.revalue()
    return Assessed(
        ts=state.now,
        house=_assess(state, HOUSE),
        agents={state.rules.agents[number].name: _assess(state, number) for number in state.in_use()},
    )


def _assess(state: State, book: int) -> Assessment:
    ctx, limits = market_context(state), limits_in_force(state, book)
    return assess(
        Book(
            universe=state.universe,
            lots=state.lots(book),
            px=np.where(ctx.priced, ctx.px, np.nan),
            equity=state.equity_of(book) / 1e6,
            returns=state.history.synchronous.returns(KEPT),
            history=realised_by_date(state, book).wealth(),
            volume_lots=ctx.volume_lots,
        ),
        replace(settings_of(limits), risk_free_annual=state.watch.realised[book + 1].risk_free_annual()),
    )


def settings_of(limits: Limits) -> Settings:
    """The assessment parameters of a book: confidence and horizon of its VaR limit, and its stress scenarios.

    Without scenarios of its own, those that come with quantd.
    """
    tail = limits.var or limits.cvar
    return Settings(
        confidence=tail.confidence if tail is not None else 0.95,
        horizon=tail.horizon if tail is not None else 1,
        min_history=limits.min_history,
        participation=limits.liquidity.participation if limits.liquidity is not None else PARTICIPATION,
        shocks=limits.stress.shocks if limits.stress is not None else tuple(SHIPPED.values()),
    )


def metrics_of(found: Assessment) -> Metrics:
    """The metrics of an assessment, with a reason for each missing one."""
    values: dict[str, float | None] = {}
    missing: dict[str, str] = {}
    for name, field in METRICS.items():
        value = getattr(found, field)
        if value is None:
            missing[name] = found.missing.get(field, "not available")
        values[name] = None if value is None else getattr(value, name) if field == "historical" else value
    return Metrics(confidence=found.confidence, missing=missing, **values)
