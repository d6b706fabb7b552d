"""All kinds in turn against one gate, match by match, until enough intents were put to it."""

import warnings
from collections.abc import Iterator
from typing import Final

from tests.proofs.adversary.arena import Gate, Tally, real_gate
from tests.proofs.adversary.kinds import KINDS, play
from tests.proofs.adversary.worlds import through_the_engine

ENGINE: Final = "the whole engine"
"""A kind of its own: its policies see no gate, they answer the daemon's engine."""

ALL: Final = (*KINDS, ENGINE)


def match_of(kind: str, seed: int, match: int, gate: Gate = real_gate) -> Tally:
    """One match; the same numbers give the same match. Breaches name what shows them again."""
    with warnings.catch_warnings():
        # a size of 1e300 overflows in the gate on its way to being refused
        warnings.simplefilter("ignore", RuntimeWarning)
        tally = through_the_engine(seed, match) if kind == ENGINE else play(kind, seed, match, gate)
    again = f'--seed {seed} --kind "{kind}" --match {match}'
    tally.wrong = [f"{again}: {wrong}" for wrong in tally.wrong]
    return tally


def duel(intents: int, seed: int, gate: Gate = real_gate) -> Iterator[tuple[str, Tally]]:
    """(kind, tally) of each match, until `intents` lots of a symbol were asked in all."""
    asked = match = 0
    while asked < intents:
        for kind in ALL:
            # worlds are long: one in eight rounds
            if kind == ENGINE and match % 8:
                continue
            tally = match_of(kind, seed, match, gate)
            asked += tally.intents
            yield kind, tally
        match += 1
