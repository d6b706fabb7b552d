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
_decode = msgspec.msgpack.Decoder(list[list[object]]).decode

FILL: Final = 0
EQUITY: Final = 1
ORDER: Final = 2
SETTLED: Final = -1

Row = tuple[object, ...]
Source = Filled | Valued | OrderBasket

_KINDS: Final[dict[type[Source], int]] = {Filled: FILL, Valued: EQUITY, OrderBasket: ORDER}
_SOURCES: Final = {kind: source for source, kind in _KINDS.items()}


_TIME: Final = itemgetter(0, 1)
_SYMBOL: Final = itemgetter(3)


Rows = tuple[int, int, int, bytes]
"""(instant, kind, number, data): rows of one kind, encoded one behind the other in the order of their symbols."""


def _order(row: Row) -> Row:
    """The order within an instant: fills, equity, orders; by symbol, n and decision."""
    return (EQUITY,) if row[0] == EQUITY else (row[0], row[3], row[4], row[2])


def _begin(rows: int) -> bytes:
    """The head of a MessagePack array of so many rows."""
    if rows < 16:
        return bytes((0x90 + rows,))
    return b"\xdc" + rows.to_bytes(2, "big") if rows < 65536 else b"\xdd" + rows.to_bytes(4, "big")


def _encoded(rows: list[Row]) -> bytes:
    """Rows one behind the other, without the head of an array."""
    return _encode(rows)[len(_begin(len(rows))) :]


class Digest:
    """A fold over effects. The rows of an instant are hashed once no earlier row can follow."""

    def __init__(self, universe: Universe, books: Sequence[str], interval_ns: int) -> None:
        self._symbols = universe.symbols
        order = sorted(range(len(books)), key=lambda k: books[k])
        self._books = [(books[k], k) for k in order]
        self._interval_ns = interval_ns
        self.opened: list[Rows] = []
        """The rows of instants that may not have ended."""
        self._chain = b""

    def add(self, effects: Sequence[Effect]) -> None:
        """Add the rows of these effects."""
        for each in effects:
            kind = _KINDS.get(type(each))  # type: ignore[arg-type]
            if kind is not None:
                self.opened.append(self._rows(each, kind))  # type: ignore[arg-type]

    def settle(self, now: int) -> None:
        """Hash the instants that have ended: a bar known after `now` opened at most an interval before it."""
        if len(self.opened) > 512:
            self._hash(now - self._interval_ns)

    def _hash(self, before: int | None) -> None:
        rows = sorted(self.opened, key=_TIME)
        self.opened = []
        instant: list[Rows] = []
        at = rows[0][0]
        for each in rows:
            ts = each[0]
            if before is not None and ts >= before:
                self.opened.append(each)
                continue
            if ts != at:
                self._close(instant)
                instant, at = [], ts
            instant.append(each)
        self._close(instant)

    def _close(self, parts: list[Rows]) -> None:
        """Chain the rows of an instant. Those of several parts of one kind are put in order."""
        if not parts:
            return
        rows, data, last = 0, b"", -1
        several = False
        for _, kind, own, part in parts:
            rows += own
            data += part
            several = several or kind == last
            last = kind
        if several:
            data = _encoded(sorted(map(tuple, _decode(_begin(rows) + data)), key=_order))
        self._chain = blake2b(self._chain + _begin(rows) + data, digest_size=32).digest()

    def _rows(self, effect: Source, kind: int) -> Rows:
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
                return effect.ts, kind, 1, _encode((EQUITY, effect.ts, effect.equity_micro, books))
            case OrderBasket():
                rows = [
                    (ORDER, effect.ts, effect.sample, names[s], effect.n, 1 if k > 0 else -1, abs(k), w)
                    for s, k, w in zip(effect.sym, effect.lots, effect.worst_nano, strict=True)
                ]
        rows.sort(key=_SYMBOL)
        return effect.ts, kind, len(rows), _encoded(rows)

    def freeze(self) -> bytes:
        """The encoded digest between two events."""
        return _encode((self._chain, [(ts, kind, _begin(rows) + data) for ts, kind, rows, data in self.opened]))

    def thaw(self, frozen: bytes) -> None:
        """Continue from a frozen digest. One of an earlier version has the effects instead of their rows."""
        self._chain, parts = msgspec.msgpack.decode(frozen, type=tuple[bytes, list[tuple[int, int, bytes]]])
        self.opened = []
        for ts, kind, data in parts:
            if data[0] & 0xF0 == 0x80 or data[0] in (0xDE, 0xDF):  # a map
                self.opened.append(self._rows(msgspec.msgpack.decode(data, type=_SOURCES[kind]), kind))
            else:
                rows = _decode(data)
                self.opened.append((ts, kind, len(rows), _encoded(list(map(tuple, rows)))))

    def hexdigest(self) -> str:
        """The digest so far, all instants counted as ended; the fold can continue."""
        rows, chain = list(self.opened), self._chain
        if rows:
            self._hash(None)
        digest = self._chain.hex()
        self.opened, self._chain = rows, chain
        return digest


class NoDigest(Digest):
    """The digest of a run whose effects nobody compares, such as one point of a sweep; always empty."""

    def add(self, effects: Sequence[Effect]) -> None:
        return None

    def settle(self, now: int) -> None:
        return None
