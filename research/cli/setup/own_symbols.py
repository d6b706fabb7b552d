"""`quantd init --symbols`: from names of symbols to a first backtest.

The bars come from a vendor, or from files of any form. The configuration is written after the bars, so that it never
names a file that is missing. The message of each failure ends with the next command.
"""

import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from shlex import join
from typing import Final, NamedTuple

from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.source import some
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import say
from quantd.daemon.cli.setup.config_lines import BarLines
from quantd.trading.exit_codes import CHECK_FAILED, DONE, USAGE

PATIENCE_S: Final = 8.0
"""Time, in s, for which a vendor that does not answer is tried again; short, because a person waits."""

YEARS: Final = 10
"""Years of bars that are fetched without --from, besides the present year."""


class Bars(NamedTuple):
    """The settings in config.toml that name a file of bars; `stops` is True where its prices would stop a backtest."""

    lines: BarLines
    stops: bool


def begin(folder: Path, symbols: Sequence[str], since: date | None, data: Sequence[Path], source: str, url: str) -> int:
    """Get the bars, write config.toml, and backtest it. Returns the exit code.

    Faulty or doubtful bars would stop the backtest (`Bars.stops`): it is then left out, and the code is CHECK_FAILED.

    Raises Failure where config.toml exists, where neither symbols nor files are given, and where the bars cannot be
    loaded.
    """
    config = folder / "config.toml"
    names = list(dict.fromkeys(name.strip() for text in symbols for name in text.split(",") if name.strip()))
    if config.exists():
        command = join(["quantd", "data", "import", *(map(str, data) if data else ["FILE"]), "--into", str(config)])
        raise Failure(f"{config} exists; nothing was written. Next: {command} writes other bars into it", CHECK_FAILED)
    if not names and not data:
        raise Failure("--symbols names no symbol. Next: quantd init --symbols MSFT,NVDA,KO", USAGE)
    if data:
        bars = _imported(folder, names, since, data)
    else:
        try:
            bars = _fetched(folder, names, since, source, url)
        except Failure as error:
            bars = _asked_for_file(error, folder, names, since)
    # a start or an end of the default configuration is of the bundled bars: None removes it
    say(bars.lines.into(config, {"start": None, "end": None}).text())
    config_option = [] if config == Path("config.toml") else ["-c", str(config)]
    if bars.stops:
        say(f"Next: {join(['quantd', 'backtest', *config_option])} names the lines that answer what stops it")
        return CHECK_FAILED
    return _backtest(config, config_option)


def _backtest(config: Path, config_option: Sequence[str]) -> int:
    """Backtest the configuration, print the next command, and return the exit code of the backtest."""
    from quantd.research.cli.trade.backtest import BacktestOptions, backtest

    say("")
    code = backtest(BacktestOptions(config=config))
    say("")
    if code != DONE:
        say(f"Next: correct what is named above, then {join(['quantd', 'backtest', *config_option])}")
        return code
    init_command = join(["quantd", "init", *([] if config.parent == Path() else [str(config.parent)])])
    say(f"Next: {join(['quantd', 'run', *config_option])} trades it on paper")
    say(f"      {init_command} --policy mine.py --watch tests a rule of your own at each save")
    return DONE


def _fetched(folder: Path, names: list[str], since: date | None, source: str, url: str) -> Bars:
    """Download the bars and write their file. Raises Failure where no source answers or all names are indices."""
    from quantd.daemon.cli.setup.data_fetch import Order, fetched, print_fetched

    start = since or date(datetime.now(UTC).year - YEARS, 1, 1)
    order = Order(names, start, folder=folder, sources=(source,), asked={"url": url}, patience_s=PATIENCE_S)
    download = fetched(order)
    print_fetched(download, lines=False)
    if download.lines is None:
        text = f"{some(names)}: an index cannot trade. Next: add a symbol that trades, such as SPY"
        raise Failure(text, USAGE)
    # an open question about the prices would stop a backtest
    return Bars(download.lines, bool(download.report["questions"]))


def _asked_for_file(error: Failure, folder: Path, names: list[str], since: date | None) -> Bars:
    """Ask at the terminal for a file in place of the download that failed with `error`, and import it.

    Raises Failure without a terminal (the message names the commands that accept a file), and where the user names no
    file.
    """
    if error.exit_code == USAGE:  # a wrong option, or indices only: a file would not help
        raise error
    if not sys.stdin.isatty():
        command = ["quantd", "init", *([] if folder == Path() else [str(folder)]), "--symbols", ",".join(names)]
        command += ["--from", since.isoformat()] if since is not None else []
        text = f"{error}\nNext, with a file or a folder of their bars: {join([*command, '--data'])} FILE"
        raise Failure(f"{text}\nor with another vendor: {join([*command, '--source', 'alpaca'])}", error.exit_code)
    say(str(error))
    path_text = input(f"A file or a folder of bars of {some(names)} (Enter ends): ").strip()
    if not path_text:
        raise Failure("no file was named, so nothing was written; run the command again", error.exit_code)
    return _imported(folder, names, since, [Path(path_text)])


def _imported(folder: Path, names: list[str], since: date | None, data: Sequence[Path]) -> Bars:
    """Import the bars of `names` (of all symbols if it is empty) from the files `data`, from the day `since` on.

    Raises Failure for a missing or unreadable file, and where a symbol has no bars or none from that day on.
    """
    import polars as pl

    from quantd.adapters.feeds.recorded.bar_files import foreign_table
    from quantd.adapters.feeds.table_files.reader import ReadOptions, joined
    from quantd.daemon.cli.setup.data_check import QUESTIONS, Reading, print_report
    from quantd.daemon.cli.setup.data_import import target_of, written

    files = join(map(str, data))
    asked = ReadOptions(symbol=names[0] if len(names) == 1 else "")  # the symbol of a table without a column of symbols
    for path in data:
        if not path.exists():
            raise Failure(f"{path}: there is no such file. Next: name the file of the bars with --data", USAGE)
    try:
        table = joined([foreign_table(path, asked) for path in data])
        available = set(table.frame["symbol"].cast(pl.String).unique())
        if absent_names := [name for name in names if name not in available]:
            text = f"{files}: no bar of {some(absent_names)} (it has {some(sorted(available))})"
            raise Failure(f"{text}. Next: add the file of {some(absent_names)} with one more --data", CHECK_FAILED)
        is_wanted = pl.col("symbol").cast(pl.String).is_in(names or list(available))
        if since is not None:
            is_wanted &= pl.col("ts").cast(pl.Date) >= since
        mask = table.frame.select(is_wanted).to_series()
        if not mask.any():
            raise Failure(f"{files}: no bar from {since} on. Next: name an earlier day with --from", CHECK_FAILED)
        actions = table.actions.filter(pl.col("symbol").cast(pl.String).is_in(names or list(available)))
        table = table._replace(frame=table.frame.filter(mask), lines=table.lines.filter(mask), actions=actions)
        folder.mkdir(parents=True, exist_ok=True)
        reading = Reading(None, None, None, None, None, "", asked)  # None: the file itself decides
        imported = written(table, target_of(None, table, data, folder), Path(data[0]).name, reading)
    except FeedError as error:
        command = f"quantd data import {files} --into {folder / 'config.toml'}"
        raise Failure(
            f"{error}\nNothing was written. Next: {command}, with the options that the first line names", CHECK_FAILED
        ) from None
    for line in imported.read_as:
        say(line)
    print_report(imported.report)
    # faults and open questions about the prices would stop a backtest
    return Bars(imported.lines, bool(imported.report["faults"] or any(imported.report[kind] for kind in QUESTIONS)))
