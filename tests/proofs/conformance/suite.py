"""All cases and all rigs: what the tests run and the table shows."""

import asyncio
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tests.proofs.conformance.cases import CASES, play
from tests.proofs.conformance.groups import account, cancel, limits, query, stream, submit, unknown
from tests.proofs.conformance.rig import Rig
from tests.proofs.conformance.rigs.alpaca import AlpacaRig
from tests.proofs.conformance.rigs.paper import PaperRig

GROUPS: Final = (submit, cancel, query, unknown, stream, account, limits)
"""The modules whose cases these are."""

RIGS: dict[str, Callable[[], Rig]] = {"alpaca": AlpacaRig, "paper": PaperRig}
"""By name; each call is a venue of its own."""

if find_spec("ccxt") is not None and find_spec("tests.proofs.conformance.rigs.ccxt") is not None:
    from importlib import import_module

    RIGS["ccxt"] = import_module("tests.proofs.conformance.rigs.ccxt").CcxtRig
    RIGS["binance"] = import_module("tests.proofs.conformance.rigs.binance").BinanceRig


WRITTEN: Final = Path(__file__).parent / "not_offered.txt"
"""What venues do not offer: `venue | case | reason`, a line each."""


def written() -> dict[str, dict[str, str]]:
    """By venue and case, the reason why it is not offered there."""
    reasons: dict[str, dict[str, str]] = {}
    for line in WRITTEN.read_text().splitlines():
        venue, name, reason = line.split(" | ", 2)
        reasons.setdefault(venue, {})[name] = reason
    return reasons


AT_ONCE: Final = 8
"""Cases that are played at a time: most of what one takes is waiting for an answer that does not come."""


async def play_all(venue: str, names: Iterable[str]) -> dict[str, Exception | None]:
    """What each case ended with at a venue: nothing, NotOffered, or what went wrong."""
    some = asyncio.Semaphore(AT_ONCE)

    async def one(name: str) -> tuple[str, Exception | None]:
        async with some:
            try:
                await play(CASES[name], RIGS[venue]())
            except Exception as ended:
                return name, ended
            return name, None

    return dict(await asyncio.gather(*map(one, names)))


__all__ = ["CASES", "GROUPS", "RIGS", "play_all"]
