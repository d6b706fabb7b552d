"""Backtests of a policy over bars in memory, or of a configuration, with the verdict of `quantd backtest`."""

import dataclasses
import os
import tempfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import polars as pl
from msgspec.structs import replace

from quantd.adapters.feeds.recorded.bar_files import BarFrame
from quantd.daemon.assembly.parts import Assembly, assemble, policies_of
from quantd.daemon.config import Config
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.runtime.step_log import Log
from quantd.daemon.views.run_summary import Summary, summary
from quantd.research.attribution.book_history import BookHistory
from quantd.research.attribution.book_history_log import BookHistoryLog
from quantd.research.attribution.breakdown import Breakdown, breakdown
from quantd.research.attribution.brinson import (
    ActiveReturn,
    Form,
    benchmark_sectors,
    brinson,
    portfolio_sectors,
)
from quantd.research.attribution.factor_regression import FactorRegression, factor_regression
from quantd.research.attribution.profit import profit
from quantd.research.metrics.calendar_tables import monthly_returns
from quantd.research.metrics.catalogue import Measures
from quantd.research.metrics.rolling import rolling
from quantd.research.metrics.run_track import track_record_of
from quantd.research.metrics.track_record import TrackRecord
from quantd.research.outside.asking import Questioned, asked_run
from quantd.research.outside.outside_agents import NO_OUTSIDE_AGENT, asking
from quantd.research.python_api import frames
from quantd.research.python_api.arguments import Misused
from quantd.research.python_api.bar_frame import bar_frame, factor_columns
from quantd.research.python_api.functions import FILE, CallerPolicy, chosen
from quantd.research.python_api.plots import Picture
from quantd.research.python_api.run_config import Settings, around, loaded, with_adjusted
from quantd.research.python_api.run_history import Run, Why
from quantd.research.reports.notebook_picture import picture
from quantd.research.reports.report_contents import RunFigures
from quantd.research.reports.report_figures import benchmark_records, planned, report_of, run_figures
from quantd.research.reports.report_files import check_suffix, write_backtest_report
from quantd.research.runs.backtest import BacktestJournal, Progress, after_history, drive
from quantd.research.runs.benchmark_runs import benchmark_history
from quantd.research.runs.comparison import NAME as EQUAL_WEIGHT
from quantd.research.runs.comparison import settings_of
from quantd.research.runs.run_record import Record
from quantd.research.runs.trials import Kind
from quantd.research.runs.untraded import AccountLost, lost_text
from quantd.research.studies.lookahead import forget_modules
from quantd.research.verdict import Verdict, judge, lines
from quantd.strategies.policies.holding import ASKED
from quantd.trading.exit_codes import ExplainedError

MONTHLY: Final[dict[str, Any]] = {
    "year": pl.Int64, "month": pl.Int64, "return": pl.Float64, "equal_weight": pl.Float64,
}  # fmt: skip
"""Schema of `Backtest.monthly`; returns are fractions."""

NAME: Final = "backtest"
"""Name of the run in the ids of its orders."""


OnError = Literal["raise", "hold"]
"""After a failed decision of a policy, "raise" ends the run with the error; with "hold" the agent holds."""


CHANGED: Final = (
    "The policy object changed its own state during the run, so its next backtest begins with the changed state. "
    "Keep state in memory, act(view, memory), or make a new object for each backtest."
)
"""Note on a policy whose second backtest may give another result."""


def _no_progress(share: float) -> None:
    """Ignore progress."""


