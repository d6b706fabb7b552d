"""Routes as data: one record has the types that check a request, its handler, its answer and its documentation."""

import asyncio
import gzip
import inspect
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, NamedTuple

import msgspec
from aiohttp import web
from aiohttp.web_protocol import RequestPayloadError
from msgspec import Meta, Struct

from quantd.adapters.json_text import decoded, fault_of
from quantd.server.api.commits import refused
from quantd.server.api.documents import LEAST_NS, MOST_NS, Query
from quantd.server.api.problems import FieldFault, Refused
from quantd.server.requests.control import NotDone
from quantd.server.requests.tokens import Scope

Open = Literal["open"]

BODY_BYTES: Final = 16 * 1024
"""Largest body of a request in bytes, unless its route has another limit."""

GZIP_BYTES: Final = 2048
"""Size above which an answer is compressed, for a client that accepts it."""

ETAG_BYTES: Final = 16
"""Length of the hash in an ETag, in bytes."""

Reads = Callable[..., Awaitable[Struct]]
"""(What the group opened, request, its query) -> the answer."""

Obeys = Callable[..., Awaitable[Struct]]
"""(What the group opened, body, sender for the journal, parameters of the path by name) -> the answer."""

Raw = Callable[..., Awaitable[web.StreamResponse]]


class Signed:
    """A route whose question (its query or body) and `answer` have the types of its handler, unless others are given.

    `question` is the field with the type of the question, and its place among the parameters of the handler.
    """

    __slots__ = ()
    handler: Any
    answer: Any
    question: ClassVar[tuple[str, int]]

    def __post_init__(self) -> None:
        field, place = self.question
        if self.answer is None or getattr(self, field) is None:
            signature = inspect.signature(self.handler, eval_str=True)
            asked = list(signature.parameters.values())[place].annotation
            for name, kind in ((field, asked), ("answer", signature.return_annotation)):
                if getattr(self, name) is None:
                    object.__setattr__(self, name, kind)


@dataclass(frozen=True, slots=True)
class Read(Signed):
    """A GET with a typed query and answer. `words` is its summary in the OpenAPI document.

    With `shared` the handler returns the same object until the answer changes, so that it is encoded once. `call` is
    the method of the Python client, none where empty, and `form` the fields of its `Call` that the route does not have.
    """

    path: str
    handler: Reads
    words: str
    scope: Scope | Open = "read"
    shared: bool = False
    call: str = ""
    form: Mapping[str, Any] = field(default_factory=dict)
    query: Any = None
    answer: Any = None
    method: ClassVar[str] = "GET"
    question = "query", 2


@dataclass(frozen=True, slots=True)
class Post(Signed):
    """A POST with a typed body and answer; `example` is a body that is accepted.

    Without `rate`, a valid token is never refused for its frequency: a script that repeats requests must not keep its
    owner from halting. A body larger than `body_bytes` is refused before it is read. `again` computes, from the present
    state, the answer to a request that is repeated with its idempotency key; without `again` the first answer is sent.
    A route with `jobs` exists only where jobs are run. `call` and `form` are those of `Read`.
    """

    path: str
    handler: Obeys
    words: str
    example: str
    scope: Scope = "trade"
    rate: bool = True
    body_bytes: int = BODY_BYTES
    again: Callable[..., Struct] | None = None
    jobs: bool = False
    call: str = ""
    form: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    answer: Any = None
    method: ClassVar[str] = "POST"
    question = "body", 1


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
    handler: Callable[..., Awaitable[web.Response]]
    body: type[Struct]
    answer: type[Struct]
    words: str
    example: str
    scope: Scope | Open = "open"
    method: ClassVar[str] = "POST"


Route = Read | Post | Page | Entry


def named_by(body: type[Struct], *fields: str, how: Literal["anyOf", "oneOf"] = "anyOf") -> Any:
    """Return `body` with a note in the OpenAPI document: it needs at least one, or exactly one (`oneOf`), of `fields`.

    The handler itself checks which fields a request has, with a better message than the schema gives.
    """
    choices = [{"required": [field], "properties": {field: {"minLength": 1}}} for field in fields]
    return Annotated[body, Meta(extra_json_schema={how: choices})]


