"""The condition under which a stage does nothing, so that the fold (the compiled fast path) may skip it."""

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

ATTRIBUTE = "idle"


def idle_when(condition: Callable[[Any], bool]) -> Callable[[F], F]:
    """Declare that a stage of the engine does nothing after bars, samples and rounds while `condition(state)` holds.

    The condition is stored on the function: a function that replaces it in `STAGES` has none, and always runs.
    """

    def declare(stage: F) -> F:
        setattr(stage, ATTRIBUTE, condition)
        return stage

    return declare


def condition_of(stage: Any) -> Callable[[Any], bool] | None:
    """Return the condition under which a stage of the engine does nothing; None without one."""
    condition: Callable[[Any], bool] | None = getattr(stage, ATTRIBUTE, None)
    return condition
