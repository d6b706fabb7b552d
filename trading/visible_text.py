"""Control characters of foreign text, written out: a terminal shows them and does not obey them."""

from collections.abc import Mapping
from typing import Final

_C0: Final = {c: f"\\x{c:02x}" for c in range(32)}
# JSON escapes those below 32 itself and none of these; written like this they are JSON too
_BEYOND: Final = {
    c: f"\\u{c:04x}" for c in (*range(127, 160), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}

ESCAPES: Final[Mapping[int, str]] = _C0 | _BEYOND
"""For a text that is one line."""

LINES: Final[Mapping[int, str]] = {c: text for c, text in ESCAPES.items() if chr(c) not in "\n\t"}
"""For a text of several lines."""


def visible(text: str) -> str:
    """`text` without control characters, line feeds and tabs excepted; a JSON document stays the same document."""
    return text.translate(LINES)
