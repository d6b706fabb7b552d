"""The long form: simulated trading days with faults until there are enough, then planted bugs.

    python -m tests.proofs.simulation --days 10000 --seed 0 [--bugs] [--everywhere SEED]

Prints each violation with the seed that shows it again, and one line of figures; exit 1 when there was one.
"""

import argparse
import os
import subprocess
import sys
import time
from collections import Counter
from types import FunctionType

from tests.proofs.simulation.planted import BUGS, hunt
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


def bugs(seeds: range) -> int:
    """Hunt every planted bug; how many were not found. Nothing can be planted in a compiled engine."""
    if not all(isinstance(bug.place, FunctionType) for bug in BUGS):
        command = [sys.executable, "-m", "tests.proofs.simulation", "--days", "0", "--bugs"]
        return subprocess.run(command, env=os.environ | {"QUANTD_UNCOMPILED": "1"}, check=False).returncode
    missed = 0
    for bug in BUGS:
        finding = hunt(bug, seeds)
        missed += finding is None
        print(f"{bug.name}: {'NOT FOUND' if finding is None else f'seed {finding[0]}: {finding[1]:.100}'}", flush=True)
    print(f"{len(BUGS)} planted bugs, {missed} not found within {len(seeds)} seeds")
    return missed


def _told(outcome: Outcome) -> int:
    for violation in outcome.violations:
        print(f"seed {outcome.seed}: {violation}", flush=True)
    return len(outcome.violations)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.proofs.simulation", description=__doc__)
    parser.add_argument("--days", type=int, default=1_000, help="trading days to simulate (0: none)")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--bugs", action="store_true", help="hunt all planted bugs, 200 seeds each")
    parser.add_argument("--everywhere", type=int, metavar="SEED", help="a crash at every effect boundary of a world")
    parser.add_argument("--digests", type=int, metavar="N", help="print the digests of N worlds, nothing else")
    asked = parser.parse_args()
    if asked.digests:
        print("\n".join(simulate(asked.seed + k).digest for k in range(asked.digests)))
        return 0
    broken = days(asked.days, asked.seed)
    if asked.everywhere is not None:
        broken += everywhere(asked.everywhere)
    if asked.bugs:
        broken += bugs(range(200))
    return 1 if broken else 0


sys.exit(main())
