"""`quantd init --symbols` and `--weights`: from symbols, or a portfolio, to a first backtest.

The bars come from a vendor, or from files of any form. The configuration is written after the bars, so that it never
names a file that is missing. The message of each failure ends with the next command.
"""

import importlib
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from pathlib import Path
from shlex import join, split
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, get_args

from quantd import bundled
from quantd.adapters.feeds.feed_errors import FeedError
from quantd.daemon.cli.command import USUAL_CASH, USUAL_EVERY, RunOptions
from quantd.daemon.cli.failures import Failure, typed
from quantd.daemon.cli.output import say
from quantd.daemon.cli.setup.config_lines import BarLines
from quantd.daemon.config.agent_tables import Agent, RebalanceTable
from quantd.daemon.config.edits import assignment
from quantd.extras import command as install_command
from quantd.trading.display_text import some
from quantd.trading.exit_codes import CHECK_FAILED, DONE, USAGE
from quantd.trading.instruments import NANO, Universe, usual_lot_nano

if TYPE_CHECKING:
    import polars as pl

PATIENCE_S: Final = 8.0
"""Time, in s, for which a vendor that does not answer is tried again; short, because a person waits."""

YEARS: Final = 10
"""Years of bars that are fetched without --from, besides the present year."""


FEWEST: Final = 20
"""Lots of a symbol below which its weight would be far from what was asked: its lot is then a fraction."""

FINE: Final = 1_000
"""Fewest lots that a fractional lot allows."""

SMALLEST: Final = Decimal("0.000001")
"""Smallest fractional lot that is written."""

BEYOND: Final = Decimal("1.25")
"""Limit / largest weight, so that a position may drift between two rebalances; limit / largest loss in the bars."""

STEP: Final = Decimal("0.05")
"""A limit that is fitted to a portfolio is a multiple of this fraction."""

USUAL_WEIGHT, USUAL_DRAWDOWN, USUAL_DAILY_LOSS = 0.35, 0.25, 0.08
"""max_position_weight, max_drawdown and max_daily_loss of the bundled configuration: a limit is not below them."""

USUAL_MIN_TRADE: Final[float] = Agent.model_fields["min_trade"].default


class Bars(NamedTuple):
    """The settings in config.toml that name a file of bars; `stops` is True where its prices would stop a backtest."""

    lines: BarLines
    stops: bool


ADVERBS: Final = {
    "daily": "day", "weekly": "week", "monthly": "month", "quarterly": "quarter", "yearly": "year", "annually": "year",
}  # fmt: skip
"""Other words for an interval of rebalances -> its name in a configuration."""

BOUNDS: Final = ("max_position_weight", "max_drawdown", "max_daily_loss")
"""Limits of the account that are fitted to a portfolio, or named with --limits."""


