"""The pure core: `step(state, event) -> effects`. It reads no clock, draws no number and opens nothing.

The same snapshot and the same events give the same effects and the same state, in a backtest, a paper run,
a live run and a replay. `quantd.daemon.runtime.loop` carries the effects out."""

from collections.abc import Callable, Sequence
from typing import Any, Final

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
from quantd.daemon.engine.rounds import on_decided
from quantd.daemon.engine.samples import on_tick
from quantd.daemon.engine.state import State
from quantd.daemon.engine.stops.sync import rest_stops
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


def step(state: State, event: Event) -> Sequence[Effect]:
    """Take one event into `state` and say what must be done about it, in order; () when nothing."""
    if state.shadows:
        return beside(state, event, alone)
    return alone(state, event)


def alone(state: State, event: Event) -> Sequence[Effect]:
    """`step` of one house, whatever shadows stand beside it."""
    effects = HANDLERS[type(event)](state, event)
    return rest_stops(state, event, effects) if state.resting or state.stops or state.own else effects


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
