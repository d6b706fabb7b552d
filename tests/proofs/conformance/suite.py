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


PAGE: Final = ROOT / "docs" / "develop" / "conformance.md"
HEAD: Final = """# What every venue's adapter does alike

Each case of the conformance suite passed at the server of every venue, on one machine:
{venues}.
A case is one sentence, such as "a basket sent twice is one order". This command plays and prints all cases, and writes
this page if none failed:

    python -m tests.proofs.conformance --table

| cases about | number | at one venue only |
|---|---|---|
"""


def page(lacks: dict[str, dict[str, str]]) -> str:
    """The page: the number of cases by group, and what venues do not have. `lacks` maps venue and case to a reason."""
    venues = [venue for venue in RIGS if venue in lacks]
    head = HEAD.format(venues=", ".join(venues)).rstrip()
    rows = [f"| {group} | {_number(group)} | {_number(group, only=True)} |" for group in _groups()]
    without: dict[str, dict[str, list[str]]] = {}
    for venue in venues:
        for name, reason in lacks[venue].items():
            without.setdefault(reason, {}).setdefault(name, []).append(venue)
    lines = [
        head,
        *rows,
        "",
        "## What a venue does not have",
        "",
        "The command prints those of the paper account too.",
        "",
    ]
    lines += ["| reason | venues | cases |", "|---|---|---|"]
    for reason, names in sorted(without.items()):
        if all(rows == ["paper"] for rows in names.values()):
            continue
        affected = [venue for venue in venues if any(venue in rows for rows in names.values())]
        lines.append(f"| {reason} | {', '.join(affected)} | {len(names)} |")
    return "\n".join(lines) + "\n"


def _groups() -> Iterable[str]:
    return dict.fromkeys(case.group for case in CASES.values())


def _number(group: str, *, only: bool = False) -> int:
    return sum(case.group == group and bool(case.venue) >= only for case in CASES.values())


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
