"""The engine's part of the configuration."""

from math import inf
from typing import NamedTuple

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


class Approvals(Struct, frozen=True):
    """The table [approvals] for the agents with `approval = "device"`: name of a device -> its public key, and the
    names of these agents, whose proposals only a signature of a device approves."""

    devices: dict[str, str]
    agents: tuple[str, ...]


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
    follow_ups: int = 3
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
    reviewed: dict[int, int] = {}
    """The policies in `outside` whose proposals wait for a person's approval while they trade -> how long, in ns; 0 for
    until the next sample."""
    shadows: "tuple[Rules, ...]" = ()
    """For each shadow, the rules of a house with one agent."""
    challenges: tuple[int, ...] = ()
    """By shadow: the index of the agent that it may replace; -1 for none."""
    promotion: PromotionRules | None = None
    notices: Notices | None = None
    regime: MarketRegime | None = None
    approvals: Approvals | None = None
    """None where no agent has `approval = "device"`."""
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

    def approval_of(self, number: int) -> str:
        """Who approves the proposals of policy `number`: "person", "device", or "" for nobody."""
        if self.approvals is not None and self.names()[number] in self.approvals.agents:
            return "device"
        return "person" if number in self.reviewed else ""

    def house_sessions(self) -> Sessions:
        """The sessions of the calendar of the whole account."""
        return self.sessions[self.house_calendar]


def protective_sets(rules: Rules, always: bool = False) -> Guards | None:
    """Protective levels (stops, targets) of each agent: the tighter of its own and the account's. None if no agent has
    a level and `always` is False."""
    house = rules.house.protective
    return guards([tighter_of("protective", house, agent.limits.protective) for agent in rules.agents], always)


class BuyingRoom(NamedTuple):
    """What purchases of one plan may use while they are open, as fractions of equity, for one set of limits.

    `gross` is the largest exposure while orders are open, `reserve` the cash that stays, and `debit` how far cash may
    go below it meanwhile. `cost` and `reduce_cost` are the largest losses of an order that adds and of one that
    reduces, as fractions of its value at the last price.
    """

    gross: float
    reserve: float
    debit: float
    cost: float
    reduce_cost: float


def room_of(agent: Limits, house: Limits) -> tuple[float, float]:
    """(largest gross exposure, largest sum of the weights) of targets, as fractions of equity; infinite if unlimited.

    A target is what is held after all fills at last prices, so that no collar counts here. What a plan may buy towards
    it at once is bounded at worst prices (`buying_rooms`), and the rest follows from what the fills leave.
    """
    fee = max(agent.fee_bp, house.fee_bp) / 1e4
    gross = net = inf
    for limits in (agent, house):
        if limits.max_gross_exposure is not None:
            gross = min(gross, limits.max_gross_exposure / (1.0 + limits.max_gross_exposure * fee))
        net = min(net, (1.0 - limits.cash_reserve) / (1.0 + fee))
    return gross, net


def buying_rooms(agent: Limits, house: Limits) -> tuple[BuyingRoom, BuyingRoom]:
    """The rooms of purchases by the limits of agent and house, which count at the wider collar and fee of both.

    A purchase of the fraction x of equity costs x (1 + cost) at its worst price with its fee: cash falls by this, and
    equity by x cost. Exposure at the last price is x. At the worst price it is x (1 + collar), but then equity has not
    fallen by the collar. So with the limit G on exposure x <= G (1 - x cost) is enough for both.
    """
    fee = max(agent.fee_bp, house.fee_bp) / 1e4
    collar = max(reserved(agent.collar), reserved(house.collar))
    reduce_collar = max(reserved(agent.reduce_collar), reserved(house.reduce_collar))
    cost, reduce_cost = (1.0 + collar) * (1.0 + fee) - 1.0, (1.0 + reduce_collar) * (1.0 + fee) - 1.0
    rooms = [
        BuyingRoom(
            inf if limits.max_gross_exposure is None else limits.max_gross_exposure * (1.0 + limits.in_flight),
            limits.cash_reserve,
            limits.max_cash_debit,
            cost,
            reduce_cost,
        )
        for limits in (agent, house)
    ]
    return rooms[0], rooms[1]


def heaviest_of(limits: Limits) -> float:
    """The largest permitted weight of one position, as a fraction of equity; infinite if unlimited."""
    bounds = limits.max_position_weight, limits.max_concentration
    return min((bound for bound in bounds if bound is not None), default=inf)
