"""JSON with a key twice is refused wherever the key is, and every other text is decoded as by msgspec."""

import json
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct

from quantd.adapters.json_text import decoded, fault_of, repeated_key

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_a_text_without_repeated_keys_has_none(value: Any) -> None:
    assert repeated_key(json.dumps(value).encode()) is None


@given(VALUES, st.text(max_size=4), VALUES, VALUES)
def test_a_repeated_key_is_found_at_any_depth_and_in_any_escape(outer: Any, key: str, one: Any, other: Any) -> None:
    escaped = "".join(rf"\u{ord(c):04x}" if ord(c) < 0x10000 else json.dumps(c)[1:-1] for c in key)
    inner = f'{{{json.dumps(key)}: {json.dumps(one)}, "{escaped}": {json.dumps(other)}}}'
    assert repeated_key(f"[{json.dumps(outer)}, [{inner}]]".encode()) == key


@pytest.mark.parametrize("text", ['{"dry_run": true, "dry_run": false}', '{"dry_run": true, "dry\\u005frun": true}'])
def test_a_repeated_key_is_named_and_its_text_is_not_decoded(text: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="the key 'dry_run' is given twice"):
        decoded(text.encode(), dict[str, bool])


def test_a_number_of_many_digits_is_decoded() -> None:
    assert decoded(b"[1" + b"0" * 300 + b"]", list[float]) == [1e300]
    assert repeated_key(b"[1" + b"0" * 5_000 + b"]") is None


class Terms(Struct, forbid_unknown_fields=True):
    units: str
    end: Literal["day", "cancelled"] = "day"
    name: Annotated[str, Meta(pattern="^[a-z]*$", description="Lower case letters.")] = ""


class Wanted(Struct, forbid_unknown_fields=True):
    id: int
    weights: dict[str, float] = {}
    orders: dict[str, str | Terms] = {}


@pytest.mark.parametrize(
    ("text", "path", "sentence"),
    [
        (b'{"id": 1, "weights": {"A": 0.1, "B": true}}', "weights.B", "weights.B = true: expected a number"),
        (b'{"id": "1"}', "id", 'id = "1": expected a whole number'),
        (b'{"id": 1, "x": 2}', "x", "there is no field 'x'; the fields are id, weights, orders"),
        (
            b'{"id": 1, "orders": {"A": {"size": "2"}}}',
            "orders.A.size",
            "there is no field 'orders.A.size'; the fields ",
        ),
        (
            b'{"id": 1, "orders": {"A": {"units": "2", "name": "B"}}}',
            "orders.A.name",
            "orders.A.name = \"B\": expected text matching regex '^[a-z]*$' (Lower case letters)",
        ),
        (
            b'{"id": 1, "orders": {"A": {"units": "2", "end": "gtc"}}}',
            "orders.A.end",
            "orders.A.end = \"gtc\": invalid enum value 'gtc'; write one of cancelled, day",
        ),
        (b"{}", "", "the field 'id' is missing"),
        (b'{"id": 1, "weights": {"A": 1e400}}', "", "Number out of range - at `$[...][...]`"),
        (b'{"id": ' + b"[" * 5_000 + b"]" * 5_000 + b"}", "", "maximum recursion depth exceeded"),
    ],
)
def test_a_fault_has_its_path_its_value_and_what_exists(text: bytes, path: str, sentence: str) -> None:
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.json.decode(text, type=Wanted)
    found = fault_of(refused.value, text, Wanted)
    assert (found[0], found[1].startswith(sentence)) == (path, True), found
