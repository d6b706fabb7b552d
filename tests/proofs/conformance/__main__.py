"""`python -m tests.proofs.conformance [--only TEXT] [--venue NAME] [--write] [--table]`: the table adapter x case."""

import argparse
import asyncio
import sys
import time
from collections import Counter

from tests.proofs.conformance.rig import NotOffered
from tests.proofs.conformance.suite import CASES, PAGE, RIGS, WRITTEN, page, play_all, written


def words(ended: Exception | None) -> tuple[str, str]:
    """(passed | failed | not offered, why)."""
    if ended is None:
        return "passed", ""
    if isinstance(ended, NotOffered):
        return "not offered", str(ended)
    return "failed", f"{type(ended).__name__}: {str(ended).splitlines()[0] if str(ended) else ''}"


def write(reasons: dict[str, dict[str, str]]) -> None:
    """Put what was found in the place of what stands written of these venues."""
    table = written() | reasons
    lines = [f"{venue} | {name} | {table[venue][name]}" for venue in sorted(table) for name in sorted(table[venue])]
    WRITTEN.write_text("\n".join(lines) + "\n")


def main() -> int:
    wanted = argparse.ArgumentParser(prog="python -m tests.proofs.conformance")
    wanted.add_argument("--only", default="", help="cases whose name has this text")
    wanted.add_argument("--venue", choices=list(RIGS), action="append", help="this venue (all)")
    wanted.add_argument("--write", action="store_true", help="write down what these venues do not offer")
    wanted.add_argument("--table", action="store_true", help=f"write {PAGE.name} of docs/develop, if no case failed")
    asked = wanted.parse_args()
    venues = asked.venue or list(RIGS)
    names = [name for name in CASES if asked.only in name]
    width = max((len(name) for name in names), default=0)
    print(f"{'':12}{'':{width}}  " + "".join(f"{venue:14}" for venue in venues))
    totals = {venue: Counter[str]() for venue in venues}
    notes = []
    began = time.perf_counter()
    ended = {venue: asyncio.run(play_all(venue, names)) for venue in venues}
    for name in names:
        result_by_venue = {venue: words(ended[venue][name]) for venue in venues if name in ended[venue]}
        for venue, (result, why) in result_by_venue.items():
            totals[venue][result] += 1
            if why:
                notes.append((venue, result, name, why))
        cells = "".join(f"{result_by_venue.get(venue, ('',))[0]:14}" for venue in venues)
        print(f"{CASES[name].group:12}{name:{width}}  {cells}", flush=True)
    if asked.write and not asked.only:
        write({venue: {n: str(e) for n, e in ended[venue].items() if isinstance(e, NotOffered)} for venue in venues})
    for result in ("failed", "not offered"):
        for venue, _, name, why in (note for note in notes if note[1] == result):
            print(f"{result}: {venue}: {name}: {why}")
    for venue, counts in totals.items():
        print(f"{venue}: " + ", ".join(f"{counts[r]} {r}" for r in ("passed", "failed", "not offered")))
    print(f"{len(names)} cases, {time.perf_counter() - began:.1f} s")
    failed = any(counts["failed"] for counts in totals.values())
    if asked.table and not (failed or asked.only or asked.venue):
        PAGE.write_text(
            page({venue: {n: str(e) for n, e in ended[venue].items() if e is not None} for venue in venues})
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
