"""Encodes the state and restores it; and the part of the rules that may change during a run."""

from typing import Final

import msgspec
import numpy as np
from msgspec import UNSET, Struct, UnsetType

from quantd.daemon.engine.core.order_columns import FollowUp
from quantd.daemon.engine.state.activity import FrozenActivity
from quantd.daemon.engine.state.engine_state import CoinFees, Exit, Loosening, Portfolio, State
from quantd.daemon.engine.state.live_caps import Allowance
from quantd.daemon.engine.state.monitor_state import FrozenWatch, Noted
from quantd.daemon.engine.state.open_orders import Cross, FrozenOrders, Key, Working
from quantd.daemon.engine.state.parents import Parent
from quantd.daemon.engine.state.price_holds import PriceHold
from quantd.daemon.engine.state.promotion_rule import Pairing
from quantd.daemon.engine.state.proposal_log import ProposalLog
from quantd.daemon.engine.state.settings import MarketRegime, Rules
from quantd.daemon.engine.state.stop_records import Stops
from quantd.daemon.engine.state.valuations import Valuations
from quantd.daemon.engine.state.waits import Waits
from quantd.risk.limits.catalogue import Limits
from quantd.risk.switch import FrozenSwitch
from quantd.trading.events import Proposed
from quantd.trading.history import Ring
from quantd.trading.model_events import ModelLoaded
from quantd.trading.number_types import read_floats
from quantd.trading.view import EMPTY_MEMORY


class InForce(Struct, frozen=True):
    """The part of the rules that may change during a run; each change is in the journal."""

    house: Limits
    agents: tuple[tuple[Limits, float], ...]
    follow_ups: int
    rearm_samples: int
    flatten_on: tuple[str, ...]
    live: Allowance | None = None
    shadows: dict[str, bytes] = {}
    """By name: the same of each shadow's house."""
    regime: MarketRegime | UnsetType = UNSET
    """Not encoded when unset."""


def in_force(rules: Rules) -> bytes:
    """The changeable part of `rules`, as in a Reloaded event."""
    return msgspec.msgpack.encode(
        InForce(
            rules.house,
            tuple((a.limits, a.min_trade) for a in rules.agents),
            rules.follow_ups,
            rules.rearm_samples,
            rules.flatten_on,
            rules.live,
            {shadow.agents[0].name: in_force(shadow) for shadow in rules.shadows},
            UNSET if rules.regime is None else rules.regime,
        )
    )


class _Snapshot(Struct, frozen=True):
    """The field of Frozen that `limits_of_snapshot` reads."""

    limits: bytes


def limits_of_snapshot(frozen: bytes) -> InForce:
    """The limits in force in a state that `freeze` wrote."""
    return limits_from(msgspec.msgpack.decode(frozen, type=_Snapshot).limits)


def limits_from(encoded: bytes) -> InForce:
    """The limits that `in_force` wrote. Raises msgspec.ValidationError."""
    return msgspec.msgpack.decode(encoded, type=InForce)


def with_limits(rules: Rules, limits: bytes) -> Rules:
    """`rules` with a changeable part of `in_force`. Raises msgspec.ValidationError."""
    new = limits_from(limits)
    return msgspec.structs.replace(
        rules,
        house=new.house,
        agents=tuple(
            msgspec.structs.replace(agent, limits=own, min_trade=min_trade)
            for agent, (own, min_trade) in zip(rules.agents, new.agents, strict=True)
        ),
        follow_ups=new.follow_ups,
        rearm_samples=new.rearm_samples,
        flatten_on=new.flatten_on,
        live=new.live,
        regime=None if new.regime is UNSET else new.regime,
        shadows=tuple(
            with_limits(shadow, new.shadows[shadow.agents[0].name]) if shadow.agents[0].name in new.shadows else shadow
            for shadow in rules.shadows
        ),
    )


class FrozenFollowUp(Struct, frozen=True):
    """A `FollowUp` that waits."""

    sample: int
    weights: bytes
    used: int


class FrozenVenue(Struct, frozen=True):
    """The venue's account beside orders; fields are those of State."""

    fenced: tuple[list[int], int] = ([], 0)
    flows: list[str] = []
    entitled: list[tuple[int, list[tuple[int, int]]]] = []
    foreign_ids: list[str] = []
    buying_power_micro: int | None = None
    spending: list[tuple[tuple[int, int], list[tuple[int, int]]]] = []
    dust: dict[int, int] = {}
    unlent: tuple[int, ...] = ()
    waits: Waits | UnsetType = UNSET
    coin_fees: CoinFees | UnsetType = UNSET
    """Absent without any, as in older snapshots."""


