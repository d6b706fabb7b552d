"""Configurations of the Python API: a file with changed keys, or the defaults applied to bars in memory."""

import os
from collections.abc import Mapping
from datetime import datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from quantd.adapters.calendars import ALWAYS_OPEN
from quantd.adapters.feeds.bars.rows import NO_STAMP
from quantd.adapters.feeds.recorded.bar_files import BarFrame, nanoseconds
from quantd.adapters.feeds.table_files.file_symbol import names_coin
from quantd.adapters.feeds.table_files.statement import NO_VOLUMES
from quantd.daemon.assembly.names import known_names
from quantd.daemon.config import Config, ConfigError, read
from quantd.daemon.config import load as load_file
from quantd.research.python_api.arguments import Misused
from quantd.research.python_api.bar_frame import DEFAULT_SYMBOL
from quantd.trading.display_text import toml_value
from quantd.trading.instruments import calendar_of, house_calendar, kind_of, usual_currency
from quantd.trading.sessions import DAY_NS

Settings = Mapping[str, object]
"""Dotted keys of config.toml with their values: {"risk.max_drawdown": 0.2}."""

PLACE: Final = "quantd.backtest(bars=...)"
"""In messages about a configuration that was made for a frame, this text stands for the name of the file."""

AGENT: Final = "policy"
"""Name of the agent of a configuration that was made for a frame."""

MEMORY: Final = "(bars in memory)"
"""[feed] path of a configuration whose bars are a frame."""


def load(path: str | os.PathLike[str] = "config.toml", settings: Settings | None = None) -> Config:
    """Read a configuration file, as the commands do.

    `settings` replace keys: {"risk.max_drawdown": 0.2, "agents.trend.params.lookback": 126}. Environment variables
    (QUANTD_SECTION__KEY) apply before them. Raises ConfigError with every mistake: file, line, key and remedy.
    """
    config = load_file(Path(path), known_names(), environ=os.environ, sets=sets_of(settings))
    if mistakes := config.missing_files():
        raise ConfigError(mistakes)
    return config


def loaded(what: Config | str | os.PathLike[str], settings: Settings | None) -> Config:
    """Return a configuration that is loaded already, or that of a file with the overrides `settings`.

    Raises Misused for settings beside a loaded configuration, and ConfigError as `load`.
    """
    if not isinstance(what, Config):
        return load(what, settings)
    if settings:
        raise Misused(
            "settings cannot change a loaded configuration; give them to quantd.load(file, settings), and "
            "adjusted as the key feed.adjusted"
        )
    return what


def with_adjusted(settings: Settings | None, *, adjusted: bool) -> Settings | None:
    """Return `settings`, with `[feed] adjusted = true` if `adjusted` (prices are adjusted for splits)."""
    return {**(settings or {}), "feed.adjusted": True} if adjusted else settings


def sets_of(settings: Settings | None) -> tuple[str, ...]:
    """Return settings as arguments of the option `--set`: KEY=VALUE. Raises Misused for a value that is none."""
    if unset := next((key for key, value in (settings or {}).items() if value is None), ""):
        raise Misused(f"settings has None for {unset}; leave the key out, and its default holds")
    return tuple(f"{key}={setting_text(value)}" for key, value in (settings or {}).items())


def setting_text(value: object) -> str:
    """Return the text of a value in KEY=VALUE: text, paths and decimal numbers as they are, an instant at midnight as
    its date.

    Raises Misused for a value that TOML cannot express.
    """
    if isinstance(value, str | os.PathLike | Decimal):
        return str(value)
    if isinstance(value, datetime) and value.time() == time():  # a date of pandas
        value = value.date()
    try:
        return toml_value(value)
    except TypeError:
        raise Misused(f"{value!r} is no value of a key; write a number, text, date, list or mapping") from None


def around(bars: BarFrame, policy: str, params: Mapping[str, object], settings: Settings | None) -> Config:
    """Return a configuration over bars in memory, with one agent that has all the capital.

    Raises ConfigError for an unknown or wrong setting or parameter.
    """
    text = text_around(bars, policy, params)
    return read(text, known_names(), file=PLACE, environ=os.environ, sets=sets_of(settings))