class Portfolio(NamedTuple):
    """The answers from which a configuration is written; its only agent holds `weights`.

    `weights` are in per cent by symbol, empty for equal weights. `every` is the interval of the rebalances, and `cash`
    the capital. `bounds` are limits in per cent by name, in place of those that fit the bars. `topic` is the topic of
    ntfy that gets the alerts, empty for none, and `venue` the broker's account, empty for a simulated one.
    """

    weights: Mapping[str, Decimal]
    every: str
    cash: Decimal
    bounds: Mapping[str, Decimal] = MappingProxyType({})
    topic: str = ""
    venue: str = ""

    def text(self, symbols: Sequence[str]) -> str:
        """Return the bundled configuration with one agent, and without the agents and the schedules that it has."""
        params = {"weights": {symbol: float(weight / 100) for symbol, weight in self.weights.items()}}
        share = float(min(self._weights(symbols).values()) / 100)
        lines = [
            "[[agents]]",
            assignment("name", "mix" if self.weights else "even"),
            assignment("policy", "fixed_mix" if self.weights else "equal_weight"),
            "capital = 1.0                  # fraction of the account",
            *([assignment("params", params)] if self.weights else []),
            f'rebalance = {{ when = "calendar", every = "{self.every}" }}     # else: docs/trade/strategies.md',
            *([assignment("min_trade", float(f"{share / 2:.1g}"))] if share < USUAL_MIN_TRADE * 2 else []),
        ]
        paragraphs = bundled.CONFIG.read_text(encoding="utf-8").split("\n\n")
        heads = [paragraph.startswith("[[agents]]") for paragraph in paragraphs]
        paragraphs[heads.index(True)] = "\n".join(lines)
        return "\n\n".join(
            paragraph
            for k, paragraph in enumerate(paragraphs)
            if k == heads.index(True) or not paragraph.startswith(("[[agents]]", "[[schedules]]"))
        )

    def options(self, symbols: Sequence[str]) -> list[str]:
        """Return the options of `quantd init` that ask for this portfolio; those with the usual value are left out."""
        weights = ",".join(f"{symbol}={weight:f}" for symbol, weight in self.weights.items())
        options = ["--weights", weights] if weights else ["--symbols", ",".join(symbols)]
        options += [] if self.every == USUAL_EVERY else ["--every", self.every]
        options += [] if self.cash == Decimal(USUAL_CASH) else ["--cash", f"{self.cash:f}"]
        options += ["--limits", ",".join(f"{n}={x:f}" for n, x in self.bounds.items())] if self.bounds else []
        options += ["--ntfy", self.topic] if self.topic else []
        return options + (["--venue", self.venue] if self.venue else [])

    def _weights(self, symbols: Sequence[str]) -> Mapping[str, Decimal]:
        return self.weights or dict.fromkeys(symbols, Decimal(100) / len(symbols))

    def limits(self, closes: "pl.DataFrame", symbols: Sequence[str]) -> tuple[dict[tuple[str | int, ...], object], str]:
        """Return (keys of [risk] that the weights fit, a sentence about them).

        VaR and correlation are measured on the holdings, so they would cut the weights that were asked for. The limits
        of a loss are beyond the largest loss of the weights, rebalanced daily, in the bars. `closes` has the columns
        day, symbol, close and splits (True on a day of a split, else null), in the order of days.
        """
        import numpy as np
        import polars as pl

        weights = {symbol: float(weight) / 100 for symbol, weight in self._weights(symbols).items()}
        weight = pl.col("symbol").replace_strict(weights, default=0.0, return_dtype=pl.Float64)
        change = pl.when(pl.col("splits").is_null()).then(pl.col("close").pct_change().over("symbol")).fill_null(0.0)
        gains = (
            closes.select("day", gain=change * weight).group_by("day", maintain_order=True).agg(pl.col("gain").sum())
        )
        gain = gains["gain"].to_numpy()
        wealth = np.cumprod(1.0 + gain)
        fall, day = float(1.0 - np.min(wealth / np.maximum.accumulate(wealth))), float(-np.min(gain))
        keys = {
            "max_position_weight": _beyond(max(weights.values()), USUAL_WEIGHT),
            "max_drawdown": _beyond(fall, USUAL_DRAWDOWN),
            "max_daily_loss": _beyond(day, USUAL_DAILY_LOSS),
        }
        keys |= {name: float(bound / 100) for name, bound in self.bounds.items()}
        texts = [
            f"{key} = {'off' if value is None else f'{value:g}'}{', as you chose' if key in self.bounds else ''}"
            for key, value in keys.items()
        ]
        losses = f"in the bars they fell by {fall:.0%}, {day:.0%} in a day"
        text = f"Limits that these weights fit: {', '.join(texts)} ({losses})"
        changes: dict[tuple[str | int, ...], object] = {("risk", "var"): None, ("risk", "correlation"): None}
        changes |= {("risk", key): value for key, value in keys.items()}
        return changes, f"{text}; var and correlation are off"

    def lots(self, universe: Universe, prices: Mapping[str, float]) -> tuple[dict[str, str], list[str]]:
        """Return (symbol -> a fractional lot where its capital buys fewer than FEWEST lots, a sentence for each).

        `prices` are the last closes by symbol.
        """
        lots, texts = {}, []
        for item in universe.instruments:
            amount, price = (
                self.cash * self._weights(universe.symbols).get(item.symbol, Decimal()) / 100,
                prices[item.symbol],
            )
            usual = usual_lot_nano(item.symbol, item.calendar)
            count = float(amount) / price * NANO / usual
            if 0 < count < FEWEST:
                lot = Decimal(usual) / NANO
                while float(amount) / price / float(lot) < FINE and lot > SMALLEST:
                    lot /= 10
                lots[item.symbol] = f"{lot:f}"
                why = f"{amount:,.2f} {universe.currency} buy only {count:.2g} lots at {price:,.6g}"
                venues = "The paper broker fills fractions; Alpaca does for most shares (docs/venues/alpaca.md)"
                texts.append(f"{item.symbol}: lot = {lot:f}, because {why}. {venues}")
        return lots, texts


