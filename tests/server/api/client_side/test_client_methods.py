"""Methods of the client are made from records: their parameters, their requests, and their types in a file."""

import pytest

from quantd.records import FaultyRecord
from quantd.server.api.client_calls import Call
from quantd.server.api.client_side.client_methods import with_methods
from quantd.server.api.client_side.python_client import Client
from quantd.server.api.route_groups import client_calls
from scripts.client_stub import STUB, stub_of


def test_the_types_of_the_methods_are_those_of_the_records() -> None:
    remedy = "run: python scripts/client_stub.py"
    assert STUB.read_text(encoding="utf-8") == stub_of(client_calls()), remedy


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
