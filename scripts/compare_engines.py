"""Drives the engine of another commit and the present one over the same random worlds, and compares their effects.

    python scripts/compare_engines.py [--base COMMIT] [--worlds N] [--seed N] [--jobs N] [--only FEATURE] [--bare]
        [--compiled]

Orders, fills, crosses, ends, bookings, valuations, alerts and the final ledger are compared as bytes; the measured
values of limits are not. `--base` is a commit, checked out into a temporary worktree, or the folder of a checkout. The
table has a row for each feature: the worlds in which it took effect, and those of them that differ. The exit status is
1 with a difference. `--seed N --verbose` prints the first difference of one world. `--only` compares the worlds that
hit a feature in the base. `--compiled` compiles the kernels of the present engine.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock, Thread
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]

BEFORE: Final = "60fb8956"
"""The last commit before kernels."""

FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "Ask": ("round", "agent", "policy"),
    "OrderBasket": ("sample", "n", "ts", "sym", "lots", "worst_nano", "end", "reason", "kind", "stop_nano"),
    "Cancel": ("sample", "n", "row", "ts"),
    "Query": ("sample", "n", "row"),
    "Again": ("sample", "n", "row"),
    "Publish": ("ts", "level", "kind", "text", "symbol", "agent", "value", "bound"),
    "Filled": ("sample", "n", "ts", "sym", "lots", "price_nano", "fee_micro", "shares"),
    "Crossed": ("sample", "ts", "symbol", "price_nano", "shares"),
    "Ended": ("sample", "n", "ts", "row", "state", "reason", "sym", "mark_nano"),
    "Planned": (
        "sample", "n", "ts", "agents", "prices", "before", "crossed", "net", "allowed", "reason", "follow_up",
        "portion",
    ),
    "AgentPlan": ("agent", "weights", "scale", "asked", "allowed", "reason", "policy"),
    "Portion": ("style", "decided"),
    "Valued": ("ts", "equity_micro", "cash_micro", "books", "gross", "drawdown"),
    "Booked": ("ts", "kind", "symbol", "amount_micro", "book"),
    "Switched": ("ts", "agent", "before", "after", "reason"),
    "Protected": ("ts", "sample", "n", "agent", "symbol", "kind", "entry", "mark", "level"),
    "Rested": ("ts", "sample", "n", "agent", "symbol", "kind", "entry", "level"),
    "Snapshot": ("ts",),
    "Stop": ("reason",),
    "Worked": ("ts", "sample", "decided", "agent", "style", "sym", "lots", "filled", "mark_nano", "reason"),
    "Reallocated": ("ts", "method", "why", "moved", "owed", "shares", "target"),
    "Promotion": (
        "ts", "champion", "challenger", "promoted", "why", "samples", "look", "measure", "gain", "p", "alpha", "names",
    ),
    "Shadowed": ("agent", "effects", "name"),
}  # fmt: skip
"""Compared fields of each effect and of its parts; effects without a row are not compared."""

ROWS: Final = frozenset({"Valued", "Filled", "Booked"})
"""Effects that are compared where a log has no others; orders and alerts are in the digest and in the counts."""

ACCOUNT: Final = (
    "lots", "cost_micro", "cash_micro", "residue_atto", "fees_micro", "flows_micro", "income_micro", "realised_micro",
)  # fmt: skip

BOOKED: Final = ("dividend", "borrow", "cash_in_lieu", "flow", "interest", "in_kind", "delisting")

ALERTS: Final = (
    "action", "broker", "capital", "config", "flow", "foreign", "halted", "manual", "operator", "order", "policy",
    "policy_note", "promotion", "protective", "reconciliation", "switch",
)  # fmt: skip

NEVER_HOUSE: Final = frozenset({"not_finite", "duplicate", "protected", "halted", "price_missing"})
NEVER_AGENT: Final = frozenset(
    {"not_finite", "account_notional", "buying_power", "no_borrow", "ramp", "orders_per_day"}
)
"""Reasons that the agents' verdicts leave nothing for, and limits that only the house has."""


