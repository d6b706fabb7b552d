"""Ranges that config.toml accepts for limits, and the rules that pick the tighter of two values."""

from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, Final, NamedTuple, get_args, get_type_hints


class Bounds(NamedTuple):
    """A permitted range of numbers, from `low` to `high`. `above` excludes `low` itself. `percent` warns that 15
    probably means 0.15."""

    low: float
    high: float
    above: bool = False
    percent: bool = False


class Span(NamedTuple):
    """A permitted range of durations, from `low` to `high`, as text: "1s" to "14d"."""

    low: str
    high: str


Tighter = Callable[[str, Any, Any], Any]
"""(key, a, b) -> the value that complies with both `a` and `b`. Raises ValueError where neither is the tighter."""


def lower(key: str, a: Any, b: Any) -> Any:
    """Return the smaller of two upper bounds, which is the tighter one."""
    return min(a, b)


def higher(key: str, a: Any, b: Any) -> Any:
    """Return the larger of two lower bounds, which is the tighter one."""
    return max(a, b)


def together(key: str, a: Any, b: Any) -> Any:
    """Return the names in `a` or `b` (restricted symbols, for example), sorted."""
    return tuple(sorted({*a, *b}))


def lower_limit(key: str, a: Any, b: Any) -> Any:
    """Return the one of two specifications with the smaller `limit`."""
    return min(a, b, key=lambda spec: spec.limit)


def either(tighter: Tighter, key: str, a: Any, b: Any) -> Any:
    """Return the tighter of two values of a limit; None means off, so that the other value is the tighter one."""
    if a is None or b is None or a == b:
        return b if a is None else a
    return tighter(key, a, b)


def unmergeable(key: str, a: Any, b: Any) -> Any:
    """Raise ValueError: neither of two values of an estimator's parameter is the tighter one."""
    raise ValueError(f"{key}: {a} and {b} cannot be merged; give both the same")


def each_field(key: str, a: Any, b: Any) -> Any:
    """Merge two tables field by field, each by the rule in the field's annotation."""
    return type(a)(
        **{
            name: either(rule, f"{key}.{name}", getattr(a, name), getattr(b, name))
            for name, rule in rules_of(a.__class__).items()
        }
    )


@cache
def rules_of(table: type) -> dict[str, Tighter]:
    """Return the merging rule of each field of a table of limits."""
    hints = get_type_hints(table, include_extras=True).items()
    return {name: next(filter(callable, marks_of(hint))) for name, hint in hints}


def marks_of(hint: Any) -> list[Any]:
    """Return the annotations of a type, and of each type in a union."""
    return [*getattr(hint, "__metadata__", ()), *(mark for part in get_args(hint) for mark in marks_of(part))]


COLLAR: Final = Bounds(0, 0.5, above=True, percent=True)
FRACTION: Final = Bounds(0, 1, percent=True)
SHARE: Final = Bounds(0, 1, above=True, percent=True)
MULTIPLE: Final = Bounds(0, 4, percent=True)
ANNUAL: Final = Bounds(0, 2, above=True, percent=True)
LOOKBACK: Final = Bounds(20, 5_000)

Fraction = Annotated[float, FRACTION, lower]
Share = Annotated[float, SHARE, lower]
Lookback = Annotated[int, LOOKBACK, unmergeable]