class Frozen(Struct, frozen=True):
    """A State as plain values; arrays as little-endian bytes."""

    limits: bytes
    ledger: bytes
    rings: tuple[bytes, ...]
    counts: tuple[int, int, int, int]
    pending: list[tuple[int, bytes]]
    waiting: list[tuple[int, int]]
    known_actions: list[tuple[int, float, float]]
    sync_actions: list[tuple[int, int, float, float]]
    marks: tuple[bytes, bytes, bytes, bytes]
    numbers: tuple[int, ...]
    switches: list[FrozenSwitch]
    agents: list[tuple[int, bool, FrozenFollowUp | None, list[tuple[str, tuple[int, ...], bytes]]]]
    monitor: dict[str, int]
    orders_at: list[tuple[int, int]]
    working: list[tuple[Key, FrozenOrders]]
    ended: list[tuple[Key, FrozenOrders]]
    crosses: list[Cross]
    foreign: list[tuple[int, int, int]]
    down: list[str]
    activity: FrozenActivity
    volumes: tuple[int, bytes]
    best: bytes = b""
    exits: list[tuple[dict[int, Exit], dict[int, int]]] = []
    """By agent: protective exits in progress, and cooldowns; absent from old snapshots."""
    watch: FrozenWatch = FrozenWatch()
    venue: FrozenVenue = FrozenVenue()
    parents: list[Parent] = []
    halted: dict[int, tuple[int, str]] = {}
    limited: dict[int, tuple[int, int]] = {}
    jumped: dict[int, PriceHold] = {}
    flattens_jumped: bool = False
    live_sessions: int = 0
    notes: list[str] = []
    """By agent: last note of its policy."""
    owed: list[int] = []
    later: list[str] = []
    seats: list[str] = []
    """By agent: name of the agent whose policy decides for it."""
    shadows: dict[str, bytes] = {}
    """By name: the frozen state of each shadow."""
    pairings: dict[str, Pairing] = {}
    """By the name of the challenger."""
    stops: list[tuple[Key, FrozenOrders]] = []
    resting: Stops = Stops()
    """Protective stops at the venue; absent from old snapshots."""
    bars: tuple[int, bytes, bytes, bytes, bytes] | None = None
    macro: dict[str, bytes] = {}
    """By name: values of each macro series at the samples."""
    artifacts: dict[str, str] = {}
    loaded: dict[str, ModelLoaded] = {}
    valuations: Valuations = msgspec.field(default_factory=Valuations)
    balances_micro: list[int] = []
    """By book: cash at the last sample; absent from old snapshots."""
    loosening: Loosening | None = None
    portfolios: dict[int, Portfolio] = {}
    proposals: list[str] = []
    carried: tuple[int, int] = (0, 0)
    outside: dict[str, ProposalLog] = {}
    reviews: dict[str, Proposed] | msgspec.UnsetType = msgspec.UNSET
    """Absent without any, as in older snapshots."""
    noted: Noted = msgspec.field(default_factory=Noted)


_SAME: Final = (
    "foreign", "parents", "halted", "limited", "jumped", "flattens_jumped", "live_sessions",
    "artifacts", "loaded",
    "valuations", "balances_micro", "loosening", "portfolios", "carried", "noted",
    "outside",
)  # fmt: skip
_SAME_OF_VENUE: Final = ("entitled", "foreign_ids", "buying_power_micro", "dust", "unlent", "coin_fees")
"""Fields that a state and its snapshot have alike."""


def _ring_out(ring: Ring) -> tuple[bytes, bytes]:
    ring.fill()
    start = max(0, ring.end - ring.lookback)
    return ring.prices[start : ring.end].tobytes(), ring.filled_returns[start : ring.end].tobytes()


def _ring_in(ring: Ring, prices: bytes, returns: bytes, count: int) -> None:
    size = ring.prices.shape[1]
    ring.restore(np.frombuffer(prices).reshape(-1, size), np.frombuffer(returns).reshape(-1, size), count)


def _follow_up_out(rest: FollowUp) -> FrozenFollowUp | None:
    return FrozenFollowUp(rest.sample, bytes(rest.weights), rest.used) if rest.waits() else None