# ---- one engine: the process that drives worlds --------------------------------------------------


def plain(value: Any) -> Any:
    """`value` as plain Python: effects and their parts as lists with their name, arrays as lists, bytes as hex."""
    kind = type(value)
    if kind.__name__ in FIELDS:
        return [kind.__name__, *[plain(getattr(value, name)) for name in FIELDS[kind.__name__]]]
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if hasattr(value, "tolist"):
        return value.tolist()
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value


@dataclass
class Record:
    """The journal of one world: rows to compare, and the features that took effect."""

    rows: list[Any] = field(default_factory=list)
    hits: set[str] = field(default_factory=set)
    events: list[str] = field(default_factory=list)
    open: dict[tuple[int, int, int], int] = field(default_factory=dict)
    """(sample, n, column) -> lots not yet filled."""
    rows_only: bool = False
    """Whether only `ROWS` are compared, so that the engine may leave out the rest (see
    `quantd.daemon.runtime.loop.Log`)."""
    last: Any = None
    """The last fills of the house."""

    def answer(self, ask: Any) -> None:
        """No answer is recorded: the policy is asked."""

    def add(self, event: Any, effects: Sequence[Any]) -> None:
        """Record the effects of one event."""
        for effect in effects:
            name = type(effect).__name__
            if name not in FIELDS:
                continue
            row = plain(effect)
            if name == "Ask":
                view = effect.view
                row += [plain(view.weights.tobytes()), view.cash, view.equity, view.time, view.sample_time, view.sample]
            if name in ROWS or not self.rows_only:
                self.rows.append(row)
                self.events.append(type(event).__name__)
            self._note(effect, name)

    def _note(self, effect: Any, name: str, prefix: str = "") -> None:
        hit = self.hits.add
        match name:
            case "OrderBasket":
                hit(f"{prefix}orders")
                for kind in set(effect.kind or [0]):
                    hit(f"{prefix}orders: {('limit', 'stop', 'open', 'close')[kind]}")
                hit(f"{prefix}orders: {'good till cancelled' if 0 in effect.end else 'day'}")
                if len(effect.sym) >= 20:
                    hit(f"{prefix}orders: 20 and more rows")
                for column, lots in zip(effect.sym, effect.lots, strict=True):
                    self.open[effect.sample, effect.n, column] = abs(lots)
            case "Filled":
                hit(f"{prefix}fills")
                self.last = self.last if prefix else effect
                for column, lots, parts in zip(effect.sym, effect.lots, effect.shares, strict=True):
                    left = self.open.get((effect.sample, effect.n, column), 0) - abs(lots)
                    self.open[effect.sample, effect.n, column] = left
                    if left > 0:
                        hit(f"{prefix}fills: partial")
                    if len(parts) > 1:
                        hit("fills: shared by agents")
            case "Ended":
                for state in set(effect.state):
                    hit(f"{prefix}order ended: {('', '', '', '', '', '', 'cancelled', 'rejected', 'expired')[state]}")
            case "Planned":
                if effect.follow_up:
                    hit(f"{prefix}follow-up")
                if effect.portion is not None:
                    hit(f"{prefix}parent order: {effect.portion.style}")
                for code in set(bytes(effect.reason)) - {0}:
                    hit(f"cut of the {prefix or 'house'}: {_reason(code)}")
                for part in effect.agents:
                    for code in set(bytes(part.reason)) - {0}:
                        hit(f"cut of an agent: {_reason(code)}")
                    if part.scale < 1.0:
                        hit(f"{prefix}weights scaled to headroom")
                    if part.policy:
                        hit("policy of a promoted shadow decides")
            case "Switched":
                who = "house" if effect.agent < 0 else "agent"
                hit(f"{prefix}switch of the {who}: {('RUN', 'REDUCE', 'HALT')[effect.after]}")
                hit(f"{prefix}switch: {effect.reason.split(':')[0]}")
            case "Protected":
                hit(f"{prefix}exit: {effect.kind}")
            case "Rested":
                hit(f"stop at the venue: {effect.kind}")
            case "Booked":
                hit(f"{prefix}booked: {effect.kind}")
            case "Publish":
                hit(f"alert: {effect.kind}")
            case "Worked":
                hit(f"{prefix}parent order ended: {effect.style}, {effect.reason.split(':')[0]}")
            case "Reallocated":
                hit(f"capital moved: {effect.method}")
            case "Promotion":
                hit("promotion" if effect.promoted else "promotion refused")
            case "Shadowed":
                for own in effect.effects:
                    self._note(own, type(own).__name__, "shadow: ")
            case "Ask":
                pass
            case _:
                hit(f"{prefix}effect: {name}")

    def bust(self, shell: Any) -> None:
        """Let the venue cancel the last fill, or correct its price."""
        from quantd.trading.events import Busted

        if self.last is not None and (work := shell.state.basket((self.last.sample, self.last.n))) is not None:
            last, price = self.last, self.last.price_nano[-1]
            row = work.basket.sym.index(last.sym[-1])
            lots, new = abs(last.lots[-1]), (last.sample % 7) % 2
            shell.run(Busted(last.sample, last.n, shell.ts, row, lots, price, lots * new, (price + 10_000) * new, "b"))
            self.hits.add("trade bust")

    def note_book(self, world: Any, state: Any) -> None:
        """The features of a world as a whole, and of its final book."""
        universe, rules = world.rules.universe, world.rules
        self.hits |= world.hits
        self.hits.add("daily bars" if rules.daily else "intraday bars")
        self.hits.add(f"agents: {len(rules.agents)}")
        if universe.size >= 40:
            self.hits.add("symbols: 40")
        if len({each.calendar for each in universe.instruments}) > 1:
            self.hits.add("several calendars")
        if any(lots < 0 for lots in state.ledger.house.lots):
            self.hits.add("short position at the end")
        if any(book.cash_micro < 0 for book in (state.ledger.house, *state.ledger.books)):
            self.hits.add("cash debit at the end")


