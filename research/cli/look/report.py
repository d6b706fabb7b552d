"""Write the risk report of a run; or its statement, a table as CSV, two backtests side by side, the ledger of looks."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, cast, get_args

import msgspec
import typer

from quantd.adapters.store.lock import BACKTESTS
from quantd.adapters.store.store_errors import StoreError
from quantd.daemon.cli.command import DEFAULTS, Command, From, Json, Run, RunOptions, To, one_of
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import answer, check_output, print_json, progress, say, table
from quantd.daemon.cli.places import Place, recorded
from quantd.daemon.runtime.garbage import SELDOM, growing
from quantd.research.cli.look.exported_rows import COLUMNS, GAINS, GAINS_NOTE, Cost, export
from quantd.research.cli.look.looks_ledger import REASONS, list_looks, withdraw_look
from quantd.server.cli.client import document_of
from quantd.trading.exit_codes import CHECK_FAILED, DONE, USAGE

if TYPE_CHECKING:
    from quantd.adapters.store.journal.records import Records
    from quantd.daemon.assembly.parts import Parts
    from quantd.daemon.views.report.contents import Report, Standing
    from quantd.research.reports.report_contents import RunFigures
    from quantd.research.reports.side_by_side import Comparable

READS: Final = {
    "--withdraw": ("--looks", "--reason", "--words", "--json"),
    "--looks": ("--json",),
    "--compare": ("--out", "--json"),
    "--statement": ("--from", "--to", "--out", "--run", "--json"),
    "--export": ("--cost", "--from", "--to", "--out", "--run", "--json"),
}
"""The options that replace the risk report by another answer, each with the options that have an effect beside it."""


# Long because the signature is the options of the command.
@growing(SELDOM)
def write_report(
    chosen: RunOptions = DEFAULTS,
    start: From = None,
    end: To = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="The page, F.html, in the state folder without it; F.csv of rows."
        ),
    ] = None,
    run: Run = None,
    as_json: Json = False,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--compare", metavar="A B", help="Compare two backtests: reports (A.json), or stored runs by their names."
        ),
    ] = None,
    statement: Annotated[
        bool, typer.Option("--statement", help="Cash by day; exit code 1 when a day differs from the venue's record.")
    ] = False,
    export_of: Annotated[
        str | None,
        typer.Option(
            "--export",
            parser=one_of(tuple(COLUMNS)),
            metavar="|".join(COLUMNS),
            help=f"As CSV or --json, with the runs that were carried into this one; closing sums up each book. "
            f"gains: {GAINS_NOTE}.",
        ),
    ] = None,
    cost: Annotated[
        str | None,
        typer.Option(
            parser=one_of(get_args(Cost)),
            metavar="|".join(get_args(Cost)),
            help="Cost of gains: the average cost of a position (default, the ledger's), or that of the lots sold.",
        ),
    ] = None,
    looks: Annotated[
        bool, typer.Option("--looks", help="List the ledger of looks at markets; exit code 1 if one was changed.")
    ] = False,
    withdraw: Annotated[
        str,
        typer.Option(
            metavar="ID",
            help="Withdraw the look with this id: it stays a trial, and its ratio leaves the spread of the others.",
        ),
    ] = "",
    reason: Annotated[str, typer.Option(metavar="|".join(REASONS), help="Why it is withdrawn.")] = "",
    words: Annotated[str, typer.Option(metavar="TEXT", help="The fault in words; they stay in the ledger.")] = "",
) -> int:
    given = {
        "--withdraw": withdraw, "--looks": looks, "--compare": compare, "--statement": statement,
        "--export": export_of, "--cost": cost, "--from": start, "--to": end, "--out": out, "--run": run,
        "--json": as_json,
    }  # fmt: skip
    asked = next((name for name in READS if given[name]), "")
    if asked and (idle := [name for name in given if given[name] and name not in (asked, *READS[asked])]):
        raise Failure(f"{idle[0]} has no effect beside {asked}; leave one of the two out", USAGE)
    if cost and (export_of is None or COLUMNS[export_of] is not GAINS):
        raise Failure("--cost is the cost of closed lots: add --export gains, or agent-gains by book", USAGE)
    if out is not None and compare is None:  # a comparison has more formats
        check_output(out, ".html" if not asked else ".csv")
    if withdraw:
        return withdraw_look(chosen.place().unchanged().folder, withdraw, reason, words, as_json=as_json)
    if reason or words:
        raise Failure("--reason and --words describe a withdrawal: name its look with --withdraw ID", USAGE)
    if looks:
        return list_looks(chosen.place().unchanged().folder, as_json=as_json)
    if compare is not None:
        return _compare(compare, out, chosen.place, as_json=as_json)
    if start is not None and end is not None and end < start:
        raise Failure(f"--to {end} is before --from {start}; exchange them", USAGE)
    from quantd.daemon.views.report.curves import DAY_NS, date_ns

    home = chosen.place()
    if statement:
        from quantd.research.cli.look.cash_statement import show_statement

        simulated = chosen.read().broker.kind == "paper"
        return show_statement(home, run, (start, end), out, simulated=simulated, as_json=as_json)
    # `since` is exclusive: less 1 ns, a sample at midnight of the first day is in the report
    since = date_ns(start) - 1 if start is not None else 0
    until = date_ns(end) + DAY_NS - 1 if end is not None else 0
    reader = home.reader(run)
    if export_of is not None:
        readers = [home.reader(name) for name in home.records().chain(reader.run.run)]
        span = since + 1, until or 2**63 - 1
        export(readers, export_of, *span, out, home.folder, cast(Cost, cost or "average"), as_json=as_json)
        return DONE
    from quantd.daemon.recovery.replay import first_start, recorded_parts
    from quantd.daemon.recovery.state_at import Refolder
    from quantd.daemon.views.report.figures import report
    from quantd.daemon.views.report.files import FOLDER

    records = home.records()
    name = reader.run.run
    start_event, parts = first_start(records, name), recorded_parts(records, name, home.folder)
    try:
        contents = report(
            reader,
            chosen.read(),
            kind="hand",
            feed=start_event.feed if start_event is not None else "",
            # only the newest run has a present state, of which the standing of its limits is a view
            standing=_standing(home, chosen, parts) if name == home.reader().run.run else None,
            since=since,
            until=until,
            slices=parts.slices if parts is not None else None,
            measured=Refolder(records, name, home.folder, chosen.read, parts=parts).values,
        )
    except ValueError as why:
        raise Failure(f"{why}; `quantd report --export equity` lists the run's samples", CHECK_FAILED) from None
    if as_json:
        print_json(contents)
        if out is None:
            return DONE
    if out is None:
        (home.folder / FOLDER).mkdir(exist_ok=True, mode=0o700)
        out = home.folder / FOLDER / f"report-{contents.header.first[:10]}-{contents.header.last[:10]}.html"
    _write(out, contents)
    if not as_json:
        say(f"{out}, and {out.with_suffix('.json').name} with the same figures")
    return DONE


def _write(out: Path, contents: "Report") -> None:
    from quantd.daemon.views.report.files import write

    try:
        write(out, contents)
    except OSError as why:
        raise Failure(
            f"the report {out} cannot be written: {why.strerror}; name another file with --out", CHECK_FAILED
        ) from None


def _compare(arguments: tuple[str, str], out: Path | None, home_of: Callable[[], Place], *, as_json: bool) -> int:
    """Print two backtests side by side, and write the comparison to `out`.

    `arguments` are report files or names of stored runs. `home_of` returns the configuration and the state folder,
    which only a stored run needs. Returns exit code 1 where a policy failed to decide in either run, else 0.
    """
    from msgspec import to_builtins

    from quantd.research.doubts import doubt_lines
    from quantd.research.reports.report_files import check_suffix
    from quantd.research.reports.sections.results import SUMMARY
    from quantd.research.reports.side_by_side import (
        first_lines,
        p_rows,
        rows_of,
        sentence,
        sentences_of_tests,
        settings_text,
        side_by_side,
        write_comparison,
    )

    if out is not None:
        check_suffix(out)
        check_output(out)
    first_run, second_run = (_figures(name, home_of) for name in arguments)
    stems = Path(arguments[0]).stem, Path(arguments[1]).stem
    # two reports a/run.json and b/run.json are told apart by their whole paths only
    names = stems if stems[0] != stems[1] else arguments
    comparison = side_by_side(first_run, second_run, names)
    if out is not None:
        write_comparison(out, comparison)
    printed_texts = {
        "rows": rows_of(comparison, SUMMARY), "p_values": p_rows(comparison), "tests": sentences_of_tests(comparison),
        "sentence": sentence(comparison), "settings": settings_text(comparison),
    }  # fmt: skip
    columns = ("", *names, "difference")
    answer(
        as_json, to_builtins(comparison) | printed_texts, *first_lines(comparison),
        lambda: table(columns, rows_of(comparison, SUMMARY), columns[1:]),
        f"p-values: {', '.join(f'{title} {p}' for title, p in p_rows(comparison))}",
        *(f"  {text}" for text in sentences_of_tests(comparison)), sentence(comparison), settings_text(comparison),
        *doubt_lines(comparison.doubts), comparison.sharpe_definition,
        *([] if out is None else [f"comparison {out}, with every metric"]),
    )  # fmt: skip
    return CHECK_FAILED if comparison.failures else DONE


def _figures(name: str, home_of: Callable[[], Place]) -> "Comparable":
    """Return the figures of `name`: a report file, which is read, or a stored run, which is replayed.

    Raises Failure where `name` is neither.
    """
    from quantd.research.reports.report_files import read_backtest_report

    path = Path(name)
    if path.suffix.lower() == ".json" or path.is_file():
        return read_backtest_report(path)
    home = home_of()
    backtests = home.folder / BACKTESTS  # the folder of `quantd backtest --journal`, which is its own store
    for source in (home, Place(backtests, backtests)):
        try:
            records, record = recorded(source, name)
        except (Failure, StoreError):
            continue
        return _replayed_figures(records, record.run, source.folder, home.folder / "cache")
    raise Failure(
        f"{name} is neither a report (NAME.json) nor a stored run of {home.folder} or {backtests}; "
        "`quantd backtest --journal` stores one",
        USAGE,
    )


def _replayed_figures(records: "Records", run: str, folder: Path, cache: Path) -> "RunFigures":
    """Replay a stored run and return its figures. `folder` contains its store, `cache` the cached market data.

    Raises Failure where the run cannot be replayed or measured, ReplayDifference where a step differs from the journal.
    """
    from quantd.daemon.cli.stopped_run import tracked
    from quantd.daemon.runtime.timeline import Item
    from quantd.daemon.views.run_summary import summary
    from quantd.research.attribution.book_history_log import BookHistoryLog
    from quantd.research.reports.report_figures import run_figures
    from quantd.research.runs.run_record import Record
    from quantd.research.runs.stored_run import replay_into, stored_market

    try:
        assembly = stored_market(records, run, folder, cache)
        feed = assembly.feed
        books = BookHistoryLog(assembly.rules)
        record = Record(assembly.universe, books)
        with progress(f"replay {run}") as advance:

            def with_progress(market: Iterator[list[Item]]) -> Iterator[list[Item]]:
                return tracked(market, advance, feed.last_ts, feed.first_ts)

            shell = replay_into(record, assembly, records, run, folder, with_progress)
        record.end(shell.state)
        # 0.0: the seconds of a replay are no figure of the run
        return run_figures(assembly, record, books.history(), summary(shell, run, "backtest", 0.0), cache.parent)
    except ValueError as why:
        raise Failure(f"run {run}: {why}", CHECK_FAILED) from None


def _standing(home: Place, chosen: RunOptions, parts: "Parts | None") -> "Standing":
    """Return the limits, VaR and stress of the newest run now: from its daemon, or from the store if none runs."""
    from quantd.daemon.cli.stopped_run import at_rest
    from quantd.daemon.views.report.contents import Standing
    from quantd.daemon.views.report.figures import standing_of

    path = "/api/v1/risk/standing"
    document = document_of(home, path, lambda: standing_of(at_rest(chosen, parts)[0].state))
    return msgspec.convert(document, Standing)


COMMAND: Final = Command("Look", 80, write_report)
