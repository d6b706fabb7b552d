"""Methods of the client, made from the `Call` records in the modules of the routes."""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from inspect import Parameter
from operator import or_
from types import UnionType
from typing import Annotated, Any, Final, Literal, Protocol, TypeVar, Union, Unpack, get_args, get_origin
from urllib.parse import quote

import msgspec
from msgspec import NODEFAULT, Struct
from msgspec.structs import FieldInfo, fields

from quantd.records import FaultyRecord
from quantd.server.api.client_calls import Call

PLACE: Final = re.compile(r"{(\w+)}")
"""A parameter of a path, such as {agent}."""

YES_NO: Final = ("yes", "no")
"""The two values of a query parameter that is a bool in its method: True is sent as "yes"."""


class Requests(Protocol):
    """The functions of the Python client that send a request; the generated methods call them."""

    def _get(self, path: str, kind: type[Any], **query: object) -> Any: ...

    def _post(self, path: str, body: Mapping[str, Any], kind: type[Any], key: str) -> Any: ...

    def _question(self, path: str, body: Mapping[str, Any], kind: type[Any]) -> Any: ...


def plain(annotation: Any) -> Any:
    """A field's type without its bounds and description, which the daemon checks; Literal["yes", "no"] becomes bool."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return plain(inner[0])
    if origin is Literal:
        return bool if sorted(inner) == sorted(YES_NO) else annotation
    if origin in (Union, UnionType):
        return reduce(or_, (plain(part) for part in inner))
    if origin is not None and inner:
        return origin[tuple(plain(part) for part in inner)]
    return annotation


def fields_of(call: Call) -> Iterator[FieldInfo]:
    """The fields of the query or body that are named parameters of the method.

    Left out are fields that the method takes through its `**` parameter (`Call.spread`), or not at all
    (`Call.without`).
    """
    spread = call.spread[1].__annotations__ if call.spread is not None else ()
    return (field for field in fields(call.takes or Struct) if field.name not in (*call.without, *spread))


def parameters_of(call: Call) -> list[Parameter]:
    """The parameters of a method after `self`: positional ones first, required before optional.

    Names in braces in the path are positional, and so are required fields of the request and the fields that
    `call.places` names.
    """
    positional = [
        Parameter(call.renamed.get(name, name), Parameter.POSITIONAL_OR_KEYWORD, annotation=call.types.get(name, str))
        for name in PLACE.findall(call.path)
    ]
    # required fields and the fields `places` are positional; all others are keyword-only
    keyword_only: list[Parameter] = []
    for field in fields_of(call):
        is_required = field.name in call.required or (field.default is NODEFAULT and field.default_factory is NODEFAULT)
        annotation = bool if field.name in call.flags else plain(field.type)
        default = call.defaults.get(field.name, _default(field))
        if field.name in call.defaults:
            annotation = type(default)
        if annotation is bool and not isinstance(default, bool):
            default = default == "yes"
        is_positional = field.name not in call.keywords and (is_required or field.name in call.places)
        kind = Parameter.POSITIONAL_OR_KEYWORD if is_positional else Parameter.KEYWORD_ONLY
        parameter = Parameter(
            field.name, kind, annotation=annotation, default=Parameter.empty if is_required else default
        )
        (positional if is_positional else keyword_only).append(parameter)
    # a question changes nothing, so it needs no idempotency key
    if call.method == "POST" and call.keyed and not call.question:
        keyword_only.append(Parameter("key", Parameter.KEYWORD_ONLY, annotation=str, default=""))
    if call.spread is not None:
        name, keywords = call.spread
        keyword_only.append(Parameter(name, Parameter.VAR_KEYWORD, annotation=Unpack[keywords]))
    order = {name: index for index, name in enumerate(call.places)}
    positional.sort(key=lambda parameter: (parameter.default is not Parameter.empty, order.get(parameter.name, 0)))
    return [*positional, *keyword_only]


def _default(field: FieldInfo) -> Any:
    """The default of a field; None where it has none."""
    if field.default_factory is not NODEFAULT:
        return field.default_factory()
    return None if field.default is NODEFAULT else field.default


def method_of(call: Call) -> Callable[..., Any]:
    """The function that becomes a method of the client: it checks its arguments, and sends the request of `call`.

    `call.spread` has the name of the method's `**` parameter, None for none, and `call.renamed` the names of path
    parameters that differ in the method.
    """
    parameters = parameters_of(call)
    client_parameter = Parameter("self", Parameter.POSITIONAL_ONLY)
    signature = inspect.Signature([client_parameter, *parameters], return_annotation=call.answer)
    names = [field.name for field in fields_of(call)]

    def method(*args: Any, **keywords: Any) -> Any:
        """Check the arguments, the first of which is the client itself, and send the request."""
        # `bind` gives each argument its parameter's name, as a call of a function with this signature does
        try:
            bound = signature.bind(*args, **keywords)
        except TypeError as why:
            raise TypeError(f"Client.{call.name}(): {why}") from None
        given = set(bound.arguments)
        bound.apply_defaults()
        arguments = bound.arguments
        client: Requests = arguments["self"]
        spread = arguments[call.spread[0]] if call.spread is not None else {}
        path = PLACE.sub(lambda match: quote(arguments[call.renamed.get(match[1], match[1])], safe=""), call.path)
        values = {name: arguments[name] for name in names} | spread
        if call.method == "GET":
            return client._get(path, call.answer, **_query(call, values))
        assert call.takes is not None
        body = msgspec.to_builtins(call.takes(**values))
        # an empty name that the caller gives reaches the daemon, which refuses it; that of a default is left out
        body = {name: value for name, value in body.items() if value != "" or name in given or name in spread}
        if call.question:  # a POST that changes nothing
            return client._question(path, body, call.answer)
        return client._post(path, body, call.answer, arguments.get("key", ""))

    method.__name__, method.__qualname__, method.__doc__ = call.name, f"Client.{call.name}", call.about or None
    method.__signature__ = signature  # type: ignore[attr-defined]
    method.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters} | {
        "return": call.answer
    }
    return method


def _query(call: Call, values: dict[str, Any]) -> dict[str, object]:
    """The query parameters of a request by their names in the URL; a bool becomes text."""
    wire_names = {field.name: field.encode_name for field in fields(call.takes)} if call.takes is not None else {}
    query: dict[str, object] = {}
    for name, value in values.items():
        if name in call.flags:
            value = "1" if value else None
        elif isinstance(value, bool):
            value = YES_NO[not value]  # True is "yes", at index 0
        query[wire_names.get(name, name)] = value
    return query


C = TypeVar("C", bound=type)


def with_methods(calls: tuple[Call, ...]) -> Callable[[C], C]:
    """Return a class decorator that adds a method of the Python client for each of the records `calls`.

    The decorator raises FaultyRecord for two methods with one name.
    """

    def add(client: C) -> C:
        for call in calls:
            if call.name in vars(client):
                text = f"{call.method} {call.path}: the client has a method {call.name} already"
                raise FaultyRecord(f"{text}; rename one of the two methods, or uninstall the package that has one")
            setattr(client, call.name, method_of(call))
        return client

    return add
