"""BLAKE2b over the fills, equity and orders of an account, equal in every run and replay of the same bars.

Rows are F(ts, sample, symbol, n, side, lots, price, fee), E(ts, equity, books by name) and O(ts, sample, symbol, n,
side, lots, limit), by ts, then kind, symbol and n. Instants are hashed one by one, each chained to the one before, so
that a digest can be saved and continued.
"""

from collections.abc import Sequence
from hashlib import blake2b
from operator import itemgetter
from typing import Final

import msgspec

from quantd.trading.effects import Effect, Filled, Valued
from quantd.trading.instruments import Universe
from quantd.trading.orders import OrderBasket

_encode = msgspec.msgpack.Encoder().encode

FILL: Final = 0
EQUITY: Final = 1
ORDER: Final = 2

Row = tuple[object, ...]
Source = Filled | Valued | OrderBasket

_KINDS: Final[dict[type[Source], int]] = {Filled: FILL, Valued: EQUITY, OrderBasket: ORDER}
_SOURCES: Final = {kind: source for source, kind in _KINDS.items()}


_TIME: Final = itemgetter(0, 1)
_SYMBOL: Final = itemgetter(3)


def _order(row: Row) -> Row:
    """The order within an instant: fills, equity, orders; by symbol, n and decision."""
    return (EQUITY,) if row[0] == EQUITY else (row[0], row[3], row[4], row[2])


class Digest:
    """A fold over effects. The rows of an instant are hashed once no earlier row can follow."""

    def __init__(self, universe: Universe, books: Sequence[str], interval_ns: int) -> None:
        self._symbols = universe.symbols
        order = sorted(range(len(books)), key=lambda k: books[k])
        self._books = [(books[k], k) for k in order]
        self._interval_ns = interval_ns
        self._open: list[tuple[int, int, Source]] = []
        self._chain = b""

    def add(self, effects: Sequence[Effect]) -> None:
        """Add the rows of these effects."""
        for each in effects:
            kind = _KINDS.get(type(each))  # type: ignore[arg-type]
            if kind is not None:
                self._open.append((each.ts, kind, each))  # type: ignore[union-attr, arg-type]

    def settle(self, now: int) -> None:
        """Hash the instants that have ended: a bar known after `now` opened at most an interval before it."""
        if self._open and (len(self._open) > 512 or now == 0):
            self._hash(now - self._interval_ns if now else None)

    def _hash(self, before: int | None) -> None:
        rows = sorted(self._open, key=_TIME)
        self._open = []
        instant: list[Row] = []
        at, last, several = rows[0][0], -1, False
        for ts, kind, effect in rows:
            if before is not None and ts >= before:
                self._open.append((ts, kind, effect))
                continue
            if ts != at:
                self._close(instant, several)
                instant, at, last, several = [], ts, -1, False
            several = several or kind == last
            last = kind
            instant.extend(self._rows(effect))
        self._close(instant, several)

    def _close(self, rows: list[Row], several: bool) -> None:
        """Chain the rows of an instant, which are in order unless there are `several` effects of one kind."""
        if rows:
            if several:
                rows.sort(key=_order)
            self._chain = blake2b(self._chain + _encode(rows), digest_size=32).digest()

    def _rows(self, effect: Source) -> list[Row]:
        """The rows of an effect, by symbol."""
        names = self._symbols
        match effect:
            case Filled(sample, n, ts, sym, lots, price, fee, _):
                rows: list[Row] = [
                    (FILL, ts, sample, names[s], n, 1 if k > 0 else -1, abs(k), p, f)
                    for s, k, p, f in zip(sym, lots, price, fee, strict=True)
                ]
            case Valued():
                books = [(name, effect.books[k]) for name, k in self._books]
                return [(EQUITY, effect.ts, effect.equity_micro, books)]
            case OrderBasket():
                rows = [
                    (ORDER, effect.ts, effect.sample, names[s], effect.n, 1 if k > 0 else -1, abs(k), w)
                    for s, k, w in zip(effect.sym, effect.lots, effect.worst_nano, strict=True)
                ]
        rows.sort(key=_SYMBOL)
        return rows

    def freeze(self) -> bytes:
        """The encoded digest between two events."""
        effects = [(ts, kind, _encode(effect)) for ts, kind, effect in self._open]
        return _encode((self._chain, effects))

    def thaw(self, frozen: bytes) -> None:
        """Continue from a frozen digest."""
        self._chain, rows = msgspec.msgpack.decode(frozen, type=tuple[bytes, list[tuple[int, int, bytes]]])
        self._open = [(ts, kind, msgspec.msgpack.decode(data, type=_SOURCES[kind])) for ts, kind, data in rows]

    def hexdigest(self) -> str:
        """The digest so far, all instants counted as ended; the fold can continue."""
        rows, chain = list(self._open), self._chain
        if rows:
            self._hash(None)
        digest = self._chain.hex()
        self._open, self._chain = rows, chain
        return digest
