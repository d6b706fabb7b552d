"""What the monitor remembers: levels and returns of each book, when it last wrote a record, and the screens that save
measuring."""

from typing import Final

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

from quantd.risk.limits.context import Context
from quantd.risk.monitor.realised import FrozenReturns, Realised
from quantd.risk.screen import Screen
from quantd.trading.market import Floats


class FrozenWatch(Struct, frozen=True):
    """A `Watch` as plain values: levels by agent; returns of the house, then of the agents."""

    levels: list[dict[str, int]] = field(default_factory=list)
    returns: list[FrozenReturns] = field(default_factory=list)
    recorded_no: int = 0
    ended: list[dict[str, list[int]]] = field(default_factory=list)


class Corridor:
    """Screens of all books since one measurement. `inverse` float64[H] is one over the marks then, of `columns` (None:
    of all); `rows` counts the synchronous rows; `lots` of each screened book are what is to be held at the next
    sample."""

    __slots__ = ("columns", "inverse", "lots", "rows", "screens")

    def __init__(
        self,
        columns: NDArray[np.intp] | None,
        inverse: Floats,
        rows: int,
        screens: list[tuple[int, Screen]],
        lots: list[list[int]] | None,
    ) -> None:
        self.columns = columns
        self.inverse = inverse
        self.rows = rows
        self.screens = screens
        self.lots = lots


class Watch:
    """Of one run. `levels` by agent (the house's are in `State.monitor`); `ended`, of the house and then by agent, the
    sample at which each level of a limit last ended; `realised` the house's returns, then the agents';
    the last record is of sample `recorded_no`. The rest is not kept in snapshots, and without it everything is measured
    again, with the same result: `changed` says that something was booked since the last sample, `busy` that something
    was before that too."""

    __slots__ = ("busy", "changed", "context", "corridor", "ended", "levels", "realised", "recorded_no")

    def __init__(self, agents: int) -> None:
        self.levels: list[dict[str, int]] = [{} for _ in range(agents)]
        self.ended: list[dict[str, list[int]]] = [{} for _ in range(agents + 1)]
        self.realised: Final = [Realised() for _ in range(agents + 1)]
        self.recorded_no = 0
        self.changed = True
        self.busy = False
        self.corridor: Corridor | None = None
        self.context: tuple[int, Floats, Context] | None = None

    def freeze(self) -> FrozenWatch:
        return FrozenWatch(self.levels, [each.freeze() for each in self.realised], self.recorded_no, self.ended)

    def thaw(self, frozen: FrozenWatch) -> None:
        """Take back what `freeze` gave; an empty one (of an earlier version) changes nothing."""
        if frozen.returns:
            self.levels = [dict(each) for each in frozen.levels]
            self.realised[:] = [Realised.thaw(each) for each in frozen.returns]
            self.recorded_no = frozen.recorded_no
        if frozen.ended:
            self.ended = [{key: list(at) for key, at in each.items()} for each in frozen.ended]
