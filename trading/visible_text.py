"""Escapes control characters of external text, so that a terminal prints them instead of executing them."""

from collections.abc import Mapping
from typing import Final

_C0: Final = {c: f"\\x{c:02x}" for c in range(32)}
# JSON escapes those below 32 itself and none of these. This notation is valid JSON too.
_BEYOND: Final = {
    c: f"\\u{c:04x}" for c in (*range(127, 160), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}

ESCAPES: Final[Mapping[int, str]] = _C0 | _BEYOND
"""For text of one line."""

LINES: Final[Mapping[int, str]] = {c: text for c, text in ESCAPES.items() if chr(c) not in "\n\t"}
"""For text of several lines."""


def visible(text: str) -> str:
    """Return `text` with escaped control characters, except line feeds and tabs; a JSON document keeps its meaning."""
    return text.translate(LINES)
