"""Alerts as plain text for people: a title, and a body with every field. Pure."""

from typing import Final

from msgspec.structs import asdict

from quantd.adapters.bus.payloads import Alert
from quantd.trading.display_text import ESCAPES

TITLE_CHARS: Final = 200
"""Maximum length of a title."""


def title(alert: Alert) -> str:
    """Return the title on one line: "[quantd paper] CRITICAL switch"."""
    text = escaped(f"[quantd {alert.name}] {alert.level} {alert.kind}")
    # "=?" begins an encoded word (RFC 2047): decoded, it could be the line ends of further headers
    return text.replace("=?", "= ?")[:TITLE_CHARS]


def body(alert: Alert) -> str:
    """Return the text of the alert, then one line for each other field."""
    fields = {name: value for name, value in asdict(alert).items() if name != "text"}
    lines = (f"{name}: {escaped('' if value is None else str(value))}".rstrip() for name, value in fields.items())
    return "\n".join((escaped(alert.text), "", *lines)) + "\n"


def escaped(text: str) -> str:
    """Escape control characters and line ends in `text`, so that no text can imitate a further field of an alert."""
    return text.translate(ESCAPES)


def shortened(text: str, max_bytes: int, encoding: str) -> str:
    """Return the longest start of `text` that has at most `max_bytes` bytes in an encoding."""
    return text.encode(encoding, "replace")[:max_bytes].decode(encoding, "ignore")
