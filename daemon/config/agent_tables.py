"""The tables of agents, portfolios and capital, with an agent's `sizing` and `rebalance`: rules around any policy."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from quantd.daemon.config.risk_tables import Limits
from quantd.daemon.config.values import (
    TICKER,
    TICKER_TEXT,
    Fraction,
    Money,
    Name,
    Section,
    Share,
    Symbol,
    Written,
    bounds,
    duration,
    filled,
    pattern,
    wrong,
)
from quantd.trading.instruments import NANO

Lookback = Annotated[int, bounds(5, 5_000)]
Exposure = Annotated[float, bounds(0, 2, percent=True)]
AnnualVolatility = Annotated[float, bounds(0, 2, above=True, percent=True)]


class RegimeSizing(Section):
    """Exposure, a fraction of the policy's weights, by market regime.

    `model` estimates the regime from the symbol `of`; empty means all symbols, equally weighted.
    """

    model: Literal["thresholds", "markov", "mixture"] = "thresholds"
    of: Annotated[str, pattern(f"|{TICKER}", TICKER_TEXT)] = ""
    bull: Exposure = 1.0
    bear: Exposure = 0.5
    volatile: Exposure = 0.5
    spread: Fraction = 0.5
    dwell: Annotated[int, bounds(0, 1_000)] = 5


class Budget(Section):
    """One symbol's part of the agent's annual volatility."""

    symbol: Symbol
    volatility: AnnualVolatility


class Sizing(Section):
    """Rules that change the policy's weights, applied in the order of the keys here."""

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
    """A cost-aware rebalance. `cost_bp` defaults to the costs of [broker]: commission, half the spread and slippage."""

    risk_aversion: Annotated[float, bounds(0, 1_000, above=True)] = 5.0
    horizon: Annotated[int, bounds(1, 2_500)] = 63
    cost_bp: Annotated[float, bounds(0, 1_000)] | None = None
    fixed_micro: Money | None = Field(default=None, alias="fixed")


Event = Literal["regime", "volatility", "correlation"]


class RebalanceTable(Section):
    """When a rebalance is due at a decision, and how far it goes.

    A `drift` that is written without `risk_drift` counts weights alone.
    """

    when: Literal["always", "calendar", "threshold", "event"] = "always"
    every: Literal["day", "week", "two_weeks", "month", "quarter", "half_year", "year"] = "month"
    drift: Fraction = 0.05
    risk_drift: Fraction = 0.03
    events: Annotated[tuple[Event, ...], filled('name one or more of "regime", "volatility", "correlation"')] = (
        "regime",
        "volatility",
        "correlation",
    )
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

    def model_post_init(self, context: object, /) -> None:
        """Leave the share of the variance out, if only `drift` is written."""
        if "drift" in self.model_fields_set and "risk_drift" not in self.model_fields_set:
            object.__setattr__(self, "risk_drift", 1.0)


DEVICE = r"[a-z][a-z0-9_-]{0,31}:[0-9a-f]{64}"
"""A device that approves: its name and its public key, the 32 bytes of Ed25519 in hexadecimal."""

DEVICE_TEXT = "NAME:KEY, with the key that `quantd device create FILE` prints"

MANUAL = "manual"
"""Name of the book for manual orders."""

BENCHMARK = "benchmark"
RESERVED = ("house", MANUAL, "unallocated", BENCHMARK)
"""Names of books, which no agent and no portfolio may have."""

EXTERNAL = "external"
"""Policy of an agent outside the daemon, which decides by proposals (docs/trade/external.md)."""

ASKED = "asked"
"""Policy that a backtest sets, by an override, for an outside agent that it asks. A file may not have it."""

PLACES = 32
"""Most portfolios that can be open at once. The number is limited: each place is a book in every engine array."""


def place_name(number: int) -> str:
    """Return the name of a place, an agent that one portfolio can use, by its number from 1."""
    return f"portfolio-{number}"


def _parameters(value: Any) -> Any:
    """Return the table `params` of an agent, read-only. Raises the mistake of a value that is no table."""
    if not isinstance(value, Mapping):
        wrong("is not a table", "write { lookback = 126 }")
    return MappingProxyType(dict(value))


class Agent(Section):
    """An agent: a policy with its share of the capital, its limits and its rules."""

    name: Name
    policy: Annotated[str, pattern(r"\S(.*\S)?", "a registered name, an artifact folder or file.py:act")]
    capital: Share
    profile: str | None = None
    shadow: bool = False
    challenges: str = ""
    approval: Literal["", "person", "device"] = ""
    within_ns: Annotated[int, duration("0s", "7d"), Written()] = Field(default=0, alias="within")
    cut: bool = False
    live: bool = False
    min_trade: Annotated[float, bounds(0, 0.5, percent=True)] = 0.005
    params: Annotated[Any, BeforeValidator(_parameters)] = Field(default_factory=lambda: MappingProxyType({}))
    limits: Limits = Limits()
    sizing: Sizing = Sizing()
    rebalance: RebalanceTable = RebalanceTable()
    reads: tuple[str, ...] = ()


