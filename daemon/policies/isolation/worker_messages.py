"""Messages between the daemon and the process of a policy."""

from typing import Final

import msgspec
from msgspec import Struct

from quantd.trading.events import Decided

PRINTED_CHARS: Final = 2_000
"""Maximum number of printed characters that are logged with an answer."""

VALUES: Final = ("prices", "weights", "cash", "equity", "time", "sample", "sample_time")
"""Fields of a view that are sent with each call; the universe is sent only after a change."""

CALLS: Final = ("returns", "synchronous", "deviation", "mean", "momentum", "covariance", "bars", "macro", "series")
"""Methods of a view that run in the daemon when the policy calls them."""


class Confined(Struct, frozen=True, tag=True):
    """The process gave up its rights; `missing` are those that it could not give up."""

    missing: list[str]


class Loaded(Struct, frozen=True, tag=True):
    """The policy is loaded; `undeclared` says that it declares no lookback, `stateless` that it keeps nothing."""

    lookback: int
    uses_bars: bool
    undeclared: bool = False
    stateless: bool = False


class Unfit(Struct, frozen=True, tag=True):
    """The policy cannot be loaded; the message has the reason."""

    text: str


class Call(Struct, frozen=True, tag=True):
    """The policy calls the method `name` of the view that came with call `n`."""

    n: int
    name: str
    arguments: list[int | str]


class Answered(Struct, frozen=True, tag=True):
    """The answer to call `n`, and the policy's printed text."""

    n: int
    decided: Decided
    printed: str


Message = Confined | Loaded | Unfit | Call | Answered
DECODER: Final = msgspec.msgpack.Decoder(Message)
