"""Stories of a world: events of operators and of the venue, with those that follow them.

A story is a function of a setting to (delay, item) pairs. An item is an event, a function of the state to an event or
None, or one of THAW, RESTART, CARRY and BUST.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from msgspec.structs import replace

from quantd.risk.limits.catalogue import override
from quantd.trading.events import (
    Acknowledged,
    Approved,
    CancelReported,
    CancelRequested,
    Condition,
    Correction,
    Flow,
    ForeignFound,
    Halted,
    Limited,
    NotFound,
    Operator,
    OrderSettled,
    PortfolioClosed,
    PortfolioOpened,
    ProposalReviewed,
    Proposed,
    Reconciled,
    Reloaded,
    Reminded,
    Stopping,
    Unknown,
)
from quantd.trading.instruments import MICRO, NANO
from quantd.trading.market import JumpExplained
from quantd.trading.model_events import Exchanged, ModelLoaded, Retrained
from quantd.trading.orders import UNTIL_CANCELLED, Cause, ForeignOrder, OpenOrder, Reports, ScheduleRun, Wish
from quantd.trading.sessions import DAY_NS

from .engine import Rules, at_venue, dry_run, in_force, lots_worth, open_row, portfolio_in, waiting_digest
from .limits import limits_of

THAW: Final = "thaw"
"""An item that saves the run and continues it from the snapshot in new objects."""

RESTART: Final = "restart"
"""An item that continues from a snapshot with another artifact of one policy."""

CARRY: Final = "carry"
"""An item that carries the account over into a new run, whose agents may have another order."""

BUST: Final = "bust"
"""An item by which the venue cancels or corrects the last fill."""

STOPS: Final[tuple[Literal["halt", "reduce", "pause", "flatten"], ...]] = ("halt", "reduce", "pause", "flatten")

PAYMENTS: Final[tuple[Literal["fee", "interest", "cash_in_lieu"], ...]] = ("fee", "interest", "cash_in_lieu")

NEEDED: Final[tuple[Literal["feed", "broker", "store", "clock", "lag", "ledger"], ...]] = (
    "feed", "broker", "store", "clock", "lag", "ledger",
)  # fmt: skip
"""Conditions that move the house's switch."""

NOTED: Final[tuple[Literal["bars", "upkeep", "calendar", "missed"], ...]] = ("bars", "upkeep", "calendar", "missed")
"""Conditions that raise an alert."""

Item = Any
Steps = list[tuple[int, Item]]


@dataclass(frozen=True)
class Setting:
    """The instant and the subject of a story."""

    draw: random.Random
    rules: Rules
    ts: int
    wait: int
    """Nanoseconds to the end of the story."""
    agent: str
    """An agent of the house, or the house for ""."""
    column: int

    @property
    def later(self) -> int:
        return self.ts + self.wait

    @property
    def own(self) -> str:
        """An agent with a policy."""
        return self.agent or self.rules.agents[0].name

    def weights(self, level: float) -> bytes:
        """Long-only weights of the sum `level` as bytes."""
        drawn = np.array([self.draw.random() for _ in range(self.rules.universe.size)])
        return bytes((drawn * (level / drawn.sum())).tobytes())


