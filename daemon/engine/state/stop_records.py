"""Records of the protective stops at the venue, beside their orders."""

from typing import Final, Literal

from msgspec import Struct

from quantd.risk.protective import Kind
from quantd.trading.events import Proposed
from quantd.trading.orders import Wish

TARGET: Final = "#take_profit"
STOP: Final = "#stop_loss"
"""Ends of the ids of a bracket's exits."""


class Rest(Struct):
    """The protective stops of one basket of orders, all of `agent`, by row.

    `stop_nano` are the present triggers (a split rescales them), `entry` the prices that their levels derive from,
    `asked` the instant of the cancel, 0 for none.
    """

    agent: int
    stop_nano: list[int]
    entry: list[float]
    kind: list[Kind]
    asked: list[int]


class Intent(Struct, frozen=True, omit_defaults=True):
    """What the sender of a proposal asks of its orders: the id that they carry as their `cause`, empty for a plan of
    the daemon; the `wishes` behind them; and with `whole`, that nothing is sent unless all of it passes."""

    cause: str = ""
    wishes: tuple[Wish, ...] = ()
    whole: bool = False


class Postponed(Struct):
    """A plan that waits for the end of stops, and of resting orders, in the columns `symbols`. The other fields are
    arguments of `planning.plan`: the agents' answers or `lots`, and how they are planned."""

    symbols: list[int]
    answers: dict[int, bytes]
    sample: int
    used: int
    flatten: bool
    lots: dict[int, bytes] | None = None
    by_hand: bool = False
    intent: Intent = Intent()


class Own(Struct):
    """Protective levels that an operator set for one position of an agent, in nano-currency, 0 for none."""

    agent: int
    symbol: int
    stop_nano: int
    target_nano: int
    since: int


class Bracket(Struct):
    """The exits of the order of the proposal `entry`, whose order has their prices.

    `left` are the signed lots that the entry filled less those that the exits filled. `guarded`: the stop-loss order
    was made. `tried`: the take-profit order was tried; `sent`: it was sent; `resting`: it was, and has not ended.
    `stopping`: the price of the stop-loss order was reached while another order of the group was open.
    """

    entry: Proposed
    left: int = 0
    guarded: bool = False
    tried: bool = False
    sent: bool = False
    resting: bool = False
    stopping: bool = False

    @property
    def target_id(self) -> str:
        return self.entry.id + TARGET

    @property
    def stop_id(self) -> str:
        return self.entry.id + STOP

    @property
    def target_cause(self) -> str:
        return self.entry.cause + TARGET

    @property
    def stop_cause(self) -> str:
        return self.entry.cause + STOP

    @property
    def causes(self) -> tuple[str, str, str]:
        """The causes of the entry and of its exits."""
        return self.entry.cause, self.target_cause, self.stop_cause


Side = Literal["add", "reduce", "stop"]
"""The purpose of a refused order: add to a position of the house, reduce it, or protect it as a stop."""


class Retry(Struct, omit_defaults=True):
    """A pause after `times` refusals with the same `words` (the venue's reason without numbers); the pause ends at the
    instant `at`.

    `agent` is the owner of a stop, -1 for other orders. A stop that the venue ended has no words.
    """

    agent: int
    symbol: int
    times: int
    at: int
    side: Side = "stop"
    words: str = ""


class Stops(Struct, frozen=True):
    """All records of protective stops in a snapshot; `rests` has a record for each basket of stops."""

    rests: list[tuple[tuple[int, int], Rest]] = []
    postponed: list[Postponed] = []
    own: list[Own] = []
    retries: list[Retry] = []
    leaving: bool = False
