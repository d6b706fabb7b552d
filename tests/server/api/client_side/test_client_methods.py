"""Methods of the client are made from records: their parameters, their requests, and their types in a file."""

import inspect
from typing import Any, Literal, TypedDict

import pytest
from msgspec import Struct

from quantd.records import FaultyRecord
from quantd.server.api.client_calls import Call, change
from quantd.server.api.client_side.client_methods import method_of, with_methods
from quantd.server.api.client_side.python_client import Client
from quantd.server.api.documents import Query
from quantd.server.api.route_groups import client_calls
from quantd.server.api.routes.command_routes import HaltNow
from scripts.client_stub import STUB, stub_of


class Asked(Query, frozen=True, rename={"start": "from"}):
    """A query."""

    start: str | None = None
    book: str = ""
    totals: Literal["yes", "no"] = "no"
    recorded: str | None = None
    limit: int = 5


class Body(Struct, frozen=True):
    """A body."""

    reason: str
    approve: bool
    side: Literal["buy", "sell"] = "buy"
    weights: dict[str, float] = {}


class Weights(TypedDict, total=False):
    weights: dict[str, float]


class Noting:
    """Notes what a method requests."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def _get(self, path: str, kind: Any, **query: object) -> None:
        self.asked.append((path, query))

    def _post(self, path: str, body: dict[str, Any], kind: Any, key: str) -> None:
        self.asked.append((path, body, key))

    def _question(self, path: str, body: dict[str, Any], kind: Any) -> None:
        self.asked.append((path, body))


def asked(call: Call, *arguments: Any, **keywords: Any) -> Any:
    """What the method of a record requests."""
    client = Noting()
    method_of(call)(client, *arguments, **keywords)
    (request,) = client.asked
    return request


def test_the_types_of_the_methods_are_those_of_the_records() -> None:
    remedy = "run: python scripts/client_stub.py"
    assert STUB.read_text(encoding="utf-8") == stub_of(client_calls()), remedy


def test_the_parameters_are_the_fields_of_the_query_or_body() -> None:
    call = change("do", "/x/{name}/{do}", Body, dict, keywords=("approve",), spread=("wanted", Weights))
    method = method_of(call)
    assert (method.__name__, method.__doc__) == ("do", None)
    assert [(p.name, p.kind.name) for p in inspect.signature(method).parameters.values()][1:] == [
        ("name", "POSITIONAL_OR_KEYWORD"), ("do", "POSITIONAL_OR_KEYWORD"), ("reason", "POSITIONAL_OR_KEYWORD"),
        ("approve", "KEYWORD_ONLY"), ("side", "KEYWORD_ONLY"), ("key", "KEYWORD_ONLY"), ("wanted", "VAR_KEYWORD"),
    ]  # fmt: skip


def test_a_path_is_quoted_and_a_body_has_what_was_given() -> None:
    call = change("do", "/x/{name}", Body, dict, spread=("wanted", Weights))
    weights = {"SPY": 0.5}
    request = asked(call, "a/b c", "why", True, key="k", weights=weights)
    body = {"reason": "why", "approve": True, "side": "buy", "weights": weights}
    assert request == ("/api/v1/x/a%2Fb%20c", body, "k")
    body["weights"] = {}
    assert asked(change("ask", "/x", Body, dict, question=True), "why", True) == ("/api/v1/x", body)


def test_an_empty_name_is_sent_only_where_the_caller_gives_it() -> None:
    call = change("halt", "/commands", HaltNow, dict, places=("reason",))
    assert asked(call) == ("/api/v1/commands", {"command": "halt"}, "")
    assert asked(call, agent="") == ("/api/v1/commands", {"command": "halt", "agent": ""}, "")


def test_a_query_has_the_names_of_the_wire_and_texts_for_bools() -> None:
    call = Call("see", "GET", "/api/v1/x", dict, "See it.", Asked, places=("book",), flags=("recorded",))
    query = {"from": None, "book": "", "totals": "no", "recorded": None, "limit": 5}
    assert asked(call) == ("/api/v1/x", query)
    query |= {"from": "f", "book": "b", "totals": "yes", "recorded": "1"}
    assert asked(call, "b", start="f", totals=True, recorded=True) == ("/api/v1/x", query)


def test_a_wrong_argument_is_an_error_that_names_the_method() -> None:
    with pytest.raises(TypeError, match=r"Client\.cash\(\): missing a required argument: 'amount'"):
        Client("http://127.0.0.1:9").cash("add")
    with pytest.raises(TypeError, match=r"Client\.status\(\): got an unexpected keyword argument"):
        Client("http://127.0.0.1:9").status(limit=1)


def test_two_methods_of_one_name_are_refused() -> None:
    with pytest.raises(FaultyRecord, match="GET /api/v1/b: the client has a method see already; rename one"):
        with_methods((Call("see", "GET", "/api/v1/a", dict), Call("see", "GET", "/api/v1/b", dict)))(
            type("Other", (), {})
        )
