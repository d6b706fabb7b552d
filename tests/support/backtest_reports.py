"""Reports of small backtests over the bundled bars, made in this process."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from quantd.daemon.assembly.parts import Assembly, assemble
from quantd.daemon.cli.configuration import read
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.runtime.step_log import Log
from quantd.daemon.views.run_summary import summary
from quantd.research.attribution.book_history import BookHistory
from quantd.research.attribution.book_history_log import BookHistoryLog
from quantd.research.reports.report_contents import BacktestReport
from quantd.research.reports.report_figures import benchmark_records, planned, report_of
from quantd.research.runs.backtest import drive
from quantd.research.runs.comparison import Drive, settings_of
from quantd.research.runs.run_record import Record
from quantd.research.verdict import judge
from tests.support.checkout import ROOT
from tests.support.command_line import write

CONFIG = f"""
[quantd]
state = "state"
[universe]
symbols = ["SPY", "IWM", "AAPL"]
benchmark = "SPY"
[[universe.instruments]]
symbol = "IWM"
asset = "bond"
[feed]
path = "{ROOT}/data/us_daily.parquet"
actions = "{ROOT}/data/us_actions.csv"
stamps = "session"
start = 2019-01-02
end = 2020-06-30
warmup = 130
pace = "fast"
at_end = "stop"
[broker]
cash = "100000.00"
[risk]
max_position_weight = 0.4
[[agents]]
name = "even"
policy = "equal_weight"
capital = 0.5
[[agents]]
name = "trend"
policy = "momentum"
capital = 0.4
params = {{ lookback = 60 }}
[study]
benchmarks = ["SPY", "equal_weight", "60/40"]
goals = {{ sharpe = 77.5, max_drawdown = 0.5, "cagr/SPY" = 88.5 }}
[[schedules]]
name = "weekly"
do = "rebalance"
cron = "0 16 * * wed"
timezone = "America/New_York"
agents = ["even", "trend"]
"""


@dataclass(frozen=True, slots=True)
class Made:
    """A report with what it was made from."""

    assembly: Assembly
    record: Record
    history: BookHistory
    report: BacktestReport


def driven(name: str = "") -> Drive:
    def run(assembly: Assembly, log: Log) -> Shell:
        return drive(assembly, assembly.config, "backtest", log, None, lambda share: None)[0]

    return run


def made(folder: Path, text: str = CONFIG, sets: Sequence[str] = (), change: Callable[[str], str] = str) -> Made:
    """Return the report of a configuration."""
    assembly = assemble(read(write(folder, change(text)), list(sets)))
    config = assembly.config
    benchmarks = planned(config, assembly)
    log = BookHistoryLog(assembly.rules)
    record = Record(assembly.universe, log)
    shell, wall_s = drive(assembly, config, "backtest", record, None, lambda share: None)
    record.end(shell.state)
    verdict = judge(assembly, record, folder / "state", driven())
    runs = benchmark_records(benchmarks, settings_of(assembly, record), driven, {})
    result, history = summary(shell, "backtest", "backtest", wall_s), log.history()
    return Made(assembly, record, history, report_of(assembly, record, history, runs, result, verdict))
