"""A row of the table of quarantined bars. Imports no library of a database: each start of a run builds such rows."""

from msgspec import Struct


class BadBar(Struct, frozen=True):
    """A refused bar as text, with the reason."""

    ts: int
    symbol: str
    reason: str
    bar: str
