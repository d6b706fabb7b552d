"""`python scripts/client_stub.py` writes the types of the client's methods from the records of the routes."""

from inspect import Parameter
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, Unpack, get_args, get_origin

import msgspec

from quantd.server.api.client_calls import Call
from quantd.server.api.client_side.client_methods import parameters_of
from quantd.server.api.route_groups import client_calls

STUB: Final = Path(__file__).parents[1] / "src" / "quantd" / "client_types.pyi"
"""Beside the face: the methods of routes of all buildings are known there, and not in the server."""


def type_text(annotation: Any, imports: dict[str, set[str]]) -> str:
    """A type as text of a stub; its module is added to the imports."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation is NoneType or annotation is None:
        return "None"
    if origin is Literal:
        imports.setdefault("typing", set()).add("Literal")
        return f"Literal[{', '.join(msgspec.json.encode(part).decode() for part in inner)}]"
    if origin in (Union, UnionType):
        return " | ".join(type_text(part, imports) for part in inner)
    if origin is Unpack:
        imports.setdefault("typing", set()).add("Unpack")
        return f"Unpack[{type_text(inner[0], imports)}]"
    if inner:
        return f"{type_text(origin, imports)}[{', '.join(type_text(part, imports) for part in inner)}]"
    if annotation is ...:
        return "..."
    if annotation is Any:
        imports.setdefault("typing", set()).add("Any")
        return "Any"
    if annotation.__module__ != "builtins":
        imports.setdefault(annotation.__module__, set()).add(annotation.__name__)
    name: str = annotation.__name__
    return name


def stub_of(calls: tuple[Call, ...]) -> str:
    """The stub of a class with a method for each record, in the order of their names."""
    imports: dict[str, set[str]] = {}
    lines = []
    for call in sorted(calls, key=lambda call: call.name):
        words, starred = ["self"], False
        for parameter in parameters_of(call):
            if parameter.kind is Parameter.KEYWORD_ONLY and not starred:
                words.append("*")
                starred = True
            default = "" if parameter.default is Parameter.empty else f" = {_literal(parameter.default)}"
            star = "**" if parameter.kind is Parameter.VAR_KEYWORD else ""
            words.append(f"{star}{parameter.name}: {type_text(parameter.annotation, imports)}{default}")
        head = f"    def {call.name}({', '.join(words)}) -> {type_text(call.answer, imports)}:"
        about = "".join(f"        {line}\n" if line else "\n" for line in f'"""{call.about}"""'.split("\n"))
        lines.append(f"{head}\n{about}" if call.about else f"{head} ...\n")
    imports.setdefault("quantd.server.api.client_side.python_client", set()).add("Client as PlainClient")
    named = "".join(f"from {module} import {', '.join(sorted(names))}\n" for module, names in sorted(imports.items()))
    return (
        '"""Types of `quantd.Client` and its methods: `python scripts/client_stub.py` writes this file."""\n'
        f"# ruff: noqa\n\n{named}\nclass Client(PlainClient):\n{chr(10).join(lines)}"
    )


def _literal(value: Any) -> str:
    return msgspec.json.encode(value).decode() if isinstance(value, str) else repr(value)


if __name__ == "__main__":
    STUB.write_text(stub_of(client_calls()), encoding="utf-8")
