"""The memory of the monitor and of messages: levels and returns of each book, and what was already announced."""

from typing import Final

from msgspec import Struct, field

from quantd.risk.limits.catalogue import Limits
from quantd.risk.limits.context import Context
from quantd.risk.limits.ruleset import rules_of
from quantd.risk.monitor.ceilings import Bands
from quantd.risk.monitor.holdings import Holdings
from quantd.risk.monitor.realised import FrozenReturns, Realised
from quantd.trading.instruments import Universe
from quantd.trading.market import Floats


class Noted(Struct):
    """What later messages depend on: milestones passed, policies that decayed, whether an alert has named the present
    `correlation`, and whether the market is `volatile` by [risk.regime].

    `refused` counts the orders that the gate (the check of limits) refused since the last message after a close, by
    reason.
    """

    milestones: int = 0
    decayed: list[int] = []
    correlation: bool = False
    refused: dict[str, int] = {}
    volatile: bool = False


class FrozenWatch(Struct, frozen=True):
    """A `Watch` in a snapshot: the agents' alert levels, and the returns of the whole account, then of each
    agent."""

    levels: list[dict[str, int]] = field(default_factory=list)
    returns: list[FrozenReturns] = field(default_factory=list)
    recorded_no: int = 0
    ended: list[dict[str, list[int]]] = field(default_factory=list)


class Watch:
    """The monitor's memory of one run.

    The alert levels of the whole account are in `State.monitor`, the agents' levels in `levels`. The lists
    `ended`, `realised` and `bands` have an item for the house, then one for each agent. `ended` has the sample at which
    each level of a limit last ended, `realised` the returns. The last record of all limits is of sample `recorded_no`.
    The `bands`, within which no level changes, and the scratch object `holdings` are not in snapshots: they are made
    again when needed.
    """

    __slots__ = ("bands", "context", "ended", "holdings", "levels", "realised", "recorded_no")

    def __init__(self, agents: int) -> None:
        self.levels: list[dict[str, int]] = [{} for _ in range(agents)]
        self.ended: list[dict[str, list[int]]] = [{} for _ in range(agents + 1)]
        self.realised: Final = [Realised() for _ in range(agents + 1)]
        self.recorded_no = 0
        self.bands: Final[list[Bands | None]] = [None] * (agents + 1)
        self.holdings: Holdings | None = None
        self.context: tuple[int, Floats, Context] | None = None

    def bands_of(self, book: int, limits: Limits, universe: Universe, levels: dict[str, int]) -> Bands:
        """The bands, within which no alert level changes, for a book's present levels; `book` is -1 for the whole
        account."""
        bands = self.bands[book + 1]
        if bands is None or bands.rules.limits is not limits or bands.levels != levels:
            bands = self.bands[book + 1] = Bands(rules_of(limits, universe), levels)
        return bands

    def holdings_of(self, size: int) -> Holdings:
        """The scratch object of holdings for a universe of `size` symbols, made at the first call."""
        if self.holdings is None:
            self.holdings = Holdings(size)
        return self.holdings

    def freeze(self) -> FrozenWatch:
        """The monitor's memory as values of a snapshot."""
        return FrozenWatch(self.levels, [series.freeze() for series in self.realised], self.recorded_no, self.ended)

    def thaw(self, frozen: FrozenWatch) -> None:
        """Restore the monitor's memory from a snapshot; an empty memory, from an earlier version, changes nothing."""
        if frozen.returns:
            self.levels = [dict(levels) for levels in frozen.levels]
            self.realised[:] = [Realised.thaw(series) for series in frozen.returns]
            self.recorded_no = frozen.recorded_no
        if frozen.ended:
            self.ended = [{key: list(at) for key, at in instants.items()} for instants in frozen.ended]
