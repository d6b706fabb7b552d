"""Alerts about proposals without the words of their senders, for topics that other agents can read. Pure.

What can go wrong: an agent writes an instruction into the reason or the id of its proposal. Another agent, a language
model, reads the bus and follows it. So only texts whose form is known and has no word of a sender pass whole. The
store, the page and the sinks have the whole text.
"""

import re
from typing import Final

KIND: Final = "proposal"
"""Kind of the alerts about proposals."""

ELSEWHERE: Final = "the rest is withheld on the bus; `quantd alerts` shows it"

_ID: Final = r"[A-Za-z0-9._:-]{1,64}"
_PROPOSAL: Final = rf"(?:shadow: )?(?:portfolio [\w-]+: )?proposal {_ID} of [\w.-]+(?::[\w.-]+)*"
_WAITS: Final = " waits for a person until "

_WITH_REASON: Final = re.compile(
    rf"({_PROPOSAL}(?:, computed by [\w-]+|{_WAITS}(?:the next sample|[\d.:TZ-]+)| was declined| was approved)?)"
    r"(?:: | \().*",
    re.DOTALL,
)
"""The forms that end with the reason of a sender."""

_OF_QUANTD: Final = re.compile(
    rf"{_PROPOSAL} (?!waits for a person |was declined |was approved )|orders of [\w-]+: |no proposal '{_ID}' of "
    rf"|(?:shadow: )?(?:the targets for [\w-]+ were refused|the proposal {_ID} was not approved"
    rf"|the exits of {_ID} of [\w-]+ have ended): "
)
"""The beginnings of the forms without a word of a sender."""


def withheld(kind: str, text: str) -> str:
    """The text of an alert of a kind, without what a sender wrote."""
    if kind != KIND or _OF_QUANTD.match(text):
        return text
    reasoned = _WITH_REASON.fullmatch(text)
    return f"{'alerts about proposals' if reasoned is None else reasoned[1]}: {ELSEWHERE}"
