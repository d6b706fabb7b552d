"""The report that `quantd backtest --report` writes. A backtest without a report does not import this module."""

from collections.abc import Callable, Mapping
from pathlib import Path

from quantd.daemon.assembly.parts import Assembly
from quantd.daemon.cli.output import check_output
from quantd.daemon.config import Config
from quantd.daemon.runtime.step_log import Log
from quantd.daemon.views.run_summary import Summary
from quantd.research.attribution.book_history_log import BookHistoryLog
from quantd.research.reports.report_figures import benchmark_records, planned, report_of
from quantd.research.reports.report_files import check_suffix, write_backtest_report
from quantd.research.runs.benchmark_runs import Benchmark
from quantd.research.runs.comparison import NAME, Drive, settings_of
from quantd.research.runs.run_record import Record
from quantd.research.verdict import Verdict


class ReportFile:
    """The file of a report. Call `plan` and `log` before the run and `write` after it.

    The constructor raises UnknownSuffix for a suffix that is no format of reports, and Failure where the folder of the
    file does not exist.
    """

    def __init__(self, path: Path) -> None:
        check_suffix(path)
        check_output(path)
        self.path = path
        self._benchmarks: tuple[Benchmark, ...] = ()
        self._books: BookHistoryLog | None = None

    def plan(self, config: Config, assembly: Assembly, *, compared: bool) -> None:
        """Load the benchmarks of `[study]`. Equal weight is among them only if the run is `compared` with it."""
        self._benchmarks = tuple(bench for bench in planned(config, assembly) if compared or bench.name != NAME)

    def log(self, assembly: Assembly, after: Log | None) -> Log:
        """Return a log that records the books of the run, and passes every step on to the log `after`."""
        self._books = BookHistoryLog(assembly.rules, after)
        return self._books

    def write(
        self,
        assembly: Assembly,
        record: Record,
        benchmark_drive: Callable[[str], Drive],
        finished: Mapping[str, Record],
        result: Summary,
        verdict: Verdict,
    ) -> Verdict:
        """Run the benchmarks that are not in `finished`, and write the report of the run. Call `log` first.

        `benchmark_drive` runs the benchmark of a name, `finished` has the records of benchmarks by name. Returns the
        verdict, with the benchmarks that failed.
        """
        assert self._books is not None
        records = benchmark_records(self._benchmarks, settings_of(assembly, record), benchmark_drive, finished)
        report = report_of(assembly, record, self._books.history(), records, result, verdict)
        write_backtest_report(self.path, report)
        return report.verdict
