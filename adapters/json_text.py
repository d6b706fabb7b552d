"""JSON text from outside, which is refused if an object has a key twice.

msgspec and most other readers take the last value of a repeated key, and some the first. Two programs that read
the same text would read different commands: `"dry_run": true, "dry_run": false` would be executed.
"""

import json
import re
from typing import Any, Final, get_args

import msgspec
from msgspec import inspect

KEY_CHARS: Final = 40
"""Maximum length of a key or value in a message."""

WORDS: Final = {
    "float": "a number", "int": "a whole number", "str": "text", "bool": "true or false", "object": "an object",
    "array": "a list",
}  # fmt: skip
"""Type in msgspec's messages -> in words."""


def decoded(text: bytes, kind: Any) -> Any:
    """Decode a JSON text as a `kind`.

    Raises msgspec.DecodeError, UnicodeDecodeError and RecursionError, and msgspec.ValidationError for a key that one
    object has twice.
    """
    value = msgspec.json.decode(text, type=kind)
    if (key := repeated_key(text)) is not None:
        raise msgspec.ValidationError(f"the key {key[:KEY_CHARS]!r} is given twice; remove one of them")
    return value


def repeated_key(text: bytes) -> str | None:
    """Return the first key that one object of a valid JSON text has twice, with escapes decoded; None without one."""
    duplicates: list[str] = []

    def check(pairs: list[tuple[str, None]]) -> None:
        if len(dict(pairs)) < len(pairs):
            keys = [key for key, _ in pairs]
            duplicates.append(next(key for k, key in enumerate(keys) if key in keys[:k]))

    json.loads(text.decode(), object_pairs_hook=check, parse_int=float)  # int() raises for more than 4,300 digits
    return duplicates[0] if duplicates else None


def fault_of(why: Exception, given: Any, kind: Any) -> tuple[str, str]:
    """Return (path as `a[1].b`, sentence with the value) of the field for which msgspec refused JSON as a `kind`.

    `given` is the document, as bytes or decoded.

    An unknown field has the names of the fields that exist, and the sentence `instead` of a struct that has one.
    """
    try:
        value = msgspec.json.decode(given) if isinstance(given, bytes) else given
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as malformed:  # 1e999, no UTF-8, or too deep
        return "", str(malformed)
    words, _, place = str(why).partition(" - at `$")
    words, place = (
        re.sub(r"`([\w |]+)`", lambda name: _in_words(name[1]), words.partition(", got ")[0]),
        place[:-1],
    )
    keys: list[Any] = []
    for name, index in re.findall(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]", place.rstrip("`")):
        keys.append(name or (int(index) if index != "..." else _key_at_fault(str(why), value, keys, kind)))
    node, about = _type_at(value, keys, inspect.type_info(kind)), ""
    if isinstance(node, inspect.Metadata):
        about = (node.extra_json_schema or {}).get("description", "")
        node = _type_at(_at(value, keys), [], node.type)
    if words.startswith("Expected text matching regex") and about:
        words += f" ({about.rstrip('.')})"
    if words.startswith("Object contains unknown field ") and isinstance(node, inspect.StructType):
        name, fields = words.split(" ", 4)[4], ", ".join(field.encode_name for field in node.fields)
        instead = getattr(node.cls, "instead", "")
        exists = f"the fields are {fields}" if fields else "it takes none"
        path = ".".join(map(str, (*keys, name)))
        return path, f"there is no field {path[:KEY_CHARS]!r}; {exists}{f'; {instead}' if instead else ''}"
    if words.startswith("Invalid enum value") and isinstance(node, inspect.LiteralType):
        words += f"; write one of {', '.join(map(str, node.values))}"
    if words.startswith("Invalid value") and len(keys) == 1:
        words += f"; write one of {', '.join(str(part.__struct_config__.tag) for part in get_args(kind))}"
    if not keys:
        return "", re.sub("^Object missing required field (.*)$", r"the field '\1' is missing", words)
    path = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).removeprefix(".")
    shown = json.dumps(_at(value, keys))
    shown = shown if len(shown) <= KEY_CHARS else f"{shown[:KEY_CHARS]}..."
    return path, f"{path} = {shown}: {words[:1].lower()}{words[1:]}"


def _in_words(types: str) -> str:
    """The types of msgspec's message, such as `str | object`, in words."""
    return " or ".join(WORDS.get(name, name) for name in types.split(" | "))


def _at(value: Any, keys: list[Any]) -> Any:
    """Return the part of a JSON value at a path of keys and indices."""
    for key in keys:
        value = value[key]
    return value


def _key_at_fault(why: str, value: Any, keys: list[Any], kind: Any) -> Any:
    """Return the key of the object at the path `keys` whose value has the fault `why`, which names no key.

    The object is halved until one entry with this fault is left.
    """
    whole = json.loads(json.dumps(value))
    inner = _at(whole, keys)
    entries = list(inner.items())
    while len(entries) > 1:
        half = entries[: len(entries) // 2]
        inner.clear()
        inner.update(half)
        try:
            msgspec.convert(whole, kind)
            again = ""
        except msgspec.ValidationError as fault:
            again = str(fault)
        entries = half if again == why else entries[len(half) :]
    return entries[0][0]


def _type_at(value: Any, keys: list[Any], node: inspect.Type | None) -> inspect.Type | None:
    """Return the type of the part of a JSON value at a path, of the whole value's type `node`; None if it is unknown.

    Of several types it is the struct with the value's tag, or the only one with an object's or a list's form.
    """
    if isinstance(node, inspect.Metadata):
        return _type_at(value, keys, node.type) if keys else node
    if isinstance(node, inspect.UnionType):
        forms: tuple[type, ...] = (inspect.LiteralType,)
        tagged = value if isinstance(value, dict) else {}
        if isinstance(value, dict):
            forms = inspect.StructType, inspect.DictType
        elif isinstance(value, list):
            forms = inspect.ListType, inspect.VarTupleType
        fits = (part for part in node.types if isinstance(part, forms))
        same = (part for part in fits if tagged.get(getattr(part, "tag_field", None)) == getattr(part, "tag", None))
        return _type_at(value, keys, next(same, None))
    if not keys or node is None:
        return node
    inner: inspect.Type | None = None
    if isinstance(node, inspect.StructType):
        inner = next((field.type for field in node.fields if field.encode_name == keys[0]), None)
    elif isinstance(node, inspect.DictType):
        inner = node.value_type
    elif isinstance(node, (inspect.ListType, inspect.VarTupleType)):
        inner = node.item_type
    return None if inner is None else _type_at(value[keys[0]], keys[1:], inner)
