"""Run the configuration over its recorded market, as fast as possible. The digest is equal to that of `quantd run`."""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from shlex import join
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer

from quantd import bundled
from quantd.adapters.store.lock import BACKTESTS
from quantd.daemon.cli.command import CONFIG_FILE, Command, ConfigFile, Family, From, Json, PolicyAlone, Sets, State, To
from quantd.daemon.cli.failures import Interrupted, note
from quantd.daemon.cli.output import answer, closing, progress
from quantd.daemon.runtime.garbage import SELDOM, growing
from quantd.regular_file import write_whole
from quantd.research.cli.trade import shared_options
from quantd.research.cli.trade.outside_run import asked_drive, configured
from quantd.research.cli.trade.preset_output import NAMES as PRESETS
from quantd.research.cli.trade.preset_output import preset as run_preset
from quantd.trading.exit_codes import CHECK_FAILED, DONE

if TYPE_CHECKING:
    from quantd.research.runs.backtest import BacktestJournal


REFUSED: Final = {
    "POLICY": "policy", "config": "config", "from": "start", "to": "end", "journal": "journal", "report": "report",
    "no-compare": "no_compare", "most-questions": "most_questions", "rename": "renamed",
}  # fmt: skip
"""Option that a preset refuses -> its field."""


@dataclass(frozen=True, slots=True)
class BacktestOptions:
    """The options of `quantd backtest`."""

    policy: PolicyAlone = ""
    config: ConfigFile = CONFIG_FILE
    start: From = None
    end: To = None
    state: State = None
    sets: Sets = None
    journal: Annotated[bool, typer.Option("--journal", help="Keep the journal, for `quantd replay`.")] = False
    report: shared_options.Report = None
    no_compare: Annotated[
        bool,
        typer.Option("--no-compare", help="Skip equal weight, half the time; a report has the other benchmarks."),
    ] = False
    family: Family = ""
    most_questions: Annotated[
        int | None,
        typer.Option("--most-questions", min=0, metavar="N", help="Stop at more than N questions to outside agents."),
    ] = None
    renamed: Annotated[
        bool,
        typer.Option("--rename", help="Run twice, with other symbols and dates for outside agents, and compare."),
    ] = False
    preset: Annotated[
        str,
        typer.Option("--preset", metavar="NAME", help=f"Train and trade a given plan instead: {', '.join(PRESETS)}."),
    ] = ""
    as_json: Json = False


@growing(SELDOM)
def backtest(options: BacktestOptions) -> int:
    if options.preset:
        usual = BacktestOptions()
        refused = {
            option if option.isupper() else f"--{option}": getattr(options, name) != getattr(usual, name)
            for option, name in REFUSED.items()
        }
        return run_preset(options.preset, refused, options.state, options.sets, options.family, as_json=options.as_json)
    stored: list[BacktestJournal] = []  # _backtest adds its journal, so that Ctrl-C can report what was stored
    try:
        return _backtest(stored, options)
    except KeyboardInterrupt:
        clauses = [journal_of_run.interrupted() for journal_of_run in stored]
        raise Interrupted(f"interrupted; {clauses[0] if clauses else 'no run is stored'}") from None


def _begin(options: BacktestOptions) -> None:
    """Write config.toml for a policy in a folder that has none, as `quantd init --policy NAME --watch` does."""
    file = options.policy.partition(":")[0]
    if file and Path(file).exists() and options.config == CONFIG_FILE and not CONFIG_FILE.exists():
        write_whole(CONFIG_FILE, bundled.CONFIG.read_bytes(), durable=False)
        note(f"wrote {CONFIG_FILE}: recorded US markets on paper; {options.policy} trades alone in this backtest")


