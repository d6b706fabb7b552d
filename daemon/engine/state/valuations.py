"""Records of what the account is worth at own closes: samples whose date is complete, and those that wait."""

from typing import Final

from msgspec import Struct

KEPT: Final = 5_040
"""Stored samples: twenty years of sessions."""


class Unclosed(Struct, frozen=True):
    """Sample `number`, whose date is complete from `final` on. As bytes: `marks` float64[N], and `units` float64[N] of
    the house and of each book."""

    ts: int
    number: int
    key: int
    final: int
    marks: bytes
    units: list[bytes]


class Gain(Struct, frozen=True):
    """Value to add, in micro-currency, of the house and then of each book at a sample, at own closes of the date."""

    ts: int
    number: int
    micro: list[int]


class Valuations(Struct):
    """Samples whose date is complete, and samples that wait for it; oldest first."""

    closed: list[Gain] = []
    unclosed: list[Unclosed] = []