def _beyond(figure: float, usual: float) -> float | None:
    """Return the limit for a weight or a loss: BEYOND times as large, at least `usual`; None, off, from 1 on."""
    limit = (Decimal(repr(figure)) * BEYOND / STEP).to_integral_value(ROUND_CEILING) * STEP
    return max(float(limit), usual) if limit < 1 else None


def per_cents(option: str, texts: Sequence[str], name: str, of: str, example: str) -> dict[str, Decimal]:
    """Parse the texts A=40,B=60 of an option, in per cent. Raises Failure (USAGE) for a wrong or a repeated entry."""
    parsed: dict[str, Decimal] = {}
    for entry in (part.strip() for text in texts for part in text.split(",") if part.strip()):
        key, mark, number = (part.strip() for part in entry.partition("="))
        try:
            value = Decimal(number.removesuffix("%").strip())
        except InvalidOperation:
            value = Decimal("NaN")
        if not (key and mark) or not value.is_finite():
            raise Failure(f"{option} {entry!r} is not {of}=NUMBER; {example}", USAGE)
        if not 0 < value <= 100:
            raise Failure(f"{option} {entry}: a {name} is above 0 and at most 100; {example}", USAGE)
        if key in parsed:
            raise Failure(f"{option}: {key} is there twice ({parsed[key]:f} and {value:f}); name it once", USAGE)
        parsed[key] = value
    return parsed


def portfolio(
    weights: Sequence[str], every: str, cash: str, limits: Sequence[str] = (), topic: str = "", venue: str = ""
) -> Portfolio:
    """Parse the options --weights, --every, --cash, --limits, --ntfy and --venue.

    Raises Failure (USAGE) for a wrong value.
    """
    example = "weights are per cent of the capital: --weights AAPL=40,JNJ=30,KO=30"
    parsed = per_cents("--weights", weights, "weight", "SYMBOL", example)
    if (total := sum(parsed.values(), Decimal())) > 100:
        remedy = "write at most 100; what is left is cash"
        raise Failure(f"--weights add up to {total:f} per cent; {remedy}", USAGE)
    if parsed and total <= 1:
        raise Failure(f"--weights add up to {total:f} per cent of the capital; {example} (40 is two fifths)", USAGE)
    bounds = per_cents(
        "--limits", limits, "limit", "NAME", "limits are per cent of the account: --limits max_drawdown=20"
    )
    if unknown := [name for name in bounds if name not in BOUNDS]:
        raise Failure(f"--limits {unknown[0]}: there are {', '.join(BOUNDS)}; name one of them", USAGE)
    if small := next((name for name, bound in bounds.items() if bound < 1), ""):
        text = f"--limits {small}={bounds[small]:f} is {bounds[small]:f} per cent of the account; 20 is a fifth of it"
        raise Failure(f"{text}. A limit below 1 per cent is a line of config.toml, [risk] {small}", USAGE)
    if venue not in ("", "alpaca"):
        raise Failure(f"--venue {venue!r}: there is alpaca, a paper account; without it orders are simulated", USAGE)
    if topic:
        from quantd.adapters.sinks.ntfy import NtfyOptions

        try:
            NtfyOptions(topic)
        except ValueError as error:
            raise Failure(f"--ntfy {topic!r}: {error}", USAGE) from None
    every = ADVERBS.get(every, every)
    if every not in (names := get_args(RebalanceTable.model_fields["every"].annotation)):
        raise Failure(f"--every {every!r}: there are {', '.join(names)}; name one of them", USAGE)
    try:
        amount = Decimal(cash)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not (amount.is_finite() and amount > 0):
        raise Failure(f"--cash {cash!r} is not an amount of money; write --cash 1500", USAGE)
    return Portfolio(parsed, every, amount, bounds, topic, venue)


