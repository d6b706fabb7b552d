"""Messages between the daemon and the process of a policy."""

from struct import Struct as Layout
from typing import Final

import msgspec
from msgspec import Struct

from quantd.trading.events import Decided

MESSAGE_BYTES: Final = 4 << 20
"""Largest message that is taken from a process."""

PRINTED_CHARS: Final = 2_000
"""Most characters of what a policy prints that are logged with an answer."""

VALUES: Final = ("prices", "weights", "cash", "equity", "time", "sample", "samples")
"""What of a view travels with each question, beside the universe, which travels when it is another."""

CALLS: Final = ("returns", "synchronous", "bars", "macro")
"""Methods of a view that are called in the daemon when the policy calls them."""

LENGTH: Final = Layout("<Q")
"""The length that goes before each message."""


class Confined(Struct, frozen=True, tag=True):
    """The process has given up what it could; `missing` is what it could not."""

    missing: list[str]


class Loaded(Struct, frozen=True, tag=True):
    """The policy is there."""

    lookback: int
    uses_bars: bool


class Unfit(Struct, frozen=True, tag=True):
    """The policy cannot be loaded."""

    text: str


class Call(Struct, frozen=True, tag=True):
    """A method of the view of question `n` is wanted."""

    n: int
    name: str
    arguments: list[int | str]


class Answered(Struct, frozen=True, tag=True):
    """The answer to question `n`, and what the policy printed meanwhile."""

    n: int
    decided: Decided
    printed: str


Message = Confined | Loaded | Unfit | Call | Answered
DECODER: Final = msgspec.msgpack.Decoder(Message)
