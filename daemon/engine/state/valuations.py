"""Records of the account's value at each instrument's own close of the date, and samples that wait for closes."""

from typing import Final

from msgspec import Struct

KEPT: Final = 5_040
"""Stored samples: twenty years of sessions."""


class Unclosed(Struct, frozen=True):
    """The sample `number`, which waits for closes of its date: all are known from the instant `final` on.

    `marks` are the bytes of float64[N]. `units` are the bytes of the held units, float64[N]: of the whole account,
    then of each book.
    """

    ts: int
    number: int
    key: int
    final: int
    marks: bytes
    units: list[bytes]


class Gain(Struct, frozen=True):
    """What to add to the values at a sample, in micro-currency, so that they are at each instrument's own close.

    `micro` has the amount of the whole account, then of each book.
    """

    ts: int
    number: int
    micro: list[int]


class Valuations(Struct):
    """The gains of `closed` samples, and the `unclosed` samples, which wait for closes of their date; oldest first."""

    closed: list[Gain] = []
    unclosed: list[Unclosed] = []
