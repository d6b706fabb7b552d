"""Items of a venue's lists that cannot be read: each is set aside and reported once, and the readable items are used.

What can go wrong: a venue adds a form of item, and the whole list is dropped at every comparison. A single unreadable
item would then stop every dividend and every comparison of positions. An item that is set aside is never assumed to be
absent: the column of an unreadable position keeps the lots of the books, and an unreadable order stays UNKNOWN.
"""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any, Final, TypeVar

import msgspec

from quantd.trading.display_text import one_line

T = TypeVar("T")

MAX_REMEMBERED: Final = 10_000
"""Maximum number of remembered items; each of them is named once."""

NAMED: Final = 5
"""Maximum number of items named between two calls of `taken`; further items are counted."""

WORDS: Final = 160
"""Maximum length of an item, or of a reason, in a message."""

WRONG: Final = (ValueError, TypeError, KeyError, AttributeError, IndexError, ArithmeticError, msgspec.DecodeError)
"""Exceptions by which the conversion of an item fails."""


class Unreadable:
    """The items of one account that were set aside. `count` is their number, repeated items included.

    `safe` is a function that converts text of the venue to one line without secrets.
    """

    def __init__(self, safe: Callable[[str], str] = str) -> None:
        self.count = 0
        self._safe = safe
        self._seen: dict[bytes, None] = {}
        self._new: list[str] = []
        self._unnamed = 0

    def add(self, what: str, item: object, why: object) -> None:
        """Count and report an item that cannot be read. `what` is the kind of item ("activity"), `item` its content and
        `why` the reason."""
        self.count += 1
        reason = one_line(str(why), WORDS) or type(why).__name__
        self._name_once(what, f"an unreadable {what} of the venue was set aside ({reason})", item)

    def name(self, text: str, item: object) -> None:
        """Report an item that can be read, without counting it: the item is used, or does not concern the books."""
        self._name_once("", text, item)

    def _name_once(self, what: str, text: str, item: object) -> None:
        """Store the text for the next call of `taken`, unless the same item was reported earlier.

        At most NAMED texts are stored between two calls of `taken`; further items are only counted. `_safe` removes
        secrets.
        """
        content = item.decode(errors="replace") if isinstance(item, bytes) else str(item)
        key = blake2b(f"{what}|{content}".encode(errors="replace"), digest_size=8).digest()
        if key in self._seen:
            return
        if len(self._seen) >= MAX_REMEMBERED:
            del self._seen[next(iter(self._seen))]
        self._seen[key] = None
        if len(self._new) < NAMED:
            self._new.append(self._safe(f"{text}: {one_line(content, WORDS)}"))
        else:
            self._unnamed += 1

    def taken(self) -> Sequence[str]:
        """Return a text for each new item since the last call, and clear them."""
        texts, unnamed = self._new, self._unnamed
        self._new, self._unnamed = [], 0
        return [*texts, f"{unnamed} more items of the venue were set aside or named"] if unnamed else texts

    def items(self, what: str, raws: Sequence[msgspec.Raw], read: Callable[[bytes], T]) -> list[T]:
        """Decode items with `read`, and return the readable ones."""
        return [item for item, _ in self.pairs(what, raws, read)]

    def pairs(self, what: str, raws: Sequence[msgspec.Raw], read: Callable[[bytes], T]) -> list[tuple[T, bytes]]:
        """Decode items with `read`; return each readable item with its encoded form, and report the unreadable ones."""
        readable_pairs = []
        for raw in raws:
            data = bytes(raw)
            try:
                readable_pairs.append((read(data), data))
            except WRONG as wrong:
                self.add(what, data, wrong)
        return readable_pairs


def field_of(raw: bytes, name: str) -> str:
    """Return the text field `name` of an encoded item whose other fields may be anything; empty if the field is
    missing."""
    try:
        item: Any = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    value = item.get(name) if isinstance(item, dict) else None
    return value if isinstance(value, str) else ""
