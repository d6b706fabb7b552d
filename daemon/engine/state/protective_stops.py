"""The protective stops at the venue, the plans that wait for their end, and pauses after refusals."""

from collections.abc import Sequence

from quantd.daemon.engine.state.open_orders import FrozenOrders, Key, Working
from quantd.daemon.engine.state.stop_records import Own, Postponed, Rest, Retry, Side, Stops


class Protection:
    """The stops at the venue with their records, plans that wait for their end, pauses after refusals, and protective
    levels that operators set."""

    __slots__ = ("leaving", "own", "postponed", "rests", "retries", "stops")

    def __init__(self) -> None:
        self.stops: dict[Key, Working] = {}
        """Protective stops at the venue: they reserve nothing, and are cancelled for orders that reduce."""
        self.rests: dict[Key, Rest] = {}
        """Basket of stops -> the positions that they protect."""
        self.postponed: list[Postponed] = []
        """Plans that wait for the end of stops in the same symbols."""
        self.leaving = False
        """Whether the daemon stops and has cancelled its stops: none is sent before the next start."""
        self.retries: dict[tuple[int, int, Side, str], Retry] = {}
        """(agent, column, side, words) -> the pause after the venue refused orders, or ended a stop."""
        self.own: dict[tuple[int, int], Own] = {}
        """(agent, column) -> levels that an operator set for the position of this agent in this column."""

    def freeze(self) -> Stops:
        """The records of protective stops as plain values.

        The orders of the stops are a separate field in a snapshot.
        """
        return Stops(
            list(self.rests.items()),
            self.postponed,
            list(self.own.values()),
            list(self.retries.values()),
            self.leaving,
        )

    def thaw(self, frozen: Stops, stops: Sequence[tuple[Key, FrozenOrders]], agents: int) -> None:
        """Take the records of stops from a snapshot; `stops` are the orders of the stops."""
        self.stops = {key: Working.thaw(work, agents) for key, work in stops}
        self.rests = dict(frozen.rests)
        self.postponed, self.leaving = list(frozen.postponed), frozen.leaving
        self.own = {(levels.agent, levels.symbol): levels for levels in frozen.own}
        self.retries = {(retry.agent, retry.symbol, retry.side, retry.words): retry for retry in frozen.retries}
