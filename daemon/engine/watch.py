"""What the monitor remembers: levels and returns of each book, what was recorded last, and the screens that save measuring."""

from typing import Any, Final

from msgspec import Struct, field

from risk.context import Context
from risk.realised import FrozenReturns, Realised
from risk.screen import Screen
from risk.standing import Values
from trading.market import Floats


class FrozenWatch(Struct, frozen=True):
    """A `Watch` as plain values; agents in order, in `returns` the house before them. No default: a snapshot without one
    is of a version before."""

    levels: list[dict[str, int]] = field(default_factory=list)
    returns: list[FrozenReturns] = field(default_factory=list)
    changed: bool = True
    recorded_no: int = 0
    recorded: Values = field(default_factory=dict)


class Corridor:
    """Screens of all books since one measurement. `inverse` float64[H] is one over the marks then, of `columns` (None: all);
    `rows` counts the synchronous rows then."""

    __slots__ = ("columns", "inverse", "rows", "screens")

    def __init__(self, columns: Any, inverse: Floats, rows: int, screens: list[tuple[int, Screen]]) -> None:
        self.columns = columns
        self.inverse = inverse
        self.rows = rows
        self.screens = screens


class Watch:
    """Of one run. `levels` by agent (the house's are in `State.monitor`); `realised` the house's returns, then the agents';
    `changed`: something was booked since the last sample; `recorded` the values of the last record, of sample
    `recorded_no`. `corridor` and `context` are not kept in snapshots: without them everything is measured again, with the
    same result. `changed_before`: so it was a sample earlier."""

    __slots__ = ("changed", "changed_before", "context", "corridor", "levels", "realised", "recorded", "recorded_no")

    def __init__(self, agents: int) -> None:
        self.levels: list[dict[str, int]] = [{} for _ in range(agents)]
        self.realised: Final = [Realised() for _ in range(agents + 1)]
        self.changed = True
        self.changed_before = False
        self.recorded_no = 0
        self.recorded: Values = {}
        self.corridor: Corridor | None = None
        self.context: tuple[int, Floats, Context] | None = None

    def booked(self) -> None:
        """Lots or cash changed."""
        self.changed = True
        self.corridor = None

    def freeze(self) -> FrozenWatch:
        return FrozenWatch(
            self.levels, [each.freeze() for each in self.realised], self.changed, self.recorded_no, self.recorded
        )

    def thaw(self, frozen: FrozenWatch) -> None:
        """Take back what `freeze` gave; an empty one (of an earlier version) changes nothing."""
        if frozen.returns:
            self.levels = [dict(each) for each in frozen.levels]
            self.realised[:] = [Realised.thaw(each) for each in frozen.returns]
            self.changed, self.recorded_no = frozen.changed, frozen.recorded_no
            self.recorded = dict(frozen.recorded)
