"""Grids of a sweep: keys of the configuration, each with its values, and their products."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from itertools import product
from math import prod
from typing import Final

from quantd.trading.exit_codes import USAGE, ExplainedError

MOST_VALUES: Final = 100_000
"""Maximum number of values of one key, and of points of one sweep."""


class GridError(ExplainedError, ValueError):
    """A range, a list of values or a grid that cannot be used; the text has the remedy."""

    exit_code = USAGE


def values_of(text: str) -> tuple[str, ...]:
    """Return the values of `first:last:step` (both ends included) or of a list with commas, as text.

    Decimals are exact: 0.1:0.3:0.1 is 0.1, 0.2, 0.3. Raises GridError for a text of another form, without a value, or
    with more than MOST_VALUES.
    """
    if ":" not in text:
        values = tuple(number.strip() for number in text.split(",") if number.strip())
        if not values:
            raise GridError(f"{text!r} has no value; write 21:252:21, or 0.1,0.2")
        return values
    try:
        first, last, step = (Decimal(number.strip()) for number in text.split(":"))
    except (InvalidOperation, ValueError):
        raise GridError(f"{text!r} is not FIRST:LAST:STEP; write 21:252:21, or a list 21,63,126") from None
    if not all(number.is_finite() for number in (first, last, step)) or step == 0 or (last - first) / step < 0:
        raise GridError(f"{text!r} has no values; write a step that leads from the first number to the last")
    count = int((last - first) / step) + 1
    if count > MOST_VALUES:
        raise GridError(f"{text!r} has {count:,} values, above the maximum of {MOST_VALUES:,}; write a larger step")
    return tuple(f"{first + k * step:f}" for k in range(count))


def axis_of(text: str) -> tuple[str, tuple[str, ...]]:
    """Return the key and the values of `KEY=VALUES`. Raises GridError without a key, and for unusable values."""
    key, equals, values = text.partition("=")
    if not equals or not key.strip():
        raise GridError(f"{text!r} names no key; write KEY=VALUES, as agents.trend.params.lookback=21:252:21")
    return key.strip(), values_of(values)


def axes_of(texts: Iterable[str], sets: Iterable[str] = ()) -> dict[str, tuple[str, ...]]:
    """Return the values by key of several `KEY=VALUES`. Raises GridError for a key that is there twice, or in `sets`,
    the overrides KEY=VALUE of every point."""
    axes: dict[str, tuple[str, ...]] = {}
    for key, values in map(axis_of, texts):
        if key in axes:
            joined = ",".join((*axes[key], *values))
            raise GridError(f"--over {key} is there twice; write all its values once: --over {key}={joined}")
        axes[key] = values
    if twice := [text for text in sets if text.partition("=")[0].strip() in axes]:
        raise GridError(f"--set {twice[0]} sets a key that --over varies; leave one of the two out")
    return axes


class Grid:
    """The points of a sweep: every combination of the values of its keys. The last key varies fastest.

    Raises GridError for no key, a key without values, and too many points.
    """

    def __init__(self, axes: Mapping[str, Sequence[str]]) -> None:
        """`axes` maps a key to its values; a repeated value counts once. Raises GridError for no value or too many."""
        self.axes = {key: tuple(dict.fromkeys(values)) for key, values in axes.items()}
        if not self.axes:
            raise GridError("a sweep needs a key; write --over KEY=VALUES")
        if empty := [key for key, values in self.axes.items() if not values]:
            raise GridError(f"{empty[0]} has no values; write --over KEY=VALUES")
        if len(self) > MOST_VALUES:
            raise GridError(
                f"the sweep has {len(self):,} points, above the maximum of {MOST_VALUES:,}; use fewer values"
            )

    def __len__(self) -> int:
        return prod(len(values) for values in self.axes.values())

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        return product(*self.axes.values())

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the configuration, in the order of the axes."""
        return tuple(self.axes)