# Long because of its order. The report file and the journal are checked and opened before the first step, so that a
# wrong path does not cost a run. Both then get the same run, summary and verdict.
def _backtest(stored: "list[BacktestJournal]", options: BacktestOptions) -> int:
    """Run the backtest, print it, and return the exit code: 1 where a policy failed or an agent knows the future.

    With --journal the steps are stored, and the open journal is appended to `stored` before the first step.
    """
    from quantd.daemon.assembly.parts import Assembly, assemble
    from quantd.daemon.assembly.small_shares import overridden_shares
    from quantd.daemon.config.overrides import alone
    from quantd.daemon.runtime.loop import Shell
    from quantd.daemon.runtime.step_log import Log
    from quantd.daemon.views.run_summary import summary
    from quantd.research.runs.backtest import BacktestJournal, after_history, drive, explain_pace
    from quantd.research.runs.benchmark_runs import benchmark_history
    from quantd.research.runs.comparison import NAME, Drive
    from quantd.research.runs.run_record import Record
    from quantd.research.verdict import judge, lines
    from quantd.trading.orders import base36

    report_file = None
    if options.report is not None:
        from quantd.research.cli.trade.backtest_report import ReportFile

        report_file = ReportFile(options.report)
    _begin(options)
    sets = [*alone(options.policy, options.config), *(options.sets or ())]
    about_agents = options.renamed or options.most_questions is not None
    configuration, overrides = configured(options.config, sets, options.start, options.end, options=about_agents)
    folder = configuration.state_folder(options.state)
    assembly = after_history(
        lambda history: assemble(configuration, cache=folder / "cache", history=history),
        benchmark_history(configuration),
    )
    for schedule in assembly.schedules:
        if schedule.do == "retrain":
            # a retrained policy is used from the next start, and a backtest has one start
            note(f'schedule "{schedule.name}" trains nothing in a backtest: each policy stays as it is')
    run = base36(secrets.randbits(64), 8)
    stored_journal = BacktestJournal(folder / BACKTESTS, assembly, run) if options.journal else None
    if stored_journal is not None:
        from quantd.daemon.recovery.replay import save_config

        stored.append(stored_journal)
        save_config(folder / BACKTESTS, assembly.config, options.config, overrides, os.environ)
    # each step goes to the record, then to the books of the report, then to the journal
    log: Log | None = stored_journal.journal if stored_journal else None
    if report_file is not None:
        report_file.plan(configuration, assembly, compared=not options.no_compare)
        log = report_file.log(assembly, log)
    record = Record(assembly.universe, log)
    explain_pace(assembly, 1 if options.no_compare else 2, note)  # the second run is equal weight's
    (shell, wall_s), asked = asked_drive(
        assembly, run, record, stored_journal, folder, options.most_questions, rename=options.renamed
    )
    record.end(shell.state)
    result = summary(shell, run, "backtest", wall_s)
    if stored_journal is not None:
        stored_journal.close(shell)

    finished: dict[str, Record] = {}  # benchmark -> its record: a report does not run equal weight again

    def benchmark_drive(name: str) -> Drive:
        def drive_benchmark(benchmark: Assembly, log: Log) -> Shell:
            if isinstance(log, Record):
                finished[name] = log
            with progress(name.replace("_", " ")) as advance:
                return drive(benchmark, benchmark.config, run, log, None, advance)[0]

        return drive_benchmark

    compared = benchmark_drive(NAME) if not options.no_compare else None
    verdict = judge(assembly, record, folder, compared, options.family, knows=asked.foreknowledge if asked else "")
    if report_file is not None:
        verdict = report_file.write(assembly, record, benchmark_drive, finished, result, verdict)
    # the faults, and the headline with the worst reason to doubt it, precede the result
    faults, text = len(verdict.faults), lines(verdict)
    printed = [
        *(asked.first_lines if asked else []),
        *text[:faults],
        *overridden_shares(configuration),
        text[faults],
        closing(result),
        *text[faults + 1 :],
    ]
    if options.journal:
        chosen = [f"--set={text}" for text in overrides]
        config_option = [] if options.config == CONFIG_FILE else ["-c", str(options.config)]
        command = join(["quantd", "replay", result.run, "--state", str(folder / BACKTESTS), *config_option, *chosen])
        printed.append(f"  journal kept: {command}")
    if options.report is not None:
        printed.append(f"  report {options.report}")
    about_outside = {} if asked is None else {"foresight": asked.verdicts, "outside": asked.counts}
    body = msgspec.to_builtins(about_outside) | msgspec.to_builtins(result) | msgspec.to_builtins(verdict)
    answer(options.as_json, body, *printed, *(asked.lines() if asked else []))
    return CHECK_FAILED if verdict.failures or (asked is not None and asked.knows) else DONE


COMMAND: Final = Command("Trade", 20, backtest)