def begin(
    folder: Path,
    symbols: Sequence[str],
    since: date | None,
    data: Sequence[Path],
    source: str,
    asked: Mapping[str, str],
    own: Portfolio,
) -> int:
    """Get the bars, write config.toml, check it, backtest it, and connect the venue. Returns the exit code.

    `asked` are the options of the vendor `source`: its `url`, and the exchange of ccxt as `venue`.
    Faulty or doubtful bars would stop the backtest (`Bars.stops`): it is then left out, and the code is CHECK_FAILED.

    Raises Failure where config.toml exists, where neither symbols nor files are given, and where the bars cannot be
    loaded.
    """
    config = folder / "config.toml"
    names = list(own.weights)
    names = names or list(dict.fromkeys(name.strip() for text in symbols for name in text.split(",") if name.strip()))
    if config.exists():
        command = join(["quantd", "data", "import", *(map(str, data) if data else ["FILE"]), "--into", str(config)])
        text = f"{config} exists; nothing was written. Next: {command} writes other bars into it"
        raise Failure(f"{text}, or name another folder: quantd init FOLDER", CHECK_FAILED)
    if not names and not data:
        raise Failure("--symbols names no symbol. Next: quantd init --symbols MSFT,NVDA,KO", USAGE)
    if data:
        bars = _imported(folder, names, since, data)
    else:
        try:
            bars = _fetched(folder, names, since, source, asked)
        except Failure as error:
            bars = _asked_for_file(error, folder, names, since, own)
    if since is not None and date.fromisoformat(bars.lines.first) > since + timedelta(days=7):  # a week may be closed
        say(f"The bars begin on {bars.lines.first}, later than --from {since}")
    _write(config, bars.lines, own)
    config_option = [] if config == Path("config.toml") else ["-c", str(config)]
    if bars.stops:
        say(f"Next: {join(['quantd', 'backtest', *config_option])} names the lines that answer what stops it")
        return CHECK_FAILED
    code = _backtest(config, config_option, bars.lines.universe)
    if code == DONE and own.venue == "alpaca":
        from quantd.daemon.cli.setup.connect import connect

        connect("alpaca", into=config)
    return code


def _write(config: Path, lines: BarLines, own: Portfolio) -> None:
    """Write the configuration of a portfolio, and print what it has. Raises Failure where a weight has no bars."""
    import polars as pl

    symbols = lines.universe.symbols
    if absent := [symbol for symbol in own.weights if symbol not in symbols]:
        raise Failure(f"--weights: {some(absent)} is an index, which cannot trade; name a fund of it", USAGE)
    closes = (
        pl.scan_parquet(lines.path)
        .group_by(day=pl.col("ts").dt.date(), symbol=pl.col("symbol").cast(pl.String))
        .agg(pl.col("close").sort_by("ts").last())
        .sort("day")
        .with_columns(splits=pl.lit(None, pl.Boolean))
        .collect()
    )
    prices = dict(closes.group_by("symbol").agg(pl.col("close").last()).iter_rows())
    if lines.actions is not None:  # raw prices: the change at a split is no gain
        splits = pl.read_csv(lines.actions, infer_schema=False).filter(pl.col("kind") == "split")
        days = splits.select("symbol", day=pl.col("ts").str.to_date(), splits=True)
        closes = closes.drop("splits").join(days, on=["day", "symbol"], how="left", maintain_order="left")
    lots, lot_texts = own.lots(lines.universe, prices)
    limits, limit_text = own.limits(closes, symbols)
    # a start or an end of the default configuration is of the bundled bars: None removes it
    keys: dict[tuple[str | int, ...], object] = {
        ("feed", "start"): None,
        ("feed", "end"): None,
        ("broker", "cash"): f"{own.cash:.2f}",
        **limits,
        **({("alerts", "sinks", "ntfy", "topic"): own.topic} if own.topic else {}),
    }
    say(lines._replace(lots=lots).into(config, keys, own.text(symbols)).text())
    held = ", ".join(f"{symbol} {weight:f} %" for symbol, weight in own.weights.items())
    left = 100 - sum(own.weights.values()) if own.weights else 0
    cash_text = f", cash {left:f} %" if left else ""
    say(
        f"One agent holds {held or f'{len(symbols)} symbols in equal parts'}{cash_text}; it rebalances each {own.every}"
    )
    say(limit_text, *lot_texts)


def free_ports(config: Path) -> list[str]:
    """The overrides for a run while another program, such as the run of a demo, has a port of the configuration."""
    settings = RunOptions(config).read()
    for port in (settings.api.port, settings.bus.port):
        with socket.socket() as probe:
            if port and not probe.connect_ex(("127.0.0.1", port)):
                return ["--set", "bus.port=0", "--set", "api.port=0"]
    return []


def _backtest(config: Path, config_option: Sequence[str], universe: Universe) -> int:
    """Check and backtest the configuration, print the next commands, and return the exit code of the backtest."""
    from quantd.adapters.calendars import ALWAYS_OPEN
    from quantd.daemon.cli.setup.config import check
    from quantd.research.cli.trade.backtest import BacktestOptions, backtest

    check(RunOptions(config))
    say("")
    code = backtest(BacktestOptions(config=config))
    say("")
    if code != DONE:
        say(f"Next: correct what is named above, then {join(['quantd', 'backtest', *config_option])}")
        return code
    say(f"Next: {join(['quantd', 'run', *config_option, *free_ports(config)])} trades it on paper")
    say(f"      {join(['quantd', 'why', universe.symbols[0], *config_option])} then explains each order")
    if universe.calendar == ALWAYS_OPEN:
        say(f'      [broker] kind = "ccxt" in {config} sends its orders to an exchange of coins: docs/venues/README.md')
    else:
        say(
            f"      {join(['quantd', 'connect', 'alpaca', '--into', str(config)])} makes it a paper account at a broker"
        )
    return DONE


