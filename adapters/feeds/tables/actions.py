"""Splits and dividends that a table of bars has in columns, used where the prices show that they are raw.

A column of splits stands beside raw prices and beside prices that are adjusted for them, under the same name. Used with
adjusted prices a split of 4:1 multiplies an account. At each split the close before it and the open tell: raw prices
fall by the ratio, adjusted ones do not. All splits of a symbol have to say the same; where they contradict each other,
or no split is there to tell about dividends, the digits of the prices do: raw prices have few, adjusted ones many.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

import numpy as np
import polars as pl

from quantd.adapters.feeds.errors import FeedError
from quantd.adapters.feeds.tables.roles import DIVIDENDS, SPLITS, Roles, word

_COLUMNS: Final = ("ts", "symbol", "kind", "ratio", "cash")
_LARGEST_TERM: Final = 1_000
_NEAR: Final = 0.25
"""Largest difference of the logarithms of a price change and a ratio, for the change to be that of the split."""


def actions_of(
    where: str, frame: pl.DataFrame, roles: Roles, bars: pl.DataFrame, lines: pl.Series
) -> tuple[pl.DataFrame, str, tuple[str, ...]]:
    """Return the actions of a table's columns, what is said of them, and notes. Raises FeedError with the line."""
    empty = pl.DataFrame(schema=dict.fromkeys(_COLUMNS, pl.String))
    if not roles.split and not roles.dividend:
        return empty, "", ()
    days = bars["ts"].cast(pl.Date).dt.strftime("%Y-%m-%d")
    rows: list[tuple[str, str, str, str, str]] = []
    said: list[str] = []
    notes: list[str] = []
    adjusted = False
    if roles.split:
        splits = _splits(where, frame[roles.split], lines)
        shown = _shown(bars, splits)
        if splits and not any(shown):
            adjusted = True
            said.append(f"splits: column {roles.split}, {len(splits)}, not used: the prices are adjusted for them")
        elif splits and not all(shown):
            row = next(row for row, is_shown in zip(splits, shown, strict=True) if not is_shown)
            raise FeedError(
                f"{where}:{lines[row]}",
                f"column {roles.split} has a split of {splits[row]}, which the prices do not show, but others they do",
                "Take the value out of the line, or mend the prices",
            )  # fmt: skip
        else:
            said.append(f"splits: column {roles.split}, {len(splits)}")
            rows += [
                (days[row], bars["symbol"][row], "split", f"{ratio.numerator}:{ratio.denominator}", "")
                for row, ratio in splits.items()
            ]
    if roles.dividend:
        paid = _dividends(frame[roles.dividend])
        if paid and not adjusted and not _in_cents(bars["close"]):
            adjusted = True
        if paid and adjusted:
            said.append(f"dividends: column {roles.dividend}, {len(paid)}, not used: the prices are adjusted for them")
        else:
            said.append(f"dividends: column {roles.dividend}, {len(paid)}")
            rows += [(days[row], bars["symbol"][row], "dividend", "", cash) for row, cash in paid.items()]
    rows.sort(key=lambda row: (row[0], row[1], row[2]))
    return pl.DataFrame(rows, schema=dict.fromkeys(_COLUMNS, pl.String), orient="row"), "; ".join(said), tuple(notes)


def action_columns(names: Sequence[str]) -> dict[str, str]:
    """Return the columns of splits and dividends among names, by kind."""
    words = {word(name): name for name in names}
    kinds = {"split": SPLITS, "dividend": DIVIDENDS}
    pairs = ((kind, next((words[name] for name in aliases if name in words), "")) for kind, aliases in kinds.items())
    return {kind: name for kind, name in pairs if name}


def _splits(where: str, column: pl.Series, lines: pl.Series) -> dict[int, Fraction]:
    """Return the ratio, new shares to old, by row. Raises FeedError for one that cannot be read."""
    out: dict[int, Fraction] = {}
    for row, value in enumerate(column.to_list()):
        ratio = ratio_of(value)
        if ratio is None:
            raise FeedError(
                f"{where}:{lines[row]}", f'"{value}" in column {column.name} is no ratio of a split',
                'Write new shares to old ones, as "4:1" or 4',
            )  # fmt: skip
        if ratio not in (0, 1):
            out[row] = ratio
    return out


def ratio_of(value: object) -> Fraction | None:
    """Return the ratio of a split, new shares to old, of "4:1", "4/1", "4 for 1", 4.0 or 0.05; 0 without one."""
    if value is None:
        return Fraction(0)
    text = str(value).strip().lower()
    if text in ("", "nan", "null", "none", "n/a", "-"):
        return Fraction(0)
    for mark in (":", "/", " for ", "-for-"):
        if mark in text:
            shares, _, before = text.partition(mark)
            try:
                return Fraction(shares.strip()) / Fraction(before.strip())
            except (ValueError, ZeroDivisionError):
                return None
    try:
        number = Fraction(text)
    except ValueError:
        return None
    return None if number < 0 else number.limit_denominator(_LARGEST_TERM)


def _dividends(column: pl.Series) -> dict[int, str]:
    """Return the amount a share, as decimal text, by row."""
    text = column.cast(pl.String).str.strip_chars().str.strip_prefix("$")
    paid = text.cast(pl.Float64, strict=False).fill_null(0.0)
    return {row: _decimal(text[row], float(paid[row])) for row in np.flatnonzero(paid.to_numpy() > 0).tolist()}


def _decimal(text: str, value: float) -> str:
    plain = text if "e" not in text.lower() else f"{value:.9f}"
    units, _, part = plain.partition(".")
    digits = part[:9].rstrip("0")
    return f"{units or '0'}.{digits}" if digits else units


def _shown(bars: pl.DataFrame, splits: dict[int, Fraction]) -> list[bool]:
    """Return for each split whether the open of its bar has moved by its ratio from the close before."""
    opens = bars["open"].cast(pl.Float64, strict=False).to_numpy()
    closes = bars["close"].cast(pl.Float64, strict=False).to_numpy()
    symbols = bars["symbol"].to_list()
    ts = bars["ts"].cast(pl.Int64).to_numpy()
    out = []
    for row, ratio in splits.items():
        before = row - 1 if row and symbols[row - 1] == symbols[row] and ts[row - 1] < ts[row] else row + 1
        if not 0 <= before < len(symbols) or symbols[before] != symbols[row]:
            out.append(True)  # the first bar: nothing contradicts
            continue
        moved = np.log(closes[before] / opens[row])
        expected = float(np.log(float(ratio)))
        out.append(bool(abs(moved - expected) < min(_NEAR, abs(expected) / 2)))
    return out


def _in_cents(closes: pl.Series) -> bool:
    """Whether nearly all closes have at most four decimal places, as far as a float of 32 bits shows them."""
    values = closes.cast(pl.Float64, strict=False).drop_nulls().to_numpy()
    if not len(values):
        return True
    off = np.abs(values * 1e2 - np.rint(values * 1e2)) / 1e2
    return bool((off <= np.maximum(values * 2e-7, 1e-9)).mean() > 0.9)