def _reason(code: int) -> str:
    from quantd.risk.limits.catalogue import REASON_NAMES

    return str(REASON_NAMES[code])


def drive(seed: int) -> Record:
    """Run the world of a seed; an exception ends it, and is a row."""
    import random_worlds

    from quantd.daemon.engine.state import State
    from quantd.daemon.policies.loading import answer
    from quantd.daemon.runtime.loop import Shell
    from quantd.trading.events import Action, Reloaded, Tick
    from quantd.trading.market import MarketSlice

    record = Record(rows_only=seed % 2 == 1)
    note_batches(record)
    world = random_worlds.world_of(seed)
    shell: Any = None

    def ask(question: Any) -> Any:
        return answer(world.policies[question.policy], question)

    def begin() -> Any:
        shadows = [world.venue(k) for k in range(len(world.rules.shadows))]
        return Shell(State(world.rules), world.venue(), ask, interval_ns=world.interval_ns, log=record, shadows=shadows)

    try:
        shell = begin()
        for market, items in groupby(world.items, key=lambda item: type(item) in (MarketSlice, Tick, Action)):
            if market:
                take(shell, list(items), world.together)
                continue
            for item in items:
                if item == random_worlds.THAW:
                    kept, rules = shell.keep(), shell.state.rules
                    shell = begin()
                    shell.restore(rules, kept)
                    record.hits.add("frozen and thawed")
                elif item == random_worlds.BUST:
                    record.bust(shell)
                else:
                    shell.run(item(shell.state) if callable(item) else item)
                    if type(item) is Reloaded:
                        world.rules = shell.state.rules
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        record.rows.append(["Error", type(error).__name__, str(error)])
        record.events.append(f"{where.filename}:{where.lineno}")
        record.hits.add(f"error: {type(error).__name__}: {str(error)[:60]}")
        if os.environ.get("COMPARE_ENGINES_TRACE"):
            traceback.print_exc()
        shell = None  # what the step had booked before its exception is not compared
    if shell is not None:
        state, tally = shell.state, shell.tally
        for book in (state.ledger.house, *state.ledger.books):
            record.rows.append(["Account", *[plain(getattr(book, name)) for name in ACCOUNT]])
        record.rows.append(["Equity", state.equity_micro, plain(state.books_micro)])
        record.rows.append(["Tally", *[getattr(tally, name) for name in tally.__struct_fields__]])
        record.rows.append(["Digest", shell.digest.hexdigest()])
        record.events += ["end"] * (len(record.rows) - len(record.events))
        record.note_book(world, state)
    return record


