"""Grids of a sweep: keys of the configuration, each with its values, and their products or a random part of these."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from itertools import product
from math import prod
from random import Random
from typing import Final

from quantd.trading.exit_codes import USAGE, ExplainedError

MOST_VALUES: Final = 100_000
"""Maximum number of values of one key, and of points of one sweep."""

MOST_GRID: Final = 10**15
"""Maximum number of points of a grid from which points are drawn."""


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
    if (beyond := (last - first) % step) != 0:
        raise GridError(
            f"{text!r} ends at {last - beyond}, not at {last}; write {first}:{last - beyond}:{step}, or a list"
        )
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
        raise GridError(f"{twice[0]} sets a key that --over varies; leave one of the two out")
    return axes


class Grid:
    """The points of a sweep: every combination of the values of its keys, or some of them drawn at random. The last
    key varies fastest.

    `size` is the number of all combinations. Raises GridError for no key, a key without values, and too many points.
    """

    def __init__(self, axes: Mapping[str, Sequence[str]], points: int | None = None, seed: int = 0) -> None:
        """`axes` maps a key to its values; a repeated value counts once. `points` combinations are drawn without
        repetition with `seed`; None takes all. Raises GridError for no value, too many, and no point to draw."""
        self.axes = {key: tuple(dict.fromkeys(values)) for key, values in axes.items()}
        if not self.axes:
            raise GridError("a sweep needs a key; write --over KEY=VALUES")
        if empty := [key for key, values in self.axes.items() if not values]:
            raise GridError(f"{empty[0]} has no values; write --over KEY=VALUES")
        if (points is not None and points < 1) or seed < 0:
            raise GridError(f"{points} points, seed {seed}: draw 1 point or more, with a seed of 0 or more")
        if points is None and seed:
            raise GridError(f"seed {seed} draws no points; give their number too, --points N, or leave the seed out")
        self.size, self._points, self._seed = prod(map(len, self.axes.values())), points, int(seed)
        if self.size > MOST_GRID:
            raise GridError(f"the grid has {self.size:,} points, above the maximum of {MOST_GRID:,}; use fewer values")
        count = self.size if points is None else min(int(points), self.size)
        if count > MOST_VALUES:
            raise GridError(
                f"the sweep has {count:,} points, above the maximum of {MOST_VALUES:,}; use fewer values, or --points N"
            )
        self._drawn = None if count == self.size else sorted(Random(self._seed).sample(range(self.size), count))

    def __len__(self) -> int:
        return self.size if self._drawn is None else len(self._drawn)

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        return product(*self.axes.values()) if self._drawn is None else map(self._point, self._drawn)

    def _point(self, index: int) -> tuple[str, ...]:
        """Return the combination with an index in the whole grid."""
        values: list[str] = []
        for axis in reversed(self.axes.values()):
            index, k = divmod(index, len(axis))
            values.insert(0, axis[k])
        return tuple(values)

    @property
    def identity(self) -> list[tuple[str | int, object]]:
        """What decides the points: the values by key and, of a random part, (its number of points, the seed)."""
        return [*self.axes.items(), *([] if self._drawn is None else [(len(self), self._seed)])]

    @property
    def drawing(self) -> str:
        """A sentence that says how many points of the grid were drawn; empty where no number was given."""
        if self._points is None:
            return ""
        if self._drawn is None:
            return f"These are all {self.size:,} points of the grid, because {self._points:,} were to be drawn."
        return f"These are {len(self):,} of {self.size:,} points of the grid, drawn with seed {self._seed}."

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the configuration, in the order of the axes."""
        return tuple(self.axes)
