"""Results of queries of a store, as records."""

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
    """A page of a list, newest row first, with the key of each row. `more` says whether older rows follow."""

    rows: list[Row]
    keys: list[tuple[int, ...]]
    more: bool

    @property
    def next(self) -> tuple[int, ...]:
        """The key that requests the next page: the key of the oldest row of this page; empty at the end of the list."""
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

    `agent` is the agent whose book a flow (deposit or withdrawal) changed, empty for the unallocated book. `seq` is the
    number of its journal entry, by which it is sorted among the account's valuations.
    """

    ts: int
    kind: str
    symbol: str
    amount: str
    agent: str = ""
    seq: int = 0


class SwitchMove(Struct, frozen=True):
    """A change of a trading switch; the states are RUN, REDUCE and HALT; `who` is an agent, or "house" for the whole
    account."""

    ts: int
    time: str
    who: str
    before: str
    after: str
    reason: str


class RiskPoint(Struct, frozen=True):
    """The account's risk limits at one instant: limit -> (value, bound); None for NaN or infinity.

    `kind` "plan" is the forecast for the time after all orders of one decision have filled. `kind` "held" is the
    measurement at a valuation: of all limits, or of the limits on losses and realised returns alone.
    """

    ts: int
    kind: str
    measures: dict[str, tuple[float | None, float | None]]


class Decision(Struct, frozen=True):
    """A plan (decisions of one instant converted to orders) with its journal entry `seq`, and its number `ordinal`
    among the plans of that entry, from 1.

    `agents` are the agents' names at that time. `shadow` is the shadow agent that decided, empty for the account
    itself.
    """

    seq: int
    ordinal: int
    plan: Planned
    agents: tuple[str, ...]
    shadow: str = ""

    @property
    def address(self) -> str:
        """The plan's display name: d4812, or d4812.2 for the second plan of a journal entry, or d4812@guest for a
        plan of the shadow agent `guest`."""
        return self._named(f"d{self.seq}" if self.ordinal == 1 else f"d{self.seq}.{self.ordinal}")

    def of(self, symbol: str) -> str:
        """Return the display name of one symbol of the plan: d4812:SPY, or d4812:SPY@guest for a shadow agent."""
        decision, at_sign, shadow = self.address.partition("@")
        return f"{decision}:{symbol}{at_sign}{shadow}"

    def order(self, run: str, symbol: str) -> str:
        """Return the id of the plan's order in one symbol in `run`."""
        return self._named(order_id(run, self.plan.sample, symbol, self.plan.n))

    def _named(self, name: str) -> str:
        return f"{name}@{self.shadow}" if self.shadow else name