def _venue_out(state: State) -> FrozenVenue:
    return FrozenVenue(
        fenced=state.fenced,
        flows=list(state.flows),
        spending=list(state.spending.items()),
        waits=UNSET if state.waits == Waits() else state.waits,
        **{name: getattr(state, name) for name in _SAME_OF_VENUE},
    )


def freeze(state: State) -> bytes:
    """The encoded state between two events. Raises ValueError during a round."""
    if state.round is not None:
        raise ValueError("a state is frozen between rounds, not while answers are awaited")
    history = state.history
    own_dates = () if history.own_dates is None else _ring_out(history.own_dates)
    return msgspec.msgpack.encode(
        Frozen(
            limits=in_force(state.rules),
            ledger=msgspec.msgpack.encode(state.ledger.freeze()),
            rings=(*_ring_out(history.known), *_ring_out(history.synchronous), *own_dates),
            counts=(
                history.known.count,
                history.synchronous.count,
                0 if history.own_dates is None else history.own_dates.count,
                0,
            ),
            pending=[(k, row.tobytes()) for k, row in history.pending.items()],
            waiting=history.waiting,
            known_actions=history.known_actions,
            sync_actions=history.sync_actions,
            marks=(state.marks.tobytes(), state.marks_nano.tobytes(), state.mark_ts.tobytes(), state.volume.tobytes()),
            numbers=(
                state.now,
                state.sample,
                state.sample_key,
                state.sample_no,
                state.round_no,
                state.borrowed_key,
                int(state.flattening),
            ),
            switches=[FrozenSwitch.of(switch) for switch in (state.switch, *(a.switch for a in state.agents))],
            agents=[
                (
                    a.failures,
                    a.suspended,
                    _follow_up_out(a.follow_up),
                    [(name, array.shape, array.tobytes()) for name, array in a.memory.items()],
                )
                for a in state.agents
            ],
            monitor=state.monitor.levels,
            orders_at=list(state.orders_at.items()),
            working=[(key, work.freeze()) for key, work in state.working.items()],
            ended=[(key, work.freeze()) for key, work in state.ended],
            crosses=list(state.crosses),
            down=sorted(state.down),
            activity=state.activity.freeze(),
            volumes=(state.volume_count, state.volumes[: state.volume_count].tobytes()),
            best=state.best.tobytes(),
            exits=[(a.exits, a.blocked) for a in state.agents],
            watch=state.watch.freeze(),
            venue=_venue_out(state),
            notes=[a.note for a in state.agents],
            owed=state.owed,
            proposals=list(state.proposals),
            reviews=state.reviews or msgspec.UNSET,
            later=sorted(state.later),
            seats=[state.rules.seats[seat] for seat in state.seats] if state.rules.seats else [],
            shadows={shadow.rules.agents[0].name: freeze(shadow) for shadow in state.shadows},
            pairings={
                shadow.rules.agents[0].name: pairing
                for shadow, pairing in zip(state.shadows, state.pairings, strict=True)
            },
            stops=[(key, work.freeze()) for key, work in state.stops.items()],
            resting=Stops(
                list(state.rests.items()),
                state.postponed,
                list(state.own.values()),
                list(state.retries.values()),
                state.leaving,
            ),
            bars=None if history.bars is None else history.bars.freeze(),
            macro={} if history.macro is None else history.macro.freeze(),
            **{name: getattr(state, name) for name in _SAME},
        )
    )


