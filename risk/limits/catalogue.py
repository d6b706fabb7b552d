"""The records of all limits, of this package and of installed ones, and the tables derived from them."""

from collections.abc import Iterator
from difflib import get_close_matches
from enum import EnumMeta, IntEnum
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
from msgspec import UNSET

from quantd.records import entry_points, every, loaded
from quantd.risk import limits as package
from quantd.risk.limits.bounds import Bounds, either
from quantd.risk.limits.record import Barred, Capped, Counts, Families, Forms, Limit, Openings, Refusal, Rows, Tails
from quantd.risk.limits.settings import (
    DAY_NS,
    FIELDS,
    AccountCap,
    Correlation,
    Limits,
    Liquidity,
    Method,
    Protective,
    Ramp,
    Rate,
    Stress,
    Tail,
    bound_of,
    value_of,
)

__all__ = [
    "DAY_NS", "EXTRA", "FIELDS", "FLOORS", "LIMITS", "LIMIT_OF", "NONE", "ON_BREACH", "PROFILES", "REASON_NAMES",
    "REASON_TEXT", "REFUSALS", "AccountCap", "Correlation",
    "Limit", "Limits", "Liquidity", "Method", "Protective", "Ramp", "Rate", "Reason", "Stress", "Tail", "bound_of",
    "by_key", "kinds_of",
    "override", "tighter_of", "tightest", "value_of",
]  # fmt: skip

GROUP: Final = "quantd.limits"
"""The entry-point group of installed packages with records."""

NONE: Final = Refusal(0, "NONE", "not cut")


def _found() -> Iterator[Limit]:
    """Yield the limits' records of the modules of this package, then those of installed packages."""
    yield from (limit for _, limit in every((package.__name__,), Limit))
    for entry in entry_points(GROUP):
        yield from loaded(entry, tuple)


def by_key(records: list[Limit]) -> dict[str, Limit]:
    """Return the records of limits by key, in display order.

    Raises ValueError for a duplicate key, name or code, and for a field of `Limits` without a record.
    """
    keys = [record.key for record in records]
    refusals = [NONE, *(refusal for record in records for refusal in record.refusals)]
    codes, names = [str(refusal.code) for refusal in refusals], [refusal.name for refusal in refusals]
    for field, values in (("key", keys), ("code", codes), ("name", names)):
        if repeated := sorted({value for value in values if values.count(value) > 1}):
            raise ValueError(f"two limits have the same {field} {', '.join(repeated)}; give each its own")
    # the gate stores a code in one byte, int8
    if out_of_range := [refusal.code for refusal in refusals if not 0 <= refusal.code <= 127]:
        raise ValueError(f"codes of refusals must lie in 0 to 127; {out_of_range} do not")
    if missing := FIELDS - set(keys):
        raise ValueError(f"no record has the keys {', '.join(sorted(missing))} of Limits; add a record for each")
    return {record.key: record for record in sorted(records, key=lambda record: (record.place, record.key))}


LIMITS: Final[dict[str, Limit]] = by_key(list(_found()))
"""Key -> record, in display order."""

EXTRA: Final[dict[str, Limit]] = {
    key: limit for key, limit in LIMITS.items() if limit.bounds is not None and key not in FIELDS
}
"""Configurable limits without a field in `Limits`."""

_REFUSALS: Final = sorted(
    [("", NONE), *((limit.key, refusal) for limit in LIMITS.values() for refusal in limit.refusals)],
    key=lambda pair: pair[1].code,
)

if TYPE_CHECKING:

    class _Members(EnumMeta):
        def __getattr__(cls, name: str) -> "Reason": ...

    class Reason(IntEnum, metaclass=_Members):
        """Why an order was reduced or refused: one member for each reason that the records of limits declare."""

else:
    Reason = IntEnum("Reason", [(refusal.name, refusal.code) for _, refusal in _REFUSALS], module=__name__)

REASON_TEXT: Final[dict[int, str]] = {refusal.code: refusal.text for _, refusal in _REFUSALS}

REASON_NAMES: Final = tuple(
    next((refusal.name.lower() for _, refusal in _REFUSALS if refusal.code == code), str(code))
    for code in range(_REFUSALS[-1][1].code + 1)
)
"""Reason code -> name."""

LIMIT_OF: Final[dict[int, str]] = {refusal.code: key for key, refusal in _REFUSALS}
"""Reason code -> key of the limit; "" for none."""

REFUSALS: Final[dict[int, Refusal]] = {refusal.code: refusal for _, refusal in _REFUSALS}
"""Reason code -> its record."""

ON_BREACH: Final = frozenset(key for key, limit in LIMITS.items() if limit.on_breach)
"""Limits that alert on a breach only, not on high use."""

FLOORS: Final = frozenset(key for key, limit in LIMITS.items() if limit.floor)
"""Limits whose bound is a minimum."""


K = TypeVar("K", Capped, Barred, Rows, Families, Tails, Forms, Counts, Openings)


def kinds_of(kind: type[K]) -> list[tuple[Limit, K]]:
    """Return (limit, its record of the class `kind`) for all limits with such a record, in the order of application."""
    pairs = [
        (limit, limit_kind) for limit in LIMITS.values() for limit_kind in limit.kinds if isinstance(limit_kind, kind)
    ]
    return sorted(pairs, key=lambda pair: pair[1].place)


def override(profile: Limits, **keys: Any) -> Limits:
    """Return the limits `profile` with some keys replaced; None turns a limit off.

    A key is a field of `Limits` (`FIELDS`), or the key of a limit whose value lies in the field `extra` (`EXTRA`).
    Raises TypeError for an unknown key and ValueError for a value out of bounds.
    """
    settable = (*FIELDS, *EXTRA)
    extra = {} if profile.extra is UNSET else dict(profile.extra)
    for name in keys.keys() & EXTRA.keys():
        value, bounds = keys.pop(name), EXTRA[name].bounds
        if value is None:
            extra.pop(name, None)
        elif isinstance(bounds, Bounds) and not bounds.low <= value <= bounds.high:
            raise ValueError(f"{name} = {value} must be a number in [{bounds.low:g}, {bounds.high:g}]")
        else:
            extra[name] = float(value)
    for name in keys:
        if name not in settable:
            similar = get_close_matches(name, settable)
            hint = f". Did you mean {similar[0]}?" if similar else ""
            raise TypeError(f"{name} is not a limit{hint}")
    return msgspec.structs.replace(profile, **{"extra": tuple(sorted(extra.items())) or UNSET} | keys)


def tightest(a: Limits, b: Limits) -> Limits:
    """Return the set of limits that permits only what both `a` and `b` permit. Raises ValueError for two different
    estimators."""
    keys = [*(key for key in LIMITS if key in FIELDS), *EXTRA]
    return override(Limits(), **{key: tighter_of(key, value_of(a, key), value_of(b, key)) for key in keys})


def tighter_of(key: str, a: Any, b: Any) -> Any:
    """Return the tighter of two values of the limit `key`; None is off."""
    return either(LIMITS[key].tighter, key, a, b)


PROFILES: Final[dict[str, Limits]] = {
    name: override(Limits(), **{key: limit.profiles[name] for key, limit in LIMITS.items() if name in limit.profiles})
    for name in ("conservative", "balanced", "aggressive", "research")
}
"""Risk profile of a configuration -> set of limits; explicit keys replace its values."""