def reading(route: Read) -> Raw:
    """The aiohttp handler of a Read: it checks the query, and responds 304 if the client has this answer already.

    A `shared` answer is encoded once for all requests that get it.
    """
    last: tuple[Struct, bytes, str] | None = None  # (answer, its JSON, its ETag) of a `shared` handler

    async def get(request: web.Request) -> web.StreamResponse:
        """Answer one GET; a `shared` answer that is the same object as before is not encoded again."""
        nonlocal last
        try:
            answer = await route.handler(request, query_of(request, route.query))
        except NotDone as why:
            raise refused(why) from None
        if last is not None and last[0] is answer:
            _, body, tag = last
        else:
            body = msgspec.json.encode(answer)
            tag = f'"{blake2b(body, digest_size=ETAG_BYTES).hexdigest()}"'
            last = (answer, body, tag) if route.shared else None
        if tag in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers={"ETag": tag})
        # of the open routes only /health has the field `ready`
        status = 503 if getattr(answer, "ready", True) is False and route.scope == "open" else 200
        headers = {"ETag": tag, "Vary": "Accept-Encoding"}
        if len(body) > GZIP_BYTES and "gzip" in request.headers.get("Accept-Encoding", ""):
            body, headers["Content-Encoding"] = gzip.compress(body, 1), "gzip"
        return web.Response(body=body, status=status, content_type="application/json", headers=headers)

    return get


class Content(NamedTuple):
    """An installed file: its bytes, the same compressed by gzip, and its ETag."""

    plain: bytes
    gzipped: bytes
    tag: str


_CONTENTS: Final[dict[Path, Content]] = {}


def _content(path: Path) -> Content:
    packed = path.with_name(f"{path.name}.gz")  # as a wheel has the largest
    plain = gzip.decompress(packed.read_bytes()) if packed.exists() else path.read_bytes()
    return Content(plain, gzip.compress(plain, mtime=0), f'"{blake2b(plain, digest_size=ETAG_BYTES).hexdigest()}"')


async def content_of(path: Path) -> Content:
    """The content of an installed file; it is read and compressed once per process, in a thread."""
    if path not in _CONTENTS:
        _CONTENTS[path] = await asyncio.to_thread(_content, path)
    return _CONTENTS[path]


def file_of(path: Path, content_type: str) -> Raw:
    """The aiohttp handler that serves one file; the file is read at its first request.

    A browser keeps the file, and asks by its ETag whether it changed. An update of quantd is so seen at once.
    """

    async def page(request: web.Request) -> web.Response:
        content = await content_of(path)
        headers = {"ETag": content.tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        if content.tag in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=headers)
        body = content.plain
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            body, headers["Content-Encoding"] = content.gzipped, "gzip"
        return web.Response(body=body, content_type=content_type, charset="utf-8", headers=headers)

    return page


def query_of(request: web.Request, kind: type[Query]) -> Query:
    """The typed query of a request. Raises Refused with the field at fault."""
    if not request.rel_url.raw_query_string:
        return _converted({}, kind)
    parameters: dict[str, str] = {}
    for name, value in request.query.items():
        if name in parameters:
            raise _fault(name, f"the parameter {name[:40]!r} occurs twice; send it once")
        parameters[name] = value
    return _converted(parameters, kind)


