"""All cases and all rigs: what the tests run and the table shows."""

import asyncio
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tests.proofs.conformance.cases import CASES, play
from tests.proofs.conformance.groups import account, cancel, ibkr, limits, query, stream, submit, unknown
from tests.proofs.conformance.rig import Rig
from tests.proofs.conformance.rigs.alpaca import AlpacaRig
from tests.proofs.conformance.rigs.paper import PaperRig
from tests.support.checkout import ROOT

GROUPS: Final = (submit, cancel, query, unknown, stream, account, limits, ibkr)
"""The modules whose cases these are."""

RIGS: dict[str, Callable[[], Rig]] = {"alpaca": AlpacaRig, "paper": PaperRig}
"""By name; each call is a venue of its own."""

if find_spec("ccxt") is not None and find_spec("tests.proofs.conformance.rigs.ccxt") is not None:
    from importlib import import_module

    RIGS["kraken"] = import_module("tests.proofs.conformance.rigs.ccxt").CcxtRig
    RIGS["binance"] = import_module("tests.proofs.conformance.rigs.binance").BinanceRig
    RIGS["bybit"] = import_module("tests.proofs.conformance.rigs.bybit").BybitRig

if find_spec("ib_async") is not None and find_spec("tests.proofs.conformance.rigs.ibkr") is not None:
    from importlib import import_module

    RIGS["ibkr"] = import_module("tests.proofs.conformance.rigs.ibkr").IbkrRig


WRITTEN: Final = Path(__file__).parent / "not_offered.txt"
"""What venues do not offer: `venue | case | reason`, a line each."""


def written() -> dict[str, dict[str, str]]:
    """By venue and case, the reason why it is not offered there."""
    reasons: dict[str, dict[str, str]] = {}
    for line in WRITTEN.read_text().splitlines():
        venue, name, reason = line.split(" | ", 2)
        reasons.setdefault(venue, {})[name] = reason
    return reasons


PAGE: Final = ROOT / "docs" / "venues" / "conformance.md"
HEAD: Final = """# What every venue's adapter does alike

Each case of the conformance suite passed at the server of every venue, on one machine: {venues}.
Where a venue in brackets has a number, it cannot have the case, and the number leads to the reason. A case with `only`
is about one venue:

    python -m tests.proofs.conformance --table

The command plays all cases, prints them, and writes this page if none failed.
"""


def page(lacks: dict[str, dict[str, str]]) -> str:
    """The page of the cases by group, and the reasons below. `lacks` maps venue and case to a reason."""
    venues = [venue for venue in RIGS if venue in lacks]
    reasons = sorted({reason for table in lacks.values() for reason in table.values()})
    number = {reason: k for k, reason in enumerate(reasons, 1)}
    lines = [HEAD.format(venues=", ".join(venues))]
    for group in dict.fromkeys(case.group for case in CASES.values()):
        lines += [f"## {group.capitalize()}", ""]
        for name in (name for name, case in CASES.items() if case.group == group):
            only = CASES[name].venue
            notes = [f"{only} only"] if only else []
            notes += [f"{venue} {number[lacks[venue][name]]}" for venue in venues if name in lacks[venue]]
            lines.append(f"- {name} ({', '.join(notes)})" if notes else f"- {name}")
        lines.append("")
    lines += ["## Reasons", "", *(f"{k}. {reason}" for reason, k in number.items())]
    return "\n".join(lines) + "\n"


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

    return dict(await asyncio.gather(*(one(name) for name in names if CASES[name].venue in ("", venue))))


__all__ = ["CASES", "GROUPS", "PAGE", "RIGS", "page", "play_all"]
