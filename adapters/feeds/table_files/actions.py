"""Reads splits and dividends from columns of a table of bars. The actions are used only if the prices are raw (not
adjusted for them).

Some tables with such columns have raw prices, others adjusted ones, under the same names. If the prices are already
adjusted, applying a split of 4:1 would multiply an account by four, and each dividend would count twice. Digits prove
nothing: adjusted prices may be rounded to cents. Evidence is taken in this order: a person's answer, the columns of the
writer, an adjusted close beside the close, the splits, and the prices at the dates of many dividends. At a split, raw
prices fall by its ratio from the previous close to the open; all splits of a table have to agree. What is left is a
question.

A table with an adjusted close and no column of dividends has its dividends in that column. To leave them out would
halve the return of bonds without a word.
"""

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from quantd.adapters.feeds.bars.rows import ORDER
from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.table_files import spelled_numbers as numbers
from quantd.adapters.feeds.table_files.file_symbol import symbol_of
from quantd.adapters.feeds.table_files.moments import local_days, moments
from quantd.adapters.feeds.table_files.roles import DIVIDENDS, SPLITS, Roles, word
from quantd.trading.display_text import mended

ACTIONS: Final = ("ts", "symbol", "kind", "ratio", "cash")
_LARGEST_TERM: Final = 1_000
_ROWS: Final = {
    "Dividend": r"(?i)^\$?(\d[\d.,]*) *(?:cash )?dividend[a-z]*$",
    "Split": r"(?i)^(\d[\d.]* *[:/] *\d[\d.]*) *(?:stock |aktien)?splits?$",
}
"""Column of an action -> the text of a row that has it in place of prices. No such column is one of _YFINANCE: rows of
a page say nothing about its prices."""

_YFINANCE: Final = ("Dividends", "Stock Splits")
"""Columns of yfinance's `history()`: its prices are adjusted unless a column of adjusted closes is beside them."""

_FEWEST_DIVIDENDS: Final = 20
_ERRORS: Final = 3.0
"""Fewest dividends whose dates may decide, and the standard errors by which they have to.

The fall of the open at the dates, in dividends, is 1 for raw prices and 0 for adjusted ones. Both have to be apart by
twice _ERRORS. The dividends of one year would call a quarter of raw files adjusted.
"""

_NOISE: Final = 2e-5
"""Largest error of a published adjusted close over its close, besides rounding: all 2,873 dividends of 25 funds from
Yahoo step by more, and nothing else does."""

_LEAST_REMAINS: Final = 0.75
"""Least share of the close before that remains after a dividend read from adjusted closes."""

_NEAR: Final = 0.25
"""Largest difference, in logs, between a price change and the ratio of a split that the change may show."""