def take(shell: Any, items: list[Any], together: bool) -> None:
    """Give an engine consecutive items of the market, in one call where it has one."""
    if together and hasattr(shell, "take_all"):
        shell.take_all(items)
        return
    for item in items:
        shell.take(item)


def note_batches(record: Record) -> None:
    """Note in `record` what the engine takes and plans in batches, where it can."""
    from quantd.daemon.runtime import loop

    module: Any = loop
    if not hasattr(module, "Batch"):
        return
    from quantd.daemon.engine.batches import eligibility

    kind = getattr(module.Batch, "whole", module.Batch)

    class Noted(kind):  # type: ignore[misc]
        whole = kind

        def take(self) -> int:
            before, waits = self.rows, self.waits
            status: int = super().take()
            if self.rows > before:
                record.hits.add("rows in a batch")
            if waits and self.sent:
                record.hits.add("orders in a batch")
            if self.fills:
                record.hits.add("fills in a batch")
            return status

    module.Batch = eligibility.Batch = Noted  # type: ignore[misc]


def serve(compiled: bool) -> None:
    """Drive the worlds whose seeds are lines of standard input; one line of JSON for each."""
    if compiled:
        import quantd.daemon.runtime.loop  # noqa: F401  # the modules that record kernels
        from quantd.daemon.assembly.compiler import compile_kernels
        from quantd.trading import jit

        why = compile_kernels(wait=True) or ("" if jit.ENTRIES else "there are none")
        if why:
            raise SystemExit(f"kernels stay interpreted: {why}")
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # nothing else may write into the answers
    for line in sys.stdin:
        seed, _, verbose = line.strip().partition(" ")
        began = time.process_time()
        record = drive(int(seed))
        encoded = [json.dumps(row) for row in record.rows]
        found: dict[str, Any] = {
            "hash": blake2b("\n".join(encoded).encode(), digest_size=16).hexdigest(),
            "hits": sorted(record.hits),
            "seconds": time.process_time() - began,
        }
        if verbose:
            found |= {"rows": encoded, "events": record.events}
        out.write(json.dumps(found) + "\n")
        out.flush()


# ---- both engines: the process that compares -----------------------------------------------------


class EngineEnded(Exception):
    """A process that drives worlds ended without an answer."""


class Engine:
    """A process that drives worlds with the sources of one checkout."""

    def __init__(self, checkout: Path, compiled: bool = False) -> None:
        settings = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        words = [sys.executable, __file__, "--serve", *(["--compiled"] if compiled else [])]
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=checkout,
            env={**os.environ, **settings, "PYTHONPATH": str(checkout / "src")},
        )  # fmt: skip

    def ask(self, seed: int, verbose: bool = False) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seed}{' verbose' if verbose else ''}\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise EngineEnded("an engine ended; its error is above")
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class Known:
    """The results of the base of earlier runs, by seed, in a file of the user's cache; none for a folder."""

    def __init__(self, commit: str) -> None:
        self._lock, self._results, self._file = Lock(), dict[int, dict[str, Any]](), Path(os.devnull)
        if not commit:
            return
        named = blake2b(digest_size=8)
        for part in (Path(__file__).read_bytes(), (Path(__file__).parent / "random_worlds.py").read_bytes()):
            named.update(part)
        named.update(repr((commit, sys.version, version("numpy"), platform.node())).encode())
        known = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        self._file = known / "quantd" / "worlds" / f"{named.hexdigest()}.jsonl"
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._file.exists():
            for line in self._file.read_text().splitlines():
                found = json.loads(line)
                self._results[found.pop("seed")] = found

    def find(self, seed: int) -> dict[str, Any] | None:
        return self._results.get(seed)

    def keep(self, seed: int, found: dict[str, Any]) -> None:
        with self._lock, self._file.open("a") as file:
            file.write(json.dumps({"seed": seed, **found}) + "\n")