def _install(source: str) -> None:
    """Ask at the terminal whether the extra that a source needs is installed, inside a virtual environment only."""
    from quantd.daemon.assembly.feeds import vendors

    vendor = vendors().get(source)
    if vendor is None or not vendor.lack() or not sys.stdin.isatty() or sys.prefix == sys.base_prefix:
        return
    command = install_command(vendor.extra or vendor.module)
    answer = typed(f"{vendor.lack()}\nRun this command now, in {sys.prefix}? [y/N] ")
    if answer.strip().lower() in ("y", "yes") and subprocess.run(split(command), check=False).returncode:
        raise Failure(f"the installation failed. Next: {command}", CHECK_FAILED)
    importlib.invalidate_caches()


def _fetched(folder: Path, names: list[str], since: date | None, source: str, asked: Mapping[str, str]) -> Bars:
    """Download the bars and write their file. Raises Failure where no source answers or all names are indices."""
    from quantd.daemon.cli.setup.data_fetch import Order, fetched, print_fetched

    start = since or date(datetime.now(UTC).year - YEARS, 1, 1)
    order = Order(names, start, folder=folder, sources=(source,), asked=asked, patience_s=PATIENCE_S)
    _install(source)
    download = fetched(order)
    print_fetched(download, lines=False)
    if download.lines is None:
        text = f"{some(names)}: an index cannot trade. Next: add a symbol that trades, such as SPY"
        raise Failure(text, USAGE)
    # an open question about the prices would stop a backtest
    return Bars(download.lines, bool(download.report["questions"]))


def _asked_for_file(error: Failure, folder: Path, names: list[str], since: date | None, own: Portfolio) -> Bars:
    """Ask at the terminal for a file in place of the download that failed with `error`, and import it.

    Raises Failure without a terminal (the message names the commands that accept a file), and where the user names no
    file.
    """
    if error.exit_code == USAGE:  # a wrong option, or indices only: a file would not help
        raise error
    if not sys.stdin.isatty():
        command = ["quantd", "init", *([] if folder == Path() else [str(folder)]), *own.options(names)]
        command += ["--from", since.isoformat()] if since is not None else []
        text = f"{error}\nNext, with a file or a folder of their bars: {join([*command, '--data'])} FILE"
        raise Failure(f"{text}\nor with another vendor: {join([*command, '--source', 'alpaca'])}", error.exit_code)
    say(str(error))
    path_text = typed(f"A file or a folder of bars of {some(names)} (Enter ends): ").strip()
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
    from quantd.daemon.cli.setup.bar_report import QUESTIONS, Reading, print_report
    from quantd.daemon.cli.setup.data_import import target_of, written

    files = join(map(str, data))
    # the symbol of a table that names none itself; several tables have theirs from the names of the files
    asked = ReadOptions(symbols=tuple(names) if len(names) == 1 and len(data) == 1 and not data[0].is_dir() else ())
    for path in data:
        if not path.exists():
            raise Failure(f"{path}: there is no such file. Next: name the file of the bars with --data", USAGE)
    try:
        table = joined([foreign_table(path, asked) for path in data])
        available = set(table.frame["symbol"].cast(pl.String).unique())
        if absent_names := [name for name in names if name not in available]:
            text = f"{files}: no bar of {some(absent_names)} (it has {some(sorted(available))})"
            spelled = {name.upper(): name for name in available}
            if meant := [spelled[name.upper()] for name in absent_names if name.upper() in spelled]:
                raise Failure(f"{text}. Next: write {some(meant)}, as the file does", CHECK_FAILED)
            remedy = f"add the file of {some(absent_names)} with one more --data, or write the symbol that the file has"
            remedy = "leave CASH out: what is left of 100 is cash" if absent_names == ["CASH"] else remedy
            raise Failure(f"{text}. Next: {remedy}", CHECK_FAILED)
        if names and (others := sorted(available - set(names))):
            say(f"not held, because they were not named: {some(others)}")
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
    # open questions about the prices would stop a backtest
    return Bars(imported.lines, any(imported.report[kind] for kind in QUESTIONS))
