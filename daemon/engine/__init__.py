"""The pure core: `step(state, event) -> effects`. It reads no clock, draws no random number and opens no file.

The same snapshot and events give the same effects and state, in a backtest, a paper run, a live run and a replay.
`quantd.daemon.runtime.loop` carries the effects out.

The items of the market, bars and ticks, are no events of `step`: the fold (`core.fold`, the compiled path) takes them,
and `finish` goes on with one of which handlers do the rest.

`step` sets the clock of the state and runs the handler of the event. Then it runs the stages of STAGES that name the
event, in the order of that table. The handler is the function `on_<event>` of a module of this package:
`on_not_found` takes a NotFound. Handlers do not call each other.

What the order guarantees. The clock is set first and never goes back: effects of a late report have the present time.
The children of parent orders (which are worked over time) are sent before agents are asked at a tick, because a
question shows what open orders reserve. The stops at the venue are last: they cover what the books hold after every
other effect.

Rejected: a handler that calls what follows from its event. Children, refusals and stops follow from many events, so
each of them is one stage for all events.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import import_module
from pkgutil import walk_packages
from typing import Any, Final, NamedTuple, get_args

from quantd.daemon.engine.agents.brackets import follow_brackets
from quantd.daemon.engine.agents.proposals import release_held
from quantd.daemon.engine.agents.shadows import step_shadows
from quantd.daemon.engine.core.idle import condition_of
from quantd.daemon.engine.safety.notices import note_rebalances
from quantd.daemon.engine.safety.parent_orders import execute_parents
from quantd.daemon.engine.safety.resting_orders import review_rests
from quantd.daemon.engine.safety.session_messages import count_refusals
from quantd.daemon.engine.samples import serve_tick
from quantd.daemon.engine.state import State
from quantd.daemon.engine.stops.sync import sync_stops
from quantd.trading.effects import Effect
from quantd.trading.events import (
    Action,
    Decided,
    Event,
    NotFound,
    PortfolioClosed,
    Proposed,
    Reloaded,
    ShadowReport,
    Tick,
)
from quantd.trading.market import MarketSlice
from quantd.trading.model_events import Act
from quantd.trading.orders import Reports

Handler = Callable[[State, Any], Sequence[Effect]]
"""Takes its own member of the union, hence `Any`."""


class Stage(NamedTuple):
    """A function that runs after the handlers of some events. It returns the effects so far, with its own added.

    The fold (`core.fold`, the compiled fast path) skips a stage only while a condition holds, which the stage declares
    by `core.idle.idle_when`. After each event of a stage without a condition the stage runs.
    """

    run: Callable[[State, Any, Sequence[Effect]], Sequence[Effect]]
    after: tuple[type, ...]


def step(state: State, event: Event) -> Sequence[Effect]:
    """Apply one event to `state`; returns the engine's effects in order."""
    # `step_shadows` also records the verdicts on proposals
    recorded = state.shadows or state.rules.outside or isinstance(event, Proposed)
    effects = step_shadows(state, event, step_book) if recorded else step_book(state, event)
    if isinstance(event, Act) and event.key:
        state.note_act(event, effects)
    return effects


def step_book(state: State, event: Event) -> Sequence[Effect]:
    """Apply one event to the whole account alone, or to one shadow alone; returns the effects in order."""
    kind = type(event)
    if not isinstance(event, _TIMELESS):
        state.now = max(state.now, event.ts)  # type: ignore[union-attr]
    return _run_stages(state, event, HANDLERS[kind](state, event))


def finish(state: State, event: Event, before: Sequence[Effect], handle: Handler) -> Sequence[Effect]:
    """Go on with an event that the fold (compiled fast path) took, and whose effects so far are `before`: `handle`,
    then the stages. Returns all effects."""

    def rest(house: State, event: Event) -> Sequence[Effect]:
        return _run_stages(house, event, [*before, *handle(house, event)])

    return step_shadows(state, event, rest) if state.shadows or state.rules.outside else rest(state, event)


def _run_stages(state: State, event: Event, effects: Sequence[Effect]) -> Sequence[Effect]:
    for run in _RUNS[type(event)]:
        effects = run(state, event, effects)
    return effects


def find_handlers() -> dict[type, Handler]:
    """Return the handler of each member of Event but ITEMS. Raises TypeError for an event that has none, or two."""
    modules = [import_module(module.name) for module in walk_packages(__path__, f"{__name__}.")]
    handlers: dict[type, Handler] = {}
    for event in STEPPED:
        name = "on_" + re.sub(r"(?<!^)(?=[A-Z])", "_", event.__name__).lower()  # NotFound: on_not_found
        # a module that only imports the handler does not define it
        defining = [m for m in modules if getattr(getattr(m, name, None), "__module__", None) == m.__name__]
        if len(defining) != 1:
            defined_in = ", ".join(m.__name__ for m in defining) or "no module"
            raise TypeError(
                f"{name}, the handler of {event.__name__}, is in {defined_in} of {__name__}: define it in one module"
            )
        handlers[event] = getattr(defining[0], name)
    return handlers


ITEMS: Final = MarketSlice, Tick
"""The events that only the fold takes."""

STEPPED: Final = tuple(event for event in get_args(Event) if event not in ITEMS)
"""The events that `step` takes."""

HANDLERS: Final = find_handlers()

FOLDED: Final = frozenset((MarketSlice, Tick, Decided, Reports, Action))
"""The events that the fold takes in place of their handlers, all or some."""


def idle(state: State) -> bool:
    """Whether all stages after the fold's events have nothing to do in this state. Only then may the fold (compiled
    fast path) skip them."""
    return all(condition(state) for condition in _conditions(STAGES))


@lru_cache(maxsize=8)
def _conditions(stages: tuple[Stage, ...]) -> list[Callable[[State], bool]]:
    return [condition_of(stage.run) for stage in stages if not FOLDED.isdisjoint(stage.after)]


STAGES: Final = (
    Stage(review_rests, (Tick, Reloaded)),
    # the groups go first: a stop order waits for the end of the other orders of its group
    Stage(follow_brackets, get_args(Event)),
    Stage(release_held, get_args(Event)),
    # the children go first: an Ask shows what they reserve
    Stage(execute_parents, (MarketSlice, Tick, Decided, Proposed, PortfolioClosed, Reports, NotFound)),
    Stage(serve_tick, (Tick,)),
    Stage(note_rebalances, (Tick, Decided, Proposed)),
    Stage(count_refusals, get_args(Event)),
    # last: the stops cover what the book holds after every other effect
    Stage(sync_stops, get_args(Event)),
)
"""Functions that run after the handlers, in this order."""

_RUNS: Final = {kind: tuple(stage.run for stage in STAGES if kind in stage.after) for kind in get_args(Event)}

_TIMELESS: Final = NotFound, Decided, ShadowReport
"""Events that leave the clock as it is: a NotFound may be of an unknown basket, and the others have no time."""
