"""Conservation of intent over random books: what was asked is held, or named with its cause.

    python -m tests.proofs.intent COUNT SEED

Prints each kind of fault with its number and its smallest book, and ends with 1 if there are any.
"""

import sys
import time
from collections import defaultdict

from tests.proofs.intent.worlds import Fault, drawn, played


def main() -> int:
    count, seed, began = int(sys.argv[1]), int(sys.argv[2]), time.process_time()
    kinds: dict[tuple[str, str, bool], list[tuple[int, int, Fault]]] = defaultdict(list)
    for number in range(count):
        case = drawn(seed, number)
        for fault in played(case):
            kinds[fault.kind, fault.named, case.holds].append((len(case.px), number, fault))
    total = sum(map(len, kinds.values()))
    print(f"{count:,} worlds, {time.process_time() - began:.1f} CPU s, {total} faults")
    for (kind, named, holds), found in sorted(kinds.items(), key=lambda pair: -len(pair[1])):
        size, number, fault = min(found, key=lambda row: row[:2])
        case = drawn(seed, number)
        print(
            f"{len(found)} {kind} ({'answers once' if holds else 'answers always'}), named: {named or 'nothing'}; "
            f"world {number}, {fault.size:.2%}: {size} symbols, cash {case.cash}, {case}"
        )
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
