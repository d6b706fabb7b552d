"""Alerts as plain text for people: a title, and at most four lines. Programs read the record over MQTT or a webhook."""

from typing import Final

from quantd.adapters.bus.payloads import Alert
from quantd.trading.display_text import ESCAPES

TITLE_CHARS: Final = 200
"""Maximum length of a title."""

BECAME: Final = {
    "": "", "raised": "", "reminded": "Still so: ", "acknowledged": "Acknowledged: ", "cleared": "It is over: ",
}  # fmt: skip
"""State of an alert's incident -> the beginning of the text."""

REMEDIES: Final = {
    "limit": "`quantd risk` shows the room",
    "switch": '`quantd resume --reason "…"` trades again',
    "proposal": "`quantd review` lists what waits",
    "reconciliation": "`quantd reconcile` names each difference",
    "feed": "`quantd doctor` names what is missing",
    "store": "`quantd doctor` names what is missing",
    "order_unanswered": "`quantd orders` lists it, `quantd settle` ends it",
    "price_jump": "`quantd resume --symbol SYMBOL --jump real` or `--jump 2:1` ends the hold",
    "foreign": "`quantd reconcile` compares the account",
    "halted": "`quantd positions` shows what is held",
    "policy": "`quantd why` lists its decisions",
}
"""Kind of alert -> the command with which a person begins."""


def title(alert: Alert) -> str:
    """Return the title on one line: "[quantd paper] CRITICAL switch"."""
    text = escaped(f"[quantd {alert.name}] {alert.level} {alert.kind}")
    # "=?" begins an encoded word (RFC 2047): decoded, it could be the line ends of further headers
    return text.replace("=?", "= ?")[:TITLE_CHARS]


def body(alert: Alert) -> str:
    """Return at most four lines for a person: what happened, when and where, the figures, and what can be done."""
    about = [f"{alert.time[:16].replace('T', ' ')} UTC", alert.agent and f"agent {alert.agent}", alert.symbol]
    about += [f"{alert.count} alerts" if alert.count > 1 else "", f"alert {alert.id}"]
    measured = [f"{word} {x:.4g}" for word, x in (("at", alert.value), ("bound", alert.bound)) if x is not None]
    lines = [
        BECAME[alert.state] + alert.text,
        ", ".join(part for part in about if part),
        "; ".join(part for part in (", ".join(measured), alert.account) if part),
        done_by(alert),
    ]
    return "\n".join(escaped(line) for line in lines if line) + "\n"


def done_by(alert: Alert) -> str:
    """Return what a person can do about an alert, as a command; nothing about an incident that is over."""
    if alert.state == "cleared" or alert.kind == "rehearsal":
        return ""
    kind = "limit" if alert.kind.startswith("limit_") else alert.kind
    if alert.state in ("raised", "reminded"):
        shown = REMEDIES.get(kind, "`quantd status` shows the account")
        return f'{shown}; `quantd alerts --ack {alert.incident} --reason "…"` ends the reminders'
    return REMEDIES.get(kind, "`quantd alerts` shows the record")


def escaped(text: str) -> str:
    """Escape control characters and line ends in `text`, so that no text can imitate a further field of an alert."""
    return text.translate(ESCAPES)


def shortened(text: str, max_bytes: int, encoding: str) -> str:
    """Return the longest start of `text` that has at most `max_bytes` bytes in an encoding."""
    return text.encode(encoding, "replace")[:max_bytes].decode(encoding, "ignore")
