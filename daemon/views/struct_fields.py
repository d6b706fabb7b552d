"""Structs that show a part of another value, such as a line of the API."""

from typing import TypeVar

from msgspec import Struct

S = TypeVar("S", bound=Struct)


def struct_of(kind: type[S], source: object, **more: object) -> S:
    """Return a `kind` with the values `more`, and for its other fields those of `source` with the same names.

    A field that is in neither has its default. Raises TypeError for one without a default.
    """
    names = (name for name in kind.__struct_fields__ if name not in more and hasattr(source, name))
    return kind(**{name: getattr(source, name) for name in names}, **more)
