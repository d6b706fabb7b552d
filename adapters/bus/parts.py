"""Splits a payload with many rows into numbered parts, so that no broker refuses it for its size. Pure.

A broker closes the connection when a packet is above its size limit, because MQTT 3.1.1 has no other answer. A message
above the limit would be sent again for ever, and block the messages behind it. AWS IoT Core accepts packets of 128 KiB,
other services between 100 KiB and some MiB. Compressing the payload was rejected: subscribers read plain JSON.

Parts are a function of the payload, so that the same journal entry gives the same parts. Every row is in exactly one
part, in the order of the payload.
"""

from itertools import pairwise
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from quantd.adapters.bus.decision_lines import AgentLine
from quantd.adapters.bus.payloads import Payload, Rows

T = TypeVar("T", bound=Struct)

PART_BYTES: Final = 64 * 1024
"""Maximum size of a payload with rows; half of the largest packet of AWS IoT Core."""

NUMBER_BYTES: Final = 64
"""Bytes of a part that are reserved for `part`, `parts` and the end of its id."""

DIVISIBLE: Final = (AgentLine,)
"""Rows that may be split themselves: their mappings lie in several parts, and each part has the row's name."""

_encode = msgspec.json.Encoder().encode


def parts_of(payload: Payload, most_bytes: int = PART_BYTES) -> list[tuple[Payload, bytes]]:
    """Return the payload, or its parts in order, each with its JSON of at most `most_bytes`.

    A single row above `most_bytes` is not split; a broker refuses it only if its own limit is lower than the row.

    Only a payload of the type Rows can be split. NUMBER_BYTES are kept free for the number of a part.
    """
    text = _encode(payload)
    if len(text) <= most_bytes or not isinstance(payload, Rows):
        return [(payload, text)]
    pieces = _pieces(payload, len(text), most_bytes - NUMBER_BYTES)
    if len(pieces) == 1:
        return [(payload, text)]
    numbered = [
        replace(piece, id=part_id(payload.id, k), part=k, parts=len(pieces)) for k, piece in enumerate(pieces, 1)
    ]
    return [(part, _encode(part)) for part in numbered]


def part_id(id: str, part: int) -> str:
    """Return the id of a part: the id of the whole message for part 1, that id with `/2` for part 2, and so on."""
    return id if part == 1 else f"{id}/{part}"


def _pieces(value: T, size: int, most_bytes: int) -> list[T]:
    """Split the rows of `value`, whose JSON has `size` bytes, into pieces of at most `most_bytes`."""
    if size <= most_bytes:
        return [value]
    pieces = _split_rows(value, 1 + size // most_bytes)
    if len(pieces) == 1:
        return pieces
    return [smaller for piece in pieces for smaller in _pieces(piece, len(_encode(piece)), most_bytes)]


def _split_rows(value: T, count: int) -> list[T]:
    """Split `value` into at most `count` pieces with equal numbers of rows. If there is a single row of a type in
    DIVISIBLE, that row is split.

    A row is an entry of a list or mapping among the fields of `value`; these fields are its `tables`. `keys` has
    (field, index or key) of every row, in order.
    """
    tables: dict[str, Any] = {
        name: rows for name in value.__struct_fields__ if isinstance(rows := getattr(value, name), list | dict)
    }
    keys = [(name, key) for name, rows in tables.items() for key in (range(len(rows)) if type(rows) is list else rows)]
    if len(keys) == 1:
        (name, key), row = keys[0], tables[keys[0][0]][keys[0][1]]
        if not isinstance(row, DIVISIBLE):
            return [value]
        # the key 0 is an index: the rows are a list
        return [replace(value, **{name: [piece] if key == 0 else {key: piece}}) for piece in _split_rows(row, count)]
    count = min(count, len(keys))
    bounds = [len(keys) * k // count for k in range(count + 1)]
    return [_with_rows(value, tables, keys[low:high]) for low, high in pairwise(bounds)]


def _with_rows(value: T, tables: dict[str, Any], keys: list[tuple[str, Any]]) -> T:
    """Return `value` with only the rows named by `keys`: (field, index in a list or key of a mapping)."""
    rows: dict[str, Any] = {name: type(table)() for name, table in tables.items()}
    for name, key in keys:
        if type(rows[name]) is list:
            rows[name].append(tables[name][key])
        else:
            rows[name][key] = tables[name][key]
    return replace(value, **rows)
