"""The folds of a service: functions that take each step of a batch, for read models, trace, histories and messages.

What can go wrong, and what the order guarantees. A step is one event with its effects. The steps of a batch are passed
in the order of the journal, and each step to all folds before the next step. The projection comes first, because later
folds read its incidents. The messages come after the histories and the causes of kill switches, because the receiver of
a message may read histories and causes at once. No fold gets a step twice, and none gets a step that is not in the
batch.

A fold is called at each bar, so it is a plain function of (number in the journal, event, effects). Most steps have no
effects: a fold with `effects_only` is not called for them. An exception of a fold ends the daemon, as an exception of a
step does, because a batch without its read models must not be committed.

Rejected: one call for each batch. Each fold would have to find the number of an entry and its effects again. Rejected
too: digest and counts of the shell (the runner of the engine) as folds. They are part of its snapshot, and a replay and
a backtest need them without a service.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from quantd.records import ordered
from quantd.trading.effects import Effect
from quantd.trading.events import Event

if TYPE_CHECKING:
    from quantd.daemon.runtime.service import Service

PACKAGES: Final = ("quantd.daemon.runtime",)
"""The packages of quantd whose modules are searched for folds."""

GROUP: Final = "quantd.folds"
"""The entry-point group of installed packages with a fold."""

Add = Callable[[int, Event, Sequence[Effect]], None]
"""Takes a step: its number in the journal, its event, its effects."""


@dataclass(frozen=True, slots=True)
class StepFold:
    """One fold, a function called for each step: `open` makes it for a service, or returns None where it is not needed.

    Folds with a lower `order` are called earlier. Folds that take each step come before folds with `effects_only`.
    """

    name: str
    order: int
    open: "Callable[[Service], Add | None]"
    effects_only: bool = False


def step_folds() -> Mapping[str, StepFold]:
    """Every fold (function called for each step of a service) by its name, in order."""
    return ordered(PACKAGES, StepFold, GROUP)


@dataclass(frozen=True, slots=True)
class OpenFolds:
    """The folds (functions called for each step) of one service.

    `each_step` are the folds that take each step, `with_effects` those that take only steps with effects.
    """

    each_step: tuple[Add, ...]
    with_effects: tuple[Add, ...]

    def add(self, seq: int, event: Event, effects: Sequence[Effect]) -> None:
        """Pass step `seq` to the folds in their order; a step without effects only to the folds that take every
        step."""
        for add in self.each_step:
            add(seq, event, effects)
        if effects:
            for add in self.with_effects:
                add(seq, event, effects)


def opened(service: "Service") -> OpenFolds:
    """Make the folds (functions called for each step) that a service needs."""
    each_step: list[Add] = []
    with_effects: list[Add] = []
    for step_fold in step_folds().values():
        if (add := step_fold.open(service)) is not None:
            (with_effects if step_fold.effects_only else each_step).append(add)
    return OpenFolds(tuple(each_step), tuple(with_effects))
