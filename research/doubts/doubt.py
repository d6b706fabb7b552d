"""A reason to doubt a result, and where the first line of an output states it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from quantd.trading.display_text import some

HEAVY: Final = 60
"""A doubt of this weight or more begins the first line, a lighter one ends it."""


HARM_WEIGHT: Final = 30.0
"""Weight of a measured harm of 1.00 of the annual Sharpe ratio."""

MAX_HARM_WEIGHT: Final = 89
"""Maximum weight by a measured harm: a result that knows the future, or is not believable, is worse."""


class Found(NamedTuple):
    """What one kind of doubt found: a clause in words, and the harm, where it could be measured, as the part of the
    annual Sharpe ratio that is in doubt.
    """

    text: str
    harm: float = 0.0

    def weight(self, least: int) -> int:
        """Return the weight of the doubt by its harm, and at least the weight `least` of its kind."""
        return max(least, min(MAX_HARM_WEIGHT, round(HARM_WEIGHT * self.harm)))


class Doubt(Struct, frozen=True):
    """A reason to doubt a result: its kind, one clause in words, and its weight, 100 for the worst."""

    kind: str
    text: str
    weight: int


def joined(text: str, doubts: Sequence[Doubt]) -> str:
    """Return a line of text with the worst doubt, the first: before the text if it is HEAVY, else after the text."""
    if not doubts:
        return text
    doubt_sentence = lead(doubts)
    return f"{doubt_sentence} {text}" if doubts[0].weight >= HEAVY else f"{text} {doubt_sentence}"


def lead(doubts: Sequence[Doubt]) -> str:
    """Return the worst doubt, the first one, as a sentence; empty without doubts."""
    if not doubts:
        return ""
    count_clause = f" ({len(doubts) - 1} more below)" if len(doubts) > 1 else ""
    return f"In doubt: {doubts[0].text}{count_clause}."


def doubt_lines(doubts: Sequence[Doubt]) -> list[str]:
    """Return the doubts after the worst one as sentences, for the notes below a result."""
    return [f"In doubt, too: {doubt.text}." for doubt in doubts[1:]]


def named_doubts(results: Mapping[str, Iterable[Doubt]]) -> tuple[Doubt, ...]:
    """Return the doubts of several results, by name of the result, as one tuple, the heaviest first.

    Where a doubt applies to some of the results, its text begins with their names.
    """
    names_by_doubt: dict[tuple[str, str], list[str]] = {}
    distinct: dict[tuple[str, str], Doubt] = {}
    for name, doubts in results.items():
        for doubt in doubts:
            key = doubt.kind, doubt.text
            names_by_doubt.setdefault(key, []).append(name)
            distinct.setdefault(key, doubt)
    named = [
        doubt
        if len(names_by_doubt[key]) == len(results)
        else replace(doubt, text=f"{some(names_by_doubt[key])}: {doubt.text}")
        for key, doubt in distinct.items()
    ]
    return tuple(sorted(named, key=lambda doubt: -doubt.weight))
