"""Write the risk report of a run: limits, VaR, stress, alerts, each agent; or compare two backtests."""

from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from quantd.daemon.cli.client import document_of
from quantd.daemon.cli.command import CONFIG_FILE, Command, ConfigFile, From, Json, Run, Sets, State, To
from quantd.daemon.cli.configuration import read
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import check_folder, print_json, say, table
from quantd.daemon.cli.places import Place, place
from quantd.daemon.cli.stopped_run import at_rest, started
from quantd.daemon.jobs.risk_reports import standing_of
from quantd.daemon.recovery.replay import slices_of
from quantd.daemon.recovery.state_at import Refolder
from quantd.daemon.views.report.contents import Standing
from quantd.daemon.views.report.curves import DAY_NS, date_ns
from quantd.daemon.views.report.figures import report
from quantd.daemon.views.report.files import FOLDER, write
from quantd.research.reports.page_sections import SUMMARY
from quantd.research.reports.report_files import check_suffix, read_backtest_report
from quantd.research.reports.side_by_side import p_rows, rows_of, sentence, side_by_side, write_comparison
from quantd.trading.exit_codes import CHECK_FAILED


def write_report(
    config: ConfigFile = CONFIG_FILE,
    start: From = None,
    end: To = None,
    state: State = None,
    sets: Sets = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="F.html", help="The page; a file in the state folder without it."),
    ] = None,
    run: Run = None,
    as_json: Json = False,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option("--compare", metavar="A.json B.json", help="Compare two reports of backtests instead."),
    ] = None,
) -> None:
    if compare is not None:
        _compare(*compare, out, as_json=as_json)
        return
    where = place(config, state, sets)
    reader = where.reader(run)
    records = where.records()
    name = reader.run.run
    begun = started(records, name)
    try:
        made = report(
            reader,
            read(config, sets),
            kind="hand",
            feed=begun.feed if begun is not None else "",
            standing=_standing(where, config, state, sets) if name == where.reader().run.run else None,
            since=date_ns(start) - 1 if start is not None else 0,
            until=date_ns(end) + DAY_NS - 1 if end is not None else 0,
            slices=slices_of(records, name, where.folder),
            measured=Refolder(records, name, where.folder, lambda: read(config, sets)).values,
        )
    except ValueError as why:
        raise Failure(f"{why}; `quantd export equity` lists its samples", CHECK_FAILED) from None
    if as_json:
        print_json(made)
        if out is None:
            return
    if out is None:
        (where.folder / FOLDER).mkdir(exist_ok=True, mode=0o700)
        out = where.folder / FOLDER / f"report-{made.header.first[:10]}-{made.header.last[:10]}.html"
    try:
        write(out, made)
    except OSError as why:
        raise Failure(f"{out} cannot be written: {why.strerror}", CHECK_FAILED) from None
    if not as_json:
        say(f"{out}, and {out.with_suffix('.json').name} with the same figures")


def _compare(one: Path, other: Path, out: Path | None, *, as_json: bool) -> None:
    """Print two reports of `quantd backtest --report` side by side, and write them to `out`."""
    if out is not None:
        check_suffix(out)
        check_folder(out)
    reports = read_backtest_report(one), read_backtest_report(other)
    names = (one.stem, other.stem) if one.stem != other.stem else (str(one), str(other))
    found = side_by_side(*reports, names)
    if out is not None:
        write_comparison(out, found)
    if as_json:
        print_json(found)
        return
    head = ("", *names, "difference")
    table(head, rows_of(found, SUMMARY), head[1:])
    say(f"p-values: {', '.join(f'{title} {p}' for title, p in p_rows(found))}")
    say(sentence(found))
    say(found.sharpe_definition)
    if out is not None:
        say(f"comparison {out}, with every metric")


def _standing(where: Place, config: Path, state: Path | None, sets: Sets) -> Standing:
    found = document_of(where, "/api/v1/risk/standing", lambda: standing_of(at_rest(config, state, sets)[0].state))
    return msgspec.convert(found, Standing)


COMMAND: Final = Command("Look", 80, write_report)