def backtest(
    what: object,
    bars: object = None,
    settings: Settings | None = None,
    *,
    params: Mapping[str, object] | None = None,
    adjusted: bool = False,
    compare: bool = True,
    on_error: OnError = "raise",
    progress: Progress = _no_progress,
    family: str = "",
    most_questions: int | None = None,
    rename: bool = False,
) -> "Backtest":
    """Backtest a policy over `bars`, or a configuration over its recorded market.

    `what` is a policy or a configuration:

    - a function `act(view)` or `act(view, memory)`, or a class or object with such a method;
    - weights: {"SPY": 0.6, "TLT": 0.4}, a series of them, or a frame with a row of weights for each date;
    - a registered name ("risk_parity"), a file ("mine.py:act") or the folder of a trained artifact;
    - a configuration of `quantd.load`, or the path of a TOML file.

    `bars` is a polars or pandas frame with one row per bar (see `quantd.research.python_api.bar_frame`); a policy needs
    it. `params` are the policy's parameters. `settings` replace keys of the configuration. `adjusted` states that the
    prices are adjusted for splits, so that every jump is a real move. `compare` also runs equal weight for the verdict.
    `progress` receives the completed share of the run. The result counts as a trial in the state folder, for its own
    market and for the `family` that is named. Outside agents with a command or an address are asked; a run of more than
    `most_questions` questions raises an Error. `rename` asks the outside agents a second time, with symbols and dates
    renamed: `foresight` of the result compares the two runs.

    The first decision that a policy fails to take raises an Error, whose cause is the policy's exception. With
    `on_error="hold"` the run goes on as the daemon does: the agent holds, and is suspended after `[risk] max_failures`
    failures in a row; the text of the result begins with the failures and the suspension. Raises UnsoundPrices for a
    jump near a split ratio without an action, or for a long gap, Misused for arguments that do not go together, and
    ConfigError or another Error.
    """
    stop = on_error == "raise"
    settings = with_adjusted(settings, adjusted=adjusted)
    frame = None if bars is None else bar_frame(bars)
    config, caller = _configured(what, frame, settings, params)
    if (rename or most_questions is not None) and not any(agent.policy == ASKED for agent in config.document.agents):
        raise Misused(f"rename and most_questions {NO_OUTSIDE_AGENT}")
    folder = config.state_folder(None)
    notes: list[str] = []
    assembly = after_history(
        lambda history: assemble(config, cache=folder / "cache", isolation=caller, bars=frame, history=history),
        benchmark_history(config),
        notes.append,
    )
    if caller is not None:
        notes += caller.unused_rows(assembly)
    run = backtest_of(
        assembly, folder, compare=compare, stop=stop, progress=progress, family=family,
        most_questions=most_questions, rename=rename,
    )  # fmt: skip
    if caller is not None and caller.changed:
        notes.append(CHANGED)
    run.verdict = replace(run.verdict, notes=(*run.verdict.notes, *notes))
    return run


def _configured(
    what: object, frame: BarFrame | None, settings: Settings | None, params: Mapping[str, object] | None
) -> tuple[Config, CallerPolicy | None]:
    """Return the configuration of `what`, and the policy if it is an object of the caller, else None.

    A policy gets a configuration around it: over the bars of `frame`, with one agent that has all the capital. Raises
    Misused for arguments that do not go together, ConfigError for a wrong setting.
    """
    if isinstance(what, Config) or (isinstance(what, str | os.PathLike) and str(what).endswith(".toml")):
        if params is not None:
            raise Misused("params cannot go with a configuration; write the settings agents.NAME.params.KEY")
        return asking(loaded(what, settings)), None
    if frame is None:
        raise Misused("a policy needs bars: quantd.backtest(policy, bars=frame), or name a config.toml")
    policy, params, caller = chosen(what, params)
    return around(frame, policy, params, settings), caller


def backtest_of(
    assembly: Assembly,
    folder: Path,
    *,
    compare: bool,
    stop: bool,
    progress: Progress = _no_progress,
    family: str = "",
    kind: Kind = "backtest",
    most_questions: int | None = None,
    rename: bool = False,
) -> "Backtest":
    """Run an assembly (a configuration with its market), and record the result as a trial in the folder `folder`."""
    config = assembly.config
    record = Record(assembly.universe)
    (shell, wall_s), asked = asked_run(
        assembly,
        folder,
        most_questions,
        # None: no journal is stored, and in the run under other names no steps are recorded
        lambda: drive(assembly, config, NAME, record, None, progress, stop=stop),
        (lambda: drive(assembly, config, NAME, None, None, _no_progress, stop=stop)) if rename else None,
        record,
    )
    record.end(shell.state)
    result = summary(shell, NAME, "backtest", wall_s)

    benchmark_runs: dict[str, Record] = {}

    def run_benchmark(benchmark: Assembly, log: Log) -> Shell:
        if isinstance(log, Record):  # the metrics and the report use it again
            benchmark_runs[EQUAL_WEIGHT] = log
        return _run_to_log(benchmark, log)

    verdict = judge(assembly, record, folder, run_benchmark if compare else None, family, kind, asked.foreknowledge)
    return Backtest(assembly, record, result, verdict, benchmark_runs, asked)


def _run_to_log(assembly: Assembly, log: Log) -> Shell:
    """Run an assembly (configuration and market), recorded by `log`, without a journal or progress."""
    return drive(assembly, assembly.config, NAME, log, None, _no_progress)[0]


def _anew(assembly: Assembly) -> Assembly:
    """Return the assembly with the policies of files loaded as on a first start, for a run that is repeated: a file may
    keep state in its module."""
    config = assembly.config
    files = [".py" in agent.policy and not agent.policy.startswith(f"{FILE}:") for agent in config.seats]
    if not any(files):
        return assembly
    for agent, is_file in zip(config.seats, files, strict=True):
        if is_file:
            forget_modules(config.at(agent.policy.partition(":")[0]).resolve().parent)
    loaded = policies_of(config, assembly.universe, assembly.interval_ns, assembly.isolation, assembly.members)
    kept = zip(loaded, assembly.policies, files, strict=True)
    return dataclasses.replace(assembly, policies=tuple(new if is_file else old for new, old, is_file in kept))


