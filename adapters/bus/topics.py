"""Topic names. No external text can add a level or a wildcard to a topic. Pure."""

from typing import Final
from urllib.parse import quote

LEVEL_CHARS: Final = 64
"""Maximum length of a topic level built from text."""


def checked_level(text: str, key: str) -> str:
    """Return `text` if it is a valid topic level. Raises ValueError with the config key and the remedy."""
    bad = sorted({c for c in text if c in "/+#" or not c.isprintable() or c == " "})
    if not text or text.startswith("$") or len(text) > LEVEL_CHARS or bad:
        raise ValueError(
            f"{key} = {text!r} cannot be part of an MQTT topic; use 1 to {LEVEL_CHARS} letters, digits, '-', '_' "
            "or '.', without '/', '+', '#', spaces or a leading '$'."
        )
    return text


def checked_prefix(text: str, key: str = "[bus] prefix") -> str:
    """Return `text` if every level of it is valid; a prefix may have several ("site/quantd")."""
    for level in text.split("/"):
        checked_level(level, key)
    return text


def escaped_level(text: str) -> str:
    """Return `text` as one topic level, percent-encoded where a character has a meaning in MQTT; never fails."""
    return quote(text[:LEVEL_CHARS].encode("utf-8", "replace"), safe="")[:LEVEL_CHARS] or "other"


def root(prefix: str, name: str) -> str:
    return f"{checked_prefix(prefix)}/{checked_level(name, '[quantd] name')}"
