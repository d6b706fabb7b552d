"""`quantd init --symbols`: from names of symbols to a first backtest.

The bars come from a vendor, or from files of any form. The configuration is written only when they are there, so that
it never names a file that is missing. Each failure ends with the next command.
"""

import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from shlex import join
from typing import Final, NamedTuple

from quantd.adapters.feeds.errors import FeedError
from quantd.adapters.feeds.source import some
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import say
from quantd.daemon.cli.setup.config_lines import BarLines
from quantd.trading.exit_codes import CHECK_FAILED, DONE, USAGE

PATIENCE_S: Final = 8.0
"""Time for which a vendor that does not answer is tried again: a person waits, and a file is another way."""

YEARS: Final = 10
"""Years of bars without --from."""


class Bars(NamedTuple):
    """A file of bars with its keys of config.toml, and whether its prices would stop a backtest."""

    lines: BarLines
    stops: bool


def begin(folder: Path, symbols: Sequence[str], since: date | None, data: Sequence[Path], source: str, url: str) -> int:
    """Get the bars, write config.toml, and backtest it. Returns the exit code.

    Raises Failure where config.toml exists, without symbols and files, and where the bars cannot be had.
    """
    config = folder / "config.toml"
    names = list(dict.fromkeys(name.strip() for part in symbols for name in part.split(",") if name.strip()))
    if config.exists():
        into = join(["quantd", "data", "import", *(map(str, data) if data else ["FILE"]), "--into", str(config)])
        raise Failure(f"{config} exists; nothing was written. Next: {into} writes other bars into it", CHECK_FAILED)
    if not names and not data:
        raise Failure("--symbols names no symbol. Next: quantd init --symbols MSFT,NVDA,KO", USAGE)
    if data:
        bars = _imported(folder, names, since, data)
    else:
        try:
            bars = _fetched(folder, names, since, source, url)
        except Failure as error:
            bars = _instead(error, folder, names, since)
    say(bars.lines.into(config, {"start": None, "end": None}).text())
    at = [] if config == Path("config.toml") else ["-c", str(config)]
    if bars.stops:
        say(f"Next: {join(['quantd', 'backtest', *at])} names the lines that answer what stops it")
        return CHECK_FAILED
    return _backtest(config, at)


def _backtest(config: Path, at: Sequence[str]) -> int:
    from quantd.research.cli.trade.backtest import backtest

    say("")
    code = backtest(config)
    say("")
    if code != DONE:
        say(f"Next: correct what is named above, then {join(['quantd', 'backtest', *at])}")
        return code
    policy = join(["quantd", "init", *([] if config.parent == Path() else [str(config.parent)])])
    say(f"Next: {join(['quantd', 'run', *at])} trades it on paper")
    say(f"      {policy} --policy mine.py --watch tests a rule of your own at each save")
    return DONE


def _fetched(folder: Path, names: list[str], since: date | None, source: str, url: str) -> Bars:
    """Download the bars and write their file. Raises Failure where no source answers, and for an index alone."""
    from quantd.daemon.cli.setup.data_fetch import Order, fetched, print_fetched

    start = since or date(datetime.now(UTC).year - YEARS, 1, 1)
    order = Order(
        names, start, folder=folder, sources=(source,), asked={"url": url}, patience_s=PATIENCE_S
    )  # fmt: skip
    done = fetched(order, shown=True)
    print_fetched(done, lines=False)
    if done.lines is None:
        text = f"{some(names)}: an index cannot trade. Next: add a symbol that trades, such as SPY"
        raise Failure(text, USAGE)
    return Bars(done.lines, bool(done.report["questions"]))


def _instead(error: Failure, folder: Path, names: list[str], since: date | None) -> Bars:
    """Ask a person for a file in place of the download, or raise Failure with the commands that take one."""
    if error.exit_code == USAGE:
        raise error
    if not sys.stdin.isatty():
        begun = ["quantd", "init", *([] if folder == Path() else [str(folder)]), "--symbols", ",".join(names)]
        begun += ["--from", since.isoformat()] if since is not None else []
        text = f"{error}\nNext, with a file or a folder of their bars: {join([*begun, '--data'])} FILE"
        raise Failure(f"{text}\nor with another vendor: {join([*begun, '--source', 'alpaca'])}", error.exit_code)
    say(str(error))
    given = input(f"A file or a folder of bars of {some(names)} (Enter ends): ").strip()
    if not given:
        raise Failure("nothing was written", error.exit_code)
    return _imported(folder, names, since, [Path(given)])


def _imported(folder: Path, names: list[str], since: date | None, data: Sequence[Path]) -> Bars:
    """Take the bars of `names` from files, or all of them without names, from a day on.

    Raises Failure for a missing or unreadable file, a symbol without bars, and no bar from that day on.
    """
    import polars as pl

    from quantd.adapters.feeds.recorded.bar_files import foreign_table
    from quantd.adapters.feeds.tables.reader import Asked, joined
    from quantd.daemon.cli.setup.data_check import QUESTIONS, Reading, print_report
    from quantd.daemon.cli.setup.data_import import target_of, written

    files = join(map(str, data))
    asked = Asked(symbol=names[0] if len(names) == 1 else "")
    for path in data:
        if not path.exists():
            raise Failure(f"{path}: there is no such file. Next: name the file of the bars with --data", USAGE)
    try:
        table = joined([foreign_table(path, asked) for path in data])
        there = set(table.frame["symbol"].cast(pl.String).unique())
        if absent := [name for name in names if name not in there]:
            text = f"{files}: no bar of {some(absent)} (it has {some(sorted(there))})"
            raise Failure(f"{text}. Next: add the file of {some(absent)} with one more --data", CHECK_FAILED)
        wanted = pl.col("symbol").cast(pl.String).is_in(names or list(there))
        if since is not None:
            wanted &= pl.col("ts").cast(pl.Date) >= since
        chosen = table.frame.select(wanted).to_series()
        if not chosen.any():
            raise Failure(f"{files}: no bar from {since} on. Next: an earlier --from", CHECK_FAILED)
        actions = table.actions.filter(pl.col("symbol").cast(pl.String).is_in(names or list(there)))
        table = table._replace(frame=table.frame.filter(chosen), lines=table.lines.filter(chosen), actions=actions)
        folder.mkdir(parents=True, exist_ok=True)
        reading = Reading(None, None, None, None, None, "", asked)
        done = written(table, target_of(None, table, data, folder), Path(data[0]).name, reading)
    except FeedError as error:
        text = f"quantd data import {files} --into {folder / 'config.toml'}"
        raise Failure(
            f"{error}\nNothing was written. Next: {text}, with the options that the first line names", CHECK_FAILED
        ) from None
    for line in done.read_as:
        say(line)
    print_report(done.report)
    return Bars(done.lines, bool(done.report["faults"] or any(done.report[kind] for kind in QUESTIONS)))
