"""Replay a run's journal and compare every step with the record, or the run with a backtest over the same bars."""

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
import typer

from quantd.daemon.cli.command import DEFAULTS, Command, Json, RunOptions, day
from quantd.daemon.cli.failures import Failure, Interrupted, note
from quantd.daemon.cli.output import answer, progress
from quantd.daemon.cli.places import recorded
from quantd.trading.exit_codes import CHECK_FAILED, CONFIG, DONE, USAGE

if TYPE_CHECKING:
    from quantd.adapters.store.journal.records import Records, RunRecord
    from quantd.daemon.assembly.parts import Parts

LISTED: Final = 50
"""Most differences of policies that are printed."""

Uncompiled = Annotated[
    bool, typer.Option("--uncompiled", help="Fold it again with the interpreted engine, in its own process.")
]
Begin = Annotated[
    date | None,
    typer.Option("--from", parser=day, metavar="DATE", help="Begin at the newest snapshot before this day."),
]

OtherLimit = Annotated[
    str | None,
    typer.Option("--limit", metavar="KEY=VALUE", help="What if: the whole run again with one limit changed."),
]

UNCOMPILED: Final = {"QUANTD_UNCOMPILED": "1"}
"""The environment variable with which a process loads no compiled module of the engine."""


# Long because one replay gives both the count of compared steps and the account at the first difference, and each
# printed line has figures of both.
def replay(
    run: Annotated[str | None, typer.Argument(help="Name of a run; the newest without it.")] = None,
    chosen: RunOptions = DEFAULTS,
    policies: Annotated[
        bool, typer.Option("--policies", help="Also call the policies again and list differences.")
    ] = False,
    uncompiled: Uncompiled = False,
    start: Begin = None,
    against: Annotated[
        Literal["journal", "backtest"],
        typer.Option(help="Compare with the steps of the journal, or decisions, prices, fills, costs with a backtest."),
    ] = "journal",
    date_only: Annotated[
        date | None,
        typer.Option("--day", parser=day, metavar="DATE", help="With a backtest: one day of the run (UTC)."),
    ] = None,
    limit: OtherLimit = None,
    as_json: Json = False,
) -> int:
    from quantd.engine_build import finder
    from quantd.engine_build.state import label

    if limit is not None:
        if policies or uncompiled or start is not None or date_only is not None or against == "backtest":
            raise Failure("--limit takes the whole run again: give it without other options of a comparison", USAGE)
        home = chosen.place()
        return _under_other_limit(*recorded(home, run), home.folder, limit, as_json=as_json)
    if against == "backtest":
        if policies or uncompiled or start is not None:
            raise Failure("--against backtest compares decisions: omit --policies, --uncompiled and --from", USAGE)
        home = chosen.place()
        return _against_backtest(*recorded(home, run), home.folder, date_only, as_json=as_json)
    if date_only is not None:
        raise Failure("--day is of a comparison with a backtest: add --against backtest, or name --from DATE", USAGE)

    if uncompiled and finder.loaded() is not None:
        return _replay_interpreted()
    from quantd.daemon.assembly.parts import Assembly, Parts, parts_of
    from quantd.daemon.cli.stopped_run import tracked
    from quantd.daemon.policies.isolation.worker import Apart
    from quantd.daemon.recovery.replay import loaded_in, refold, snapshot_before
    from quantd.daemon.runtime.journal import Journal, ReplayDifference
    from quantd.daemon.runtime.timeline import Item
    from quantd.daemon.views.report.curves import date_ns
    from quantd.daemon.views.run_summary import summary
    from quantd.research.cli.trade.policy_answers import TOLERANCE, Answers
    from quantd.research.runs.backtest import explain_pace

    home = chosen.place()
    records, record = recorded(home, run)
    name = record.run
    parts = parts_of(chosen.read(), time.time_ns(), cache=home.folder / "cache", isolation=Apart(home.folder))
    parts = same_market(parts, records, name)
    # an artifact that is missing or changed is refused before the replay, not at the step that first needs it
    for loaded in loaded_in(records, name):
        parts.seats(dict).verify(loaded)
    seq, snapshot = (0, b"") if start is None else snapshot_before(records, name, date_ns(start))
    answers = Answers(parts.policies)
    journal = Journal()

    def journal_of(entries: Iterable[bytes], after: int, under: Parts) -> Journal:
        nonlocal journal  # where a step differs, refold returns nothing: this journal is then the one that found it
        journal = Journal(entries, after, parts.live)
        return journal

    if isinstance(parts, Assembly) and not uncompiled:
        explain_pace(parts, 1, note)
    difference_text = ""
    began = time.perf_counter()
    with progress(f"replay {name}") as advance:

        def with_progress(market: Iterator[list[Item]]) -> Iterator[list[Item]]:
            if not isinstance(parts, Assembly):  # a live market has no end, of which a share could be done
                return market
            return tracked(market, advance, parts.feed.last_ts, parts.feed.first_ts)

        try:
            shell, journal = refold(
                parts, records, name, home.folder, journal_of=journal_of, watched=with_progress,
                overheard=answers if policies else None, seq=seq, snapshot=snapshot,
            )  # fmt: skip
        except ReplayDifference as why:
            difference_text, shell = str(why), why.shell or parts.shell()
            # the steps after the snapshot (step `seq`) and before the step that differs
            journal.compared = why.seq - 1 - seq
    wall_s = time.perf_counter() - began
    # where a step differs, `shell` has stopped there: the figures are of the account at that step
    body: dict[str, Any] = msgspec.to_builtins(summary(shell, name, record.mode, wall_s))
    body |= {"steps": records.last_seq(name), "compared": journal.compared}
    body |= {"same": not difference_text, "difference": difference_text, "engine": label()}
    lines = [
        f"run {name}: {body['compared']:,} of {body['steps']:,} steps compared in {body['wall_s']:.2f} s, "
        f"engine {label()}",
        f"  {difference_text or 'every effect is as recorded'}",
        f"  equity {body['equity']}, {body['orders']:,} orders, {body['fills']:,} fills",
        f"  digest {body['digest']}",
    ]
    if policies:
        count, listed = len(answers.different), answers.different[:LISTED]
        body |= {"asked": answers.calls, "policy_differences": count, "policies": listed}
        lines.append(f"  policies called {answers.calls:,} times, {count} answers differ by more than {TOLERANCE:g}")
        lines += [f"    {difference.time} {difference.agent}: {difference.text}" for difference in listed]
    answer(as_json, body, *lines)
    return CHECK_FAILED if difference_text else 0


