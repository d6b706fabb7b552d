"""The stage of parent orders: after bars, ticks, decisions and reports it sends the child orders (parts of parents)
that are due."""

from collections.abc import Sequence

from quantd.daemon.engine.core.idle import idle_when
from quantd.daemon.engine.planning.execution import work_parents
from quantd.daemon.engine.safety.monitor import watch_plan
from quantd.daemon.engine.state import State
from quantd.trading.effects import Effect
from quantd.trading.events import Event


@idle_when(lambda state: not state.parents)
def execute_parents(state: State, event: Event, effects: Sequence[Effect]) -> Sequence[Effect]:
    """Return the effects of an event, followed by the effects of the parent orders that the event makes due."""
    return work_parents(state, event, effects, watch_plan)
