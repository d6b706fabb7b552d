"""`python -m tests.conformance [--only TEXT] [--venue NAME]`: the table adapter x case."""

import argparse
import asyncio
import sys
import time
from collections import Counter

from tests.conformance.cases import play
from tests.conformance.rig import NotOffered
from tests.conformance.suite import CASES, RIGS


async def tried(venue: str, name: str) -> tuple[str, str]:
    """(passed | failed | not offered, why)."""
    try:
        await play(CASES[name], RIGS[venue]())
    except NotOffered as why:
        return "not offered", str(why)
    except Exception as wrong:
        return "failed", f"{type(wrong).__name__}: {str(wrong).splitlines()[0] if str(wrong) else ''}"
    return "passed", ""


def main() -> int:
    wanted = argparse.ArgumentParser(prog="python -m tests.conformance")
    wanted.add_argument("--only", default="", help="cases whose name has this text")
    wanted.add_argument("--venue", choices=list(RIGS), action="append", help="this venue (all)")
    asked = wanted.parse_args()
    venues = asked.venue or list(RIGS)
    names = [name for name in CASES if asked.only in name]
    width = max((len(name) for name in names), default=0)
    print(f"{'':12}{'':{width}}  " + "".join(f"{venue:14}" for venue in venues))
    totals = {venue: Counter[str]() for venue in venues}
    notes = []
    began = time.perf_counter()
    for name in names:
        found = {venue: asyncio.run(tried(venue, name)) for venue in venues}
        for venue, (result, why) in found.items():
            totals[venue][result] += 1
            if why:
                notes.append((venue, result, name, why))
        cells = "".join(f"{result:14}" for result, _ in found.values())
        print(f"{CASES[name].group:12}{name:{width}}  {cells}", flush=True)
    for result in ("failed", "not offered"):
        for venue, _, name, why in (note for note in notes if note[1] == result):
            print(f"{result}: {venue}: {name}: {why}")
    for venue, counts in totals.items():
        print(f"{venue}: " + ", ".join(f"{counts[r]} {r}" for r in ("passed", "failed", "not offered")))
    print(f"{len(names)} cases, {time.perf_counter() - began:.1f} s")
    return 1 if any(counts["failed"] for counts in totals.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