class Backtest:
    """The result of a backtest: frames, figures and verdict. `str()` is the text of `quantd backtest`."""

    def __init__(
        self,
        assembly: Assembly,
        record: Record,
        result: Summary,
        verdict: Verdict,
        benchmark_runs: Mapping[str, Record],
        asked: Questioned,
    ) -> None:
        """`benchmark_runs` are records of benchmarks by name; `asked` counts the questions to outside agents."""
        self._assembly, self._record, self._benchmark_runs = assembly, record, benchmark_runs
        self.summary = result
        """Counts, positions and digest of the run."""
        self.verdict = verdict
        """Figures with intervals, beside those of equal weight, and one sentence."""
        self._asked = asked
        self.outside = asked.counts
        """For each outside agent, how many questions it answered in this run, and how many the store answered."""
        self.foresight = asked.verdicts
        """For each outside agent, with `rename`: whether names and dates raise its gains, as if it knew the future."""

    @property
    def config(self) -> Config:
        """The configuration of the run, with its overrides."""
        return self._assembly.config

    @property
    def assembly(self) -> Assembly:
        """The parts of the run: configuration, market, policies and risk rules."""
        return self._assembly

    @property
    def record(self) -> Record:
        """The run's samples and fills."""
        return self._record

    @property
    def digest(self) -> str:
        """The digest of every effect of the run. `quantd backtest` and `quantd run` compute the same digest."""
        return self.summary.digest

    @property
    def rejected(self) -> int:
        """Number of bars that the checks of the feed rejected."""
        return len(self._assembly.feed.quarantined)

    @cached_property
    def equity(self) -> pl.DataFrame:
        """The account, one row per sample: ts, equity, cash, gross, drawdown."""
        return frames.equity_frame(self._record)

    @cached_property
    def books(self) -> pl.DataFrame:
        """The equity of each agent's book (part of the account), one row per sample and book: ts, book, equity."""
        return frames.books_frame(self._record, self._agents)

    @cached_property
    def fills(self) -> pl.DataFrame:
        """The fills, one row each: ts, order, symbol, side, quantity, price, fee, agents."""
        return frames.fills_frame(self._record.fill_columns, self._assembly.universe, self._agents, NAME)

    @cached_property
    def metrics(self) -> Measures:
        """Every metric of the catalogue by name; the benchmark of the metrics is equal weight, if it was compared.

        None stands for a metric that is undefined, or whose benchmark is missing. Raises ValueError for an account that
        lost everything.
        """
        return Measures(self.track)

    @cached_property
    def rolling(self) -> pl.DataFrame:
        """Rolling figures over 252 samples: ts, sharpe, volatility, drawdown; NaN before the window is full."""
        figures = rolling(self.track)
        columns = {"sharpe": figures.sharpe, "volatility": figures.volatility, "drawdown": figures.drawdown}
        dates = self.equity.select("ts")[1:]
        return frames.Frame.of(dates.with_columns(pl.Series(name, values) for name, values in columns.items()))

    @cached_property
    def monthly(self) -> pl.DataFrame:
        """The compound returns of calendar months: year, month, return, equal_weight (null if it was not compared)."""
        rows = [(month.year, month.month, month.total_return, month.benchmark) for month in monthly_returns(self.track)]
        return frames.Frame(rows, schema=MONTHLY, orient="row")

    @cached_property
    def attribution(self) -> Breakdown:
        """The contributions to the return by asset, sector, agent and kind of gain or cost; each table adds up to the
        return.

        The first access runs the backtest again. Raises ValueError for an account that lost everything, RunDiffers
        where the repeated run differs.
        """
        return breakdown(self._books)

    def brinson(self, weights: Mapping[str, float], form: Form = "fachler") -> ActiveReturn:
        """Attribute the return beyond a benchmark by sector: allocation, selection and interaction.

        `weights` are the benchmark's weights by symbol, restored at the beginning of each sample; the remainder is
        cash. `[universe] instruments` names the sectors. `form` "fachler" is the method of Brinson and Fachler,
        "hood_beebower" that of Brinson, Hood and Beebower. Raises ValueError for a symbol that is not in the universe
        and for a lost account, RunDiffers where a repeated run differs.
        """
        history = self._books
        row = history.row_of(weights)
        return brinson(portfolio_sectors(history, profit(history)), benchmark_sectors(history, row), form)

    def factors(self, returns: object) -> FactorRegression:
        """Regress the excess return on factor returns, and split the period's return by factor.

        `returns` is a polars or pandas frame: a column of dates (ts, date), and a column per factor with its return
        in each sample. Raises ValueError for a date without a return, or factors that depend on each other.
        """
        track = self.track
        return factor_regression(
            track.days_ns[1:], track.returns, factor_columns(returns), track.risk_free_annual / track.periods
        )

    @property
    def _books(self) -> BookHistory:
        """The positions and trades of each book, from a repeated run. Raises RunDiffers where the results differ."""
        history = self._history
        if isinstance(history, str):
            raise RunDiffers(history)
        return history

    @cached_property
    def track(self) -> TrackRecord:
        """The equity, returns and costs behind the metrics. Raises AccountLost (a ValueError) for a lost account."""
        if loss := lost_text(self._record):
            raise AccountLost(loss)
        return track_record_of(self._assembly, self._record, self._benchmark_runs.get(EQUAL_WEIGHT))

    @property
    def orders(self) -> pl.DataFrame:
        """The orders, one row each: ts, order, symbol, side, quantity, limit, state, filled, reason, agents, note."""
        return self.run.orders

    @property
    def decisions(self) -> pl.DataFrame:
        """The decisions, one row per agent and symbol: weight, requested and allowed quantity, limit that cut them."""
        return self.run.decisions

    @property
    def alerts(self) -> pl.DataFrame:
        """The alerts, one row each: ts, level, kind, text, symbol, agent, value, bound."""
        return self.run.alerts

    def why(self, what: str) -> Why:
        """Explain an order (its id), a decision (d4812:QQQ) or the newest decision about a symbol. Raises NotFound."""
        return self.run.why(what)

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write the report and return its path. Raises Error or OSError.

        The suffix is the format: .html is one page that opens without a network; .json, .md and .csv have the same
        figures, and .csv has the series in NAME.series.csv beside it. The benchmarks of `[study]` run now, and the
        backtest runs once more for its attribution.
        """
        out = Path(path)
        check_suffix(out)
        benchmarks = planned(self.config, self._assembly)
        settings = settings_of(self._assembly, self._record)
        runs = benchmark_records(benchmarks, settings, lambda name: _run_to_log, self._benchmark_runs)
        contents = report_of(self._assembly, self._record, self._history, runs, self.summary, self.verdict)
        write_backtest_report(out, contents)
        return out

    @cached_property
    def figures(self) -> RunFigures:
        """The figures of the run that `quantd.compare` uses. The first access runs the backtest again.

        Raises TooShort for fewer than two samples, RunDiffers where the repeated run differs.
        """
        return run_figures(self._assembly, self._record, self._books, self.summary, self.config.state_folder(None))

    def plot(self) -> Picture:
        """Return the picture that a notebook shows of the result; its `write_html(path)` writes a page."""
        return Picture(self._repr_html_())

    @cached_property
    def _history(self) -> BookHistory | str:
        """The positions and trades of each book, from a repeated run; or the reason why they are unknown."""
        log = BookHistoryLog(self._assembly.rules)
        shell = _run_to_log(_anew(self._assembly), log)
        if shell.digest.hexdigest() != self.digest:
            return "the backtest gives another result when it is repeated"
        return log.history()

    @cached_property
    def run(self) -> Run:
        """The run with its journal, from which `orders`, `decisions`, `alerts` and `why` are read.

        The first access runs the backtest again with a journal in a temporary folder, and compares the digests. Raises
        RunDiffers where they differ.
        """
        temporary = tempfile.TemporaryDirectory(prefix="quantd-backtest-")
        folder = Path(temporary.name)
        assembly = _anew(self._assembly)
        recording = BacktestJournal(folder, assembly, NAME)
        try:
            shell, _ = drive(assembly, self.config, NAME, recording.journal, recording, _no_progress)
            recording.close(shell)
        finally:
            recording.store.close()
        if (digest := shell.digest.hexdigest()) != self.digest:
            raise RunDiffers(
                f"the backtest gives another result when it is repeated (digest {digest[:16]}, in the "
                f"first run {self.digest[:16]}): a policy draws random numbers or has hidden state; keep state in "
                "memory, seed random numbers"
            )
        return Run(folder, folder, NAME, self._assembly, keeps=temporary)

    @property
    def _agents(self) -> tuple[str, ...]:
        return tuple(agent.name for agent in self._assembly.rules.agents)

    def __str__(self) -> str:
        return "\n".join([*self._asked.first_lines, *lines(self.verdict), *self._asked.lines()])

    def _repr_html_(self) -> str:
        """Return the picture that a notebook shows."""
        return picture(self._record, self.verdict)

    def __repr__(self) -> str:
        return str(self)


class RunDiffers(ExplainedError):
    """A repeated backtest gave another result. The text names the cause."""
