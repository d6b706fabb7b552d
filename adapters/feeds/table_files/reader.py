"""Reads any table of bars: a file, a folder, an archive or a frame, into the columns of bars and a statement.

Every command and function that accepts tables uses this reader, so that all read a table alike. The reader decides by
the content of a table, never by the program that wrote it. If two readings are possible, an error names both, and the
option that chooses between them. The statement names the columns that are not used. Numbers keep all digits of the
text.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl

from quantd.adapters.feeds.bars.rows import BARS, PRICES
from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.table_files import spelled_numbers as numbers
from quantd.adapters.feeds.table_files.actions import actions_of, with_action_columns
from quantd.adapters.feeds.table_files.containers import Part, parts_of, table_files, unread_files
from quantd.adapters.feeds.table_files.file_symbol import is_disputed, require_symbol, symbol_of, without_blanks
from quantd.adapters.feeds.table_files.large_text import large_table
from quantd.adapters.feeds.table_files.moments import (
    Moments,
    footer,
    is_midnight,
    joined_clock,
    moments,
    stamp_text,
    zoned,
)
from quantd.adapters.feeds.table_files.nested import nested_tables
from quantd.adapters.feeds.table_files.overlap import without_overlap, without_repeats
from quantd.adapters.feeds.table_files.roles import (
    CURRENCIES,
    TIMES,
    Roles,
    are_names,
    code_of_currency,
    currency_in,
    may_be_class,
    named_roles,
    regular_time,
    require_one_block,
    valued_roles,
    whole_dates,
    word,
)
from quantd.adapters.feeds.table_files.side_by_side import RawTable, by_symbol, has_symbols, unpaired
from quantd.adapters.feeds.table_files.statement import (
    NO_VOLUMES,
    LeftOut,
    Statement,
    left_out_note,
    prices_text,
    time_text,
    unread_note,
)
from quantd.adapters.feeds.table_files.text_layout import NoTable, day_table, text_table
from quantd.trading.display_text import some

SIGNS: Final = {"€": "EUR", "£": "GBP", "₹": "INR", "₩": "KRW"}
"""Currencies by their sign."""

ONE_CURRENCY: Final = "Give the bars of one currency alone, or convert the prices of the others"

MOST_ROWS: Final = 200_000_000
"""Most lines of one table."""


class ReadOptions(NamedTuple):
    """A person's options for reading a table, each empty if the table's content is to decide; `symbols` are the
    symbols of the universe."""

    symbol: str = ""
    zone: str = ""
    dates: str = ""
    unit: str = ""
    scale: str = ""
    decimal: str = ""
    columns: Mapping[str, str] = {}
    symbols: tuple[str, ...] = ()
    prices: str = ""
    overlap: str = ""


class Table(NamedTuple):
    """Bars of one source. `frame` has the columns BARS; times are dates, instants, or local times of an unknown zone.

    `lines` int64[R] is the line or row of each bar in the source. `actions` has ts, symbol, kind, ratio and cash as
    text.
    """

    frame: pl.DataFrame
    actions: pl.DataFrame
    statements: tuple[Statement, ...]
    lines: pl.Series


NOTHING_ASKED: Final = ReadOptions()


def read_tables(path: Path, asked: ReadOptions = NOTHING_ASKED) -> Table:
    """Read the bars of a file, folder or archive. Raises FeedError that names file, line or column, value and
    remedy."""
    tables: list[Table] = []
    prose: list[NoTable] = []
    several = path.is_dir()
    for part in parts_of(path):
        try:
            raws = _raw_tables(part, asked)
        except NoTable as error:  # a README beside the tables
            prose.append(error)
            continue
        tables += [_bars(raw, asked, several or len(raws) > 1) for raw in raws]
    if not tables:
        raise prose[0]
    names = [f"{error.source} has no bars and is left out" for error in prose]
    if several and (unread := unread_files(path, table_files(path))):
        names.append(f"not read, by its form or its subfolder: {some(unread)}")
    statement = tables[0].statements[0]
    tables[0] = tables[0]._replace(statements=(statement._replace(notes=(*statement.notes, *names)),))
    return joined(tables, asked.overlap)


def files_of(path: Path) -> list[Path]:
    """Return the file itself, or the table files of a folder. Raises FeedError for a folder without a table file, or
    with too many."""
    return table_files(path) if path.is_dir() else [path]


def read_frame(frame: pl.DataFrame, asked: ReadOptions = NOTHING_ASKED, alone: str = "") -> Table:
    """Read the bars of a frame; `alone` is the symbol of a frame without a column of symbols.

    A frame in the columns of quantd has no statement, if all of its columns and rows are used and it names no
    currency. Raises FeedError for columns or values that cannot be read as bars, or have two readings.
    """
    frame = frame.rechunk()  # columns in pieces would be copied again by each expression
    raw = RawTable("bars", alone, frame, pl.int_range(1, len(frame) + 1, eager=True), in_memory=True)
    parts = unpaired(raw)
    table = joined([_bars(part, asked, len(parts) > 1) for part in parts])
    plain = set(BARS) == set(frame.columns) and not asked.symbol
    plain = plain and not any(item.currency or item.left_out or item.volume == NO_VOLUMES for item in table.statements)
    return table._replace(statements=()) if plain else table


def joined(tables: Sequence[Table], overlap: str = "") -> Table:
    """Return the bars of several tables, one after another. A bar that two tables have with equal values counts once.

    If the values differ, `overlap` says which one is taken, "first" or "last"; without it FeedError names both tables.
    A bar that one table has twice stays: a later check rejects the repetition.
    """
    if len(tables) == 1:
        return tables[0]
    stamp_types = {table.frame["ts"].dtype for table in tables}
    if len(stamp_types) > 1:
        tables = [
            table._replace(frame=table.frame.with_columns(stamp_text(table.frame["ts"]).alias("ts")))
            for table in tables
        ]
    frames = [table.frame for table in tables]
    currencies = {item.currency: item.name for table in tables for item in table.statements if item.currency}
    if len(currencies) > 1:
        (one, name), (other, its_name), *_ = currencies.items()
        raise FeedError(name, f"it is in {one}, {its_name} in {other}, and an account has one currency", ONE_CURRENCY)
    for column in BARS[1:]:  # a large file has its symbols as categories
        if len({frame[column].dtype for frame in frames}) > 1:
            frames = [frame.with_columns(pl.col(column).cast(pl.String)) for frame in frames]
    whole = Table(
        pl.concat(frames),
        pl.concat([table.actions for table in tables]).unique(maintain_order=True),
        tuple(statement for table in tables for statement in table.statements),
        pl.concat([table.lines for table in tables]),
    )
    symbols = [set(frame["symbol"].unique()) for frame in frames]
    if sum(map(len, symbols)) == len(set().union(*symbols)):
        return whole  # each symbol is in one table
    lengths, names = [len(frame) for frame in frames], [statement.name for statement in whole.statements]
    kept, note = without_overlap(whole.frame, lengths, names, overlap)
    if not note:
        return whole
    first = whole.statements[0]
    statements = (first._replace(notes=(*first.notes, note)), *whole.statements[1:])
    return Table(whole.frame[kept], whole.actions, statements, whole.lines.gather(kept))


def _raw_tables(part: Part, asked: ReadOptions) -> list[RawTable]:
    """Return the tables of a file, with the names of their columns. Raises FeedError for a file without a table."""
    kind = part.kind
    if kind == "json":
        return [
            raw
            for table in nested_tables(part.data, part.name)
            for raw in unpaired(
                RawTable(
                    part.name, part.stem, table.frame, pl.int_range(1, len(table.frame) + 1, eager=True),
                    table.columned, table.symbol, table.zone,
                )
            )
        ]  # fmt: skip
    if kind in ("parquet", "feather", "arrow stream"):
        return unpaired(_binary_table(part, kind))
    if kind not in ("text",):
        remedies = {
            "excel": "Save it as CSV", "html": "It is a page of a site, not its file: download the file itself",
            "feather of the old format": "Write it again by pyarrow 1.0 or newer",
        }  # fmt: skip
        remedy = remedies.get(kind, "Unpack or export it as CSV")
        raise FeedError(part.name, f"it is {kind}, which is no table of bars", remedy)
    data = part.path if part.partial and part.path else part.data
    if day := day_table(data, part.stem, part.name, asked.scale):
        frame, symbol = day
        return [RawTable(part.name, part.stem, frame, pl.int_range(1, len(frame) + 1, eager=True), symbol=symbol)]
    if not asked.columns and (large := large_table(data, part.name)):
        lines = pl.int_range(large.begin + 1, large.begin + 1 + len(large.frame), eager=True)
        return [
            RawTable(
                part.name, part.stem, large.frame, lines, large.named, separator=large.separator, notes=large.notes,
                unused=large.unused, roles=large.roles, left_out=large.left_out,
            )
        ]  # fmt: skip
    return _text_tables(part, data if isinstance(data, bytes) else data.read_bytes(), asked.columns)


def _text_tables(part: Part, data: bytes, chosen: Mapping[str, str]) -> list[RawTable]:
    """Return the tables of a text: one, or one for each symbol where a line of the header has symbols."""
    text = text_table(data, part.name, chosen)
    header = text.header
    names = text.frame.columns
    # False: its columns have no names so far
    table = RawTable(part.name, part.stem, text.frame, text.lines, False, separator=text.separator, notes=text.notes)
    table = table._replace(left_out=text.left_out)
    names_row = next((k for k, row in enumerate(header) if are_names(row)), None)
    if names_row is None and not header:
        return [table]
    names_row = (
        len(header) - 1 if names_row is None else names_row
    )  # without names of prices, the last line of the header: a later error names the missing ones
    titles = _unique_names([*header[names_row][: len(names)], *names[len(header[names_row]) :]])
    renamed = text.frame.clone()
    renamed.columns = titles
    table = table._replace(frame=renamed, named=True)
    blocks = sum(word(name) == "close" for name in header[names_row])
    symbol_row = next((row for k, row in enumerate(header) if k != names_row and has_symbols(row, blocks)), None)
    if symbol_row is None or len(header) < 2:
        other = [f'"{", ".join(filter(None, row))}"'[:60] for k, row in enumerate(header) if k != names_row]
        return unpaired(table._replace(notes=(*table.notes, *(f"not used: the line {line}" for line in other))))
    if blocks > 1 and sum(map(bool, symbol_row)) == blocks:
        filled: list[str] = []
        for field in symbol_row:
            filled.append(field or (filled[-1] if filled else ""))
        symbol_row = tuple(filled)
    pairs = [(header[names_row][k], symbol_row[k]) for k in range(len(names))]
    return by_symbol(table, [("", ""), *pairs[1:]])  # the first column, of times, belongs to every symbol


def _unique_names(names: Sequence[str]) -> list[str]:
    """Return the names with a number after each repeated name, so that all differ."""
    unique_names: list[str] = []
    for position, name_read in enumerate(names, 1):
        number = 2
        unique = name = name_read or f"unnamed {position}"
        while unique in unique_names:
            unique, number = f"{name} {number}", number + 1
        unique_names.append(unique)
    return unique_names


def _binary_table(part: Part, kind: str) -> RawTable:
    """Return the table of a parquet or feather file. Raises FeedError for an unreadable file.

    Nested columns are left out, and binary ones are prices in fixed point. The metadata may name the symbol.
    """
    source: Any = part.path if part.path is not None else part.data
    metadata: dict[str, str] = {}
    try:
        if kind == "parquet":
            # column by column, each in one piece: an expression over columns in pieces would copy all of them
            names = list(pl.read_parquet_schema(source))
            frame = pl.DataFrame([pl.read_parquet(source, columns=[name])[name].rechunk() for name in names])
            metadata = pl.read_parquet_metadata(source)
        else:
            frame = pl.read_ipc(source) if kind == "feather" else pl.read_ipc_stream(source)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise FeedError(part.name, f"it cannot be read as {kind} ({reason})", "Write the file again") from None
    frame = frame.select(
        numbers.fixed_point(frame[name]) if frame[name].dtype == pl.Binary else frame[name] for name in frame.columns
        if not isinstance(frame[name].dtype, pl.List | pl.Struct | pl.Array)
    )  # fmt: skip
    symbol_text = next(
        (metadata[key] for key in ("symbol", "ticker", "instrument_id", "bar_type") if metadata.get(key)), ""
    )
    symbol = symbol_of(symbol_text)[0] if symbol_text else ""
    lines = pl.int_range(1, len(frame) + 1, eager=True)
    return RawTable(part.name, part.stem, frame, lines, symbol=symbol)


def _bars(raw: RawTable, asked: ReadOptions, several: bool) -> Table:
    """Return the bars of one table. Raises FeedError for more than MOST_ROWS rows, or unclear columns or values.

    `asked` are a person's options. `several` is True for a folder, whose files have a symbol each.
    """
    raw = raw if "time" in asked.columns else raw._replace(frame=whole_dates(raw.frame))
    if (rows := len(raw.frame)) > MOST_ROWS:
        raise FeedError(raw.name, f"{rows:,} rows are more than {MOST_ROWS:,}", "Split it by symbol or by year")
    roles = _roles_of(raw, asked)
    raw, roles = _without_labels(raw, roles)
    raw = without_repeats(raw, roles)
    frame = raw.frame
    stamps = _stamps(raw, roles, asked)
    unread = unread_note(stamps.values, frame[roles.time], raw.lines, roles.time, "time")
    number_columns = [name for name in (*roles.prices(), roles.volume, roles.adjusted, roles.dividend) if name]
    for name in number_columns:
        numbers.require_no_formula(frame[name], raw.name, raw.lines)
    spelling = numbers.spelling_of([frame[name] for name in number_columns], raw.name, asked.decimal)
    decimal_places = numbers.scale_of([frame[name] for name in roles.prices()], raw.name, asked.scale)
    columns = {}
    for role, name in zip(PRICES, roles.prices(), strict=True):
        columns[role] = (
            numbers.scaled(frame[name], decimal_places) if decimal_places else numbers.numbers(frame[name], spelling)
        )
        numbers.require_numbers(columns[role], frame[name], raw.name, raw.lines, name)
        unread += unread_note(columns[role], frame[name], raw.lines, name, "number")
    volume, volume_text = _volume(raw, roles, spelling, columns["close"])
    if volume_text == f"column {roles.volume}":
        unread += unread_note(volume, frame[roles.volume], raw.lines, roles.volume, "number")
    symbol, symbol_text = _symbol(raw, roles, asked, stamps.values, several)
    table = pl.DataFrame(
        {"ts": stamps.values, "symbol": symbol, **{role: columns[role] for role in PRICES}, "volume": volume}
    )
    exact = [name for name in (roles.dividend, roles.adjusted) if name]
    cash = [numbers.numbers(frame[name], spelling).alias(name) for name in exact]
    if roles.dividend:  # one that is not read would be one that is not paid
        numbers.require_numbers(cash[0], frame[roles.dividend], raw.name, raw.lines, roles.dividend, most=0.0)
    frame = frame.with_columns(cash)
    actions, action_text = actions_of(raw.name, frame, roles, table, raw.lines, asked.prices)
    table, lines, notes, empty = _ordered(table, raw.lines, own=set(BARS) <= set(frame.columns))
    left_out = [*raw.left_out, *empty]
    currency, its_column = _currency(raw, roles)
    not_unused = {*roles, its_column}
    unused = [name for name in frame.columns if name not in not_unused and frame[name].null_count() < len(frame)]
    statement = Statement(
        raw.name,
        time=time_text(roles, stamps),
        prices=prices_text(roles, spelling, decimal_places),
        volume=volume_text,
        symbol=symbol_text,
        actions=action_text,
        unused=(*unused, *raw.unused),
        notes=(*raw.notes, *([left_out_note(left_out)] if left_out else []), *unread, *notes),
        left_out=len(left_out),
        currency=currency,
    )
    return Table(table, actions, (statement,), lines)


def _currency(raw: RawTable, roles: Roles) -> tuple[str, str]:
    """Return the currency of a table, and its column of currencies; each empty without one.

    A sign or code in the names of the prices, as in "Close (EUR)", or in a close, as in "€10.20", is a currency
    too; "$" and "¥" are signs of several. Raises FeedError for several currencies. A column with other words, such as
    names of coins, is none.
    """
    codes_of: dict[str, str] = {}  # currency -> what has it
    column = ""
    for name in raw.frame.columns:
        if name not in roles and word(name) in CURRENCIES:
            values = raw.frame[name].unique(maintain_order=True).drop_nulls().cast(pl.String).to_list()
            codes = list(dict.fromkeys(code_of_currency(value.strip()) for value in values if value.strip()))
            if codes and all(codes):
                column, codes_of = name, dict.fromkeys(codes, f"column {name}")
                break
    closes = raw.frame[roles.close].drop_nulls()
    marks: list[str] = []  # what the closes have beside numbers: "€", "EUR"
    if closes.dtype == pl.String:
        marks = closes.str.replace_all(r"[^\pL\p{Sc}]", "").unique(maintain_order=True).to_list()
    for text in (*roles.prices(), *marks):
        if code := SIGNS.get(currency_in(text), code_of_currency(currency_in(text))):
            codes_of.setdefault(code, text)
    if len(codes_of) > 1:
        places = some(list(dict.fromkeys(codes_of.values())))
        fault = f"{places} has {some(list(codes_of))}, and an account has one currency"
        raise FeedError(raw.name, fault, ONE_CURRENCY)
    return next(iter(codes_of), ""), column


def _roles_of(raw: RawTable, asked: ReadOptions) -> Roles:
    """Return the roles of a table's columns: by a person's options, their names, or their values if they have no names.

    Raises FeedError without prices or a time, and for columns with two readings.
    """
    frame, roles = raw.frame, raw.roles
    if roles is None and (raw.named or asked.columns):
        roles = named_roles(frame.columns, raw.name, asked.columns)
        if roles is not None and not asked.columns:
            require_one_block(frame.columns, roles, raw.name)
            roles = roles._replace(time=(roles.time and regular_time(frame, roles, raw.name)) or roles.time)
    if roles is None and raw.named:
        raise FeedError(
            raw.name, f"no column is named as the prices of bars (it has {', '.join(frame.columns)[:200]})",
            "Name them open, high, low, close and volume, or say which they are: --column close=NAME; in a table of "
            "closes name each column by its symbol in capitals",
        )  # fmt: skip
    if roles is None:
        roles = valued_roles(frame, raw.name)
    if not roles.time:
        raise FeedError(
            raw.name, f"no column is named as a time (it has {', '.join(frame.columns)[:200]})",
            "Name it ts, or say which it is: --column time=NAME",
        )  # fmt: skip
    return roles


def _without_labels(raw: RawTable, roles: Roles) -> tuple[RawTable, Roles]:
    """Return a table without the rows of labels below its bars, such as Average, and without rows of dividends and
    splits, which become columns; and the roles with these columns.

    Raises FeedError for an action on a day without a bar.
    """
    labels = footer(raw.frame[roles.time])
    if labels:
        rows = zip(raw.lines.tail(len(labels)).to_list(), labels, strict=True)
        raw = raw._replace(
            frame=raw.frame.head(-len(labels)), lines=raw.lines.head(-len(labels)), left_out=(*raw.left_out, *rows)
        )
    frame, bars = with_action_columns(raw.frame, roles.time, roles.prices(), raw.name, raw.lines)
    if frame is not raw.frame:
        raw = raw._replace(frame=frame, lines=raw.lines.gather(bars))
        roles = roles._replace(dividend="Dividend", split="Split")
    return raw, roles


def _stamps(raw: RawTable, roles: Roles, asked: ReadOptions) -> Moments:
    """Return the times of a table. Local times become instants by another column or a zone, if there is one.

    Local times that are all midnight become dates.

    `asked` are a person's options; `raw.zone` is a zone that the file names itself.
    """
    where = f"{raw.name}, column {roles.time}"
    zone = asked.zone or raw.zone
    stamps = moments(raw.frame[roles.time], where, dates=asked.dates, unit=asked.unit, zone=zone)
    if _is_local(stamps.values) and not (asked.zone or raw.zone) and (instants := _other_instants(raw, roles)):
        return instants
    if roles.clock and stamps.dated:
        stamps = joined_clock(stamps, raw.frame[roles.clock])
    values = stamps.values
    if isinstance(values.dtype, pl.Datetime) and values.dtype.time_zone is None:
        if is_midnight(values):
            return Moments(values.cast(pl.Date), stamps.text or "dates")
        if zone:
            try:
                moved = zoned(values, zone, raw.frame[roles.symbol] if roles.symbol else None)
            except pl.exceptions.PolarsError:
                raise FeedError(where, f"{zone} is not a time zone", "Write a name like America/New_York") from None
            return Moments(moved, f"of the clock in {zone}")
    return stamps


def _is_local(values: pl.Series) -> bool:
    return isinstance(values.dtype, pl.Datetime) and values.dtype.time_zone is None and not is_midnight(values)


def _other_instants(raw: RawTable, roles: Roles) -> Moments | None:
    """Return the instants of another column of times, if there is one, to replace local times of an unknown zone."""
    for name in raw.frame.columns:
        if name not in roles and word(name) in TIMES:
            try:
                stamps = moments(raw.frame[name], raw.name)
            except FeedError:
                continue
            if isinstance(stamps.values.dtype, pl.Datetime) and stamps.values.dtype.time_zone:
                return Moments(stamps.values, f"column {name} beside it, {stamps.text}")
    return None


def _volume(raw: RawTable, roles: Roles, spelling: numbers.Spelling, close: pl.Series) -> tuple[pl.Series, str]:
    """Return the volumes and a statement of them: zeros without a column or in an empty one, the better one of two."""
    no_volumes = pl.zeros(len(raw.frame), pl.Float64, eager=True).alias("volume")
    if not roles.volume:
        return no_volumes, NO_VOLUMES
    volume = numbers.numbers(raw.frame[roles.volume], spelling).alias("volume")
    if volume.is_null().all() or (volume.dtype.is_float() and volume.is_nan().all()):
        return no_volumes, NO_VOLUMES
    name = roles.volume
    for unit, factor, text in ((numbers.THOUSANDS, 1e3, "thousands"), (numbers.MILLIONS, 1e6, "millions")):
        if unit.search(word(name)):
            return volume.cast(pl.Float64, strict=False) * factor, f"column {name}, in {text}"
    if roles.other_volume:
        other_volume = numbers.numbers(raw.frame[roles.other_volume], spelling).alias("volume")
        volume_values, other_values, price = (
            column.cast(pl.Float64, strict=False) for column in (volume, other_volume, close)
        )
        # a first column of zeros has no volumes
        if (volume_values.sum() or 0.0) == 0.0 and (other_values.sum() or 0.0) > 0.0:
            return other_volume, f"column {roles.other_volume}, because {name} is 0"
        # of two volumes, one in money is the other one times the price
        ratio = (volume_values / (other_values * price)).drop_nans().drop_nulls().median()
        if isinstance(ratio, float) and 0.5 < ratio < 2.0:
            return other_volume, f"column {roles.other_volume}, in units; {name} is in money"
    if (currency := currency_in(name)) and not raw.stem.upper().startswith(currency):  # EURUSD has a volume in EUR
        return volume.cast(pl.Float64, strict=False) / close.cast(pl.Float64, strict=False), (
            f"column {name}, in money, divided by the close"
        )
    return volume, f"column {name}"


def _symbol(raw: RawTable, roles: Roles, asked: ReadOptions, stamps: pl.Series, several: bool) -> tuple[pl.Series, str]:
    """Return the symbol of each row, and a statement of where the symbol is from.

    The symbol is from a column, the option, the file's content or the file's name, in this order. Raises FeedError for
    an empty field, for repeated times without a column of symbols, and where nothing names the symbol.
    """
    count = len(raw.frame)
    if roles.symbol:
        symbol_field = raw.frame[roles.symbol]
        column = without_blanks(symbol_field)
        missing = column.is_null() | (column == "") | (column == "NaN" if symbol_field.dtype.is_float() else False)
        if missing.any():
            row = int(missing.arg_max() or 0)
            remedy = 'pandas reads the ticker NA as missing: read_csv(..., keep_default_na=False, na_values=[""])'
            raise FeedError(
                f"{raw.name}:{raw.lines[row]}", f"column {roles.symbol} has no symbol there",
                remedy if raw.in_memory else "Write the symbol of each bar",
            )  # fmt: skip
        names = column.unique(maintain_order=True).cast(pl.String).to_list()
        if len(names) > 1 or several:
            require_symbol(asked.symbol, names, raw.name)
        spelled = {name.upper(): name for name in names}
        if other := next((name for name in names if spelled[name.upper()] != name), ""):
            fault = f"column {roles.symbol} has {other} and {spelled[other.upper()]}, which differ in their case alone"
            raise FeedError(raw.name, fault, "Write each symbol in one way")
        if asked.symbol and len(names) == 1:
            text = f"{asked.symbol}, as told; the file has {names[0]}"
            return pl.Series("symbol", [asked.symbol]).new_from_index(0, count), text
        sure = len(names) > 1 or raw.in_memory or "symbol" in asked.columns or names[0] in asked.symbols
        if not sure and (against := is_disputed(names[0], raw.stem, may_be_class=may_be_class(roles.symbol))):
            raise FeedError(
                raw.name, f"column {roles.symbol} has only {names[0]}, and {against}",
                f"Add --symbol {symbol_of(raw.stem)[0] or 'NAME'}, or --column symbol={roles.symbol}",
            )  # fmt: skip
        return column.alias("symbol"), f"column {roles.symbol}, {some(names)}"
    repeats = count - stamps.n_unique() - max(0, stamps.null_count() - 1)
    # a few repeated times are faults of single lines, many are the bars of several symbols
    if repeats > (0 if raw.in_memory else max(2, count // 100)):
        raise FeedError(
            raw.name, f"times repeat, and there is no column symbol (it has {', '.join(raw.frame.columns)[:200]})",
            "Add the column symbol, or say which it is: --column symbol=NAME",
        )  # fmt: skip
    if asked.symbol and several and (its_symbol := raw.symbol or symbol_of(raw.stem)[0]):
        require_symbol(asked.symbol, [its_symbol], raw.name)
    if asked.symbol:
        return pl.Series("symbol", [asked.symbol]).new_from_index(0, count), f"{asked.symbol}, as told"
    if raw.symbol:
        return pl.Series("symbol", [raw.symbol]).new_from_index(0, count), f"{raw.symbol}, from the file"
    if raw.in_memory:
        return pl.Series("symbol", [raw.stem]).new_from_index(0, count), raw.stem
    symbol, candidates = symbol_of(raw.stem, asked.symbols)
    if not symbol:
        alternatives = f" (it could be {' or '.join(candidates)})" if candidates else ""
        raise FeedError(
            raw.name, f"it has no column of symbols, and its name does not say which it is{alternatives}",
            "Add --symbol and the symbol, such as --symbol AAPL, or name the file by its symbol",
        )  # fmt: skip
    return pl.Series("symbol", [symbol]).new_from_index(0, count), f"{symbol}, from the file's name"


def _ordered(
    table: pl.DataFrame, lines: pl.Series, *, own: bool
) -> tuple[pl.DataFrame, pl.Series, list[str], list[LeftOut]]:
    """Return the bars, their line numbers, notes, and the rows that are left out; if every symbol has its newest bar
    first, the order is reversed.

    A row without any price is no bar: Yahoo writes one for a day without data. In the columns of quantd (`own`) it
    stays, and is rejected, as in a file that is read directly.
    """
    empty = table.select(pl.all_horizontal(
        pl.col(name).is_null() | (pl.col(name).is_nan() if table[name].dtype.is_float() else False) for name in PRICES
    )).to_series()  # fmt: skip
    left_out: list[LeftOut] = []
    if not own and 0 < empty.sum() < len(table):
        left_out = [(line, "without a price") for line in lines.filter(empty).to_list()]
        table, lines = table.filter(~empty), lines.filter(~empty)
    readable = table.select("ts", "symbol")
    readable = readable.filter(pl.col("ts").is_not_null()) if table["ts"].null_count() else readable
    ts = readable["ts"].to_physical().to_numpy()
    falls = ts[1:] < ts[:-1]
    if not falls.any():
        return table, lines, [], left_out
    symbol = readable["symbol"].cast(pl.Categorical).to_physical().to_numpy()
    same_symbol = symbol[1:] == symbol[:-1]
    if (falls & same_symbol).sum() == same_symbol.sum():
        return table.reverse(), lines.reverse(), ["newest first, turned"], left_out
    return table, lines, [], left_out
