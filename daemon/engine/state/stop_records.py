"""Records of the protective stops at the venue, beside their orders."""

from typing import Literal

from msgspec import Struct

from quantd.risk.protective import Kind
from quantd.trading.orders import Wish


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