def _switched(s: Setting) -> Steps:
    """A command that moves a switch, and its end."""
    command = s.draw.choice(STOPS[:3])
    agent = s.own if command == "pause" and s.draw.random() < 0.8 else s.agent
    back = Operator(s.later, "resume", "again", "ops", agent)
    return [
        (0, Operator(s.ts, command, "test", "ops", agent)),
        (s.wait // 2, replace(back, reason=" ")),
        (s.wait, back),
    ]


def _flattened(s: Setting) -> Steps:
    """Everything is sold."""
    return [(0, Operator(s.ts, "flatten", "test", "ops")), (s.wait, Operator(s.later, "resume", "again", "ops"))]


def _wrong_command(s: Setting) -> Steps:
    """Commands that are refused."""
    wrong = (
        Operator(s.ts, "halt", "test", "ops", "nobody"),
        Operator(s.ts, "pause", "test", "ops"),
        Flow(s.ts, MICRO, "ops", agent="nobody", reason="test"),
        Flow(s.ts, -100 * s.rules.cash_micro, "ops", agent=s.agent, reason="test"),
        _order(s.ts, "nobody", s.column, 1),
        Correction(s.ts, [0] * s.rules.universe.size, MICRO, "nobody", "test", "ops"),
        JumpExplained(s.ts, s.column, "test", "ops"),
        Approved(s.ts, "test", "second", "00"),
        PortfolioOpened(s.ts, "nobody", "nothing", MICRO, "test", "ops"),
        PortfolioClosed(s.ts, "nothing", "flatten", "test", "ops"),
        Exchanged(s.ts, "nobody", "promote", "test", "ops"),
        ModelLoaded(s.ts, "nobody", "x", "00", "", "test", "ops"),
    )
    return [(0, command) for command in s.draw.sample(wrong, 4)]


def _deposited(s: Setting) -> Steps:
    amount = int(s.rules.cash_micro * s.draw.choice((0.1, -0.05, -0.5)))
    by_venue = s.draw.random() < 0.5
    return [(0, Flow(s.ts, amount, "ops", agent=s.agent, id=f"f{s.ts}" if by_venue else "", reason="test"))]


def _paid_by_venue(s: Setting) -> Steps:
    """Bookings of the venue, the first one twice."""
    dividend = Flow(s.ts, 1234567, kind="dividend", id=f"d{s.ts}", symbol=s.column)
    kind = s.draw.choice(PAYMENTS)
    return [(0, dividend), (0, dividend), (0, Flow(s.ts, -54321, kind=kind, id=f"k{s.ts}", symbol=s.column))]


def _halted(s: Setting) -> Steps:
    """A halt of a symbol from the venue, from its stream, or by hand."""
    who, announced = s.draw.choice((("", False), ("", True), ("ops", False)))
    begin = Halted(s.ts, s.column, True, "news", who, announced)
    return [(0, begin), (s.wait // 2, Halted(s.ts, s.column, False)), (s.wait, replace(begin, halted=False))]


def _limited(s: Setting) -> Steps:
    down, up = s.draw.choice(((1, 0), (0, 1), (NANO, 10 * NANO), (50 * NANO, 60 * NANO), (NANO, 900 * NANO)))
    return [(0, Limited(s.ts, s.column, down, up)), (s.wait, Limited(s.later, s.column, 0, 0))]


def _condition(s: Setting) -> Steps:
    """A dependency fails; a resume before it is back is refused."""
    what = s.draw.choice(NEEDED)
    resume = Operator(s.later, "resume", "again", "ops")
    up = Condition(s.later, what, True, "test")
    return [(0, Condition(s.ts, what, False, "test")), (s.wait // 2, resume), (s.wait, up), (s.wait, resume)]


def _noted(s: Setting) -> Steps:
    """Conditions that only raise an alert."""
    what = s.draw.choice(NOTED)
    job = Condition(s.ts, "job", s.draw.random() < 0.5, "test", job="upkeep", critical=s.draw.random() < 0.5)
    statement = Condition(s.ts, "statement", s.draw.random() < 0.5, "test", difference="cash")
    return [(0, Condition(s.ts, what, False, "test")), (0, job), (0, statement)]


def _order(ts: int, agent: str, column: int, lots: int, stop_nano: int = 0, target_nano: int = 0) -> Proposed:
    """An order by hand."""
    wish = Wish(column, lots, stop_nano=stop_nano, target_nano=target_nano)
    return Proposed(ts, agent, "", "test", "ops", orders=(wish,), by_hand=True)


def _orders(lots: Sequence[int]) -> tuple[Wish, ...]:
    """The orders of these signed lots by column."""
    return tuple(Wish(column, size) for column, size in enumerate(lots) if size)


def _by_hand(s: Setting) -> Steps:
    stop, target = s.draw.choice(((0, 0), (NANO, 1000 * NANO), (20 * NANO, 30 * NANO)))
    lots = s.draw.choice((-50, 10, 500))
    return [(0, _order(s.ts, s.own, s.column, lots, stop, target))]


def _cancelled(s: Setting) -> Steps:
    """An open order is cancelled by hand, twice, and one that is not open."""
    number = s.draw.randrange(1000)

    def cancel(state: Any) -> Any:
        sample, n, row = open_row(state, number) or (7, 7, 0)
        return CancelRequested(s.ts, sample, n, row, "test", "ops")

    return [(0, cancel), (1, cancel), (s.wait // 2, cancel), (s.wait, CancelRequested(s.later, 7, 7, 0, "test", "ops"))]


def _large_order(s: Setting) -> Steps:
    """A manual order that is large beside the account: targets are scaled to the limits, these lots are not."""
    share = s.draw.choice((0.5, 1.5, 4.0, -0.5, -1.5))
    return [(0, lambda state: _order(s.ts, s.own, s.column, lots_worth(state, s.column, share)))]


def _other_limits(s: Setting) -> Rules:
    house = limits_of(s.draw, s.rules.universe, DAY_NS, s.rules.house.fee_bp)
    for name in ("var", "cvar", "correlation", "average_correlation"):  # the history has the length of the first rules
        kept = (
            dict(s.rules.house.extra or ()).get(name) if name == "average_correlation" else getattr(s.rules.house, name)
        )
        house = override(house, **{name: kept})
    return replace(s.rules, house=house, follow_ups=s.draw.choice((0, 2)))


def _reloaded(s: Setting) -> Steps:
    back = Reloaded(s.later, "config", ("risk",), in_force(s.rules))
    return [(0, Reloaded(s.ts, "other", ("risk",), in_force(_other_limits(s)))), (s.wait, back)]


def _loosened(s: Setting) -> Steps:
    """Looser limits wait; a delay, an approval, or another configuration ends that."""
    later = in_force(_other_limits(s))
    begin = Reloaded(s.ts, "other", ("risk",), b"", later, s.later, ("max_gross_exposure",))
    again, other = replace(begin, ts=s.ts + 1), Reloaded(s.ts + 2, "config", ("risk",))
    end = s.draw.choice(("delay", "approval", "digest", "other"))
    steps: Steps = [(0, begin), (1, again)]
    if end == "approval":
        steps.append((s.wait // 3, Approved(s.ts, "test", "second")))
    elif end == "digest":
        steps.append((s.wait // 3, lambda state: Approved(s.ts, "test", "second", waiting_digest(state))))
    elif end == "other":
        steps.append((2, other))
    return [*steps, (2 * s.wait, Reloaded(s.later, "config", ("risk",), in_force(s.rules)))]


def _corrected(s: Setting) -> Steps:
    lots = [0] * s.rules.universe.size
    lots[s.column] = s.draw.choice((0, 3, -2))
    how = s.draw.choice(("fence", "a0"))
    return [(0, Correction(s.ts, lots, s.draw.choice((0, MICRO)), how, "test", "ops"))]


def _reconciled(s: Setting) -> Steps:
    """The venue's account: empty, or ours with little buying power or symbols that it does not lend."""
    size, draw = s.rules.universe.size, s.draw
    power = draw.choice((None, s.rules.cash_micro // 3, s.rules.cash_micro // 100))
    unlent = draw.choice(((), (s.column,), tuple(range(size))))
    resume = Operator(s.later, "resume", "again", "ops")
    if draw.random() < 0.3:
        cash = draw.choice((None, s.rules.cash_micro))
        return [(0, Reconciled(s.ts, [0] * size, cash, power, unlent=unlent)), (s.wait, resume)]

    def same(ts: int, power: int | None, unlent: tuple[int, ...]) -> Callable[[Any], Reconciled]:
        return lambda state: Reconciled(ts, at_venue(state), None, power, unlent=unlent)

    return [(0, same(s.ts, power, unlent)), (s.wait, same(s.later, None, ()))]


def _foreign(s: Setting) -> Steps:
    order = ForeignOrder("other", s.column, s.draw.choice((-20, 20)), 100 * NANO)
    return [(0, ForeignFound(s.ts, (order,))), (s.wait, ForeignFound(s.later, ()))]


def _venue_news(s: Setting) -> Steps:
    """Reports about orders: unknown, not found, not cancelled, and of a basket that is not ours."""
    number = s.draw.randrange(1000)

    def about(make: Callable[[int, int, int], Any]) -> Callable[[Any], Any]:
        return lambda state: make(*(open_row(state, number) or (7, 7, 0)))

    strange = Reports(7, 7, s.ts, [0], [1], [1], [NANO], [0], [int(Cause.LAST_FILL)])
    news: list[Item] = [
        about(lambda sample, n, row: Unknown(sample, n, s.ts, [row], "no answer")),
        about(lambda sample, n, row: CancelReported(sample, n, s.ts, row, "too late")),
        about(lambda sample, n, row: NotFound(sample, n, s.ts, [row])),
        strange,
    ]
    return [(0, report) for report in news[s.draw.randrange(3) :]]


def _less_there(s: Setting) -> Steps:
    """The venue holds less than the books while everything is sold, and one of its open orders differs."""
    number, part = s.draw.randrange(1000), s.draw.choice((2, 3, 1_000_000))

    def compared(ts: int) -> Callable[[Any], Reconciled]:
        def made(state: Any) -> Reconciled:
            lots = at_venue(state)
            available = [lots_ - lots_ // part if k == s.column else lots_ for k, lots_ in enumerate(lots)]
            at = open_row(state, number)
            orders = () if at is None else (OpenOrder(*at, 0, 7, 90 * NANO, 0, 10_000_000),)
            return Reconciled(ts, lots, None, available=available, orders=orders, run="world")

        return made

    flatten = Operator(s.ts, "flatten", "test", "ops")
    resume = Operator(s.later, "resume", "again", "ops")
    return [(0, flatten), (0, compared(s.ts)), (s.wait // 2, compared(s.later)), (s.wait, resume)]


def _settled(s: Setting) -> Steps:
    """An operator settles an order without an answer: too early, in time and again; then the venue has a word."""
    number, cum, price = s.draw.randrange(1000), s.draw.choice((0, 1)), 100 * NANO
    at: list[tuple[int, int, int]] = []

    def compared(state: Any) -> Reconciled:
        return Reconciled(s.ts, at_venue(state), None, run="world")

    def lost(state: Any) -> Unknown:
        at[:] = [open_row(state, number) or (7, 7, 0)]
        sample, n, row = at[0]
        return Unknown(sample, n, s.ts, [row], "no answer")

    def settled(ts: int, cum: int) -> Callable[[Any], OrderSettled]:
        return lambda state: OrderSettled(ts, *(at or [(7, 7, 0)])[0], cum, price, "looked", "ops")

    def word(state: Any) -> NotFound:
        sample, n, row = (at or [(7, 7, 0)])[0]
        return NotFound(sample, n, s.later, [row])

    return [
        (0, compared), (0, lost), (1, settled(s.ts, cum)), (s.wait // 2, settled(s.later, cum)),
        (s.wait // 2 + 1, settled(s.later, 0)), (s.wait, word),
    ]  # fmt: skip


def _stopped(s: Setting) -> Steps:
    """A stop, and the next start, sometimes with another artifact."""
    return [(0, Stopping(s.ts, s.draw.random() < 0.5, "test")), (0, s.draw.choice((THAW, RESTART)))]


def _portfolio(s: Setting) -> Steps:
    """A portfolio is opened in a place, proposes targets, and is closed."""
    places = [agent.name for agent in s.rules.agents if agent.place]
    if not places:
        return _by_hand(s)
    draw, place, name = s.draw, s.draw.choice(places), f"{s.ts}"
    capital = int(s.rules.cash_micro * draw.choice((0.1, 0.2)))
    opened = PortfolioOpened(s.ts, place, name, capital, "test", "ops", "weights")
    first = Proposed(s.ts, place, f"{s.ts}-1", "test", "ops", weights=s.weights(0.9), basis="weights", portfolio=name)
    orders = _orders([draw.choice((0, 0, 3)) for _ in range(s.rules.universe.size)])
    more = replace(first, id=f"{s.ts}-2", weights=b"", orders=orders)
    to = draw.choice(("", *(agent.name for agent in s.rules.agents)))
    closed = PortfolioClosed(s.later, name, "hand_over" if to else "flatten", "test", "ops", to)
    wished = _order(s.later, place, s.column, 1)
    steps: Steps = [(0, opened), (0, replace(opened, name=f"{name}b") if draw.random() < 0.2 else first)]
    steps += [(s.wait // 3, first), (s.wait // 2, _planned_before(more)), (s.wait // 2, wished)]
    return [*steps, (s.wait, closed), (s.wait, closed), (s.wait, replace(more, id=f"{s.ts}-3"))]


def _planned_before(proposal: Proposed) -> Callable[[Any], Any]:
    """A proposal with the digest of its dry run."""

    def made(state: Any) -> Any:
        if not portfolio_in(state, proposal.agent):
            return None
        return replace(proposal, plan=dry_run(state, proposal))

    return made


def _priced(s: Setting, agent: str, at: int, factor: float) -> Callable[[Any], Any]:
    """An order until cancelled at `factor` times the mark: a purchase below it, a sale above it."""
    worth, whole = s.draw.choice((0.05, 0.3)), s.draw.random() < 0.5

    def order(state: Any) -> Proposed:
        lots = max(lots_worth(state, s.column, worth), 1) * (1 if factor < 1.0 else -1)
        price = int(int(state.marks_nano[s.column]) * factor)
        price -= price % state.universe.instruments[s.column].tick_nano
        wishes = (Wish(s.column, lots, price, UNTIL_CANCELLED),)
        return Proposed(s.ts + at, agent, f"{s.ts}-p{at}", "test", "ops", orders=wishes, whole=whole)

    return order


def _proposed(s: Setting) -> Steps:
    """Targets of an outside agent; some are refused."""
    outside = [s.rules.seats[number] for number in s.rules.outside]
    agent = outside[0] if outside else s.own
    good = Proposed(s.ts, agent, f"{s.ts}", "test", "ops", weights=s.weights(s.draw.choice((0.5, 0.95))))
    wrong = (
        replace(good, id=""),
        replace(good, id=f"{s.ts}-a", expires=1),
        replace(good, id=f"{s.ts}-b", weights=b""),
        replace(good, id=f"{s.ts}-c", weights=good.weights[8:] or good.weights * 2),
        replace(good, id=f"{s.ts}-d", weights=s.weights(100.0)),
        replace(good, id=f"{s.ts}-e", weights=s.weights(float("nan"))),
        replace(good, id=f"{s.ts}-f", plan="00"),
        replace(good, agent="nobody"),
    )
    orders = _orders([s.draw.choice((-2, 0, 5)) for _ in range(s.rules.universe.size)])
    last = replace(good, ts=s.later, id=f"{s.ts}-z", weights=b"", orders=orders)
    rests = [(at, _priced(s, agent, at, s.draw.choice((0.7, 0.9, 0.97, 1.05, 1.3)))) for at in (2, 3, s.wait // 2)]
    middle = [(DAY_NS, proposal) for proposal in s.draw.sample(wrong, 2)]
    how = s.draw.choice(("approve", "decline", "digest", "lapse"))
    seen = ProposalReviewed(s.ts, agent, good.id, how == "approve", "test", "ops", "00" if how == "digest" else "")
    reviews: Steps = [] if how == "lapse" else [(1, replace(seen, approve=how != "decline"))]
    return [(0, good), (0, good), *reviews, *rests, *middle, (s.wait, last), (s.wait + 1, replace(seen, id=last.id))]


def _model(s: Setting) -> Steps:
    """A retraining, and a loaded artifact."""
    names = s.rules.names()
    name = s.draw.choice(names[: len(s.rules.agents)] if s.draw.random() < 0.5 else names)
    retrained = Retrained(
        s.ts, name, "2022-01-01", "v2", "aa", "bb", s.draw.random() < 0.5, "better", "sharpe", 60, 0.1, 0.01
    )
    failed = Retrained(s.ts, name, failed="no data")
    loaded = ModelLoaded(s.ts, name, "models/x", f"{s.ts}", "", "test", "ops", "v1")
    return [
        (0, s.draw.choice((retrained, failed))),
        (0, loaded),
        (s.wait // 2, retrained),
        (s.wait, replace(loaded, ts=s.later)),
    ]


def _exchanged(s: Setting) -> Steps:
    """A shadow's policy is promoted by hand, and demoted again."""
    shadows = [shadow.agents[0].name for shadow in s.rules.shadows]
    name = s.draw.choice(shadows) if shadows else s.own
    promote = Exchanged(s.ts, name, "promote", "test", "ops")
    demote = Exchanged(s.later, name, "demote", "test", "ops")
    return [(0, promote), (s.wait // 2, replace(promote, ts=s.later)), (s.wait, demote), (s.wait, demote)]


def _shadow_commanded(s: Setting) -> Steps:
    shadows = [shadow.agents[0].name for shadow in s.rules.shadows] or [s.own]
    command, name = s.draw.choice(STOPS), s.draw.choice(shadows)
    end = Operator(s.later, "resume", "again", "ops", name)
    return [(0, Operator(s.ts, command, "test", "ops", name)), (s.wait, end)]


def _schedule_run(s: Setting) -> Steps:
    """Schedules by hand: agents decide, or a job is done."""
    count = len(s.rules.names())
    jobs = ("reallocate", "promote", "snapshot", "before_open", "after_close")
    asked = ScheduleRun(s.ts, 1, "rebalance", "", "test", "ops", tuple(range(count)))
    flatten = s.draw.random() < 0.1
    done = ScheduleRun(s.ts, 2, "job", "flatten" if flatten else s.draw.choice(jobs), "test", "ops")
    end = [(s.wait, Operator(s.later, "resume", "again", "ops"))] if flatten else []
    return [(0, asked), (0, done), *end]


def _incident(s: Setting) -> Steps:
    return [(0, Reminded(s.ts, "1", "phone")), (0, Acknowledged(s.ts, "1", "test", "ops"))]


def _again(s: Setting) -> Steps:
    return [(0, s.draw.choice((THAW, RESTART)))]


def _carried(s: Setting) -> Steps:
    return [(0, CARRY), (s.wait, CARRY)]


def _busted(s: Setting) -> Steps:
    return [(0, BUST), (s.wait, BUST)]


STORIES: Final[tuple[Callable[[Setting], Steps], ...]] = (
    _switched, _flattened, _wrong_command, _deposited, _paid_by_venue, _halted, _limited, _condition, _noted,
    _by_hand, _cancelled, _large_order, _reloaded, _loosened, _corrected, _reconciled, _foreign, _venue_news, _stopped,
    _portfolio, _proposed, _model, _exchanged, _shadow_commanded, _schedule_run, _incident, _again, _carried,
    _busted, _less_there, _settled,
)  # fmt: skip

AGAINST_HOUSE: Final = tuple(map(STORIES.index, (_large_order, _large_order, _reconciled)))
"""Stories that reach limits of the house that no target exceeds."""


def story(draw: random.Random, rules: Rules, ts: int, wait: int, number: int) -> Steps:
    """(delay, item) pairs of the story of a number."""
    agents = [agent.name for agent in rules.agents if not agent.place]
    agent = draw.choice(("", draw.choice(agents)))
    return STORIES[number](Setting(draw, rules, ts, wait, agent, draw.randrange(rules.universe.size)))


def outside_stories(rules: Rules) -> list[int]:
    """The numbers of the stories without which a place or an agent outside does nothing."""
    places = [STORIES.index(_portfolio)] if any(agent.place for agent in rules.agents) else []
    return [*places, STORIES.index(_proposed)] if rules.outside else places


def usual_story(draw: random.Random, rules: Rules) -> int:
    """The number of a random story that fits the rules: those that need something of the rules come where it is."""
    wanted = [k for k, story in enumerate(STORIES)]
    if any(agent.place for agent in rules.agents):
        wanted += [STORIES.index(_portfolio)] * 8
    wanted += AGAINST_HOUSE
    if rules.outside:
        wanted += [STORIES.index(_proposed)] * 8
    if rules.shadows:
        wanted += [STORIES.index(_exchanged), STORIES.index(_shadow_commanded)] * 2
    return draw.choice(wanted)
