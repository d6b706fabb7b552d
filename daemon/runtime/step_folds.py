"""What takes each committed step of a service, as records in one order: read models, trace, histories, messages.

What can go wrong, and what the order guarantees. A step is one event with its effects. The steps of a batch are passed
in the order of the journal, and each step to all folds before the next one. The projection comes first: the incidents
that it keeps are read by later folds. The messages come after the histories and the causes of switches, because whoever
receives a message may read those at once. No fold sees a step twice, and none sees one that is not in the batch.

A fold is called at each bar, so it is a plain function of (number in the journal, event, effects). Most steps have no
effects: a record with `effects_only` is not called for them. An exception of a fold ends the daemon as one of a step
does, because a batch without its read models must not be committed.

Rejected: one call for each batch. The number of an entry and its own effects would be looked for again in each fold.
Rejected too: digest and tally of the shell as such folds. They are part of its snapshot, and a replay and a backtest
need them without a service.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from quantd.adapters.plugins import ordered
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
    """One fold: `open` makes its function for a service, or returns None for one that does not need it.

    `order` is its place among the folds of its kind. Those that take each step come before those with `effects_only`.
    """

    name: str
    order: int
    open: "Callable[[Service], Add | None]"
    effects_only: bool = False


def step_folds() -> Mapping[str, StepFold]:
    """Every fold by its name, in order."""
    return ordered(PACKAGES, StepFold, GROUP)


@dataclass(frozen=True, slots=True)
class OpenFolds:
    """The folds of one service: those that take each step, and then those that take steps with effects."""

    each_step: tuple[Add, ...]
    with_effects: tuple[Add, ...]

    def add(self, seq: int, event: Event, effects: Sequence[Effect]) -> None:
        """Give step `seq` to the folds in their order; one without effects only to those that take each step."""
        for add in self.each_step:
            add(seq, event, effects)
        if effects:
            for add in self.with_effects:
                add(seq, event, effects)


def opened(service: "Service") -> OpenFolds:
    """The folds of a service."""
    each_step: list[Add] = []
    with_effects: list[Add] = []
    for record in step_folds().values():
        if (add := record.open(service)) is not None:
            (with_effects if record.effects_only else each_step).append(add)
    return OpenFolds(tuple(each_step), tuple(with_effects))
