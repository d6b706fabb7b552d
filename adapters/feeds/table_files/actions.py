"""Reads splits and dividends from columns of a table of bars. The actions are used only if the prices are raw (not
adjusted for them).

Some tables with a column of splits have raw prices, others prices that are adjusted for the splits, under the same
names. If the prices are already adjusted, applying a split of 4:1 would multiply an account by four. The prices at each
split decide: raw prices fall from the previous close to the open by the ratio, adjusted prices do not. All splits of a
table have to agree: a contradiction is an error. Without a split, the digits of the prices decide about the dividends:
raw prices have few decimal places, adjusted prices many.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

import numpy as np
import polars as pl

from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.table_files.roles import DIVIDENDS, SPLITS, Roles, word

_COLUMNS: Final = ("ts", "symbol", "kind", "ratio", "cash")
_LARGEST_TERM: Final = 1_000
_NEAR: Final = 0.25
"""Largest difference, in logs, between a price change and the ratio of a split that the change may show."""


def actions_of(
    where: str, frame: pl.DataFrame, roles: Roles, bars: pl.DataFrame, lines: pl.Series
) -> tuple[pl.DataFrame, str]:
    """Return the splits and dividends in a table's columns, and a statement of how they were read.

    `frame` is the table, `bars` the bars read from it, `lines` the line of each row. Raises FeedError, with the line,
    for a split that cannot be read, and if the prices show some of the splits but not this one.

    `roles` names the columns of splits and dividends, empty without one. Prices that show no split are adjusted for all
    of them, and prices with fractions of a cent are adjusted for dividends; the actions are then not used.
    """
    empty = pl.DataFrame(schema=dict.fromkeys(_COLUMNS, pl.String))
    if not roles.split and not roles.dividend:
        return empty, ""
    days = bars["ts"].cast(pl.Date).dt.strftime("%Y-%m-%d")
    rows: list[tuple[str, str, str, str, str]] = []
    statements: list[str] = []
    adjusted = False
    if roles.split:
        splits = _splits(where, frame[roles.split], lines)
        shown_by_prices = _shown_by_prices(bars, splits)
        if splits and not any(shown_by_prices):
            adjusted = True
            statements.append(
                f"splits: column {roles.split}, {len(splits)}, not used: the prices are adjusted for them"
            )
        elif splits and not all(shown_by_prices):
            row = next(row for row, is_shown in zip(splits, shown_by_prices, strict=True) if not is_shown)
            raise FeedError(
                f"{where}:{lines[row]}",
                f"column {roles.split} has a split of {splits[row]}, which the prices do not show, but others they do",
                "Take the split out of the line, or correct the prices",
            )  # fmt: skip
        else:
            statements.append(f"splits: column {roles.split}, {len(splits)}")
            rows += [
                (days[row], bars["symbol"][row], "split", f"{ratio.numerator}:{ratio.denominator}", "")
                for row, ratio in splits.items()
            ]
    if roles.dividend:
        dividend_texts = _dividends(frame[roles.dividend])
        if dividend_texts and not adjusted and not _in_cents(bars["close"]):
            adjusted = True
        if dividend_texts and adjusted:
            statements.append(
                f"dividends: column {roles.dividend}, {len(dividend_texts)}, not used: the prices are adjusted for them"
            )
        else:
            statements.append(f"dividends: column {roles.dividend}, {len(dividend_texts)}")
            rows += [(days[row], bars["symbol"][row], "dividend", "", cash) for row, cash in dividend_texts.items()]
    rows.sort(key=lambda row: (row[0], row[1], row[2]))
    return pl.DataFrame(rows, schema=dict.fromkeys(_COLUMNS, pl.String), orient="row"), "; ".join(statements)


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


def _in_cents(closes: pl.Series) -> bool:
    """Whether nearly all closes have at most two decimal places, as far as 32-bit floats are precise."""
    values = closes.cast(pl.Float64, strict=False).drop_nulls().to_numpy()
    if not len(values):
        return True
    rounding_error = np.abs(values * 1e2 - np.rint(values * 1e2)) / 1e2
    return bool((rounding_error <= np.maximum(values * 2e-7, 1e-9)).mean() > 0.9)
