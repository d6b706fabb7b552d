"""A reason to doubt a result, and its place in the first line of an output."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from quantd.adapters.feeds.source import some

HEAVY: Final = 60
"""A doubt of this weight or more begins the first line, a lighter one ends it."""


class Doubt(Struct, frozen=True):
    """A reason to doubt a result: its kind, one clause in words, and its weight, 100 for the worst."""

    kind: str
    text: str
    weight: int


def joined(text: str, doubts: Sequence[Doubt]) -> str:
    """Return a line with the worst of `doubts`, which are ordered by weight, in words."""
    if not doubts:
        return text
    words = lead(doubts)
    return f"{words} {text}" if doubts[0].weight >= HEAVY else f"{text} {words}"


def lead(doubts: Sequence[Doubt]) -> str:
    """Return the worst doubt as a sentence; empty without any."""
    if not doubts:
        return ""
    more = f" ({len(doubts) - 1} more below)" if len(doubts) > 1 else ""
    return f"In doubt: {doubts[0].text}{more}."


def doubt_lines(doubts: Sequence[Doubt]) -> list[str]:
    """Return the doubts after the worst one as sentences, for the notes below a result."""
    return [f"In doubt, too: {doubt.text}." for doubt in doubts[1:]]


def named_doubts(results: Mapping[str, Iterable[Doubt]]) -> tuple[Doubt, ...]:
    """Return the doubts of several results by weight. One that not all of them have names its results."""
    owners: dict[tuple[str, str], list[str]] = {}
    distinct: dict[tuple[str, str], Doubt] = {}
    for name, doubts in results.items():
        for doubt in doubts:
            key = doubt.kind, doubt.text
            owners.setdefault(key, []).append(name)
            distinct.setdefault(key, doubt)
    named = [
        doubt if len(owners[key]) == len(results) else replace(doubt, text=f"{some(owners[key])}: {doubt.text}")
        for key, doubt in distinct.items()
    ]
    return tuple(sorted(named, key=lambda doubt: -doubt.weight))
