"""The pure core: `step(state, event) -> effects`. It reads no clock, draws no number and opens nothing.

The same snapshot and the same events give the same effects and the same state, in a backtest, a paper run,
a live run and a replay. `quantd.daemon.runtime.loop` carries the effects out.

The way of an event: `step` runs its handler, then the stages of STAGES that name it, in the order of that
table. The handler of an event is the function `on_<event>` of a module of this package: `on_not_found` takes a
NotFound. Handlers do not call each other.
"""

import re
from collections.abc import Callable, Sequence
from importlib import import_module
from pkgutil import walk_packages
from typing import Any, Final, NamedTuple, get_args

from quantd.daemon.engine.agents.shadows import beside
from quantd.daemon.engine.planning.execution import execute_parents
from quantd.daemon.engine.samples import serve_tick
from quantd.daemon.engine.state import State
from quantd.daemon.engine.stops.sync import sync_stops
from quantd.trading.effects import Effect
from quantd.trading.events import Decided, Event, NotFound, Tick
from quantd.trading.market import MarketSlice
from quantd.trading.orders import Reports

Handler = Callable[[State, Any], Sequence[Effect]]
"""`Any`: each handler takes its own member of the union."""


class Stage(NamedTuple):
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
    """`step` of the house, or of one shadow: the handler of the event, then its stages in the order of the table."""
    kind = type(event)
    effects = HANDLERS[kind](state, event)
    for run in _RUNS[kind]:
        effects = run(state, event, effects)
    return effects


def handler_name(event: type) -> str:
    """The name of the handler of an event: on_not_found of NotFound."""
    return "on_" + re.sub(r"(?<!^)(?=[A-Z])", "_", event.__name__).lower()


def find_handlers() -> dict[type, Handler]:
    """The handler of each member of Event. Raises TypeError for an event that has none, or two."""
    modules = [import_module(each.name) for each in walk_packages(__path__, f"{__name__}.")]
    found: dict[type, Handler] = {}
    for event in get_args(Event):
        name = handler_name(event)
        own = [m for m in modules if getattr(getattr(m, name, None), "__module__", None) == m.__name__]
        if len(own) != 1:
            places = ", ".join(m.__name__ for m in own) or "no module"
            raise TypeError(f"{places} of {__name__} defines {name}, the handler of {event.__name__}: one must")
        found[event] = getattr(own[0], name)
    return found


HANDLERS: Final = find_handlers()

STAGES: Final = (
    # an Ask shows what the children reserve, so they go first
    Stage(execute_parents, (MarketSlice, Tick, Decided, Reports, NotFound)),
    Stage(serve_tick, (Tick,)),
    # last: the stops cover what the book holds after every other effect
    Stage(sync_stops, get_args(Event)),
)
"""What runs after the handlers, in this order."""

_RUNS: Final = {kind: tuple(each.run for each in STAGES if kind in each.after) for kind in get_args(Event)}
