"""The pure core: `step(state, event) -> effects`. It reads no clock, draws no number and opens nothing.

The same snapshot and the same events give the same effects and the same state, in a backtest, a paper run,
a live run and a replay. `quantd.daemon.runtime.loop` carries the effects out."""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, get_args

from quantd.daemon.engine.agents.carry_over import on_carried
from quantd.daemon.engine.agents.retraining import on_retrained
from quantd.daemon.engine.agents.shadows import beside, on_shade
from quantd.daemon.engine.market import on_action, on_slice
from quantd.daemon.engine.operator_events import (
    on_condition,
    on_operator,
    on_reloaded,
    on_started,
    on_stopping,
    on_wished,
)
from quantd.daemon.engine.planning.execution import execute_parents
from quantd.daemon.engine.rounds import on_decided
from quantd.daemon.engine.samples import on_tick, serve_tick
from quantd.daemon.engine.state import State
from quantd.daemon.engine.stops.sync import sync_stops
from quantd.daemon.engine.venue.account import on_correction, on_flow, on_foreign, on_reconciled
from quantd.daemon.engine.venue.busts import on_busted
from quantd.daemon.engine.venue.halts import on_halted, on_limited
from quantd.daemon.engine.venue.reports import on_reports
from quantd.daemon.engine.venue.unknown import on_cancel_reported, on_not_found, on_unknown
from quantd.trading.effects import Effect
from quantd.trading.events import (
    Action,
    Busted,
    CancelReported,
    Carried,
    Condition,
    Correction,
    Decided,
    Event,
    Flow,
    ForeignFound,
    Halted,
    Limited,
    NotFound,
    Operator,
    Reconciled,
    Reloaded,
    Retrained,
    Shade,
    Started,
    Stopping,
    Tick,
    Unknown,
    Wished,
)
from quantd.trading.market import MarketSlice
from quantd.trading.orders import Reports


class FollowUp(NamedTuple):
    """A function that runs after the handlers of some events. It takes the effects so far and returns them with its
    own."""

    run: Callable[[State, Any, Sequence[Effect]], Sequence[Effect]]
    after: tuple[type, ...]


def step(state: State, event: Event) -> Sequence[Effect]:
    """Apply one event to `state`. Returns the effects to carry out, in order; () when there are none."""
    if state.shadows:
        return beside(state, event, step_book)
    return step_book(state, event)


def step_book(state: State, event: Event) -> Sequence[Effect]:
    """`step` of the house, or of one shadow: the handler of the event, then its follow-ups in the order of the table."""
    kind = type(event)
    effects = HANDLERS[kind](state, event)
    for run in _RUNS[kind]:
        effects = run(state, event, effects)
    return effects


# `Any`: each handler takes its own member of the union; a test checks that every member has one.
HANDLERS: Final[dict[type, Callable[[State, Any], Sequence[Effect]]]] = {
    MarketSlice: on_slice,
    Tick: on_tick,
    Decided: on_decided,
    Reports: on_reports,
    Action: on_action,
    CancelReported: on_cancel_reported,
    Unknown: on_unknown,
    NotFound: on_not_found,
    Reconciled: on_reconciled,
    ForeignFound: on_foreign,
    Flow: on_flow,
    Operator: on_operator,
    Condition: on_condition,
    Started: on_started,
    Reloaded: on_reloaded,
    Stopping: on_stopping,
    Correction: on_correction,
    Wished: on_wished,
    Halted: on_halted,
    Limited: on_limited,
    Busted: on_busted,
    Carried: on_carried,
    Shade: on_shade,
    Retrained: on_retrained,
}

FOLLOW_UPS: Final = (
    # an Ask shows what the children reserve, so they go first
    FollowUp(execute_parents, (MarketSlice, Tick, Decided, Reports, NotFound)),
    FollowUp(serve_tick, (Tick,)),
    # last: the stops cover what the book holds after every other effect
    FollowUp(sync_stops, get_args(Event)),
)
"""What follows from events, in this order. Handlers do not call each other: what two of them share is a follow-up."""

_RUNS: Final = {kind: tuple(each.run for each in FOLLOW_UPS if kind in each.after) for kind in get_args(Event)}
