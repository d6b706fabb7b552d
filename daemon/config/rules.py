"""The keys of an agent's `sizing` and `rebalance`: rules around any policy, each off by default."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from quantd.daemon.config.section import Section
from quantd.daemon.config.values import Fraction, Money, Share, bounds, pattern, wrong

Lookback = Annotated[int, bounds(5, 5_000)]
Exposure = Annotated[float, bounds(0, 2, percent=True)]
AnnualVolatility = Annotated[float, bounds(0, 2, above=True, percent=True)]
Ticker = Annotated[str, pattern(r"|[A-Z0-9][A-Za-z0-9./_=^-]{0,31}", "a ticker: capitals, digits and . / _ = ^ -")]


class RegimeSizing(Section):
    """Exposure by regime, which `model` estimates from the symbol `of` (empty: all symbols, equally weighted)."""

    model: Literal["thresholds", "markov", "mixture"] = "thresholds"
    of: Ticker = ""
    bull: Exposure = 1.0
    bear: Exposure = 0.5
    volatile: Exposure = 0.5
    spread: Fraction = 0.5
    dwell: Annotated[int, bounds(0, 1_000)] = 5


class Budget(Section):
    """One symbol's part of the agent's annual volatility."""

    symbol: Annotated[str, pattern(r"[A-Z0-9][A-Za-z0-9./_=^-]{0,31}", "a ticker: capitals, digits and . / _ = ^ -")]
    volatility: AnnualVolatility


class Sizing(Section):
    """Applied to the policy's weights in this order."""

    regime: RegimeSizing | None = None
    risk_budget: tuple[Budget, ...] = ()
    risk_lookback: Lookback = 126
    kelly: Annotated[float, bounds(0, 1, above=True, percent=True)] | None = None
    kelly_method: Literal["moments", "bets"] = "moments"
    kelly_lookback: Annotated[int, bounds(20, 5_000)] = 252
    risk_free: Annotated[float, bounds(-0.05, 0.5, percent=True)] = 0.02
    volatility_target: AnnualVolatility | None = None
    volatility_lookback: Lookback = 63
    max_gross: Annotated[float, bounds(0, 10, above=True)] = 1.0
    momentum_filter: Annotated[int, bounds(1, 5_000)] | None = None


class CostAwareTable(Section):
    """`cost_bp` defaults to the costs of [broker]: commission, half the spread and slippage."""

    risk_aversion: Annotated[float, bounds(0, 1_000, above=True)] = 5.0
    horizon: Annotated[int, bounds(1, 2_500)] = 63
    cost_bp: Annotated[float, bounds(0, 1_000)] | None = None
    fixed_micro: Money | None = Field(default=None, alias="fixed")


Event = Literal["regime", "volatility", "correlation"]


def _events(value: tuple[Event, ...]) -> tuple[Event, ...]:
    if not value:
        wrong("is empty", 'name one or more of "regime", "volatility", "correlation"')
    return value


class RebalanceTable(Section):
    """When a rebalance is due at a decision, and how far it goes."""

    when: Literal["always", "calendar", "threshold", "event"] = "always"
    every: Literal["day", "week", "two_weeks", "month", "quarter", "half_year", "year"] = "month"
    drift: Fraction = 0.05
    risk_drift: Fraction = 0.03
    events: Annotated[tuple[Event, ...], AfterValidator(_events)] = ("regime", "volatility", "correlation")
    wait: Annotated[int, bounds(1, 1_000)] = 5
    lookback: Annotated[int, bounds(20, 5_000)] = 126
    short: Annotated[int, bounds(5, 1_000)] = 21
    volatility_ratio: Annotated[float, bounds(1, 100, above=True)] = 2.0
    correlation_change: Annotated[float, bounds(0, 2, above=True)] = 0.35
    band: Fraction = 0.0
    max_change: Share | None = None
    max_trades: Annotated[int, bounds(1, 100_000)] | None = None
    max_turnover: Annotated[float, bounds(0, 4, above=True, percent=True)] | None = None
    min_notional_micro: Money | None = Field(default=None, alias="min_notional")
    cost_aware: CostAwareTable | None = None
