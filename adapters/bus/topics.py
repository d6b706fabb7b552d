"""Topic names. Nothing that comes from outside can add a level or a wildcard to a topic. Pure."""

from typing import Final
from urllib.parse import quote

LEVEL_CHARS: Final = 64
"""Longest topic level that is made from text; a kind of alert is a short word."""


def checked_level(text: str, key: str) -> str:
    """`text` if it can be one topic level as it is; ValueError names the config key and the remedy."""
    bad = sorted({c for c in text if c in "/+#" or not c.isprintable() or c == " "})
    if not text or text.startswith("$") or len(text) > LEVEL_CHARS or bad:
        raise ValueError(
            f"{key} = {text!r} cannot be part of an MQTT topic; use 1 to {LEVEL_CHARS} letters, digits, '-', '_' "
            "or '.', without '/', '+', '#', spaces or a leading '$'."
        )
    return text


def checked_prefix(text: str, key: str = "[bus] prefix") -> str:
    """`text` if every level of it can be used; a prefix may have several ("site/quantd")."""
    for level in text.split("/"):
        checked_level(level, key)
    return text


def escaped_level(text: str) -> str:
    """`text` as one topic level, percent-encoded where MQTT gives a character a meaning; never fails."""
    return quote(text[:LEVEL_CHARS].encode("utf-8", "replace"), safe="")[:LEVEL_CHARS] or "other"


def root(prefix: str, name: str) -> str:
    """The topic under which one instance speaks: quantd/paper."""
    return f"{checked_prefix(prefix)}/{checked_level(name, '[quantd] name')}"
