"""The keys of [risk], of an agent's limits and of [manual.limits], from the records of the limits."""

from collections.abc import Iterator
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin, get_type_hints

import msgspec
from pydantic import Field, create_model

from quantd.daemon.config import LimitKey
from quantd.daemon.config.values import Looser, MoneyCap, Reload, Section, Written, bounds, duration
from quantd.risk.limits.bounds import Bounds, Span, higher, lower, together, unmergeable
from quantd.risk.limits.catalogue import LIMITS, Limits
from quantd.risk.limits.record import Limit

LOOSER: Final[dict[Any, Looser]] = {lower: "higher", higher: "lower", together: "fewer", unmergeable: "fixed"}
"""The rule that picks the tighter value -> the change that loosens it."""


@cache
def limit_keys() -> tuple[LimitKey, ...]:
    types, defaults = get_type_hints(Limits), Limits()
    return tuple(
        _key(limit, types.get(key, float), getattr(defaults, key, None))
        for key, limit in LIMITS.items()
        if limit.configured
    )


def _key(limit: Limit, kind: Any, default: Any) -> LimitKey:
    name = limit.key.removesuffix("_ns")
    if limit.unit == "money" and limit.bounds is None:
        return LimitKey(name, f"{name}_micro", MoneyCap)
    # a limit that is a list of names is off while the list is empty
    on = default is not None and default != ()
    annotation = _annotation(limit.table or kind)
    marks = [mark for bound in (limit.bounds, limit.tighter) for mark in _marks(bound, on)]
    return LimitKey(name, limit.key, Annotated[(annotation, *marks)] if marks else annotation)


def _marks(mark: Any, on: bool = False) -> Iterator[Any]:
    """Yield the pydantic annotations for a `mark` of a limit: its range, or which of two values is the tighter one.

    `on` says that the limit is on by default, so that adding its key may loosen it.
    """
    match mark:
        case Bounds():
            yield bounds(mark.low, mark.high, above=mark.above, percent=mark.percent)
        case Span():
            yield from (duration(mark.low, mark.high), Written())
        case _ if mark in LOOSER:
            yield Reload(LOOSER[mark], on)


def _annotation(kind: Any) -> Any:
    """Return the type by which the configuration parses a field of type `kind`: a section for a struct, annotations for
    ranges and rules. Optional and tuple types keep their form, with their element type converted."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return Annotated[
            (_annotation(arguments[0]), *(constraint for mark in arguments[1:] for constraint in _marks(mark)))
        ]
    if origin in (Union, UnionType):
        (value_type,) = (part for part in arguments if part is not NoneType)
        return _annotation(value_type) | None
    if origin is tuple:
        return tuple.__class_getitem__((_annotation(arguments[0]), ...))
    return _section(kind) if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else kind


@cache
def _section(table: type[msgspec.Struct]) -> type[Section]:
    """Return the pydantic model of a table in the file, made from the struct that describes it."""
    hints = get_type_hints(table, include_extras=True)
    fields: dict[str, Any] = {
        field.name: (
            _annotation(hints[field.name]),
            Field(default=... if field.required else field.default, alias=field.name.removesuffix("_ns")),
        )
        for field in msgspec.structs.fields(table)
    }
    return create_model(table.__name__, __base__=Section, **fields)
