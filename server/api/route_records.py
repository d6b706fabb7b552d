"""Routes as data: one record gives the check of a request, its handler, its answer and its part of the document."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec
from aiohttp import web
from aiohttp.web_protocol import RequestPayloadError
from msgspec import Meta, Struct

from quantd.adapters.json_text import decoded
from quantd.server.api.documents import Query
from quantd.server.api.problems import FieldFault, Refused
from quantd.server.requests.tokens import Scope

Open = Literal["open"]

BODY_BYTES: Final = 16 * 1024
"""Maximum of a body in bytes, unless a route has another."""

ETAG_BYTES: Final = 16

Reads = Callable[[web.Request, Any], Awaitable[Struct]]
Obeys = Callable[..., Awaitable[Struct]]
"""The body, the sender for the journal, and the parameters of the path by name -> the answer."""

Raw = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Read:
    """A GET with a typed query and answer. `words` is one line for the document.

    A `shared` handler returns the same object until the answer changes.
    """

    path: str
    handler: Reads
    answer: type[Struct]
    words: str
    query: type[Query] = Query
    scope: Scope | Open = "read"
    shared: bool = False
    method: ClassVar[str] = "GET"


@dataclass(frozen=True, slots=True)
class Post:
    """A POST with a typed body and answer; `example` is a body that is accepted.

    Without `rate`, a valid token is never refused for its frequency: a script that repeats requests must not keep its
    owner from halting. A body larger than `body_bytes` is refused before it is read. `again` is the answer to a request
    that is sent again under its idempotency key, from the present state; without it that is the first answer.
    """

    path: str
    handler: Obeys
    body: Any
    answer: type[Struct]
    words: str
    example: str
    scope: Scope = "trade"
    rate: bool = True
    body_bytes: int = BODY_BYTES
    again: Callable[[Any], Struct] | None = None
    method: ClassVar[str] = "POST"


@dataclass(frozen=True, slots=True)
class Page:
    """A GET whose response is no JSON document: a page, a file, metrics, a stream."""

    path: str
    handler: Raw
    words: str
    content_type: str
    scope: Scope | Open = "read"
    method: ClassVar[str] = "GET"


@dataclass(frozen=True, slots=True)
class Entry:
    """A POST about the session of a browser. Its handler makes the response, with the cookie; nothing is journalled."""

    path: str
    handler: Callable[[web.Request, Any], Awaitable[web.Response]]
    body: type[Struct]
    answer: type[Struct]
    words: str
    example: str
    scope: Scope | Open = "open"
    method: ClassVar[str] = "POST"


Route = Read | Post | Page | Entry


def named_by(body: type[Struct], *fields: str, how: Literal["anyOf", "oneOf"] = "anyOf") -> Any:
    """`body` with any or one of these text fields, for the document; its handler has a message of its own."""
    choices = [{"required": [field], "properties": {field: {"minLength": 1}}} for field in fields]
    return Annotated[body, Meta(extra_json_schema={how: choices})]


def reading(route: Read) -> Raw:
    """The handler of aiohttp: it checks the query, and answers 304 where the client has this answer already.

    A `shared` answer is encoded once for all requests that get it.
    """
    last: tuple[Struct, bytes, str] | None = None

    async def get(request: web.Request) -> web.StreamResponse:
        nonlocal last
        answer = await route.handler(request, query_of(request, route.query))
        if last is not None and last[0] is answer:
            _, body, tag = last
        else:
            body = msgspec.json.encode(answer)
            tag = f'"{blake2b(body, digest_size=ETAG_BYTES).hexdigest()}"'
            last = (answer, body, tag) if route.shared else None
        if tag in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers={"ETag": tag})
        status = 503 if getattr(answer, "ready", True) is False and route.scope == "open" else 200
        return web.Response(body=body, status=status, content_type="application/json", headers={"ETag": tag})

    return get


_CONTENTS: Final[dict[Path, bytes]] = {}


async def content_of(path: Path) -> bytes:
    """The bytes of an installed file, which is read once, in a thread."""
    if path not in _CONTENTS:
        _CONTENTS[path] = await asyncio.to_thread(path.read_bytes)
    return _CONTENTS[path]


def file_of(path: Path, content_type: str) -> Raw:
    """The handler of one file, which is read at its first request."""

    async def page(request: web.Request) -> web.Response:
        return web.Response(body=await content_of(path), content_type=content_type, charset="utf-8")

    return page


def query_of(request: web.Request, kind: type[Query]) -> Query:
    """The typed query of a request. Raises Refused with the field at fault."""
    if not request.rel_url.raw_query_string:
        return _converted({}, kind)
    parameters: dict[str, str] = {}
    for name, value in request.query.items():
        if name in parameters:
            raise _fault(name, f"the parameter {name[:40]!r} is given twice")
        parameters[name] = value
    return _converted(parameters, kind)


def _converted(parameters: Mapping[str, str], kind: type[Query]) -> Query:
    for name in parameters:
        if name not in kind.__struct_encode_fields__:
            names = ", ".join(kind.__struct_encode_fields__) or "none"
            raise _fault(name, f"there is no parameter {name[:40]!r}; known: {names}")
    try:
        return msgspec.convert(parameters, kind, strict=False)
    except msgspec.ValidationError as why:
        words, _, path = str(why).replace("`", "").partition(" - at $.")
        raise _fault(
            path or "query", f"{path} = {parameters.get(path, '')[:40]!r}: {words[:1].lower()}{words[1:]}"
        ) from None


def _fault(field: str, detail: str) -> Refused:
    return Refused(422, "query", detail, errors=[FieldFault(field, detail)])


async def body_of(request: web.Request, kind: Any, example: str) -> Any:
    """The typed body of a request. Raises Refused with the field at fault."""
    if request.content_type != "application/json":
        raise Refused(415, "content_type", "the body is not application/json; send it as application/json")
    try:
        body = await request.read()
    except RequestPayloadError:
        raise Refused(400, "content_encoding", "the body is not compressed as its header names") from None
    try:
        if len(body) > BODY_BYTES:  # a mebibyte takes a hundredth of a second
            return await asyncio.to_thread(decoded, body, kind)
        return decoded(body, kind)
    except RecursionError:
        raise Refused(422, "command", f"the body is nested too deeply; send {example}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as why:
        words, _, path = str(why).replace("`", "").partition(" - at $.")
        errors = [FieldFault(path, words)] if path else []
        at = f"{path}: " if path else ""
        raise Refused(422, "command", f"{at}{words}; send {example}", errors=errors) from None
