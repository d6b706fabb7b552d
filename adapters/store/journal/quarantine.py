"""A row of the table of quarantined bars. Imports no database library: every start of a run imports this module."""

from msgspec import Struct


class BadBar(Struct, frozen=True):
    """A refused bar as text, with the reason."""

    ts: int
    symbol: str
    reason: str
    bar: str