@dataclass
class Count:
    """Results of all worlds so far."""

    worlds: int = 0
    hits: Counter[str] = field(default_factory=Counter)
    differences: Counter[str] = field(default_factory=Counter)
    seeds: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=lambda: [0.0, 0.0])
    failed: str = ""
    """Why the comparison stopped before its last world."""


def compare(engines: tuple[Engine, Engine], seeds: Iterator[int], only: str, known: Known, count: Count) -> None:
    """Drive worlds in both engines at the same time, and count their features and differences."""
    try:
        _compare(engines, seeds, only, known, count)
    except EngineEnded as error:
        count.failed = str(error)


def _compare(engines: tuple[Engine, Engine], seeds: Iterator[int], only: str, known: Known, count: Count) -> None:
    base, present = engines
    for seed in seeds:
        before = known.find(seed)
        if before is None:
            base.ask(seed)
        asked = not only and before is None
        if asked:
            present.ask(seed)
        if before is None:
            before = base.answer()
            known.keep(seed, before)
        if not any(only in hit for hit in before["hits"]):
            continue
        if not asked:
            present.ask(seed)
        after = present.answer()
        differs = before["hash"] != after["hash"]
        count.worlds += 1
        for hit in {*before["hits"], *after["hits"]}:
            count.hits[hit] += 1
            count.differences[hit] += differs
        count.seconds[0] += before["seconds"]
        count.seconds[1] += after["seconds"]
        if differs:
            count.seeds.append(seed)


def explain(engines: tuple[Engine, Engine], seed: int, rows_before: int = 3) -> str:
    """The first difference of a world, with the rows before it; empty without one."""
    for engine in engines:
        engine.ask(seed, verbose=True)
    before, after = (engine.answer() for engine in engines)
    old, new = before["rows"], after["rows"]
    size = min(len(old), len(new))
    at = next((k for k in range(size) if old[k] != new[k]), size)
    if at == len(old) == len(new):
        return ""
    lines = [f"seed {seed}: row {at} of {len(old)} (base) and {len(new)} (present) differs"]
    lines += [f"  both     {row}" for row in old[max(0, at - rows_before) : at]]
    for name, found in (("base", before), ("present", after)):
        row, event = (found[part][at] if at < len(found["rows"]) else "no row" for part in ("rows", "events"))
        lines.append(f"  {name:8s} {row} (after {event})")
    return "\n".join(lines)


@contextmanager
def checkout_of(base: str) -> Iterator[tuple[Path, str]]:
    """(folder of a checkout, its commit): `base` itself without a commit, or a temporary worktree of that commit."""
    if (Path(base) / "src" / "quantd").is_dir():
        yield Path(base).resolve(), ""
        return
    words = ["git", "-C", str(ROOT), "rev-parse", "--verify", f"{base}^{{commit}}"]
    commit = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
    with TemporaryDirectory() as folder:
        place = Path(folder) / "base"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(place), commit], check=True)
        try:
            yield place, commit
        finally:
            subprocess.run([*git, "remove", "--force", str(place)], check=True)


