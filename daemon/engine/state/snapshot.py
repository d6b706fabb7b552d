"""Encodes the state and restores it; and the part of the rules that may change during a run.

What can go wrong: a state is restored under limits other than the limits of its steps. `step` would then give other
effects than the journal has. So a snapshot has the limits in force, and `thaw` uses these, whatever the configuration
has by then (docs/decisions/005). Universe, sessions and agents come from the rules; a start compares universe and
agents with the run's.

A state is frozen between two events and never within a round (decision of all agents): the answers so far are in no
snapshot. A field that older snapshots lack has a default, so that they can be read.

The sequence in `thaw`: limits, then the books, then what refers to them. The rules are applied (`govern`) after the
protective stops, because the levels to watch depend on operators' levels. The books are valued last.
"""

from typing import Final

import msgspec
import numpy as np
from msgspec import UNSET, Struct, UnsetType

from quantd.daemon.engine.state.activity import FrozenActivity
from quantd.daemon.engine.state.agent_state import Exit, FrozenAgent, FrozenMind
from quantd.daemon.engine.state.engine_state import ActRecord, Loosening, Portfolio, State
from quantd.daemon.engine.state.live_caps import Allowance
from quantd.daemon.engine.state.market_data import FrozenBars, FrozenMarket, freeze_market, thaw_market
from quantd.daemon.engine.state.monitor_state import FrozenWatch, Noted
from quantd.daemon.engine.state.open_orders import Cross, FrozenOrders, Key, Working
from quantd.daemon.engine.state.parents import Parent
from quantd.daemon.engine.state.price_holds import PriceHold
from quantd.daemon.engine.state.promotion_rule import Pairing
from quantd.daemon.engine.state.proposal_log import ProposalLog
from quantd.daemon.engine.state.restrictions import FrozenRestrictions
from quantd.daemon.engine.state.settings import Approvals, MarketRegime, Rules
from quantd.daemon.engine.state.stop_records import Bracket, Stops
from quantd.daemon.engine.state.venue_account import FrozenVenue
from quantd.risk.limits.catalogue import Limits
from quantd.risk.switch import FrozenSwitch
from quantd.trading.events import Proposed
from quantd.trading.model_events import ModelLoaded
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
    """Name of a shadow -> the encoded `InForce` of its house."""
    regime: MarketRegime | UnsetType = UNSET
    """Not encoded when unset, as `approvals`."""
    approvals: Approvals | UnsetType = UNSET


def in_force(rules: Rules) -> bytes:
    """The part of `rules` that may change during a run, encoded as in a Reloaded event."""
    return msgspec.msgpack.encode(
        InForce(
            rules.house,
            tuple((a.limits, a.min_trade) for a in rules.agents),
            rules.follow_ups,
            rules.rearm_samples,
            rules.flatten_on,
            rules.live,
            {shadow.agents[0].name: in_force(shadow) for shadow in rules.shadows},
            UNSET if rules.regime is None else rules.regime,  # UNSET is left out of the bytes
            UNSET if rules.approvals is None else rules.approvals,
        )
    )


class _Snapshot(Struct, frozen=True):
    """The field of Frozen that `limits_of_snapshot` reads."""

    limits: bytes


def limits_of_snapshot(frozen: bytes) -> InForce:
    """The limits in force in a state that `freeze` wrote."""
    return limits_from(msgspec.msgpack.decode(frozen, type=_Snapshot).limits)


def limits_from(encoded: bytes) -> InForce:
    """The part of the rules that `in_force` encoded. Raises msgspec.ValidationError."""
    return msgspec.msgpack.decode(encoded, type=InForce)