def text_around(bars: BarFrame, policy: str, params: Mapping[str, object]) -> str:
    """Return the TOML text of a configuration over bars in memory, with one agent that has all the capital.

    The configuration has 100,000 in cash, the default costs of [broker] and the profile `research`. A table without
    volumes has no cap on participation. The interval follows from the times. The spelling of a symbol decides its
    calendar, and its currency where the bars state none. A bar on a weekend makes it 24/7 if the symbol is spelled as
    a coin, or if the bars name no symbol. Indices are not traded beside other symbols: the first index becomes the
    benchmark.
    """
    frame = bars.frame
    ts = nanoseconds(frame["ts"])
    readable = ts[ts != NO_STAMP]
    daily = bool(((readable % DAY_NS) == 0).all())
    all_symbols = frame["symbol"].unique(maintain_order=True).to_list()
    symbols = [symbol for symbol in all_symbols if kind_of(symbol) != "index"] or all_symbols
    # indices alone stay symbols, so that there is a universe
    indices = [symbol for symbol in all_symbols if symbol not in symbols]
    calendars = {symbol: calendar_of(symbol) for symbol in symbols}
    weekday = (ts // DAY_NS + 3) % 7  # 0 is a Monday: 1970-01-01 was a Thursday
    # Monday in Tokyo begins on a Sunday in UTC, and extended hours of Friday in New York end on a Saturday before 06:00
    # UTC: intraday bars at these times are no weekend bars
    weekend = (weekday == 5) & (daily | (ts % DAY_NS >= DAY_NS // 4)) | ((weekday == 6) & daily)
    for symbol in frame["symbol"].filter(weekend).unique().to_list():
        if symbol in calendars and (symbol == DEFAULT_SYMBOL or names_coin(symbol)):
            calendars[symbol] = ALWAYS_OPEN
    house = house_calendar(list(calendars.values()))
    instruments = [{"symbol": name, "calendar": calendar} for name, calendar in calendars.items() if calendar != house]
    interval = "1d" if daily else _interval(ts, frame["symbol"].to_numpy())
    # midnight on the clock of an exchange is a date too, and so is a time of day that all stamps share
    feed = {"path": MEMORY, "stamps": "session" if interval == "1d" else "open", "interval": interval}
    agent = {"name": AGENT, "policy": policy, "params": params, "capital": 1.0, "profile": "research"}
    universe = {"symbols": symbols, "calendar": house, **({"instruments": instruments} if instruments else {})}
    if indices:
        universe["benchmark"] = indices[0]
    stated = {statement.currency for statement in bars.statements} - {""}
    currencies = stated or {usual_currency(symbol) for symbol in symbols}
    if len(currencies) == 1 and currencies != {"USD"}:
        universe["currency"] = currencies.pop()
    broker: dict[str, object] = {"cash": "100000"}
    if any(statement.volume == NO_VOLUMES for statement in bars.statements):
        broker["participation"] = 0
    return "".join(
        (
            _table("[quantd]", {"name": "backtest"}),
            _table("[universe]", universe),
            _table("[feed]", feed),
            _table("[broker]", broker),
            _table("[risk]", {"profile": "research"}),
            _table("[[agents]]", agent),
        )
    )


def _table(head: str, keys: Mapping[str, object]) -> str:
    """Return a TOML table as text."""
    return "\n".join([head, *(f"{key} = {toml_value(value)}" for key, value in keys.items())]) + "\n"


def _interval(ts: Any, symbols: Any) -> str:
    """Return the most frequent time between two bars of one symbol as text ("5m"); "1m" if no symbol has two bars."""
    import numpy as np

    order = np.lexsort((ts, symbols))
    steps = np.diff(ts[order])[symbols[order][1:] == symbols[order][:-1]]
    steps = steps[steps > 0]
    if not len(steps):
        return "1m"
    values, counts = np.unique(steps, return_counts=True)
    seconds = int(values[counts.argmax()]) // 10**9
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds % length == 0 and seconds:
            return f"{seconds // length}{unit}"
    return f"{max(seconds, 1)}s"