def actions_of(
    where: str, frame: pl.DataFrame, roles: Roles, bars: pl.DataFrame, lines: pl.Series, prices: str = ""
) -> tuple[pl.DataFrame, str]:
    """Return the splits and dividends in a table's columns, and a statement of how they were read.

    `frame` is the table, `bars` the bars read from it, `lines` the line of each row, `roles` the names of its columns.
    `prices` is a person's answer, "raw" or "adjusted". Actions that the prices hold already are not used. Raises
    FeedError, with the line, for a split that cannot be read, and if the prices show some of the splits but not this
    one. It also raises FeedError if nothing shows whether the prices hold the dividends.
    """
    empty = pl.DataFrame(schema=dict.fromkeys(ACTIONS, pl.String))
    by_adjusted = "" if roles.dividend or prices == "adjusted" else roles.adjusted
    if not roles.split and not roles.dividend and not by_adjusted:
        return empty, ""
    days = bars["ts"].cast(pl.Date).dt.strftime("%Y-%m-%d")
    rows: list[tuple[str, str, str, str, str]] = []
    splits = _splits(where, frame[roles.split], lines) if roles.split else {}
    dividends = _dividends(frame[roles.dividend]) if roles.dividend else {}
    steps_text = ""
    if by_adjusted:
        dividends, steps_text = _dividends_by(frame[by_adjusted], by_adjusted, bars, set(splits))
    hold_splits = bool(splits) and _hold_splits(where, bars, splits, roles.split, lines, prices)
    hold_dividends = bool(dividends and roles.dividend) and _hold_dividends(
        where, frame, roles, bars, dividends, (bool(splits) and not hold_splits, hold_splits), prices
    )
    if not hold_splits:
        rows += [
            (days[row], bars["symbol"][row], "split", f"{ratio.numerator}:{ratio.denominator}", "")
            for row, ratio in splits.items()
        ]
    if not hold_dividends:
        rows += [(days[row], bars["symbol"][row], "dividend", "", cash) for row, cash in dividends.items()]
    rows.sort(key=lambda row: (row[0], row[1], row[2]))
    statements = [
        f"{kind}: column {column}, {count}" + (", not used: the prices are adjusted for them" if held else "")
        for kind, column, count, held in (
            ("splits", roles.split, len(splits), hold_splits),
            ("dividends", roles.dividend, len(dividends), hold_dividends),
        )
        if column
    ]
    statements += [steps_text] if steps_text else []
    return pl.DataFrame(rows, schema=dict.fromkeys(ACTIONS, pl.String), orient="row"), "; ".join(statements)


def _hold_splits(
    where: str, bars: pl.DataFrame, splits: dict[int, Fraction], column: str, lines: pl.Series, prices: str
) -> bool:
    """Return whether the prices hold the splits. Raises FeedError, with the line, where some are held and this one is
    not."""
    if prices:
        return prices == "adjusted"
    shown_by_prices = _shown_by_prices(bars, splits)
    if any(shown_by_prices) and not all(shown_by_prices):
        row = next(row for row, is_shown in zip(splits, shown_by_prices, strict=True) if not is_shown)
        raise FeedError(
            f"{where}:{lines[row]}",
            f"column {column} has a split of {splits[row]}, which the prices do not show, but others they do",
            "Take the split out of the line, or correct the prices",
        )  # fmt: skip
    return not any(shown_by_prices)


def _hold_dividends(
    where: str,
    frame: pl.DataFrame,
    roles: Roles,
    bars: pl.DataFrame,
    dividends: dict[int, str],
    splits: tuple[bool, bool],
    prices: str,
) -> bool:
    """Return whether the prices hold the dividends. `splits` is (prices show the splits, prices hold the splits).

    Raises FeedError, with the option that answers, where nothing decides it.
    """
    if prices:
        return prices == "adjusted"
    shown, held = splits
    if set(_YFINANCE) <= set(frame.columns) and not shown:
        return not roles.adjusted
    if set(_ROWS) <= set(frame.columns) and roles.adjusted and not shown:
        return False  # Yahoo's page: its closes hold splits alone
    previous, gaps = _nights(bars)
    rows = np.array([row for row in dividends if previous[row] >= 0], dtype=np.int64)
    closes = bars["close"].cast(pl.Float64, strict=False).to_numpy()
    yields = np.array([float(dividends[row]) for row in rows.tolist()]) / closes[previous[rows]]
    if roles.adjusted and len(rows):
        factor = np.log(frame[roles.adjusted].cast(pl.Float64, strict=False).to_numpy() / closes)
        steps = factor[rows] - factor[previous[rows]]
        if float(np.mean(steps > yields / 2)) > 0.5:
            return False
    if shown or held:
        return held
    if len(rows) >= _FEWEST_DIVIDENDS:
        others = np.setdiff1d(np.flatnonzero(previous >= 0), rows)
        usual = float(np.nanmedian(gaps[others]))
        # 1.4826 x the median absolute deviation is the standard deviation of a normal (Hampel, 1974)
        night = 1.4826 * float(np.nanmedian(np.abs(gaps[others] - usual)))
        weight = float(np.sum(yields**2))
        share = float(np.nansum((usual - gaps[rows]) * yields)) / weight  # 1: the price falls by each dividend; 0: not
        error = max(night, 1e-9) / weight**0.5
        for held_share in (0.0, 1.0):
            if abs(share - held_share) <= _ERRORS * error and 2 * _ERRORS * error <= 1.0:
                return held_share == 0.0
    raise FeedError(
        where,
        f"column {roles.dividend} has {len(dividends)} dividends, and nothing shows whether the prices hold them",
        "Add --prices raw where the prices are as traded, or --prices adjusted where they hold the dividends",
    )