def thaw(rules: Rules, frozen: bytes) -> State:
    """The state of a snapshot. Universe, sessions and agents are those of `rules`, the limits those of the snapshot."""
    f = msgspec.msgpack.decode(frozen, type=Frozen)
    state = State(with_limits(rules, f.limits))
    state.ledger.thaw(msgspec.msgpack.decode(f.ledger))
    _market_in(state, f)
    state.flattening = bool(f.numbers[6])
    state.switch = f.switches[0].thaw()
    for agent, switch, (failures, suspended, follow_up, memory) in zip(
        state.agents, f.switches[1:], f.agents, strict=True
    ):
        agent.switch, agent.failures, agent.suspended = switch.thaw(), failures, suspended
        if follow_up is not None:
            weights = read_floats(np.frombuffer(follow_up.weights))
            agent.follow_up.put(follow_up.sample, follow_up.used, weights)
        agent.memory = {name: np.frombuffer(data).reshape(shape) for name, shape, data in memory}
    state.monitor.levels = dict(f.monitor)
    state.orders_at = dict(f.orders_at)
    agents = len(state.agents)
    state.working, state.stops = ({key: Working.thaw(work, agents) for key, work in at} for at in (f.working, f.stops))
    for key, work in f.ended:
        state.ended.append(key, Working.thaw(work, agents))
    state.waits = Waits() if isinstance(f.venue.waits, UnsetType) else f.venue.waits
    state.ended.hold({(each.sample, each.n) for each in state.waits.settled})
    for name in _SAME:
        setattr(state, name, getattr(f, name))
    state.crosses.keep(f.crosses)
    state.down = set(f.down)
    state.activity.thaw(f.activity)
    for agent, (exits, blocked) in zip(state.agents, f.exits, strict=bool(f.exits)):
        agent.exits, agent.blocked = exits, blocked
    state.rests = dict(f.resting.rests)
    state.postponed, state.leaving = list(f.resting.postponed), f.resting.leaving
    state.own = {(each.agent, each.symbol): each for each in f.resting.own}
    state.retries = {(each.agent, each.symbol, each.side, each.words): each for each in f.resting.retries}
    state.govern(state.rules)
    if f.best:
        state.best = np.frombuffer(f.best).reshape(state.best.shape)
    state.watch.thaw(f.watch)
    if f.venue.fenced[0]:
        state.fenced = f.venue.fenced
    for name in _SAME_OF_VENUE:
        setattr(state, name, getattr(f.venue, name))
    state.flows.extend(f.venue.flows)
    state.spending = dict(f.venue.spending)
    for agent, note in zip(state.agents, f.notes, strict=bool(f.notes)):
        agent.note = note
    state.owed = list(f.owed) or state.owed
    state.later = set(f.later)
    state.proposals.extend(f.proposals)
    state.reviews = {} if isinstance(f.reviews, msgspec.UnsetType) else f.reviews
    _seats_in(state, f)
    state.revalue()
    return state


def _market_in(state: State, f: Frozen) -> None:
    """Restore the market data."""
    history = state.history
    _ring_in(history.known, f.rings[0], f.rings[1], f.counts[0])
    _ring_in(history.synchronous, f.rings[2], f.rings[3], f.counts[1])
    if f.rings[4:] or f.waiting:
        # an old snapshot has the gate's rows only
        history.own_dates = history.synchronous.copy()
    if history.own_dates is not None and f.rings[4:]:
        _ring_in(history.own_dates, f.rings[4], f.rings[5], f.counts[2])
    if history.bars is not None and f.bars is not None:
        history.bars.thaw(f.bars)
    if history.macro is not None:
        history.macro.thaw(f.macro)
    history.pending = {k: np.frombuffer(row) for k, row in f.pending}
    history.waiting = list(f.waiting)
    history.known_actions = list(f.known_actions)
    history.sync_actions = list(f.sync_actions)
    state.marks = np.frombuffer(f.marks[0])
    state.marks_nano = np.frombuffer(f.marks[1], dtype=np.int64)
    state.mark_ts = np.frombuffer(f.marks[2], dtype=np.int64)
    state.volume = np.frombuffer(f.marks[3])
    state.volume_count = f.volumes[0]
    rows = np.frombuffer(f.volumes[1]).reshape(-1, state.universe.size)
    state.volumes[: len(rows)] = rows
    state.now, state.sample, state.sample_key, state.sample_no, state.round_no, state.borrowed_key = f.numbers[:6]


def _seats_in(state: State, f: Frozen) -> None:
    """Restore seats and shadows by name.

    A new shadow begins with the market data. An agent whose policy belonged to a removed agent has its own again,
    without memory.
    """
    rules = state.rules
    for k, name in enumerate(f.seats):
        if name in rules.seats:
            state.seats[k] = rules.seats.index(name)
        else:
            state.agents[k].memory = EMPTY_MEMORY
    state.shadows, state.pairings = [], []
    for own in rules.shadows:
        name = own.agents[0].name
        if name in f.shadows:
            state.shadows.append(thaw(own, f.shadows[name]))
            state.pairings.append(f.pairings.get(name) or Pairing(since=state.sample_no))
            continue
        begun = State(own)
        _market_in(begun, f)
        begun.revalue()
        state.shadows.append(begun)
        state.pairings.append(Pairing(since=state.sample_no))
