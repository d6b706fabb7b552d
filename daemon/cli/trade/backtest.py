"""`quantd backtest`: the recorded market through the same core as `run`, as fast as it goes."""

import gc
import os
import secrets
import sys
import time
from datetime import date
from itertools import islice
from pathlib import Path

import msgspec

from quantd.adapters.store.handle import Store
from quantd.adapters.store.journal.writer import Batch
from quantd.daemon.assembly.parts import Assembly, assemble
from quantd.daemon.cli.configuration import read
from quantd.daemon.cli.output import Bar, closing, print_json, progress, say
from quantd.daemon.config import Config
from quantd.daemon.recovery.replay import save_config
from quantd.daemon.recovery.start import begin
from quantd.daemon.runtime.journal import Journal
from quantd.daemon.runtime.loop import Log, Shell
from quantd.daemon.views.run_summary import Summary, summary
from quantd.research.run_record import Record
from quantd.research.verdict import Verdict, judge, lines
from quantd.trading.orders import base36

CHUNK = 512
"""Items between two looks at the clock: a progress bar must not cost what it measures."""

KEEP_STEPS = 4_000
"""Journalled steps in one transaction."""


class Kept:
    """A journal on its way into a store of backtests."""

    def __init__(self, folder: Path, assembly: Assembly, run: str) -> None:
        names = [a.name for a in assembly.rules.agents]
        self.journal = Journal()
        self.store = Store.open(folder)
        self._run = run
        self._projection = self.store.begin(run, assembly.universe, agents=names, mode="backtest", ts=time.time_ns())
        self._committed = 0

    def commit(self, ts: int, *, least: int = 1) -> None:
        """Write what is new, when it is at least so many steps."""
        if len(self.journal.entries) < least:
            return
        entries, steps = self.journal.taken()
        for seq, (event, effects) in enumerate(steps, self._committed + 1):
            self._projection.add(seq, event, effects)
        rows = self._projection.take()
        rows.pop("outbox", None)  # nobody is told about a backtest
        self.store.commit(Batch(run=self._run, first_seq=self._committed + 1, entries=entries, ts=ts, rows=rows))
        self._committed += len(entries)

    def close(self, ts: int) -> None:
        self.commit(ts)
        self.store.finish(self._run, time.time_ns(), "backtest")
        self.store.close()


def backtest(
    config: Path,
    sets: tuple[str, ...],
    *,
    start: date | None,
    end: date | None,
    as_json: bool,
    state: Path | None,
    journal: bool,
    report: Path | None,
    compare: bool = True,
) -> None:
    """Run a configuration over its recorded market and print what came of it, beside equal weight when `compare`."""
    if start is not None:
        sets = (*sets, f"feed.start={start.isoformat()}")
    if end is not None:
        sets = (*sets, f"feed.end={end.isoformat()}")
    found = read(config, sets)
    folder = state if state is not None else found.at(found.quantd.state)
    assembly = assemble(found, cache=folder / "cache")
    for schedule in assembly.schedules:
        if schedule.do == "retrain":
            # what a retraining makes is used from the next start on, and a backtest has one start
            sys.stderr.write(f'schedule "{schedule.name}" trains nothing in a backtest: policies stay what they are\n')
    run = base36(secrets.randbits(64), 8)
    kept = Kept(folder / "backtests", assembly, run) if journal else None
    if kept is not None:
        save_config(folder / "backtests", found, config, sets, os.environ)
    record = Record(assembly.universe, kept.journal if kept else None)
    with progress("backtest", shown=not as_json) as bar:
        shell, wall_s = drive(assembly, found, run, record, kept, bar)
    record.revalue(shell.state)
    result = summary(shell, run, "backtest", wall_s)
    if kept is not None:
        kept.close(shell.ts)

    def beside(other: Assembly, log: Log) -> Shell:
        with progress("equal weight", shown=not as_json) as bar:
            return drive(other, other.config, run, log, None, bar)[0]

    verdict = judge(assembly, record, folder, beside if compare else None)
    if report is not None:
        from quantd.daemon.cli.trade.backtest_page import write_report

        write_report(report, result, record, verdict, found)
    _told(result, verdict, as_json, folder / "backtests" if journal else None, report)


def drive(
    assembly: Assembly, config: Config, run: str, log: Log | None, kept: Kept | None, bar: Bar
) -> tuple[Shell, float]:
    """The whole market through a new shell; the shell, and the seconds it took."""
    shell = assembly.shell(log)
    begin(shell, assembly, config, run, fresh=True)
    items = assembly.items()
    first, last = assembly.feed.first_ts, assembly.feed.last_ts
    take = shell.take
    began = time.perf_counter()
    # what lives for the whole run is not looked through again and again
    gc.freeze()
    try:
        while True:
            item = None
            for item in islice(items, CHUNK):
                take(item)
            if item is None:
                break
            bar((shell.ts - first) / max(1, last - first))
            if kept is not None:
                kept.commit(shell.ts, least=KEEP_STEPS)
    finally:
        gc.unfreeze()
    return shell, time.perf_counter() - began


def _told(result: Summary, verdict: Verdict, as_json: bool, journal: Path | None, report: Path | None) -> None:
    if as_json:
        print_json({**msgspec.to_builtins(result), **msgspec.to_builtins(verdict)})
        return
    say(closing(result))
    for line in lines(verdict):
        say(line)
    if journal is not None:
        say(f"  journal kept: quantd replay {result.run} --state {journal}")
    if report is not None:
        say(f"  report {report}")