def _converted(parameters: Mapping[str, str], kind: type[Query]) -> Query:
    """The parameters of a query as `kind`. Raises Refused for an unknown parameter, and for an invalid value."""
    for name in parameters:
        if name not in kind.__struct_encode_fields__:
            names = ", ".join(kind.__struct_encode_fields__) or "none"
            raise _fault(name, f"there is no parameter {name[:40]!r}; this route has: {names}")
    try:
        query = msgspec.convert(parameters, kind, strict=False)
    except msgspec.ValidationError as why:
        path, sentence = fault_of(why, dict(parameters), kind)
        words = sentence.partition(": ")[2] or sentence
        if path in ("since", "until") and kind.in_ns:
            words += ", nanoseconds UTC"
        detail = f"{path} = {parameters.get(path, '')[:40]!r}: {words}" if path else words
        raise _fault(path or "query", detail) from None
    for name in ("since", "until") if query.in_ns else ():
        value = nanoseconds = getattr(query, name, 0)
        while 0 < nanoseconds * 1000 <= MOST_NS:
            nanoseconds *= 1000
        if 0 < value < LEAST_NS:  # seconds, or a fraction of them: they would choose all entries, or none
            raise _fault(name, f"{name} = {value} is not in nanoseconds UTC; send {nanoseconds}")
    since, until = getattr(query, "since", 0), getattr(query, "until", None)
    if until is not None and since > until:  # an empty answer would say that nothing happened
        raise _fault("since", f"since = {since} is after until = {until}; exchange them")
    start, end = getattr(query, "start", None), getattr(query, "end", None)
    if start is not None and end is not None and start > end:
        raise _fault("from", f"from = {start} is after to = {end}; exchange them")
    return query


def _fault(field: str, detail: str) -> Refused:
    return Refused(422, "query", detail, errors=[FieldFault(field, detail)])


def _to_send(example: str, body: bytes, fault: str, text: str) -> str:
    """The remedy for a body with a `fault` at a path, of which `text` tells: the body without this field, which has the
    value of the example, and with numbers as text where text is expected.

    Empty where it would be something else than was asked: the fault is in a field that the example has not, or that has
    one of several words.
    """
    try:
        shown, sent = msgspec.json.decode(example), msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # behind the fault: malformed, or too deep
        return f"; send {example}"
    field = re.split(r"[.\[]", fault)[0]
    if not isinstance(sent, dict) or not isinstance(shown, dict):
        return f"; send {example}"
    as_text = {}
    for name, value in sent.items():
        usual = shown.get(name, "0" if name in NUMBERS else "")  # a number as text, as prices and quantities are
        if type(value) in (int, float) and isinstance(usual, str) and re.fullmatch(r"[\d.]+", usual):
            as_text[name] = str(value)
    word = str(sent.get(field)).lower()
    if (words := re.search("write one of (.*)", text)) and word in words[1].split(", "):
        as_text[field] = word
    if field not in as_text and field in sent and (words or field not in shown):
        return ""
    kept = {name: value for name, value in sent.items() if name != field and name not in SECRET}
    merged = json.dumps(shown | kept | as_text)
    return f"; send {merged}" if len(merged) <= MOST_SHOWN else ""


NUMBERS: Final = frozenset({"limit", "stop", "target", "trigger", "qty", "price"})
"""Fields of orders that are numbers as text."""

SECRET: Final = frozenset({"token", "code"})
"""Fields of a body that no answer repeats."""

MOST_SHOWN: Final = 300
"""Most characters of a body in a remedy."""


async def body_of(request: web.Request, kind: Any, example: str) -> Any:
    """The typed body of a request. Raises Refused with the field at fault, and for any parameter of the query."""
    query_of(request, Query)
    if request.content_type != "application/json":
        raise Refused(415, "content_type", "the body is not application/json; send it as application/json")
    try:
        body = await request.read()
    except RequestPayloadError:
        raise Refused(
            400, "content_encoding", "the body does not fit its Content-Encoding; send it uncompressed"
        ) from None
    try:
        if len(body) > BODY_BYTES:  # decoding a mebibyte takes 0.01 s, which would delay the event loop
            return await asyncio.to_thread(decoded, body, kind)
        return decoded(body, kind)
    except RecursionError:
        raise Refused(422, "command", f"the body is nested too deeply; send {example}") from None
    except msgspec.ValidationError as why:
        path, text = fault_of(why, body, kind)
        errors = [FieldFault(path, text)] if path else []
        raise Refused(422, "command", f"{text}{_to_send(example, body, path, text)}", errors=errors) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as why:
        raise Refused(422, "command", f"{why}; send {example}") from None
