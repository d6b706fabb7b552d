"""`quantd replay`: a journal folded again from its first entry, every step compared with the record."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from quantd.adapters.store.journal.records import Records
from quantd.daemon.assembly.parts import Assembly, Parts, parts_of
from quantd.daemon.cli.configuration import read
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import Bar, iso, print_json, progress, say
from quantd.daemon.cli.places import place, recorded
from quantd.daemon.policies.loading import answer
from quantd.daemon.policies.worker import Apart
from quantd.daemon.recovery.replay import NotKept, refold
from quantd.daemon.runtime.journal import Journal, ReplayDifference
from quantd.daemon.runtime.timeline import Item, time_of
from quantd.daemon.views.run_summary import summary
from quantd.trading.codec import decode
from quantd.trading.effects import Ask
from quantd.trading.events import Decided, Started
from quantd.trading.exit_codes import CHECK_FAILED, CONFIG

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


@dataclass(slots=True)
class Heard:
    """What policies said when they were asked again, over all stretches of a run."""

    asked: int = 0
    different: list[Differs] = field(default_factory=list)


class AskingAgain(Journal):
    """A journal that also asks the policies, and notes where they now answer something else."""

    def __init__(self, recorded: Iterable[bytes], seq: int, parts: Parts, heard: "Heard") -> None:
        super().__init__(recorded, seq, parts.live)
        self._heard = heard
        self._policies = parts.policies
        self._names = parts.rules.seats
        self._symbols = parts.universe.symbols

    def answer(self, ask: Ask) -> Decided | None:
        then = super().answer(ask)
        if then is not None:
            self._heard.asked += 1
            now = answer(self._policies[ask.policy], ask)
            text, most = unlike(then, now, self._symbols)
            if text:
                ts = ask.view.time
                self._heard.different.append(Differs(ts, iso(ts), self._names[ask.agent], text, most))
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
    records, record = recorded(where, run)
    name = record.run
    found = read(config, sets)
    parts = parts_of(found, time.time_ns(), cache=where.folder / "cache", apart=Apart(where.folder))
    same_market(parts, records, name)
    last = records.last_seq(name)
    heard = Heard()
    journal = Journal()

    def journal_of(entries: Iterable[bytes], seq: int, under: Parts) -> Journal:
        nonlocal journal
        journal = AskingAgain(entries, seq, parts, heard) if policies else Journal(entries, seq, parts.live)
        return journal

    differs = ""
    began = time.perf_counter()
    with progress(f"replay {name}", shown=not as_json) as bar:
        try:
            shell, journal = refold(
                parts,
                records,
                name,
                where.folder,
                journal_of=journal_of,
                watched=lambda market: watched(market, parts, bar),
            )
        except ReplayDifference as why:
            differs, shell = str(why), why.shell or parts.shell()
            journal.compared = why.seq - 1
        except NotKept as why:
            raise Failure(str(why), CONFIG) from None
    wall_s = time.perf_counter() - began
    # of a run that differs the account at the difference is shown: that is where to look
    body: dict[str, Any] = msgspec.to_builtins(summary(shell, name, record.mode, wall_s))
    body |= {"steps": last, "compared": journal.compared, "same": not differs, "difference": differs}
    changed = heard.different
    if policies:
        body |= {
            "asked": heard.asked,
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


def watched(market: Iterator[list[Item]], parts: Parts, bar: Bar) -> Iterator[list[Item]]:
    """The market by instants, with a look at the progress now and then."""
    if not isinstance(parts, Assembly):
        yield from market
        return
    first, span = parts.feed.first_ts, max(1, parts.feed.last_ts - parts.feed.first_ts)
    for number, instant in enumerate(market):
        if number % 512 == 0:
            bar((time_of(instant[0]) - first) / span)
        yield instant


def same_market(parts: Parts, records: Records, run: str) -> None:
    """Raise Failure unless the configuration describes the market and the agents of the run."""
    first = next((decode(data).event for _, data in records.entries(run, 1)), None)
    if not isinstance(first, Started):
        raise Failure(f"run {run} has no journal that begins with a start; there is nothing to replay", CHECK_FAILED)
    agents = tuple(a.name for a in parts.rules.agents)
    record = records.run(run)
    then, now = "", ""
    if first.symbols != parts.universe.symbols:
        then, now = f"the symbols {', '.join(first.symbols)}", ", ".join(parts.universe.symbols)
    elif record.agents != agents:
        then, now = f"the agents {', '.join(record.agents)}", ", ".join(agents)
    elif first.feed != parts.market:
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
