"""Everything that the engine takes from the configuration."""

from msgspec import Struct

from quantd.daemon.engine.agents.capital_shares import CapitalRules
from quantd.daemon.engine.agents.promotion_rule import PromotionRules
from quantd.daemon.engine.planning.live_caps import Allowance
from quantd.daemon.engine.planning.parents import Execution
from quantd.risk.limits.catalogue import Limits, tighter_of
from quantd.risk.protective import Guards, guards
from quantd.trading.instruments import Universe
from quantd.trading.sessions import Sessions


class AgentRules(Struct, frozen=True):
    """One agent's part of the configuration. `capital` is exact micro-currency, `limits` fractions of its own
    book; `scheduled` agents are asked by Ticks that name them, the others at each sample."""

    name: str
    capital_micro: int
    limits: Limits
    min_trade: float = 0.005
    scheduled: bool = False


class Rules(Struct, frozen=True):
    """All that the configuration says to the engine. `calendar` is the row of `sessions` of each column, and
    `house_calendar` that of the house; `volume_lookback` sessions make the average volume."""

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
    """Whether dividends come from the venue when it pays them, as cash flows, and not on the ex date."""
    differences: str = ""
    """What becomes of lots and cash that the venue has and we do not know of: "fence", an agent's name, or a person
    decides."""
    cash_tolerance_micro: int = 0
    """Cash that the venue may have more or less than we know of: some round each fill to their own decimals."""
    execution: Execution = Execution()
    """How decisions become orders."""
    macro: tuple[str, ...] = ()
    """Names of the series that nobody trades, in the order in which a Tick has their values."""
    keep_bars: bool = False
    """Whether a policy reads whole bars: else only closes are kept."""
    live: Allowance | None = None
    """What a run in mode live may do in all; None in every other mode."""
    capital: CapitalRules | None = None
    """How capital moves between agents; None: it stays where it was put."""
    first_seat: int = 0
    """The number of the first agent's policy: 0 in the house, after the house's agents in a shadow."""
    seats: tuple[str, ...] = ()
    """The names of all that have a policy, by its number."""
    shadows: "tuple[Rules, ...]" = ()
    """A house of one agent for each shadow."""
    challenges: tuple[int, ...] = ()
    """By shadow: the number of the agent whose place it may take; -1 for none."""
    promotion: PromotionRules | None = None
    """When it takes it."""

    def counts_sessions(self) -> bool:
        """Whether any book has a limit of what it trades, or sends, in a session."""
        if self.live is not None and self.live.orders_per_day is not None:
            return True
        return any(limits.max_turnover is not None for limits in (self.house, *(a.limits for a in self.agents)))

    def names(self) -> tuple[str, ...]:
        """Of all that have a policy, by number: the agents, then the shadows."""
        return self.seats or tuple(agent.name for agent in self.agents)

    def house_sessions(self) -> Sessions:
        """The house's sessions."""
        return self.sessions[self.house_calendar]


def protective_sets(rules: Rules, always: bool = False) -> Guards | None:
    """What closes positions of each agent's book: the tightest of the house's set and its own; `always` also where
    nothing does."""
    return guards(
        [tighter_of("protective", rules.house.protective, agent.limits.protective) for agent in rules.agents], always
    )
