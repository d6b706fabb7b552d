"""The OpenAPI 3.1 document of the routes, made from the types that check requests and answers."""

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from quantd.daemon.runtime.version import VERSION
from quantd.server.api.access.guard import LINK
from quantd.server.api.idempotency import HEADER, PATTERN
from quantd.server.api.problems import MEDIA_TYPE, Problem
from quantd.server.api.route_records import Entry, Page, Post, Read, Route

_PATH_PARAMETER: Final = re.compile(r"{(\w+)}")

FOR_BROWSERS: Final = (
    "text/html", "text/javascript", "text/css", "application/manifest+json", "image/svg+xml", LINK
)  # fmt: skip

FAULTS: Final = {
    401: "no token, or not the right one",
    403: "the token lacks the scope, or a page of another origin sent the request",
    404: "nothing of that name",
    409: "what is stored does not permit an answer, such as for two runs that cannot be compared",
    421: "a foreign host name",
    422: "a field is not accepted; `errors` names it",
    429: "too many requests; `Retry-After` has the seconds",
    503: "not ready; `Retry-After` where known",
}
"""Status of an error -> its meaning, for every operation."""

OF_POSTS: Final = {408: "the body is late", 409: "the state of the daemon forbids it", 413: "the body is too large",
                   415: "not JSON", 504: "not committed in time, still queued"}  # fmt: skip
"""Further statuses of errors -> their meaning, for every POST."""

PLAIN_SCHEMA: Final = {"type": "string", "maxLength": 64}

PATH_SCHEMAS: Final = {"key": {"type": "string", "pattern": PATTERN}}
"""Parameter of a path -> its schema, where it is not PLAIN_SCHEMA."""

KEY: Final = {
    "name": HEADER, "in": "header", "required": False, "schema": {"type": "string", "pattern": PATTERN},
    "description": "The same key with the same body gets the first answer, and nothing is carried out again.",
}  # fmt: skip


def document(routes: Sequence[Route], title: str) -> dict[str, Any]:
    """Return the OpenAPI document of `routes`; `title` is the daemon's name."""
    documented = [route for route in routes if not (isinstance(route, Page) and route.content_type in FOR_BROWSERS)]
    types: list[Any] = [Problem]
    for route in documented:
        if isinstance(route, Read):
            types += [route.answer, route.query]
        elif isinstance(route, Post | Entry):
            types += [route.answer, route.body]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    for schema in components.values():  # a field that is left out has no empty name, which would be refused
        for field in schema.get("properties", {}).values():
            if field.get("default") == "" and "minLength" in field:
                del field["default"]
    schema_by_type_id = dict(zip(map(id, types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in documented:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schema_by_type_id, components)
    for query in {route.query for route in documented if isinstance(route, Read)}:
        components.pop(query.__name__, None)  # each operation lists its query parameters itself
    return {
        "openapi": "3.1.0",
        "info": {"title": f"quantd: {title}", "version": VERSION, "summary": "The REST API of one trading daemon."},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route, schemas: dict[int, Any], components: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI operation of a route; `schemas` maps the `id` of a type to its schema."""
    faults = FAULTS | (OF_POSTS if isinstance(route, Post | Entry) else {})
    problem = {MEDIA_TYPE: {"schema": schemas[id(Problem)]}}
    responses: dict[str, Any] = {
        str(status): {"description": words, "content": problem} for status, words in faults.items()
    }
    if isinstance(route, Page):
        responses["200"] = {"description": route.words, "content": {route.content_type: {}}}
    else:
        answer = {"application/json": {"schema": schemas[id(route.answer)]}}
        words = " ".join((route.answer.__doc__ or "").split("\n\n")[0].split())  # the first paragraph
        responses["200"] = {"description": words, "content": answer}
        if isinstance(route, Read):
            responses["304"] = {"description": "the client has this answer (`If-None-Match`)"}
            if route.scope == "open":
                responses["503"] = {"description": "not ready", "content": answer}
    operation: dict[str, Any] = {
        "summary": route.words,
        "operationId": route.method.lower() + re.sub(r"\W+", "_", route.path.replace("/api/v1", "")).rstrip("_"),
        "responses": dict(sorted(responses.items())),
    }
    if route.scope != "open":
        token_of_scope: list[dict[str, list[str]]] = [{"token": [route.scope]}]
        # {} means without a token: [api] open_reads may open the reads
        operation["security"] = token_of_scope if isinstance(route, Post | Entry) else [*token_of_scope, {}]
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": PATH_SCHEMAS.get(name, PLAIN_SCHEMA)}
        for name in _PATH_PARAMETER.findall(route.path)
    ]
    if isinstance(route, Read):
        parameters += _parameters(route.query, components)
    elif isinstance(route, Post):
        parameters.append(KEY)
    if parameters:
        operation["parameters"] = parameters
    if isinstance(route, Post | Entry):
        content = {"schema": schemas[id(route.body)], "example": msgspec.json.decode(route.example)}
        operation["requestBody"] = {"required": True, "content": {"application/json": content}}
    return operation


def _parameters(query: Any, components: dict[str, Any]) -> list[dict[str, Any]]:
    schema = components[query.__name__]
    required = set(schema.get("required", ()))
    return [
        {"name": name, "in": "query", "required": name in required, "schema": property_schema}
        for name, property_schema in schema["properties"].items()
    ]
