"""`quantd replay`: a journal folded again from its first entry, every step compared with the record."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from adapters.store.errors import StoreFailing
from adapters.store.reading import run_of
from adapters.store.records import Records
from adapters.store.store import read_only
from daemon.assembly import Assembly, assemble
from daemon.cli.configuration import read
from daemon.cli.failures import CHECK_FAILED, CONFIG, USAGE, Failure
from daemon.cli.output import Bar, iso, print_json, progress, say
from daemon.cli.places import place
from daemon.policies import answer
from daemon.recovery import Journal, ReplayDifference, fold
from daemon.summary import summary
from daemon.timeline import Item, instants, time_of
from trading.codec import decode
from trading.effects import Ask
from trading.events import Decided, Started
from trading.ports import Policy

TOLERANCE = 1e-6
"""The most by which a policy asked again may differ: another machine's last bits are no difference."""

LISTED = 50


@dataclass(frozen=True, slots=True)
class Differs:
    """An answer that is not what the journal has."""

    ts: int
    time: str
    agent: str
    text: str
    most: float


class AskingAgain(Journal):
    """A journal that also asks the policies, and notes where they now answer something else."""

    def __init__(
        self, recorded: Iterator[bytes], policies: tuple[Policy, ...], names: tuple[str, ...], symbols: tuple[str, ...]
    ) -> None:
        super().__init__(recorded)
        self.asked = 0
        self.different: list[Differs] = []
        self._policies = policies
        self._names = names
        self._symbols = symbols

    def answer(self, ask: Ask) -> Decided | None:
        then = super().answer(ask)
        if then is not None:
            self.asked += 1
            now = answer(self._policies[ask.agent], ask)
            text, most = unlike(then, now, self._symbols)
            if text:
                ts = ask.view.time
                self.different.append(Differs(ts, iso(ts), self._names[ask.agent], text, most))
        return then


def unlike(then: Decided, now: Decided, symbols: tuple[str, ...]) -> tuple[str, float]:
    """How an answer differs from the recorded one by more than TOLERANCE: (one clause, largest difference)."""
    if then.failed or now.failed:
        return (
            ("", 0.0)
            if then.failed == now.failed
            else (f"then {then.failed or 'weights'}, now {now.failed or 'weights'}", 0.0)
        )
    if then.weights is None or now.weights is None:
        same = then.weights is now.weights
        return ("", 0.0) if same else (f"then {'held' if then.weights is None else 'weights'}, now the other", 0.0)
    before, after = np.frombuffer(then.weights), np.frombuffer(now.weights)
    if before.shape != after.shape:
        return f"then {len(before)} weights, now {len(after)}", 0.0
    gap = np.abs(before - after)
    column = int(np.argmax(gap))
    most = float(gap[column])
    if most <= TOLERANCE:
        return "", most
    return f"{symbols[column]} {before[column]:.8g} then, {after[column]:.8g} now", most


def replay(
    config: Path, state: Path | None, sets: tuple[str, ...], run: str | None, *, policies: bool, as_json: bool
) -> int:
    """Fold a run again; exit code 0 when every step is as recorded."""
    where = place(config, state, sets)
    records = read_only(where.store)
    try:
        record = run_of(records, run)
    except StoreFailing as why:
        raise Failure(str(why), USAGE) from None
    name = record.run
    found = read(config, sets)
    assembly = assemble(found, cache=where.folder / "cache")
    same_market(assembly, records, name)
    last = records.last_seq(name)
    data = (entry for _, entry in records.entries(name, 1))
    names = tuple(a.name for a in assembly.rules.agents)
    journal = AskingAgain(data, assembly.policies, names, assembly.universe.symbols) if policies else Journal(data)
    shell = assembly.shell(journal)
    differs = ""
    began = time.perf_counter()
    with progress(f"replay {name}", shown=not as_json) as bar:
        try:
            fold(shell, journal, instants(watched(assembly, bar)))
        except ReplayDifference as why:
            differs = str(why)
    wall_s = time.perf_counter() - began
    # of a run that differs the account at the difference is shown: that is where to look
    body: dict[str, Any] = msgspec.to_builtins(summary(shell, name, record.mode, wall_s))
    body |= {"steps": last, "compared": journal.compared, "same": not differs, "difference": differs}
    changed = journal.different if isinstance(journal, AskingAgain) else []
    if isinstance(journal, AskingAgain):
        body |= {
            "asked": journal.asked,
            "policy_differences": len(changed),
            "policies": [
                {"ts": d.ts, "time": d.time, "agent": d.agent, "text": d.text, "most": d.most} for d in changed[:LISTED]
            ],
        }
    if as_json:
        print_json(body)
    else:
        _told(body, policies)
    return CHECK_FAILED if differs else 0


def watched(assembly: Assembly, bar: Bar) -> Iterator[Item]:
    """The market, with a look at the progress now and then."""
    first, span = assembly.feed.first_ts, max(1, assembly.feed.last_ts - assembly.feed.first_ts)
    for number, item in enumerate(assembly.items()):
        if number % 512 == 0:
            bar((time_of(item) - first) / span)
        yield item


def same_market(assembly: Assembly, records: Records, run: str) -> None:
    """Raise Failure unless the configuration describes the market and the agents of the run."""
    first = next((decode(data).event for _, data in records.entries(run, 1)), None)
    if not isinstance(first, Started):
        raise Failure(f"run {run} has no journal that begins with a start; there is nothing to replay", CHECK_FAILED)
    agents = tuple(a.name for a in assembly.rules.agents)
    record = records.run(run)
    then, now = "", ""
    if first.symbols != assembly.universe.symbols:
        then, now = f"the symbols {', '.join(first.symbols)}", ", ".join(assembly.universe.symbols)
    elif record.agents != agents:
        then, now = f"the agents {', '.join(record.agents)}", ", ".join(agents)
    elif first.feed != assembly.feed.digest:
        then, now = "other bars (another file, start, end or warm-up)", "the ones configured now"
    if then:
        raise Failure(
            f"run {run} was made with {then}, not {now}: give its configuration with --config or --set", CONFIG
        )


def _told(body: dict[str, Any], policies: bool) -> None:
    say(f"run {body['run']}: {body['compared']:,} of {body['steps']:,} steps compared in {body['wall_s']:.2f} s")
    if body["same"]:
        say("  every effect is as recorded")
    else:
        say(f"  {body['difference']}")
    say(f"  equity {body['equity']}, {body['orders']:,} orders, {body['fills']:,} fills")
    say(f"  digest {body['digest']}")
    if policies:
        say(
            f"  policies asked again {body['asked']:,} times, {body['policy_differences']} answers differ by more than {TOLERANCE:g}"
        )
        for row in body["policies"]:
            say(f"    {row['time']} {row['agent']}: {row['text']}")
