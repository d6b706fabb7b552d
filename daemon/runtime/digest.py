"""BLAKE2b over the fills, equity and orders of an account, equal in every run and replay of the same bars.

A fill is the row F(ts, sample, symbol, n, side, lots, price, fee), a valuation E(ts, equity, books by name), and an
order O(ts, sample, symbol, n, side, lots, limit); `n` is the basket's number in its sample. Rows are ordered by ts,
then kind, symbol and n. Instants are hashed one after the other, and each hash contains the previous one, so that a
digest can be saved and continued.

What can go wrong: a fill is known at the close of its bar and has the time of its open, so that its row comes late. The
rows of an instant are therefore hashed one bar length later, sorted, whatever order they came in.

Rejected: one hash over all rows. A hash in progress cannot be put into a snapshot, so a recovered run would have to
read its whole journal again (docs/decisions/004).
"""

from collections.abc import Sequence
from operator import itemgetter
from typing import Final

import msgspec

from quantd.daemon.engine.core.digest_rows import END, EQUITY, FILL, ORDER, Chain, head_of
from quantd.trading.effects import Effect, Filled, Valued
from quantd.trading.instruments import Universe
from quantd.trading.orders import OrderBasket

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[list[object]]).decode

Row = tuple[object, ...]
Source = Filled | Valued | OrderBasket

_KINDS: Final[dict[type[Source], int]] = {Filled: FILL, Valued: EQUITY, OrderBasket: ORDER}
_SOURCES: Final = {kind: source for source, kind in _KINDS.items()}
_SYMBOL: Final = itemgetter(3)


def _sort_key(row: Row) -> Row:
    """Sort key within an instant: fills, equity, orders; then symbol (row[3]), n (row[4]) and sample (row[2])."""
    return (EQUITY,) if row[0] == EQUITY else (row[0], row[3], row[4], row[2])


def _encoded(rows: list[Row]) -> bytes:
    """Rows as MessagePack, one after the other, without the header of their array."""
    head = 1 if len(rows) < 16 else 3 if len(rows) < 65536 else 5  # bytes of the header, by the array's length
    return _encode(rows)[head:]


def _sorted_rows(rows: bytes) -> bytes:
    """The rows of one instant, sorted, as MessagePack without the header of their array."""
    return _encoded(sorted(map(tuple, _decode(rows)), key=_sort_key))


class Digest:
    """The digest of an account, fed with the effects of its steps.

    The rows of an instant are hashed once no earlier row can follow. `books` are the agents' names and the unallocated
    book (what no agent has); `interval_ns` is the length of a bar.
    """

    def __init__(self, universe: Universe, books: Sequence[str], interval_ns: int) -> None:
        self._symbols = universe.symbols
        by_name = sorted(range(len(books)), key=lambda k: books[k])
        self._books = [(books[k], k) for k in by_name]
        self.chain = Chain(interval_ns, _sorted_rows)

    def add(self, effects: Sequence[Effect]) -> None:
        """Add the rows of a step's effects to the digest."""
        for effect in effects:
            kind = _KINDS.get(type(effect))  # type: ignore[arg-type]
            if kind is not None:
                self._put(effect, kind)  # type: ignore[arg-type]

    def settle(self, now: int) -> None:
        """Hash the instants that are complete at `now` (ns UTC), because no further row can belong to them."""
        self.chain.settle(now)

    def _put(self, effect: Source, kind: int) -> None:
        """Add the rows of an effect to the digest, sorted by symbol.

        The side is 1 for a purchase and -1 for a sale. A valuation is one row, with the books by name.
        """
        names = self._symbols
        match effect:
            case Filled(sample, n, ts, sym, lots, price, fee, _):
                rows: list[Row] = [
                    (FILL, ts, sample, names[s], n, 1 if count > 0 else -1, abs(count), price_nano, fee_micro)
                    for s, count, price_nano, fee_micro in zip(sym, lots, price, fee, strict=True)
                ]
            case Valued():
                books = [(name, effect.books[k]) for name, k in self._books]
                self.chain.put(effect.ts, kind, 1, _encode((EQUITY, effect.ts, effect.equity_micro, books)))
                return
            case OrderBasket():
                rows = [
                    (ORDER, effect.ts, effect.sample, names[s], effect.n, 1 if count > 0 else -1, abs(count), worst)
                    for s, count, worst in zip(effect.sym, effect.lots, effect.worst_nano, strict=True)
                ]
        rows.sort(key=_SYMBOL)
        self.chain.put(effect.ts, kind, len(rows), _encoded(rows))

    def freeze(self) -> bytes:
        """Encode the digest for a snapshot between two events."""
        chain = self.chain
        return _encode((chain.link, [(ts, kind, head_of(rows) + data) for ts, kind, rows, data in chain.waiting()]))

    def thaw(self, frozen: bytes) -> None:
        """Continue from a frozen digest. A digest of an earlier version contains effects instead of rows."""
        link, parts = msgspec.msgpack.decode(frozen, type=tuple[bytes, list[tuple[int, int, bytes]]])
        self.chain = self._chain(link)
        for ts, kind, data in parts:
            if data[0] & 0xF0 == 0x80 or data[0] in (0xDE, 0xDF):  # a MessagePack map: an effect
                self._put(msgspec.msgpack.decode(data, type=_SOURCES[kind]), kind)
            else:
                rows = _decode(data)
                self.chain.put(ts, kind, len(rows), _encoded(list(map(tuple, rows))))

    def hexdigest(self) -> str:
        """The digest of all rows so far. It is computed on a copy, so that more rows can be added."""
        copy = self._chain(self.chain.link)
        for rows in self.chain.waiting():
            copy.put(*rows)
        copy.close(END)
        return copy.link.hex()

    def _chain(self, link: bytes) -> Chain:
        """A chain that continues from the hash `link`."""
        chain = Chain(self.chain.interval, _sorted_rows)
        chain.link = link
        return chain


class NoDigest(Digest):
    """The digest of a run whose effects nobody compares, such as one point of a sweep; always empty."""

    def add(self, effects: Sequence[Effect]) -> None:
        return None

    def settle(self, now: int) -> None:
        return None
