"""Methods of the Python client as records, each beside the route that it requests.

A record names the type of its query or body, and the parameters of the method are the fields of that type: required
fields and parameters of the path by place, the others by keyword with their defaults.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from msgspec import Struct


@dataclass(frozen=True, slots=True)
class Call:
    """One method of the client: its name, the request, and the type of the answer.

    `takes` is the query of a GET, the body of a POST. `places` names fields with a default that are taken by place, and
    `required` those that have none in the method. `keywords` names required fields that are taken by keyword, and
    `without` fields that the method lacks. `spread` is a TypedDict of fields that are sent only where they are given.
    `types` has the types of parameters of the path that are no plain text, `renamed` their names in the method, and
    `defaults` defaults that differ. `flags` are texts that are sent as "1" or not at all.

    A `question` is a POST that changes nothing: it is sent again as a GET is, without an idempotency key. With `keyed`
    the method takes the key of another POST.
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


def read(name: str, path: str, answer: Any, about: str = "", takes: type[Struct] | None = None, **more: Any) -> Call:
    """The method of a GET below /api/v1."""
    return Call(name, "GET", f"/api/v1{path}", answer, about, takes, **more)


def change(name: str, path: str, takes: type[Struct], answer: Any, about: str = "", **more: Any) -> Call:
    """The method of a POST below /api/v1."""
    return Call(name, "POST", f"/api/v1{path}", answer, about, takes, **more)
