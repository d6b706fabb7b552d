"""The record of a quarantined bar, one that the checks refused. The module imports no database library, because every
start of a run imports it."""

from msgspec import Struct


class BadBar(Struct, frozen=True):
    """A refused bar as text, with the reason."""

    ts: int
    symbol: str
    reason: str
    bar: str
