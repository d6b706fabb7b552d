"""The condition under which a stage does nothing, so that the fold (the compiled fast path) may skip it."""

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

ATTRIBUTE = "idle"


def idle_when(condition: Callable[[Any], bool]) -> Callable[[F], F]:
    """Declare that a stage of the engine does nothing after bars, samples and rounds while `condition(state)` holds.

    The condition is stored on the function: a function that replaces or wraps it in `STAGES` has none, and always runs.
    """

    def declare(stage: F) -> F:
        setattr(stage, ATTRIBUTE, (stage, condition))
        return stage

    return declare


def condition_of(stage: Any) -> Callable[[Any], bool]:
    """Return the condition under which a stage of the engine does nothing; one that never holds where it names none."""
    declared, condition = getattr(stage, ATTRIBUTE, (None, _never))
    return condition if declared is stage else _never  # `functools.wraps` copies the attribute


def _never(state: Any) -> bool:
    return False