def _dividends_by(column: pl.Series, name: str, bars: pl.DataFrame, splits: set[int]) -> tuple[dict[int, str], str]:
    """Return row -> dividend per share, by an adjusted close beside the close, and a statement; without the rows of
    `splits`.

    An adjusted close is the close times (1 - dividend / close before) for each later ex-date, so its share of the close
    steps up at an ex-date. Steps within the rounding of both columns are none. Steps down, but for one in twenty, and
    steps at every fourth bar are no dividends: then the column is not used. A step of more than a quarter is a split or
    a spin-off, which the check of jumps finds where the prices fall by it.
    """
    adjusted, closes = (values.cast(pl.Float64, strict=False).to_numpy() for values in (column, bars["close"]))
    previous, _ = _nights(bars)
    rows = np.setdiff1d(np.flatnonzero(previous >= 0), list(splits))
    before = previous[rows]
    with np.errstate(divide="ignore", invalid="ignore"):
        remains = adjusted[before] / closes[before] / (adjusted[rows] / closes[rows])  # 1 - dividend / close before
        error = _rounding(adjusted) / np.minimum(adjusted[before], adjusted[rows])
        error = _NOISE + 2.0 * (error + _rounding(closes) / np.minimum(closes[before], closes[rows]))
        steps = (1.0 - remains > error).sum(), (remains - 1.0 > error).sum()
    if not any(steps):
        return {}, ""
    if 20 * steps[1] > steps[0] or 4 * steps[0] > len(rows):
        return {}, f"{name} is not used: its distance to the close is not one of dividends"
    paid = (1.0 - remains > error) & (remains > _LEAST_REMAINS)
    cash = {
        row: _decimal(f"{(1.0 - rest) * closes[last]:.4f}", 0.0)
        for row, last, rest in zip(rows[paid].tolist(), before[paid].tolist(), remains[paid].tolist(), strict=True)
    }
    larger = f"; {steps[0] - len(cash)} larger steps are not used" if len(cash) < steps[0] else ""
    return cash, f"dividends: column {name}, {len(cash)}, by its distance to the close{larger}"


def _rounding(values: np.ndarray) -> float:
    """Return half a unit of the last decimal place of values; of nine places for others."""
    finite = values[np.isfinite(values)]
    places = next((k for k in range(9) if np.all(np.abs(np.round(finite, k) - finite) < 1e-9 * np.abs(finite))), 9)
    return float(0.5 * 10.0**-places)


