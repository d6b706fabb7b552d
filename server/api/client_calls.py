"""Methods of the Python client as records, each made from the route that it requests.

A record names the type of its query or body, and the parameters of the method are the fields of that type. Required
fields and parameters of the path are positional, all further fields are keywords with their defaults.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args, get_origin

from msgspec import Struct

from quantd.server.api.route_records import Post, Read


@dataclass(frozen=True, slots=True)
class Call:
    """One method of the Python client: its name, the request, and the type of the answer.

    `takes` is the type of the query of a GET, or of the body of a POST. Its fields become parameters of the method:

    - `places`: fields with a default that are positional parameters; the order here is the order of the parameters
    - `required`: fields with a default that have no default in the method
    - `keywords`: required fields that are keyword-only parameters
    - `without`: fields that the method lacks
    - `spread`: (name of the `**` parameter, TypedDict of the fields that are sent only where the caller gives them)
    - `defaults`: field -> default in the method, where it differs from the default of the field
    - `flags`: text fields that are a bool in the method, sent as "1" or not at all

    A name in braces in `path` is a positional parameter of type str. `types` maps such a parameter to a type other than
    str, and `renamed` to another name.

    A `question` is a POST that changes nothing: like a GET it is sent again after a failure, without an idempotency
    key. With `keyed` a POST's method has the keyword `key`, the idempotency key of an earlier request to repeat.
    """

    name: str
    method: Literal["GET", "POST"]
    path: str
    answer: Any
    about: str = ""
    takes: type[Struct] | None = None
    places: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    spread: tuple[str, Any] | None = None
    types: Mapping[str, Any] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    question: bool = False
    keyed: bool = True


def change(name: str, path: str, takes: type[Struct], answer: Any, about: str = "", **more: Any) -> Call:
    """The record of a client method that sends a POST below /api/v1; `takes` is the type of the body, `more` further
    fields of `Call`."""
    return Call(name, "POST", f"/api/v1{path}", answer, about, takes, **more)


def call_of(route: Read | Post) -> Call:
    """The client's method that requests a route; its words are the summary of the route, if `form` has no others."""
    takes = route.query if isinstance(route, Read) else get_origin(route.body) is Annotated and get_args(route.body)[0]
    fields = {"about": route.words, "takes": takes or route.body, **route.form}  # type: ignore[union-attr]
    return Call(route.call, route.method, route.path, route.answer, **fields)  # type: ignore[arg-type]
