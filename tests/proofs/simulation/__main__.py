"""The long form: simulated trading days with faults until there are enough.

    python -m tests.proofs.simulation --days 10000 --seed 0 [--everywhere SEED]

Prints each violation with the seed that shows it again, and one line of figures; exit 1 when there was one.
"""

import argparse
import sys
import time
from collections import Counter

from tests.proofs.simulation.runner import Outcome, simulate


def days(wanted: int, seed: int) -> int:
    """Seeds from `seed` on until `wanted` trading days are over; how many worlds broke a promise."""
    began, broken, done, worlds = time.monotonic(), 0, 0, 0
    faults: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    while done < wanted:
        outcome = simulate(seed + worlds)
        worlds, done = worlds + 1, done + outcome.days
        faults += outcome.faults
        totals += Counter(fills=outcome.fills, baskets=outcome.orders, steps=outcome.entries)
        broken += _told(outcome)
    print(
        f"{done} days in {worlds} worlds, {sum(faults.values())} faults, {broken} violations; "
        f"{totals['baskets']} baskets, {totals['fills']} fills, {totals['steps']} steps; "
        f"{time.monotonic() - began:.0f} s"
    )
    print(", ".join(f"{name} {count}" for name, count in faults.most_common()))
    return broken


def everywhere(seed: int, stride: int = 1) -> int:
    """One world again and again, each time with a crash at another effect boundary."""
    reference = simulate(seed)
    broken = _told(reference)
    tried = range(1, reference.boundaries + 1, stride)
    for boundary in tried:
        broken += _told(simulate(seed, crash_at=frozenset({boundary})))
    print(f"world {seed}: a crash at each of {len(tried)} boundaries, {broken} violations")
    return broken


def _told(outcome: Outcome) -> int:
    for violation in outcome.violations:
        print(f"seed {outcome.seed}: {violation}", flush=True)
    return len(outcome.violations)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.proofs.simulation", description=__doc__)
    parser.add_argument("--days", type=int, default=1_000, help="trading days to simulate (0: none)")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--everywhere", type=int, metavar="SEED", help="a crash at every effect boundary of a world")
    parser.add_argument("--digests", type=int, metavar="N", help="print the digests of N worlds, nothing else")
    asked = parser.parse_args()
    if asked.digests:
        print("\n".join(simulate(asked.seed + k).digest for k in range(asked.digests)))
        return 0
    broken = days(asked.days, asked.seed)
    if asked.everywhere is not None:
        broken += everywhere(asked.everywhere)
    return 1 if broken else 0


sys.exit(main())
