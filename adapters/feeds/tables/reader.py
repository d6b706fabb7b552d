"""Reads any table of bars: a file, a folder, an archive or a frame, into the columns of bars and a statement.

Every door uses this reader, so that a table means the same in each. It decides from what a table holds, never from the
program that wrote it. What two readings fit is asked, with both of them and with the option that chooses; what is not
used is named. The numbers keep the digits of the text.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl

from quantd.adapters.feeds.bars.rows import BARS, PRICES
from quantd.adapters.feeds.errors import FeedError
from quantd.adapters.feeds.source import some
from quantd.adapters.feeds.tables import spelled_numbers as numbers
from quantd.adapters.feeds.tables.actions import action_columns, actions_of, ratio_of
from quantd.adapters.feeds.tables.containers import Part, parts_of, table_files
from quantd.adapters.feeds.tables.file_symbol import symbol_of
from quantd.adapters.feeds.tables.large_text import large_table
from quantd.adapters.feeds.tables.moments import Moments, clock_of, joined_clock, moments
from quantd.adapters.feeds.tables.nested import nested_tables
from quantd.adapters.feeds.tables.roles import TIMES, Roles, are_names, named_roles, valued_roles, word
from quantd.adapters.feeds.tables.statement import NO_VOLUMES, Statement
from quantd.adapters.feeds.tables.text_layout import text_table

ACTIONS: Final = ("ts", "symbol", "kind", "ratio", "cash")

MOST_ROWS: Final = 200_000_000
"""Lines of one table, at most."""

EXCHANGE_ZONES: Final = (
    "America/New_York", "Europe/London", "Europe/Berlin", "Asia/Tokyo", "Asia/Hong_Kong", "Asia/Shanghai",
    "Asia/Kolkata", "Asia/Seoul", "Australia/Sydney", "America/Toronto", "America/Chicago", "America/Sao_Paulo",
    "Asia/Singapore", "Europe/Athens",
)  # fmt: skip
"""Clocks whose midnight dates a bar."""


class Asked(NamedTuple):
    """What a person says of a table; empty where the table itself says it. `symbols` are those of a universe."""

    symbol: str = ""
    zone: str = ""
    dates: str = ""
    unit: str = ""
    scale: str = ""
    decimal: str = ""
    columns: Mapping[str, str] = {}
    symbols: tuple[str, ...] = ()


class Table(NamedTuple):
    """Bars of one source: `frame` has the columns BARS, times as dates, as instants or of an unnamed clock.

    `lines` int64[R] are the lines or rows in the source. `actions` has ts, symbol, kind, ratio and cash as text.
    """

    frame: pl.DataFrame
    actions: pl.DataFrame
    statements: tuple[Statement, ...]
    lines: pl.Series


class RawTable(NamedTuple):
    """A table before its columns have roles. `lines` are the numbers of its rows in messages."""

    name: str
    stem: str
    frame: pl.DataFrame
    lines: pl.Series
    named: bool = True
    symbol: str = ""
    zone: str = ""
    separator: str = ""
    notes: tuple[str, ...] = ()
    in_memory: bool = False
    unused: tuple[str, ...] = ()
    roles: Roles | None = None


NOTHING_ASKED: Final = Asked()


def read_tables(path: Path, asked: Asked = NOTHING_ASKED) -> Table:
    """Read the bars of a path. Raises FeedError with the file, the line or column, the value and the remedy."""
    tables = []
    several = path.is_dir()
    for part in parts_of(path):
        tables += [_bars(raw, asked, several) for raw in _raw_tables(part, asked)]
    return joined(tables)


def files_of(path: Path) -> list[Path]:
    """Return the files of a path: itself, or those of a folder with tables. Raises FeedError as `table_files`."""
    return table_files(path) if path.is_dir() else [path]


def listed_actions(path: Path, symbols: Sequence[str]) -> pl.DataFrame | None:
    """Return the actions of a file with a column of splits or dividends; None for one in the columns ACTIONS.

    Yahoo's splits and dividends have no symbol: it is that of the file's name. Raises FeedError for uneven lines, a
    missing symbol, and a date or split ratio that cannot be read.
    """
    if not path.is_file() or path.suffix.lower() not in (".csv", ".txt"):
        return None
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        header = [field.strip().strip('"') for field in file.readline().split(",")]
    words = [word(name) for name in header]
    if "kind" in words or not (roles := action_columns(header)):
        return None
    try:
        frame = pl.read_csv(path, infer_schema=False, encoding="utf8-lossy")
        frame.columns = header
    except (pl.exceptions.PolarsError, ValueError):
        text = "its lines have not the fields of its header, or two columns have one name"
        raise FeedError(path.name, text, "Write each action in one line, with all columns") from None
    dates = moments(frame[header[0]], path.name)
    days = _local_days(dates.values)
    named = next((name for name, text in zip(header, words, strict=True) if text in ("symbol", "ticker")), "")
    symbol = "" if named else symbol_of(path.stem, symbols)[0]
    if not named and not symbol:
        raise FeedError(path.name, "it does not say whose actions these are", "Add the column symbol")
    rows = []
    for k, row in enumerate(frame.iter_rows(named=True)):
        of = row[named] if named else symbol
        for kind, name in roles.items():
            value = row[name]
            if kind == "split" and (ratio := ratio_of(value)) != 0:
                if ratio is None:
                    text = f'split ratio "{value}" cannot be read'
                    raise FeedError(f"{path.name}:{k + 2}", text, 'Write it as "4:1"')
                rows.append((days[k], of, "split", f"{ratio.numerator}:{ratio.denominator}", ""))
            elif kind == "dividend" and value and not _is_nothing(value):
                rows.append((days[k], of, "dividend", "", value))
    return pl.DataFrame(rows, schema=dict.fromkeys(ACTIONS, pl.String), orient="row")


def _is_nothing(cash: str) -> bool:
    """Whether an amount is zero in any spelling; what is no number is left to the reader of actions, with its line."""
    return cash.strip().strip("0").strip(".") == "" or cash.strip().lower() in numbers.NOTHING


def _local_days(stamps: pl.Series) -> pl.Series:
    """Return the dates of stamps as text, in the clock of an exchange where all are its midnight."""
    if isinstance(stamps.dtype, pl.Datetime) and stamps.dtype.time_zone and (zone := clock_of(stamps, EXCHANGE_ZONES)):
        stamps = stamps.dt.convert_time_zone(zone)
    return stamps.dt.strftime("%Y-%m-%d")


def read_frame(frame: pl.DataFrame, asked: Asked = NOTHING_ASKED, name: str = "bars", alone: str = "") -> Table:
    """Read the bars of a frame; `alone` is the symbol of one without a column of symbols.

    A frame in the columns of quantd has no statement. Raises FeedError for columns or values that cannot be read as
    bars, or in two ways.
    """
    raw = RawTable(name, alone, frame, pl.int_range(1, len(frame) + 1, eager=True), in_memory=True)
    table = joined([_bars(part, asked, False) for part in _unpaired(raw)])
    return table._replace(statements=()) if set(BARS) <= set(frame.columns) else table


def joined(tables: Sequence[Table]) -> Table:
    """Return the bars of several tables, one after another; bars that two of them have are left to the checks."""
    if len(tables) == 1:
        return tables[0]
    kinds = {table.frame["ts"].dtype for table in tables}
    if len(kinds) > 1:
        tables = [
            table._replace(frame=table.frame.with_columns(_stamp_text(table.frame["ts"]).alias("ts")))
            for table in tables
        ]
    frames = [table.frame for table in tables]
    for column in BARS[2:]:
        if len({frame[column].dtype for frame in frames}) > 1:
            frames = [frame.with_columns(pl.col(column).cast(pl.String)) for frame in frames]
    return Table(
        pl.concat(frames),
        pl.concat([table.actions for table in tables]),
        tuple(statement for table in tables for statement in table.statements),
        pl.concat([table.lines for table in tables]),
    )


def _stamp_text(stamps: pl.Series) -> pl.Series:
    """Return stamps of any kind as ISO text, which has all kinds."""
    if stamps.dtype == pl.Date:
        return stamps.dt.strftime("%Y-%m-%d")
    text = stamps.dt.strftime("%Y-%m-%d %H:%M:%S%.f")
    return text + "+00:00" if stamps.dtype.time_zone else text  # type: ignore[attr-defined]


def _raw_tables(part: Part, asked: Asked) -> list[RawTable]:
    kind = part.kind
    if kind == "json":
        return [
            RawTable(
                part.name, part.stem, table.frame, pl.int_range(1, len(table.frame) + 1, eager=True),
                table.columned, table.symbol, table.zone,
            )
            for table in nested_tables(part.data, part.name)
        ]  # fmt: skip
    if kind in ("parquet", "feather"):
        return _unpaired(_binary(part, kind))
    if kind not in ("text",):
        remedies = {
            "excel": "Save it as CSV", "html": "It is a page of a site, not its file: download the file itself",
            "feather of the old format": "Write it again by pyarrow 1.0 or newer",
        }  # fmt: skip
        remedy = remedies.get(kind, "Unpack or export it as CSV")
        raise FeedError(part.name, f"it is {kind}, which is no table of bars", remedy)
    if not asked.columns and (large := large_table(part.path if part.partial and part.path else part.data, part.name)):
        lines = pl.int_range(large.begin + 1, large.begin + 1 + len(large.frame), eager=True)
        return [
            RawTable(
                part.name,
                part.stem,
                large.frame,
                lines,
                large.named,
                separator=large.separator,
                unused=large.unused,
                roles=large.roles,
            )
        ]
    data = part.path.read_bytes() if part.partial and part.path else part.data
    text = text_table(data, part.name)
    header = text.header
    names = text.frame.columns
    raw = RawTable(part.name, part.stem, text.frame, text.lines, False, separator=text.separator, notes=text.notes)
    at = next((k for k, row in enumerate(header) if are_names(row)), None)
    if at is None and not header:
        return [raw]
    at = len(header) - 1 if at is None else at  # of names that are no prices, those that are missing are named later
    titles = _unique([*header[at][: len(names)], *names[len(header[at]) :]])
    named = text.frame.clone()
    named.columns = titles
    raw = raw._replace(frame=named, named=True)
    symbols = next((row for k, row in enumerate(header) if k != at and sum(bool(field) for field in row) > 3), None)
    if symbols is None or len(header) < 2:
        return [raw]
    pairs = [(header[at][k], symbols[k]) for k in range(len(names))]
    return _by_symbol(raw, [("", ""), *pairs[1:]])


def _unique(names: Sequence[str]) -> list[str]:
    """Return names that differ, by a number after a repeated one."""
    out: list[str] = []
    for place, given in enumerate(names, 1):
        number = 2
        unique = name = given or f"unnamed {place}"
        while unique in out:
            unique, number = f"{name} {number}", number + 1
        out.append(unique)
    return out


_PAIR: Final = re.compile(r"\('([^']*)', '([^']*)'\)")


def _unpaired(raw: RawTable) -> list[RawTable]:
    """Return the tables of a frame whose columns are pairs (price, symbol), in any order; the table itself without."""
    pairs = [match.groups() if (match := _PAIR.fullmatch(name)) else ("", "") for name in raw.frame.columns]
    named = [pair for pair in pairs if all(pair)]
    if len(named) < 5:
        return [raw]
    if not are_names([price for price, _ in named]):
        pairs = [(price, symbol) for symbol, price in pairs]
    return _by_symbol(raw, [(str(price), str(symbol)) for price, symbol in pairs])


def _by_symbol(raw: RawTable, pairs: Sequence[tuple[str, str]]) -> list[RawTable]:
    """Return one table for each symbol of columns that are pairs; an unpaired column belongs to all."""
    columns = raw.frame.columns
    shared = [name for name, (_, symbol) in zip(columns, pairs, strict=True) if not symbol]
    shared = shared or columns[:1]
    out = []
    for symbol in dict.fromkeys(symbol for _, symbol in pairs if symbol):
        mine = {
            name: price for name, (price, of) in zip(columns, pairs, strict=True) if of == symbol and name not in shared
        }
        frame = raw.frame.select(*shared, *(pl.col(name).alias(price) for name, price in mine.items()))
        time = next((name for name in shared if word(name) in ("date", "datetime", "ts", "index")), shared[0])
        frame = frame.rename({time: "Date"}) if "Date" not in frame.columns else frame
        prices = [name for name in frame.columns if name in mine.values()]
        filled = ~frame.select(pl.all_horizontal(pl.col(prices).is_null())).to_series()
        out.append(raw._replace(frame=frame.filter(filled), lines=raw.lines.filter(filled), symbol=symbol))
    return out


def _binary(part: Part, kind: str) -> RawTable:
    """Return the table of a parquet or feather file. Raises FeedError for an unreadable file."""
    source: Any = part.path if part.path is not None else part.data
    metadata: dict[str, str] = {}
    try:
        if kind == "parquet":
            frame = pl.read_parquet(source)
            metadata = pl.read_parquet_metadata(source)
        else:
            frame = pl.read_ipc(source)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise FeedError(part.name, f"it cannot be read as {kind} ({reason})", "Write the file again") from None
    frame = frame.select(
        _fixed_point(frame[name]) if frame[name].dtype == pl.Binary else frame[name] for name in frame.columns
        if not isinstance(frame[name].dtype, pl.List | pl.Struct | pl.Array)
    )  # fmt: skip
    named = next((metadata[key] for key in ("symbol", "ticker", "instrument_id", "bar_type") if metadata.get(key)), "")
    symbol = symbol_of(named)[0] if named else ""
    lines = pl.int_range(1, len(frame) + 1, eager=True)
    return RawTable(part.name, part.stem, frame, lines, symbol=symbol)


def _fixed_point(values: pl.Series) -> pl.Series:
    """Return little-endian integers of 8 or 16 bytes as decimal text of units of 1e-9 or 1e-16."""
    cells = values.to_list()
    sizes = {len(cell) for cell in cells if cell is not None}
    places = {8: 9, 16: 16}.get(next(iter(sizes)) if len(sizes) == 1 else 0)
    if places is None:
        return pl.Series(values.name, [None] * len(values), dtype=pl.String)
    integers = [None if cell is None else str(int.from_bytes(cell, "little", signed=True)) for cell in cells]
    return numbers.scaled(pl.Series(values.name, integers), places)


def _bars(raw: RawTable, asked: Asked, several: bool) -> Table:
    """Return the bars of one table. Raises FeedError for more than MOST_ROWS rows, or unclear columns or values."""
    frame = raw.frame
    if len(frame) > MOST_ROWS:
        raise FeedError(raw.name, f"{len(frame):,} rows are more than {MOST_ROWS:,}", "Split it by symbol or by year")
    roles = raw.roles
    if roles is None and (raw.named or asked.columns):
        roles = named_roles(frame.columns, raw.name, asked.columns)
    if roles is None and raw.named:
        raise FeedError(
            raw.name, f"no column is named as the prices of bars (it has {', '.join(frame.columns)[:200]})",
            "Name them open, high, low, close and volume, or say which they are: --column close=NAME",
        )  # fmt: skip
    if roles is None:
        roles = valued_roles(frame, raw.name)
    if not roles.time:
        raise FeedError(
            raw.name, f"no column is named as a time (it has {', '.join(frame.columns)[:200]})",
            "Name it ts, or say which it is: --column time=NAME",
        )  # fmt: skip
    stamps = _stamps(raw, roles, asked)
    spelled = [name for name in (*roles.prices(), roles.volume, roles.adjusted, roles.dividend) if name]
    for name in spelled:
        numbers.require_no_formula(frame[name], raw.name, raw.lines)
    spelling = numbers.spelling_of([frame[name] for name in spelled], raw.name, asked.decimal)
    places = numbers.scale_of([frame[name] for name in roles.prices()], raw.name, asked.scale)
    columns = {}
    for role, name in zip(PRICES, roles.prices(), strict=True):
        columns[role] = numbers.scaled(frame[name], places) if places else numbers.numbers(frame[name], spelling)
        _require_numbers(columns[role], frame[name], raw, name)
    volume, volume_text = _volume(raw, roles, spelling, columns["close"])
    symbol, symbol_text = _symbol(raw, roles, asked, stamps.values, several)
    table = pl.DataFrame(
        {"ts": stamps.values, "symbol": symbol, **{role: columns[role] for role in PRICES}, "volume": volume}
    )
    actions, action_text, action_notes = actions_of(raw.name, frame, roles, table, raw.lines)
    table, lines, notes = _ordered(table, raw.lines, asked)
    used = {value for value in roles if value}
    unused = [name for name in frame.columns if name not in used and frame[name].null_count() < len(frame)]
    statement = Statement(
        raw.name,
        time=_time_text(roles, stamps, raw, asked),
        prices=_prices_text(roles, spelling, places),
        volume=volume_text,
        symbol=symbol_text,
        actions=action_text,
        unused=(*unused, *raw.unused),
        notes=(*raw.notes, *notes, *action_notes),
    )
    return Table(table, actions, (statement,), lines)


def _stamps(raw: RawTable, roles: Roles, asked: Asked) -> Moments:
    where = f"{raw.name}, column {roles.time}"
    stamps = moments(raw.frame[roles.time], where, dates=asked.dates, unit=asked.unit)
    if _is_local(stamps.values) and not (asked.zone or raw.zone) and (instants := _instants(raw, roles)):
        return instants
    if roles.clock and stamps.dated:
        stamps = joined_clock(stamps, raw.frame[roles.clock])
    values = stamps.values
    zone = asked.zone or raw.zone
    if isinstance(values.dtype, pl.Datetime) and values.dtype.time_zone is None:
        if _is_midnight(values):
            return Moments(values.cast(pl.Date), stamps.text or "dates")
        if zone:
            try:
                moved = values.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
            except pl.exceptions.PolarsError:
                raise FeedError(where, f"{zone} is not a time zone", "Write a name like America/New_York") from None
            return Moments(moved.dt.convert_time_zone("UTC"), f"of the clock in {zone}")
    return stamps


def _is_local(values: pl.Series) -> bool:
    return isinstance(values.dtype, pl.Datetime) and values.dtype.time_zone is None and not _is_midnight(values)


def _instants(raw: RawTable, roles: Roles) -> Moments | None:
    """Return the instants of another column of times, where the one by its name has those of an unnamed clock."""
    for name in raw.frame.columns:
        if name not in roles and word(name) in TIMES:
            try:
                stamps = moments(raw.frame[name], raw.name)
            except FeedError:
                continue
            if isinstance(stamps.values.dtype, pl.Datetime) and stamps.values.dtype.time_zone:
                return Moments(stamps.values, f"column {name} beside it, {stamps.text}")
    return None


def _is_midnight(values: pl.Series) -> bool:
    spent = values.drop_nulls()
    return bool(len(spent) and (spent.dt.truncate("1d") == spent).all())


def _time_text(roles: Roles, stamps: Moments, raw: RawTable, asked: Asked) -> str:
    column = f"column {roles.time}" + (f" and {roles.clock}" if roles.clock else "")
    values = stamps.values
    if values.dtype == pl.Date:
        said = f", {stamps.text}" if stamps.text not in ("", "dates") else ""
        return f"{column}{said}, dated as sessions"
    if values.dtype.time_zone is None:  # type: ignore[attr-defined]
        return f"{column}, times of a clock that it does not name"
    zone = "" if _is_midnight(values) else clock_of(values, EXCHANGE_ZONES)
    if zone:
        return f"{column}, midnight in {zone}, dated as sessions"
    midnight = ", dated as sessions" if _is_midnight(values) else ""
    return f"{column}, {stamps.text or 'in UTC'}{midnight}"


def _prices_text(roles: Roles, spelling: numbers.Spelling, places: int) -> str:
    names = roles.prices()
    plain = all(word(name) == role for name, role in zip(names, PRICES, strict=True))
    text = names[3] if plain else ", ".join(f"{role} {name}" for role, name in zip(PRICES, names, strict=True))
    text += f", {roles.adjusted} beside it" if roles.adjusted else ""
    text += f", {spelling.text}" if spelling.text else ""
    return text + (f", integers in units of 1e-{places}" if places else "")


def _require_numbers(values: pl.Series, given: pl.Series, raw: RawTable, name: str) -> None:
    """Raise FeedError with its line for a column of which more than half has text that is no number."""
    if given.dtype != pl.String:
        if not given.dtype.is_numeric() and not isinstance(given.dtype, pl.Null):
            raise FeedError(raw.name, f"column {name} holds {given.dtype}, not numbers", "Write numbers")
        return
    wrong = values.is_null() & given.is_not_null() & ~given.str.strip_chars().str.to_lowercase().is_in(numbers.NOTHING)
    if wrong.sum() * 2 > len(values):
        row = int(wrong.arg_max() or 0)
        text = f'"{given[row]}" in column {name} is no number'
        raise FeedError(f"{raw.name}:{raw.lines[row]}", text, "Write numbers")


def _volume(raw: RawTable, roles: Roles, spelling: numbers.Spelling, close: pl.Series) -> tuple[pl.Series, str]:
    if not roles.volume:
        zeros = pl.Series("volume", [0.0] * len(raw.frame))
        return zeros, NO_VOLUMES
    volume = numbers.numbers(raw.frame[roles.volume], spelling).alias("volume")
    name = roles.volume
    if roles.other_volume:
        other = numbers.numbers(raw.frame[roles.other_volume], spelling).alias("volume")
        first, second, price = (column.cast(pl.Float64, strict=False) for column in (volume, other, close))
        if (first.sum() or 0.0) == 0.0 and (second.sum() or 0.0) > 0.0:
            return other, f"column {roles.other_volume}, because {name} is 0"
        # of two volumes, one in money is the other one times the price
        ratio = (first / (second * price)).drop_nans().drop_nulls().median()
        if isinstance(ratio, float) and 0.5 < ratio < 2.0:
            return other, f"column {roles.other_volume}, in units; {name} is in money"
    return volume, f"column {name}"


def _symbol(raw: RawTable, roles: Roles, asked: Asked, stamps: pl.Series, several: bool) -> tuple[pl.Series, str]:
    count = len(raw.frame)
    if roles.symbol:
        given = raw.frame[roles.symbol]
        column = given if given.dtype == pl.Categorical else given.cast(pl.String).str.strip_chars()
        missing = column.is_null() | (column == "") | (column == "NaN" if given.dtype.is_float() else False)
        if missing.any():
            row = int(missing.arg_max() or 0)
            remedy = 'pandas reads the ticker NA as missing: read_csv(..., keep_default_na=False, na_values=[""])'
            raise FeedError(
                f"{raw.name}:{raw.lines[row]}", f"column {roles.symbol} has no symbol there",
                remedy if raw.in_memory else "Write the symbol of each bar",
            )  # fmt: skip
        names = column.unique(maintain_order=True).cast(pl.String).to_list()
        if asked.symbol and len(names) == 1:
            text = f"{asked.symbol}, as told; the file has {names[0]}"
            return pl.Series("symbol", [asked.symbol]).new_from_index(0, count), text
        return column.alias("symbol"), f"column {roles.symbol}, {some(names)}"
    repeats = count - stamps.n_unique()
    if repeats > (0 if raw.in_memory else max(2, count // 100)):
        raise FeedError(
            raw.name, f"times repeat, and there is no column symbol (it has {', '.join(raw.frame.columns)[:200]})",
            "Add the column symbol",
        )  # fmt: skip
    if asked.symbol and not several:
        return pl.Series("symbol", [asked.symbol]).new_from_index(0, count), f"{asked.symbol}, as told"
    if raw.symbol:
        return pl.Series("symbol", [raw.symbol]).new_from_index(0, count), f"{raw.symbol}, from the file"
    if raw.in_memory:
        return pl.Series("symbol", [raw.stem]).new_from_index(0, count), raw.stem
    symbol, candidates = symbol_of(raw.stem, asked.symbols)
    if not symbol:
        could = f" (it could be {' or '.join(candidates)})" if candidates else ""
        raise FeedError(
            raw.name, f"it has no column of symbols, and its name does not say which it is{could}",
            "Add --symbol with it, such as --symbol AAPL, or name the file by its symbol",
        )  # fmt: skip
    return pl.Series("symbol", [symbol]).new_from_index(0, count), f"{symbol}, from the file's name"


def _ordered(table: pl.DataFrame, lines: pl.Series, asked: Asked) -> tuple[pl.DataFrame, pl.Series, list[str]]:
    """Return the bars with the newest last, where all of a symbol come newest first."""
    readable = table.select(pl.col("ts"), pl.col("symbol")).filter(pl.col("ts").is_not_null())
    if readable.is_empty():
        return table, lines, []
    step = readable.select((pl.col("ts").diff().cast(pl.Int64) < 0) & (pl.col("symbol") == pl.col("symbol").shift(1)))
    same = readable.select(pl.col("symbol") == pl.col("symbol").shift(1)).to_series()
    backward = int(step.to_series().sum())
    if backward and backward == int(same.sum()):
        return table.reverse(), lines.reverse(), ["newest first, turned"]
    return table, lines, []