def _replay_interpreted() -> int:
    """Run this command line in a new process, which loads no compiled module; return its exit code."""
    # -P: modules in the present folder are not imported
    line = [sys.executable, "-P", "-m", "quantd.daemon.cli", *sys.argv[1:]]
    # in a session of its own, the new process gets no Ctrl-C from the terminal: subprocess.run kills it
    try:
        done = subprocess.run(
            line, env=os.environ | UNCOMPILED, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
    except KeyboardInterrupt:
        raise Interrupted("interrupted") from None
    if done.returncode < 0:
        raise Failure(
            f"signal {-done.returncode} ended the process that replays with the interpreted engine, and nothing was "
            "compared; run the command again (signal 9 may mean that memory was short)",
            CHECK_FAILED,
        )
    sys.stdout.write(done.stdout)
    return done.returncode


def _against_backtest(records: "Records", record: "RunRecord", folder: Path, day: date | None, *, as_json: bool) -> int:
    """Compare a run with a backtest over the same bars, with the causes and the money of each difference."""
    from quantd.daemon.assembly.parts import parts_of
    from quantd.daemon.recovery.replay import saved_config
    from quantd.daemon.views.report.curves import DAY_NS, date_ns
    from quantd.research.studies import parity
    from quantd.trading.codec import decode
    from quantd.trading.display_text import instant_text
    from quantd.trading.events import Tick

    entries = [decode(data) for _, data in records.entries(record.run)]
    config_digest = parity.configuration_of(entries)
    if not config_digest:
        raise Failure(
            f"the journal of run {record.run} has no start, so its configuration is unknown; name another run",
            CHECK_FAILED,
        )
    # without --day every instant (ns) is compared, to the largest of 64 bits
    since, until = (date_ns(day), date_ns(day) + DAY_NS) if day is not None else (0, 2**63 - 1)
    samples = [entry.event.ts for entry in entries if isinstance(entry.event, Tick) and not entry.event.warmup]
    if day is not None and not any(since < ts <= until for ts in samples):
        period = f"from {instant_text(samples[0])} to {instant_text(samples[-1])}" if samples else "none"
        raise Failure(f"--day {day}: run {record.run} has no sample on it; its samples: {period}", USAGE)
    # the saved copy of the run's own configuration: the present file may have changed since
    configuration = saved_config(folder, config_digest)
    with progress("backtest over the bars of the run"):
        parts = parts_of(configuration, entries[0].event.ts, cache=folder / "cache")  # type: ignore[union-attr]
        result = parity.parity(
            record.run, parts.universe, entries, parity.backtest_of(parts, entries), parts.interval_ns,
            since=since, until=until,
        )  # fmt: skip
    answer(as_json, result, *parity.lines(result))
    return DONE if result.same else CHECK_FAILED


def _under_other_limit(records: "Records", record: "RunRecord", folder: Path, limit: str, *, as_json: bool) -> int:
    """Take a run again with one limit changed, and print both courses."""
    from quantd.daemon.views.other_limits import other_course

    with progress(f"run {record.run} under {limit}"):
        course = other_course(records, record.run, folder, limit)
    answer(as_json, course, *course.lines())
    return DONE


def same_market(parts: "Parts", records: "Records", run: str) -> "Parts":
    """Return `parts` with the bars over which the run was recorded.

    Raises Failure where the run had other symbols, agents or bars, or no start in its journal.
    """
    from quantd.daemon.assembly.parts import as_recorded
    from quantd.daemon.recovery.replay import first_start

    first = first_start(records, run)
    if first is None:
        raise Failure(f"run {run} has no journal that begins with a start; there is nothing to replay", CHECK_FAILED)
    parts = as_recorded(parts, first.feed)
    agents = tuple(agent.name for agent in parts.rules.agents)
    record = records.run(run)
    then, now = "", ""  # the setting of the run and the present one, if they differ
    if first.symbols != parts.universe.symbols:
        then, now = f"the symbols {', '.join(first.symbols)}", ", ".join(parts.universe.symbols)
    elif record.agents != agents:
        then, now = f"the agents {', '.join(record.agents)}", ", ".join(agents)
    elif first.feed != parts.market:  # digests of the market
        then, now = "other bars (another file, start, end or warm-up)", "the ones configured now"
    if then:
        raise Failure(
            f"run {run} was made with {then}, not {now}: name the run's configuration with --config and --set", CONFIG
        )
    return parts


COMMAND: Final = Command("Trade", 30, replay)