def _nights(bars: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return (the row of each bar's previous bar of its symbol, -1 without one; the log of its open over that bar's
    close), in the order of the rows. A file may have its newest bar first."""
    symbols, ts = bars["symbol"].cast(pl.Categorical).to_physical().to_numpy(), bars["ts"].cast(pl.Int64).to_numpy()
    order = np.lexsort((ts, symbols))
    previous = np.full(len(order), -1, dtype=np.int64)
    same = symbols[order[1:]] == symbols[order[:-1]]
    previous[order[1:]] = np.where(same, order[:-1], -1)
    opens, closes = (bars[name].cast(pl.Float64, strict=False).to_numpy() for name in ("open", "close"))
    with np.errstate(divide="ignore", invalid="ignore"):
        return previous, np.where(previous >= 0, np.log(opens / closes[previous]), np.nan)


def listed_actions(path: Path, symbols: Sequence[str]) -> pl.DataFrame | None:
    """Return the actions of a file with a column of splits or dividends; None for one in the columns ACTIONS, with or
    without a header.

    Files of Yahoo's splits and dividends have no column of symbols: the file's name has the symbol. Raises FeedError
    for uneven lines, a missing symbol, and a date or split ratio that cannot be read.

    Line 1 of the file is the header, and its first column has the dates.
    """
    if not path.is_file() or path.suffix.lower() not in (".csv", ".txt"):
        return None
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        header = [field.strip().strip('"') for field in file.readline().split(",")]
    header_words = [word(name) for name in header]
    if "kind" in header_words or set(header[2:3]) & {*ORDER} or not (action_column_of := action_columns(header)):
        return None
    try:
        data = mended(path.read_bytes(), ",", len(header))
        frame = pl.read_csv(io.BytesIO(data), infer_schema=False, encoding="utf8-lossy")
        frame.columns = header
    except (pl.exceptions.PolarsError, ValueError):
        text = "its lines do not fit its header, or two columns have the same name"
        raise FeedError(path.name, text, "Write each action in one line, with all columns") from None
    dates = moments(frame[header[0]], path.name)
    days = local_days(dates.values)
    symbol_column = next(
        (name for name, text in zip(header, header_words, strict=True) if text in ("symbol", "ticker")), ""
    )
    symbol = "" if symbol_column else symbol_of(path.stem, symbols)[0]
    if not symbol_column and not symbol:
        raise FeedError(path.name, "it does not say whose actions these are", "Add the column symbol")
    rows = []
    for k, row in enumerate(frame.iter_rows(named=True)):
        row_symbol = row[symbol_column] if symbol_column else symbol
        for kind, name in action_column_of.items():
            value = row[name]
            if kind == "split" and (ratio := ratio_of(value)) != 0:
                if ratio is None:
                    text = f'split ratio "{value}" cannot be read'
                    raise FeedError(f"{path.name}:{k + 2}", text, 'Write it as "4:1"')
                rows.append((days[k], row_symbol, "split", f"{ratio.numerator}:{ratio.denominator}", ""))
            elif kind == "dividend" and value and not _is_nothing(value):
                rows.append((days[k], row_symbol, "dividend", "", value))
    return pl.DataFrame(rows, schema=dict.fromkeys(ACTIONS, pl.String), orient="row")


def _is_nothing(cash: str) -> bool:
    """Whether an amount is zero or empty in any spelling. Unreadable text is not; the reader of actions reports it."""
    return cash.strip().strip("0").strip(".") == "" or cash.strip().lower() in numbers.NOTHING


def with_action_columns(
    frame: pl.DataFrame, time: str, prices: Sequence[str], where: str, lines: pl.Series
) -> tuple[pl.DataFrame, pl.Series]:
    """Return a table whose rows of actions, such as "0.25 Dividend" in place of prices, are columns of their day's bar,
    and the indices of the rows that are left; the same table without such a row.

    Yahoo's page has such rows. Raises FeedError for an action on a day without a bar.
    """
    texts = [
        frame[name].str.strip_chars() for name in prices
        if frame[name].dtype == pl.String and frame[name].str.contains("(?i)dividend|split").any()
    ]  # fmt: skip
    found = {
        kind: pl.select(pl.coalesce(text.str.extract(pattern) for text in texts)).to_series() if texts else pl.Series()
        for kind, pattern in _ROWS.items()
    }
    if not any(column.drop_nulls().len() for column in found.values()):
        return frame, lines
    action = pl.select(pl.any_horizontal(column.is_not_null() for column in found.values())).to_series()
    rows = (~action).arg_true()
    row_of = {day: row for row, day in enumerate(frame[time].gather(rows).to_list())}
    columns: dict[str, list[str | None]] = {kind: [None] * len(rows) for kind in _ROWS}
    for row in action.arg_true().to_list():
        place = row_of.get(day := frame[time][row])
        if place is None:
            text = f"an action of {day} is in a line of its own, and that day has no bar"
            raise FeedError(f"{where}:{lines[row]}", text, "Take the line out, or add the bar of that day")
        for kind, values in found.items():
            columns[kind][place] = columns[kind][place] or values[row]
    kept = frame.select(pl.all().gather(rows))
    return kept.with_columns(pl.Series(kind, values, dtype=pl.String) for kind, values in columns.items()), rows


def action_columns(names: Sequence[str]) -> dict[str, str]:
    """Return, by kind ("split", "dividend"), which of these names is the column of its actions; a kind may be
    absent."""
    words = {word(name): name for name in names}
    kinds = {"split": SPLITS, "dividend": DIVIDENDS}
    pairs = ((kind, next((words[name] for name in aliases if name in words), "")) for kind, aliases in kinds.items())
    return {kind: name for kind, name in pairs if name}


def _splits(where: str, column: pl.Series, lines: pl.Series) -> dict[int, Fraction]:
    """Return row -> ratio (new shares per old) of each split. Raises FeedError for a ratio that cannot be read."""
    ratios: dict[int, Fraction] = {}
    for row, value in enumerate(column.to_list()):
        ratio = ratio_of(value)
        if ratio is None:
            raise FeedError(
                f"{where}:{lines[row]}", f'"{value}" in column {column.name} is no ratio of a split',
                'Write new shares to old ones, as "4:1" or 4',
            )  # fmt: skip
        if ratio not in (0, 1):
            ratios[row] = ratio
    return ratios


def ratio_of(value: object) -> Fraction | None:
    """Read a split ratio, new shares per old, from "4:1", "4/1", "4 for 1", 4.0 or 0.05.

    0 stands for an empty field, None for text that cannot be read.
    """
    if value is None:
        return Fraction(0)
    text = str(value).strip().lower()
    if text in ("", "nan", "null", "none", "n/a", "-"):
        return Fraction(0)
    for mark in (":", "/", " for ", "-for-"):
        if mark in text:
            new_shares, _, old_shares = text.partition(mark)
            try:
                return Fraction(new_shares.strip()) / Fraction(old_shares.strip())
            except (ValueError, ZeroDivisionError):
                return None
    try:
        number = Fraction(text)
    except ValueError:
        return None
    return None if number < 0 else number.limit_denominator(_LARGEST_TERM)


def _dividends(column: pl.Series) -> dict[int, str]:
    """Return row -> dividend per share, as decimal text."""
    text = column.cast(pl.String).str.strip_chars().str.strip_prefix("$")
    amounts = text.cast(pl.Float64, strict=False).fill_null(0.0)
    return {row: _decimal(text[row], float(amounts[row])) for row in np.flatnonzero(amounts.to_numpy() > 0).tolist()}


def _decimal(text: str, value: float) -> str:
    plain = text if "e" not in text.lower() else f"{value:.9f}"
    units, _, fraction = plain.partition(".")
    digits = fraction[:9].rstrip("0")
    return f"{units or '0'}.{digits}" if digits else units


def _shown_by_prices(bars: pl.DataFrame, splits: dict[int, Fraction]) -> list[bool]:
    """Return, for each split, whether the price moved by its ratio from the previous close to the open of its bar."""
    opens = bars["open"].cast(pl.Float64, strict=False).to_numpy()
    closes = bars["close"].cast(pl.Float64, strict=False).to_numpy()
    symbols = bars["symbol"].to_list()
    ts = bars["ts"].cast(pl.Int64).to_numpy()
    shown = []
    for row, ratio in splits.items():
        # a file may have its newest bar first
        previous_row = row - 1 if row and symbols[row - 1] == symbols[row] and ts[row - 1] < ts[row] else row + 1
        if not 0 <= previous_row < len(symbols) or symbols[previous_row] != symbols[row]:
            shown.append(True)  # the first bar: nothing contradicts
            continue
        log_fall = np.log(closes[previous_row] / opens[row])
        log_ratio = float(np.log(float(ratio)))
        shown.append(bool(abs(log_fall - log_ratio) < min(_NEAR, abs(log_ratio) / 2)))
    return shown
