"""Outcomes of a venue's answers to an order: only documented words count as a refusal.

What can go wrong: an overloaded venue answers with an error, but the order was executed. If that answer counted as a
refusal, the books would lack a position. An answer is therefore a refusal only if a table of documented texts has its
words. Words about the service of the venue are UNKNOWN: the order is queried by its client id. Words that no table has
are STRANGE: the order is queried too, and counts as refused if the venue still has no such order after the settling
time.

Rejected: to count every 4xx status, or every error of a venue, as a refusal. Both include time-outs and rate limits.
"""

import re
from collections.abc import Sequence
from enum import Enum
from typing import Final

from msgspec import Struct


class Outcome(Enum):
    """The outcome of a request. Only UNKNOWN and STRANGE leave open whether an order was accepted."""

    REFUSED = "the venue refused it"
    AGAIN = "nothing was accepted; it may be repeated after a pause"
    UNKNOWN = "it may have been accepted"
    STRANGE = "it may have been accepted: no document has these words"
    NOT_FOUND = "the venue does not know the order"
    TAKEN = "the venue has it already"
    DENIED = "the key is wrong, or lacks the permission"


RFC: Final = "RFC 9110, 15.5 and 15.6"
GRPC: Final = "grpc.github.io/grpc/core/md_doc_statuscodes.html"
FIX: Final = "FIX 4.4, BusinessRejectReason (380), OrdRejReason (103)"


class ServiceWords(Struct, frozen=True):
    """A class of words about the service of a venue: a pattern that ignores case, and the document that has the
    words."""

    name: str
    pattern: str
    source: str


SERVICE: Final = (
    ServiceWords("time-out", r"time[d]?[ _-]?out|deadline|too late|expired request|no response|stale", f"{RFC} (408)"),
    ServiceWords(
        "rate limit", r"\brate\b|throttl|too many|too fast|quota|resource.?exhausted|slow down|limit of requests",
        f"RFC 6585, 4 (429); {FIX}: 8 throttle limit exceeded",
    ),
    ServiceWords(
        "unavailable",
        r"unavailab|not available|unreachable|offline|\bdown\b|not ready|not responding|disconnect|connect|outage",
        f"{RFC} (503); {GRPC}: UNAVAILABLE; {FIX}: 4 application not available",
    ),
    ServiceWords("busy", r"busy|overload|congest|backlog|queue|capacity|heavy load|saturat", f"{RFC} (503)"),
    ServiceWords(
        "internal",
        r"internal|unexpected|unhandled|exception|panic|crash|fail(ed|ure) to process|something went wrong|"
        r"unknown error|aborted|corrupt",
        f"{RFC} (500); {GRPC}: INTERNAL, ABORTED",
    ),
    ServiceWords(
        "part of the service",
        r"server|service|backend|upstream|gateway|proxy|cluster|database|\bdb\b|cache|engine|\bsystem\b|\bhost\b|"
        r"\bnode\b|network",
        f"{RFC} (502, 504)",
    ),
    ServiceWords(
        "maintenance",
        r"maint[ea]n|upgrad|deploy|restart|reboot|recover|degraded|fail.?over|migrat|initiali[sz]ing|warming|syncing",
        f"{RFC} (503)",
    ),
    ServiceWords(
        "later",
        r"try (it )?again|retry|later|temporar|momentar|in progress|please wait|moment\b",
        f"{RFC} (503, Retry-After)",
    ),
)  # fmt: skip
"""Words after which an order may have been accepted. The patterns are broad: a needless query costs one request."""

_SERVICE: Final = [(service.name, re.compile(service.pattern, re.IGNORECASE)) for service in SERVICE]


def service_class(words: str) -> str:
    """Return the name of the first class of service words (overload, maintenance) in a text; empty if there are
    none."""
    return next((name for name, pattern in _SERVICE if pattern.search(words)), "")


class Known(Struct, frozen=True):
    """A documented answer: the beginning of its text, its outcome, and the page that documents it."""

    text: str
    outcome: Outcome
    source: str


def longest(table: Sequence[Known], text: str) -> Known | None:
    """Return the record that matches: its text is the beginning of `text`, up to the end of a word. Of several, the
    longest matches; without any, None is returned."""
    lowered = text.strip().lower()
    matches = [
        entry
        for entry in table
        if lowered.startswith(entry.text.lower()) and not lowered[len(entry.text) : len(entry.text) + 1].isalnum()
    ]
    return max(matches, key=lambda entry: len(entry.text), default=None)
