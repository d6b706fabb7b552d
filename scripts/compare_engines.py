"""Drives the engine of another commit and the present one over the same random worlds, and compares their effects.

    python scripts/compare_engines.py [--base BASE] [--journal] [--worlds N] [--seed N] [--jobs N] [--only FEATURE]
        [--bare] [--tours] [--compiled] [--least N] [--verbose]
    python scripts/compare_engines.py --counts [--worlds N] [--seed N] [--jobs N] [--tours] [--least N]
    python scripts/compare_engines.py --record FILE [--worlds N] [--seed N]

`--base` is a commit, whose sources go to a temporary folder, the folder of a checkout, or a file of `--record`. The
default is HEAD. With `--journal`, and against a file, the codec bytes of every step are compared, and what policies see
at each Ask.
Otherwise orders, fills, crosses, ends, bookings, valuations, alerts and the final ledger are compared; the measured
values of limits are not. The table has a row for each feature: the worlds in which it took effect, and those of them
that differ. The first difference of up to three worlds is printed. The exit status is 1 with a difference.

`--counts` drives the present engine alone and prints the table, and the number of events of each kind. `--least N` is
the number of worlds that must hit each expected feature; with fewer the exit status is 1. It is 3 for `--counts` over
500 worlds and more, else 0.

`--seed N --verbose` prints the first difference of one world. `--only` compares the worlds that hit a feature in the
base. `--bare` takes only worlds with few limits, `--tours` only those in which every story happens. `--compiled`
compiles the kernels of the present engine.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any, Final

from worlds import is_bare, is_tour
from worlds.comparison.differences import explain
from worlds.comparison.expected import UNREACHED, expected
from worlds.comparison.sides import ROOT, Engine, EngineEnded, Known, Recorded, Side, checkout_of, record, serve

LONG: Final = 500
"""Worlds of a long run."""


@dataclass
class Count:
    """Results of all worlds so far."""

    worlds: int = 0
    hits: Counter[str] = field(default_factory=Counter)
    differences: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    """Number of events of each kind, in the base."""
    seeds: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=lambda: [0.0, 0.0])
    failed: str = ""
    """Why the comparison stopped before its last world."""

    def add(self, other: "Count") -> None:
        self.worlds += other.worlds
        self.hits += other.hits
        self.differences += other.differences
        self.events += other.events
        self.seeds += other.seeds
        self.failed = self.failed or other.failed
        self.seconds = [a + b for a, b in zip(self.seconds, other.seconds, strict=True)]

    def note(self, seed: int, before: dict[str, Any], after: dict[str, Any]) -> None:
        """Count one world."""
        differs = before["hash"] != after["hash"]
        self.worlds += 1
        kinds = {f"event: {name}" for name in (*before["events"], *after["events"])}
        for hit in {*before["hits"], *after["hits"], *kinds}:
            self.hits[hit] += 1
            self.differences[hit] += differs
        self.events.update(before["events"])
        self.seconds = [a + b["seconds"] for a, b in zip(self.seconds, (before, after), strict=True)]
        if differs:
            self.seeds.append(seed)


Pair = tuple[Side | None, Side]
"""The base, None to count the features of the present engine alone, and the present engine."""


def compare(pair: Pair, seeds: Iterator[int], only: str, answers: Known, count: Count) -> None:
    """Drive worlds in both engines at the same time, and count their features and differences."""
    base, present = pair
    try:
        for seed in seeds:
            if base is None:
                present.ask(seed)
                answer = present.answer()
                count.note(seed, answer, answer | {"seconds": 0.0})
            else:
                _compare(base, present, seed, only, answers, count)
    except EngineEnded as error:
        count.failed = str(error)


def _compare(base: Side, present: Side, seed: int, only: str, answers: Known, count: Count) -> None:
    before = answers.find(seed)
    if before is None:
        base.ask(seed)
    asked = not only and before is None
    if asked:
        present.ask(seed)
    if before is None:
        before = base.answer()
        answers.keep(seed, {name: before[name] for name in ("hash", "hits", "events", "seconds")})
    if not any(only in hit for hit in before["hits"]):
        return
    if not asked:
        present.ask(seed)
    count.note(seed, before, present.answer())


def table(count: Count, names: set[str]) -> str:
    """The rows *feature, worlds that hit it, differences*, for `names` and every other feature that was hit."""
    names = {*names, *count.hits}
    width = max([7, *map(len, names)])
    rows = [f"{'feature':{width}s}  {'worlds':>7s}  {'differences':>11s}"]
    rows += [f"{name:{width}s}  {count.hits[name]:7,d}  {count.differences[name]:11,d}" for name in sorted(names)]
    return "\n".join(rows)


def lacking(count: Count, least: int, *, compiled: bool) -> list[str]:
    """A line for each expected feature that fewer than `least` worlds hit, and for each that was thought unreached."""
    few = {name: count.hits[name] for name in expected() if count.hits[name] < least}
    lines = [f"{name}: {number} worlds, fewer than {least}" for name, number in sorted(few.items())]
    reached = [name for name in UNREACHED if least and count.hits[name]]
    return [*lines, *(f"{name}: {count.hits[name]} worlds, and UNREACHED has it" for name in reached)]


@contextmanager
def pairs_of(options: argparse.Namespace) -> Iterator[tuple[list[Pair], Known]]:
    """The pairs of engines of a run, and the known answers of their base."""
    number, is_recorded = 1 if options.verbose else options.jobs, Path(options.base).is_file() and not options.counts
    options.journal = options.journal or is_recorded
    flags = {"journal": options.journal}
    pairs: list[Pair]
    if options.counts:
        pairs = [(None, Engine(ROOT, compiled=options.compiled, **flags)) for _ in range(number)]
        yield pairs, Known("", **flags)
    elif is_recorded:
        recorded = [Recorded(Path(options.base)) for _ in range(number)]
        pairs = [(side, Engine(ROOT, compiled=options.compiled, **flags)) for side in recorded]
        yield pairs, Known("", **flags)
    else:
        with checkout_of(options.base) as (base, commit):
            pairs = [(Engine(base, **flags), Engine(ROOT, compiled=options.compiled, **flags)) for _ in range(number)]
            yield pairs, Known(commit, **flags)
            close(pairs)
        return
    close(pairs)


def close(pairs: Sequence[Pair]) -> None:
    for pair in pairs:
        for side in pair:
            if side is not None:
                side.close()


def run(pairs: Sequence[Pair], answers: Known, options: argparse.Namespace) -> Count:
    """Drive all worlds, a part of them in each pair."""
    last, counts = options.seed + options.worlds, [Count() for _ in pairs]
    seeds_of = [range(options.seed + k, last, len(pairs)) for k in range(len(pairs))]
    wanted = is_bare if options.bare else is_tour if options.tours else None
    parts = [filter(wanted, seeds) if wanted else iter(seeds) for seeds in seeds_of]
    threads = [
        Thread(target=compare, args=(pair, part, options.only, answers, counted), daemon=True)
        for pair, part, counted in zip(pairs, parts, counts, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = Count()
    for counted in counts:
        total.add(counted)
    return total


def report(count: Count, pair: Pair, options: argparse.Namespace, began: float) -> int:
    """Print the table and the first differences; returns the exit status."""
    if count.failed:
        print(count.failed)
        return 1
    least = options.least if options.least is not None else 3 if options.counts and count.worlds >= LONG else 0
    print(table(count, set() if options.only else expected()))
    lines = lacking(count, least, compiled=options.compiled)
    if options.counts:
        print("\n".join(f"{name}: {number:,} events" for name, number in sorted(count.events.items())))
    for name, why in UNREACHED.items():
        print(f"{name}: no world reaches it: {why}")
    print(*lines, sep="\n", end="\n" if lines else "")
    base, present = pair
    if base is not None:
        for seed in sorted(count.seeds)[:3]:
            print(explain((base, present), seed, journal=options.journal))
    took = f"{count.worlds:,} worlds in {time.monotonic() - began:.0f} s, CPU"
    if base is None:
        print(f"{took} {count.seconds[0]:.1f} s; {len(lines):,} features are hit too seldom")
    else:
        seeds = ", ".join(map(str, sorted(count.seeds)[:50]))
        print(
            f"{took} {count.seconds[0]:.1f} s (base) and {count.seconds[1]:.1f} s (present); {len(count.seeds):,} "
            f"differ{': seeds ' + seeds if seeds else ''}"
        )
    return 1 if count.seeds or lines or count.worlds == 0 else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compares two engines over random worlds.")
    parser.add_argument("--base", default="HEAD", help="commit, folder of a checkout, or file of --record")
    parser.add_argument("--journal", action="store_true", help="compare the encoded effects of every step")
    parser.add_argument("--worlds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1, help="seed of the first world")
    parser.add_argument("--jobs", type=int, default=1, help="pairs of processes")
    parser.add_argument("--only", default="", help="part of a feature's name")
    parser.add_argument("--bare", action="store_true", help="only worlds with few limits")
    parser.add_argument("--tours", action="store_true", help="only worlds in which every story happens")
    parser.add_argument("--compiled", action="store_true", help="compile the kernels of the present engine")
    parser.add_argument("--counts", action="store_true", help="count features in the present engine alone")
    parser.add_argument("--least", type=int, help="worlds that must hit each feature")
    parser.add_argument("--record", type=Path, metavar="FILE", help="write the journals of the present engine")
    parser.add_argument("--verbose", action="store_true", help="print the first difference of the world --seed")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    options = arguments()
    if options.serve:
        serve(journal=options.journal, compiled=options.compiled)
        return 0
    began = time.monotonic()
    if options.record is not None:
        engine = Engine(ROOT, journal=True, compiled=options.compiled)
        count = record(engine, iter(range(options.seed, options.seed + options.worlds)), options.record)
        engine.close()
        print(f"{count:,} worlds in {options.record}")
        return 0
    try:
        with pairs_of(options) as (pairs, answers):
            base, present = pairs[0]
            if options.verbose and base is not None:
                text = explain((base, present), options.seed, journal=options.journal, before=20)
                print(text or f"seed {options.seed}: no difference")
                return 1 if text else 0
            return report(run(pairs, answers, options), pairs[0], options, began)
    except EngineEnded as error:
        print(error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