def with_limits(rules: Rules, limits: bytes) -> Rules:
    """`rules` with the changeable part that `in_force` encoded as `limits`. Raises msgspec.ValidationError."""
    new = limits_from(limits)
    return msgspec.structs.replace(
        rules,
        house=new.house,
        agents=tuple(
            msgspec.structs.replace(agent, limits=agent_limits, min_trade=min_trade)
            for agent, (agent_limits, min_trade) in zip(rules.agents, new.agents, strict=True)
        ),
        follow_ups=new.follow_ups,
        rearm_samples=new.rearm_samples,
        flatten_on=new.flatten_on,
        live=new.live,
        regime=None if new.regime is UNSET else new.regime,
        approvals=None if new.approvals is UNSET else new.approvals,
        shadows=tuple(
            with_limits(shadow, new.shadows[shadow.agents[0].name]) if shadow.agents[0].name in new.shadows else shadow
            for shadow in rules.shadows
        ),
    )


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
    agents: list[FrozenMind]
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
    bars: FrozenBars | None = None
    macro: dict[str, bytes] = {}
    """By name: values of each macro series at the samples."""
    artifacts: dict[str, str] = {}
    loaded: dict[str, ModelLoaded] = {}
    balances_micro: list[int] = []
    """By book: cash at the last sample; absent from old snapshots."""
    loosening: Loosening | None = None
    portfolios: dict[int, Portfolio] = {}
    carried: tuple[int, int] = (0, 0)
    outside: dict[str, ProposalLog] = {}
    acts: dict[str, ActRecord] | msgspec.UnsetType = msgspec.UNSET
    reviews: list[Proposed] | msgspec.UnsetType = msgspec.UNSET
    awaiting: list[Proposed] | msgspec.UnsetType = msgspec.UNSET
    brackets: list[Bracket] | msgspec.UnsetType = msgspec.UNSET
    """All are absent without any, as in older snapshots."""
    noted: Noted = msgspec.field(default_factory=Noted)


_COPIED_FIELDS: Final = (
    "parents", "flattens_jumped", "live_sessions",
    "artifacts", "loaded",
    "balances_micro", "loosening", "portfolios", "carried", "noted",
    "outside",
)  # fmt: skip
"""Fields with the same name and value in a state and in its snapshot."""


def freeze(state: State, *, ended: bool = True) -> bytes:
    """The encoded state between two events. Raises ValueError while answers of agents are awaited.

    If `ended` is False, baskets without open orders are left out. Only reports of a venue need such baskets, and in a
    large account they are most of a state: 64 baskets of 500 orders of 20 agents.
    """
    if state.round is not None:
        raise ValueError("the state cannot be frozen while a round awaits answers: freeze it after the last answer")
    agents = [agent.freeze() for agent in state.agents]
    return msgspec.msgpack.encode(
        Frozen(
            limits=in_force(state.rules),
            ledger=msgspec.msgpack.encode(state.ledger.freeze()),
            **freeze_market(state)._asdict(),
            numbers=(
                state.now,
                state.sample,
                state.sample_key,
                state.sample_no,
                state.round_no,
                state.borrowed_key,
                int(state.flattening),
            ),
            switches=[FrozenSwitch.of(state.switch), *(agent.switch for agent in agents)],
            agents=[agent.mind for agent in agents],
            monitor=state.monitor.levels,
            orders_at=list(state.orders_at.items()),
            working=[(key, work.freeze()) for key, work in state.working.items()],
            ended=[(key, work.freeze()) for key, work in state.ended] if ended else [],
            crosses=list(state.crosses),
            down=sorted(state.down),
            activity=state.activity.freeze(),
            best=state.best.tobytes(),
            exits=[agent.exits for agent in agents],
            watch=state.watch.freeze(),
            venue=state.venue.freeze(),
            foreign=state.venue.foreign,
            **state.restrictions.freeze()._asdict(),
            notes=[agent.note for agent in agents],
            owed=state.owed,
            acts=state.acts or msgspec.UNSET,
            reviews=state.reviews or msgspec.UNSET,
            awaiting=state.awaiting or msgspec.UNSET,
            brackets=state.brackets or msgspec.UNSET,
            later=sorted(state.later),
            seats=[state.rules.seats[policy_number] for policy_number in state.seats] if state.rules.seats else [],
            shadows={shadow.rules.agents[0].name: freeze(shadow, ended=ended) for shadow in state.shadows},
            pairings={
                shadow.rules.agents[0].name: pairing
                for shadow, pairing in zip(state.shadows, state.pairings, strict=True)
            },
            stops=[(key, work.freeze()) for key, work in state.protection.stops.items()],
            resting=state.protection.freeze(),
            **{name: getattr(state, name) for name in _COPIED_FIELDS},
        )
    )


