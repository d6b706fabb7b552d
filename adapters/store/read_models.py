"""Rows that queries of a store return."""

from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from msgspec import Struct

from quantd.trading.effects import Planned
from quantd.trading.orders import order_id

Row = TypeVar("Row")

Group = Literal["all", "open", "cut", "filled", "cancelled", "rejected", "expired"]
"""Orders of a list: all, open ones, those cut by a limit, or those of a final state."""


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """A part of a list, the newest row first, with the key of each row. `more` says whether older rows follow."""

    rows: list[Row]
    keys: list[tuple[int, ...]]
    more: bool

    @property
    def next(self) -> tuple[int, ...]:
        """The key of the oldest row, which the rows of the next page precede; empty at the end of the list."""
        return self.keys[-1] if self.more else ()


class Alert(Struct, frozen=True):
    """One alert; `seq` orders alerts of one instant."""

    seq: int
    ts: int
    time: str
    level: str
    kind: str
    text: str
    symbol: str
    agent: str
    value: float | None
    bound: float | None


class Booking(Struct, frozen=True):
    """A cash movement without a fill.

    `agent` is the agent whose book a flow changed, empty for the unallocated book. `seq` is its journal entry, which
    orders it among samples.
    """

    ts: int
    kind: str
    symbol: str
    amount: str
    agent: str = ""
    seq: int = 0


class SwitchMove(Struct, frozen=True):
    """A change of a switch; states are RUN, REDUCE, HALT; `who` is an agent or "house"."""

    ts: int
    time: str
    who: str
    before: str
    after: str
    reason: str


class RiskPoint(Struct, frozen=True):
    """House limits at one instant, limit -> (value, bound); None for NaN or infinity.

    `kind` "plan" is the forecast after a round's orders have filled. "held" is the measurement of positions at a sample
    with the losses behind the switch, or of losses and returns alone.
    """

    ts: int
    kind: str
    measures: dict[str, tuple[float | None, float | None]]


class Decision(Struct, frozen=True):
    """A plan with its journal entry `seq`, and its `ordinal` among the plans of that entry, from 1.

    `agents` are the agents' names at that time. `shadow` is the shadow that decided, empty for the house.
    """

    seq: int
    ordinal: int
    plan: Planned
    agents: tuple[str, ...]
    shadow: str = ""

    @property
    def address(self) -> str:
        """Its display name: d4812, or d4812.2 for the second plan of a step, or d4812@guest for a plan of the shadow
        `guest`."""
        return self._named(f"d{self.seq}" if self.ordinal == 1 else f"d{self.seq}.{self.ordinal}")

    def of(self, symbol: str) -> str:
        """The address of one symbol: d4812:SPY, or d4812:SPY@guest."""
        decision, at_sign, shadow = self.address.partition("@")
        return f"{decision}:{symbol}{at_sign}{shadow}"

    def order(self, run: str, symbol: str) -> str:
        """The id of its order of one symbol in `run`."""
        return self._named(order_id(run, self.plan.sample, symbol, self.plan.n))

    def _named(self, name: str) -> str:
        return f"{name}@{self.shadow}" if self.shadow else name
