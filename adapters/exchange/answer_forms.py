"""The documented form of an answer of an exchange, and the part of it that is decoded item by item."""

from typing import Annotated, Any

from msgspec import Meta, Struct

Some = Annotated[dict[str, Any], Meta(min_length=1)]
"""A map that is never empty: the exchange always has markets."""


class Form(Struct, frozen=True):
    """The documented form of one answer: `result` is the type of its result. The map or list `items` of the result
    (empty: the result itself) has values of the type `item`.

    An item of another form is replaced by a record that keeps the value of `keep`, the key of our client id. Without
    `keep` it is removed, and named by its key in the map, or in a list by its value of `named`.
    """

    result: Any
    items: str = ""
    item: Any = None
    keep: str = ""
    named: str = ""
