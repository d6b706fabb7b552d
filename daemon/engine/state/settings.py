"""The engine's part of the configuration."""

from math import inf

from msgspec import Struct

from quantd.daemon.engine.state.capital_shares import CapitalRules
from quantd.daemon.engine.state.live_caps import Allowance
from quantd.daemon.engine.state.parents import Execution
from quantd.daemon.engine.state.promotion_rule import PromotionRules
from quantd.risk.limits.catalogue import Limits, tighter_of
from quantd.risk.limits.settings import reserved
from quantd.risk.protective import Guards, guards
from quantd.trading.instruments import Universe
from quantd.trading.sessions import Sessions


class AgentRules(Struct, frozen=True):
    """One agent. `limits` are fractions of the equity of its book. A `scheduled` agent decides at Ticks that name it,
    any other one at each sample. A `place` is an agent without capital until a portfolio is opened in it."""

    name: str
    capital_micro: int
    limits: Limits
    min_trade: float = 0.005
    scheduled: bool = False
    place: bool = False


class Notices(Struct, frozen=True):
    """The table [alerts.notices]. 0 is off.

    `milestone` is the growth between two milestones, as a fraction. `decay` is the number of samples over which a
    policy's Sharpe ratio is measured, `expected` the Sharpe ratio of its test, by index of the policy, NaN where
    unknown. `correlation` is the change of the mean correlation of the holdings that causes a message.
    """

    milestone: float = 0.0
    decay: int = 0
    expected: tuple[float, ...] = ()
    correlation: float = 0.0
    rebalances: bool = False


class MarketRegime(Struct, frozen=True):
    """The table [risk.regime].

    While the annual volatility over `lookback` samples is at least `above`, the whole account may hold only
    the share `exposure` of its permitted gross exposure. The restriction ends when the volatility is below (1 -
    `margin`) x `above`. `benchmark` is the column whose volatility is measured; -1: the equally weighted universe.
    """

    above: float
    exposure: float
    lookback: int = 20
    margin: float = 0.1
    benchmark: int = -1


class Rules(Struct, frozen=True):
    """The rules of a run. `calendar` has for each column the index of its calendar in `sessions`, `house_calendar` is
    the index of the calendar of the whole account; the average volume is over `volume_lookback`
    sessions."""

    universe: Universe
    sessions: tuple[Sessions, ...]
    calendar: tuple[int, ...]
    agents: tuple[AgentRules, ...]
    house: Limits
    cash_micro: int
    lookback: int = 252
    daily: bool = True
    good_till_cancelled: bool = False
    follow_ups: int = 2
    rearm_samples: int = 0
    flatten_on: tuple[str, ...] = ()
    borrow_bp_annual: float = 0.0
    max_failures: int = 3
    volume_lookback: int = 20
    house_calendar: int = 0
    venue_pays: bool = False
    """Whether dividends are booked when the venue pays them, not on the ex date."""
    coin_fee_bp: float = 0.0
    """Highest fee, in basis points, that the venue takes from the credited side of a trade in a currency pair, and
    lists later; 0 for none."""
    differences: str = ""
    """Treatment of unknown lots and cash at the venue: "fence", an agent's name, or "" (an operator decides)."""
    cash_tolerance_micro: int = 0
    """Largest ignored difference in cash: some venues round each fill to their own decimals."""
    execution: Execution = Execution()
    macro: tuple[str, ...] = ()
    """Names of the macro series and of the series per symbol (`esg SPY`), in the order of their values in a Tick."""
    keep_bars: bool = False
    """Whether a policy reads whole bars; else only closes are stored."""
    live: Allowance | None = None
    """The caps of mode live; None in every other mode."""
    capital: CapitalRules | None = None
    """The reallocation of capital between agents; None for none."""
    first_seat: int = 0
    """The number of the first agent's policy: 0 in the house, after the house's agents in a shadow."""
    seats: tuple[str, ...] = ()
    """Names of the agents and shadows, by number of their policy."""
    outside: tuple[int, ...] = ()
    """Numbers of the policies that are never asked: outside agents, which decide by proposals."""
    reviewed: tuple[int, ...] = ()
    """The policies in `outside` whose proposals wait for a person's approval while they trade."""
    shadows: "tuple[Rules, ...]" = ()
    """For each shadow, the rules of a house with one agent."""
    challenges: tuple[int, ...] = ()
    """By shadow: the index of the agent that it may replace; -1 for none."""
    promotion: PromotionRules | None = None
    notices: Notices | None = None
    regime: MarketRegime | None = None
    counts_refusals: bool = False
    """Whether a message after a close names the orders that the gate refused."""

    def counts_sessions(self) -> bool:
        if self.live is not None and self.live.orders_per_day is not None:
            return True
        return any(limits.max_turnover is not None for limits in (self.house, *(a.limits for a in self.agents)))

    def names(self) -> tuple[str, ...]:
        """Names by index of the policy: the agents, then the shadows (agents on paper)."""
        return self.seats or tuple(agent.name for agent in self.agents)

    def outside_seat(self, name: str) -> int | None:
        """The index of the policy of the outside agent `name` (it decides by proposals); None for another name."""
        return next((number for number in self.outside if self.seats[number] == name), None)

    def house_sessions(self) -> Sessions:
        """The sessions of the calendar of the whole account."""
        return self.sessions[self.house_calendar]


def protective_sets(rules: Rules, always: bool = False) -> Guards | None:
    """Protective levels (stops, targets) of each agent: the tighter of its own and the account's. None if no agent has
    a level and `always` is False."""
    house = rules.house.protective
    return guards([tighter_of("protective", house, agent.limits.protective) for agent in rules.agents], always)


def room_of(agent: Limits, house: Limits) -> tuple[float, float]:
    """(largest gross exposure, largest sum of long weights) of targets, as fractions of equity; infinite if unlimited.

    With these, exposure and cash stay within the limits of agent and house (account) when all orders fill at worst
    prices. A purchase of the fraction x of equity at a price `collar` above the mark, with the rate `fee`, costs
    x (1 + collar) (1 + fee). Gross exposure is then x (1 + collar), and equity is lower by
    x (collar + fee (1 + collar)). Until open orders have filled, exposure may exceed its
    limit by the fraction `in_flight` of `Limits`.
    """
    collar = max(reserved(agent.collar), reserved(house.collar))
    fee = max(agent.fee_bp, house.fee_bp) / 1e4
    gross = longest = inf
    for limits in (agent, house):
        if limits.max_gross_exposure is not None:
            largest = limits.max_gross_exposure * (1.0 + limits.in_flight)
            gross = min(gross, largest / ((1.0 + collar) + largest * (collar + fee * (1.0 + collar))))
        cash = 1.0 - limits.cash_reserve + limits.max_cash_debit
        longest = min(longest, cash / ((1.0 + collar) * (1.0 + fee)))
    return gross, longest
