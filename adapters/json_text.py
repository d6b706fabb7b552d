"""JSON text from outside, which is refused if an object has a key twice.

msgspec and most other readers take the last value of a repeated key, and some the first. Two programs that read
the same text would read different commands: `"dry_run": true, "dry_run": false` would be executed.
"""

import json
from typing import Any, Final

import msgspec

KEY_CHARS: Final = 40
"""Maximum length of a repeated key in the message."""


def decoded(text: bytes, kind: Any) -> Any:
    """Decode a JSON text as a `kind`.

    Raises msgspec.DecodeError, UnicodeDecodeError and RecursionError, and msgspec.ValidationError for a key that one
    object has twice.
    """
    value = msgspec.json.decode(text, type=kind)
    if (key := repeated_key(text)) is not None:
        raise msgspec.ValidationError(f"the key {key[:KEY_CHARS]!r} is given twice; remove one of them")
    return value


def repeated_key(text: bytes) -> str | None:
    """Return the first key that one object of a valid JSON text has twice, with escapes decoded; None without one."""
    duplicates: list[str] = []

    def check(pairs: list[tuple[str, None]]) -> None:
        if len(dict(pairs)) < len(pairs):
            keys = [key for key, _ in pairs]
            duplicates.append(next(key for k, key in enumerate(keys) if key in keys[:k]))

    json.loads(text.decode(), object_pairs_hook=check, parse_int=float)  # int() raises for more than 4,300 digits
    return duplicates[0] if duplicates else None
