"""The word of a stage on when it does nothing, so that the fold may pass it over."""

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

NAME = "idle"


def idle_when(condition: Callable[[Any], bool]) -> Callable[[F], F]:
    """Declare that a stage does nothing after bars, samples and rounds while `condition` of the state holds.

    The condition stands at the function: another function under the same name in `STAGES` has none, and runs.
    """

    def declare(stage: F) -> F:
        setattr(stage, NAME, condition)
        return stage

    return declare


def condition_of(stage: Any) -> Callable[[Any], bool] | None:
    """The condition of a stage; None without one."""
    condition: Callable[[Any], bool] | None = getattr(stage, NAME, None)
    return condition
