"""Detects additions to the engine that the fold (compiled fast path) does not know.

The fold then leaves every event to `step` (in Python). The fold repeats the handlers of five events, and one stage. A
stage is work after an event. Another stage is skipped only where its condition (`idle.idle_when`) says that it has
nothing to do; a stage without a condition is never skipped. A handler or a stage that another function has replaced
may change what a bar or a tick does. A limit needs no entry: the gate of the fold walks the same tables as the gate of
`step`, and `gate_sets` finds the limits that the fold cannot apply.

Rejected: a list of every attribute of the state. A handler of the five that is edited must be edited in the fold too,
with or without a new attribute; golden runs find where it was not.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from quantd.daemon import engine
from quantd.daemon.engine.core.idle import condition_of
from quantd.daemon.engine.state import State
from quantd.trading.events import Action, Decided, Tick
from quantd.trading.market import MarketSlice
from quantd.trading.orders import Reports

HANDLERS: Final = {
    MarketSlice: "market.on_market_slice",
    Tick: "samples.on_tick",
    Decided: "rounds.on_decided",
    Reports: "venue.reports.on_reports",
    Action: "market.on_action",
}
"""The events that the fold takes in place of `step`, with the names of their handlers below the engine's package."""

STAGE: Final = "samples.serve_tick"
"""The stage whose work the fold does; it follows ticks."""


def addition() -> str:
    """Name a stage or a handler that the fold (the compiled fast path) does not know; empty if there is none."""
    return _unknown_function(engine.STAGES, tuple(engine.HANDLERS.items()))


def idle(state: State) -> bool:
    """Whether all stages (work after an event) after the fold's events have nothing to do in this state.

    Only then may the fold (the compiled fast path) take an event in place of `step` (in Python). The stage `STAGE` does
    not count: the fold does its work.
    """
    return all(condition(state) for condition in _conditions(engine.STAGES))


@lru_cache(maxsize=8)
def _conditions(stages: tuple[engine.Stage, ...]) -> list[Callable[[State], bool]]:
    """The conditions under which the stages after the events in `HANDLERS` have nothing to do."""
    conditions = [condition_of(stage.run) for stage in stages if HANDLERS.keys() & set(stage.after)]
    return [condition for condition in conditions if condition is not None]


@lru_cache(maxsize=8)
def _unknown_function(stages: tuple[engine.Stage, ...], handlers: tuple[tuple[type, Any], ...]) -> str:
    """Name a stage or a handler that is not quantd's, or a missing `STAGE`; empty where all are quantd's."""
    for stage in stages:
        events = HANDLERS.keys() & set(stage.after)
        # the one stage whose work the fold does, as long as it follows ticks only
        serves = _name_of(stage.run) == STAGE and events == {Tick}
        # a wrapper may carry the condition of its stage, but `_name_of` gives it no name
        if events and not serves and (condition_of(stage.run) is None or not _name_of(stage.run)):
            return f"stage {_described(stage.run)}"
    if not any(_name_of(stage.run) == STAGE for stage in stages):
        return f"no stage {STAGE}"
    for event, handler in handlers:
        if event in HANDLERS and _name_of(handler) != HANDLERS[event]:
            return f"handler {_described(handler)}"
    return ""


def _name_of(function: Any) -> str:
    """The dotted name of a function, relative to the engine's package.

    Empty where its module has another function under this name, as with a wrapper.
    """
    code, module_globals = getattr(function, "__code__", None), getattr(function, "__globals__", {})
    if code is None or module_globals.get(code.co_name) is not function:
        return ""
    return f"{module_globals['__name__']}.{code.co_name}".removeprefix(f"{engine.__name__}.")


def _described(function: Any) -> str:
    return f"{getattr(function, '__name__', function)} of {getattr(function, '__module__', '')}"
