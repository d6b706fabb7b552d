"""Adversaries against the gate: policies of many kinds, hostile ones among them, each verdict judged in every state.

    python -m tests.proofs.adversary --intents 1000000 [--seed S]
    python -m tests.proofs.adversary --seed S --kind "many small" --match N      one match again

An intent is what is asked of one symbol. Prints each breach with the numbers that show it again, and a table; exit 1
when there was a breach.
"""

import argparse
import sys
import time
from collections import Counter, defaultdict

from quantd.risk.limits.catalogue import Reason
from tests.proofs.adversary.arena import Tally
from tests.proofs.adversary.duel import ALL, duel, match_of

STEP = 50_000
"""Intents between two lines about the progress."""

COLUMNS = ("kind", "intents", "verdicts", "with adding", "states", "nearest", "breaches")


def report(kinds: dict[str, Tally], seconds: float) -> None:
    """The figures, kind by kind, then by reason."""
    total = Tally()
    print("{:18}{:>10}{:>10}{:>13}{:>13}{:>9}{:>10}".format(*COLUMNS))
    for kind, t in kinds.items():
        total += t
        print(
            f"{kind:18}{t.intents:>10,}{t.verdicts:>10,}{t.added:>13,}{t.states:>13,}{t.use:>9.4f}{len(t.wrong):>10,}"
        )
    print("by reason: " + ", ".join(f"{Reason(code).name} {n:,}" for code, n in total.reasons.most_common()))
    print(
        f"{total.intents:,} intents of {len(kinds)} kinds, {total.verdicts:,} verdicts, {total.states:,} subsets and "
        f"partial fills, {len(total.wrong):,} breaches; {seconds:.0f} s"
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.proofs.adversary",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--intents", type=int, default=20_000, help="lots of a symbol asked of the gate, in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=ALL, help="one match of this kind only")
    parser.add_argument("--match", type=int, default=0, help="its number")
    asked = parser.parse_args()
    began = time.monotonic()
    kinds: dict[str, Tally] = defaultdict(Tally)
    if asked.kind:
        played = iter([(asked.kind, match_of(asked.kind, asked.seed, asked.match))])
    else:
        played = duel(asked.intents, asked.seed)
    breach_counts: Counter[str] = Counter()
    done = 0
    for kind, tally in played:
        if (done + tally.intents) // STEP > done // STEP:
            print(f"{done + tally.intents:,} intents, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        done += tally.intents
        for wrong in tally.wrong:
            breach_counts[kind] += 1
            if breach_counts[kind] <= 20:
                print(wrong, flush=True)
        kinds[kind] += tally
    report(kinds, time.monotonic() - began)
    return 1 if breach_counts else 0


if __name__ == "__main__":
    sys.exit(main())