class Manual(Section):
    """The book for manual orders: an agent named "manual" whose policy keeps positions."""

    capital: Share
    profile: str | None = None
    limits: Limits = Limits()

    def agent(self) -> Agent:
        """Return the book for manual orders as an agent whose policy keeps positions.

        `min_trade` is 0, so that no manual order is too small.
        """
        return Agent(
            name=MANUAL, policy="hold", capital=self.capital, profile=self.profile, min_trade=0.0, limits=self.limits
        )


class Portfolios(Section):
    """Places for portfolios that are opened while the daemon runs (docs/trade/portfolios.md).

    A place is an agent without capital and without a schedule, which one portfolio can use. Its policy `targets` keeps
    positions until a rebalance proposes weights.
    """

    places: Annotated[int, bounds(0, PLACES)] = 0
    profile: str | None = None
    min_trade: Annotated[float, bounds(0, 0.5, percent=True)] = 0.005
    limits: Limits = Limits()

    def agents(self) -> tuple[Agent, ...]:
        """Return each place for a portfolio as an agent, which has no capital and no schedule."""
        first = Agent(
            name=place_name(1),
            policy="targets",
            capital=1.0,  # any valid share: it is replaced below
            profile=self.profile,
            min_trade=self.min_trade,
            limits=self.limits,
        )
        # the capital of a place comes from the unallocated book once a portfolio is opened
        return tuple(first.model_copy(update={"name": place_name(k + 1), "capital": 0.0}) for k in range(self.places))


class Approvals(Section):
    """The devices whose signature approves proposals and changes of this table, each as "NAME:KEY".

    `quantd device create` makes a key, and prints its line. A new device waits for the signature of a device in force,
    or for `[live] loosen_after`; one that is removed approves nothing any more.
    """

    devices: tuple[Annotated[str, pattern(DEVICE, DEVICE_TEXT)], ...] = ()


class ShareTable(Section):
    """An agent's share of the capital that the agents divide."""

    agent: Name
    share: Share


class RegimeTable(Section):
    """Shares of agents while annual volatility over the lookback is at least `above`; an omitted agent has share 0."""

    name: Name
    above: Annotated[float, bounds(0, 10, percent=True)] = 0.0
    shares: tuple[ShareTable, ...]


class CapitalTable(Section):
    """The reallocation of capital between agents by a schedule with do = "reallocate".

    `shrink` moves the method's shares towards the configured ones: 0 not at all, 1 fully. Shares stay between `floor`
    and `ceiling`. One reallocation changes a share by at most `max_step`.
    """

    method: Literal["fixed", "equal_risk", "performance", "regime"] = "fixed"
    lookback: Annotated[int, bounds(20, 252)] = 126
    shrink: Fraction = 0.5
    floor: Fraction = 0.0
    ceiling: Share = 1.0
    max_step: Share = 0.1
    tilt: Annotated[float, bounds(0, 5)] = 0.5
    volatility_of: Literal["benchmark", "house"] = "benchmark"
    regimes: tuple[RegimeTable, ...] = ()


class PromotionTable(Section):
    """The test by which a schedule with do = "promote" lets a challenger replace its champion.

    The challenger's `measure` over the last `samples` must be better by at least `min_gain` a year. `confidence` holds
    for all `looks` (tests) together. The challenger's drawdown may be at most `max_drawdown_ratio` times the
    champion's. `block` is the block length of the bootstrap in samples; with 0 it is chosen from the data.
    """

    samples: Annotated[int, bounds(40, 252)] = 126
    confidence: Annotated[float, bounds(0.5, 0.9999, percent=True)] = 0.95
    measure: Literal["sharpe", "mean"] = "sharpe"
    min_gain: Annotated[float, bounds(0, 10)] = 0.0
    max_drawdown_ratio: Annotated[float, bounds(0.1, 100)] = 1.5
    looks: Annotated[int, bounds(1, 1_000)] = 8
    block: Annotated[int, bounds(0, 126)] = 5
    resamples: Annotated[int, bounds(500, 100_000)] = 4_000


class RetrainTable(Section):
    """The retraining of shadows' policies by a schedule with do = "retrain".

    The retraining uses the files `bars` and `actions`; empty means the files of a recorded feed. The bars may end at
    most `stale` before the retraining is due. The retraining takes at most `within`, in a process of priority `nice`.
    The training window moves forward; with `expanding` only its end moves. The other keys decide whether the result
    becomes a challenger.
    """

    bars: str = ""
    actions: str = ""
    stale_ns: Annotated[int, duration("1d", "366d"), Written()] = Field(default=7 * 86_400 * NANO, alias="stale")
    within_ns: Annotated[int, duration("1s", "7d"), Written()] = Field(default=7_200 * NANO, alias="within")
    nice: Annotated[int, bounds(0, 19)] = 10
    expanding: bool = False
    measure: Literal["sharpe", "mean"] = "sharpe"
    confidence: Annotated[float, bounds(0.5, 0.9999, percent=True)] = 0.8
    min_gain: Annotated[float, bounds(0, 10)] = 0.0
    max_drawdown_ratio: Annotated[float, bounds(0.1, 100)] = 1.5