def thaw(rules: Rules, frozen: bytes) -> State:
    """The state of a snapshot, with the universe, sessions and agents of `rules` and the limits of the snapshot.

    The first switch in the snapshot is the kill switch of the whole account; one for each agent follows.
    """
    decoded = msgspec.msgpack.decode(frozen, type=Frozen)
    state = State(with_limits(rules, decoded.limits))
    state.ledger.thaw(msgspec.msgpack.decode(decoded.ledger))
    _restore_market(state, decoded)
    state.flattening = bool(decoded.numbers[6])  # the clocks come before it
    state.switch = decoded.switches[0].thaw()
    # an old snapshot has neither exits nor notes
    exits: list[tuple[dict[int, Exit], dict[int, int]]] = decoded.exits or [({}, {}) for _ in state.agents]
    frozen_agents = map(FrozenAgent, decoded.switches[1:], decoded.agents, exits, decoded.notes or [""] * len(exits))
    for agent, frozen_agent in zip(state.agents, frozen_agents, strict=True):
        agent.thaw(frozen_agent)
    state.monitor.levels = dict(decoded.monitor)
    state.orders_at = dict(decoded.orders_at)
    agents = len(state.agents)
    state.working = {key: Working.thaw(work, agents) for key, work in decoded.working}
    for key, work in decoded.ended:
        state.ended.append(key, Working.thaw(work, agents))
    state.venue.thaw(decoded.venue, decoded.foreign)
    state.ended.hold({(settlement.sample, settlement.n) for settlement in state.venue.waits.settled})
    state.restrictions.thaw(FrozenRestrictions(decoded.halted, decoded.limited, decoded.jumped))
    for name in _COPIED_FIELDS:
        setattr(state, name, getattr(decoded, name))
    state.crosses.keep(decoded.crosses)
    state.down = set(decoded.down)
    state.activity.thaw(decoded.activity)
    state.protection.thaw(decoded.resting, decoded.stops, agents)
    state.govern(state.rules)  # after the stops: what is watched depends on operators' levels
    if decoded.best:
        state.best = np.frombuffer(decoded.best).reshape(state.best.shape)
    state.watch.thaw(decoded.watch)
    state.owed = list(decoded.owed) or state.owed
    state.later = set(decoded.later)
    state.acts = {} if isinstance(decoded.acts, msgspec.UnsetType) else decoded.acts
    state.reviews = [] if isinstance(decoded.reviews, msgspec.UnsetType) else decoded.reviews
    state.awaiting = [] if isinstance(decoded.awaiting, msgspec.UnsetType) else decoded.awaiting
    state.brackets = [] if isinstance(decoded.brackets, msgspec.UnsetType) else decoded.brackets
    _restore_policies(state, decoded)
    state.revalue()
    return state


def _restore_policies(state: State, f: Frozen) -> None:
    """Restore by name which policy decides for each agent, and the shadows (agents on paper).

    A new shadow begins with the market data only. An agent whose policy belonged to an agent that is now removed
    decides by its own policy again, without memory.
    """
    rules = state.rules
    for k, name in enumerate(f.seats):
        if name in rules.seats:
            state.seats[k] = rules.seats.index(name)
        else:
            state.agents[k].memory = EMPTY_MEMORY
    state.shadows, state.pairings = [], []
    for shadow_rules in rules.shadows:
        name = shadow_rules.agents[0].name
        if name in f.shadows:
            state.shadows.append(thaw(shadow_rules, f.shadows[name]))
            state.pairings.append(f.pairings.get(name) or Pairing(since=state.sample_no))
            continue
        new_shadow = State(shadow_rules)
        _restore_market(new_shadow, f)
        new_shadow.revalue()
        state.shadows.append(new_shadow)
        state.pairings.append(Pairing(since=state.sample_no))


def _restore_market(state: State, f: Frozen) -> None:
    state.now, state.sample, state.sample_key, state.sample_no, state.round_no, state.borrowed_key = f.numbers[:6]
    thaw_market(state, FrozenMarket(*(getattr(f, name) for name in FrozenMarket._fields)))