def expected() -> set[str]:
    """Features that a long run should hit: those without a world are visible as rows with 0."""
    from quantd.risk.limits.catalogue import REASON_NAMES, REASON_TEXT

    reasons = {REASON_NAMES[code] for code in REASON_TEXT if code}
    cuts = {"the house": reasons - NEVER_HOUSE, "an agent": reasons - NEVER_AGENT}
    styles = ("chase", "twap", "vwap", "participation")
    return {
        *(f"cut of {who}: {reason}" for who, names in cuts.items() for reason in names),
        *(f"orders: {kind}" for kind in ("limit", "stop", "open", "close", "day", "good till cancelled")),
        *(f"order ended: {state}" for state in ("cancelled", "rejected", "expired")),
        *(f"exit: {kind}" for kind in ("stop_loss", "take_profit", "trailing_stop")),
        *(f"booked: {kind}" for kind in BOOKED),
        *(f"parent order: {style}" for style in styles),
        *(f"switch of the {who}: {state}" for who in ("house", "agent") for state in ("RUN", "REDUCE", "HALT")),
        *(f"alert: {kind}" for kind in ALERTS),
        *(
            "fills: partial",
            "fills: shared by agents",
            "follow-up",
            "effect: Crossed",
            "frozen and thawed",
            "promotion",
        ),
    }


def table(count: Count, names: set[str]) -> str:
    """The rows *feature, worlds that hit it, differences*, for `names` and every other feature that was hit."""
    names = {*names, *count.hits}
    width = max([7, *map(len, names)])
    rows = [f"{'feature':{width}s}  {'worlds':>7s}  {'differences':>11s}"]
    rows += [f"{name:{width}s}  {count.hits[name]:7,d}  {count.differences[name]:11,d}" for name in sorted(names)]
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description="Compares two engines over random worlds.")
    parser.add_argument("--base", default=BEFORE, help=f"commit or folder of a checkout (default {BEFORE})")
    parser.add_argument("--worlds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1, help="seed of the first world")
    parser.add_argument("--jobs", type=int, default=1, help="pairs of processes")
    parser.add_argument("--only", default="", help="part of a feature's name")
    parser.add_argument("--bare", action="store_true", help="only worlds with few limits")
    parser.add_argument("--compiled", action="store_true", help="compile the kernels of the present engine")
    parser.add_argument("--verbose", action="store_true", help="print the first difference of the world --seed")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.compiled)
        return 0
    began, count = time.monotonic(), Count()
    with checkout_of(options.base) as (base, commit):
        known = Known(commit)
        pairs = [(Engine(base), Engine(ROOT, options.compiled)) for _ in range(1 if options.verbose else options.jobs)]
        if options.verbose:
            text = explain(pairs[0], options.seed, rows_before=20)
            print(text or f"seed {options.seed}: no difference")
            count.seeds = [options.seed] if text else []
        else:
            import random_worlds

            last = options.seed + options.worlds
            counts = [Count() for _ in pairs]
            seeds_of = [range(options.seed + k, last, len(pairs)) for k in range(len(pairs))]
            parts = [filter(random_worlds.is_bare, each) if options.bare else iter(each) for each in seeds_of]
            threads = [
                Thread(target=compare, args=(pair, part, options.only, known, own), daemon=True)
                for pair, part, own in zip(pairs, parts, counts, strict=True)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            for own in counts:
                count.worlds += own.worlds
                count.hits += own.hits
                count.differences += own.differences
                count.seeds += own.seeds
                count.failed = count.failed or own.failed
                count.seconds = [a + b for a, b in zip(count.seconds, own.seconds, strict=True)]
            if count.failed:
                print(count.failed)
                return 1
            print(table(count, set() if options.only else expected()))
            for seed in sorted(count.seeds)[:3]:
                print(explain(pairs[0], seed))
            seeds = ", ".join(map(str, sorted(count.seeds)[:50]))
            print(
                f"{count.worlds:,} worlds in {time.monotonic() - began:.0f} s, CPU {count.seconds[0]:.1f} s (base) and "
                f"{count.seconds[1]:.1f} s (present); {len(count.seeds):,} differ{': seeds ' + seeds if seeds else ''}"
            )
        for pair in pairs:
            for engine in pair:
                engine.close()
    return 1 if count.seeds or (not options.verbose and count.worlds == 0) else 0


if __name__ == "__main__":
    sys.exit(main())
