"""The monitor's memory: levels and returns of each book, the last record, and the screens that save measurements."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

from quantd.risk.limits.context import Context
from quantd.risk.monitor.realised import FrozenReturns, Realised
from quantd.risk.screen import Screen
from quantd.trading.market import Floats


class FrozenWatch(Struct, frozen=True):
    """A `Watch` in a snapshot: levels by agent; returns of the house, then of the agents."""

    levels: list[dict[str, int]] = field(default_factory=list)
    returns: list[FrozenReturns] = field(default_factory=list)
    recorded_no: int = 0
    ended: list[dict[str, list[int]]] = field(default_factory=list)


@dataclass(slots=True)
class Corridor:
    """Screens of all books since one measurement.

    `inverse` float64[H] is 1 / marks of the measurement, by `columns` (None: all); `rows` counts the synchronous rows.
    `lots` of each screened book are the planned positions at the next sample.
    """

    columns: NDArray[np.intp] | None
    inverse: Floats
    rows: int
    screens: list[tuple[int, Screen]]
    lots: list[list[int]] | None


class Watch:
    """The memory of one run. The house's levels are in `State.monitor`, those of the agents in `levels`.

    `ended`, of the house and then by agent, has the sample at which each level of a limit last ended; `realised` the
    returns in the same order. The last record is of sample `recorded_no`. The rest is not in snapshots: without it
    everything is measured again, with the same result. `changed` is true after a booking since the last sample, `busy`
    after one in the interval before.
    """

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
        """Restore a frozen memory; an empty one, of an earlier version, changes nothing."""
        if frozen.returns:
            self.levels = [dict(each) for each in frozen.levels]
            self.realised[:] = [Realised.thaw(each) for each in frozen.returns]
            self.recorded_no = frozen.recorded_no
        if frozen.ended:
            self.ended = [{key: list(at) for key, at in each.items()} for each in frozen.ended]
