"""Groups of routes are found by their records, and each route has one group."""

import ast

import pytest

from quantd.records import FaultyRecord
from quantd.server.api.route_groups import RouteGroup, client_calls, route_groups, routes_of
from quantd.server.api.route_records import Page
from tests.support.checkout import ROOT


async def handler(request):
    raise AssertionError


PAGE = Page("/x", handler, "A page.", "text/plain")


def test_the_groups_are_in_the_order_of_the_document():
    groups = route_groups()
    assert list(groups)[:3] == ["dashboard", "sessions", "switches"]
    assert [group.order for group in groups.values()] == sorted(group.order for group in groups.values())


def test_a_route_of_two_groups_is_refused_with_both_names(monkeypatch):
    groups = {name: RouteGroup(name, 1, lambda context: context, (PAGE,)) for name in ("one", "two")}
    monkeypatch.setattr("quantd.server.api.route_groups.route_groups", lambda: groups)
    assert [route.path for route in routes_of({"one": object(), "two": None}, None)] == ["/x"]
    with pytest.raises(FaultyRecord, match="the routes two: GET /x is already a route of the group one; change one"):
        routes_of({"one": object(), "two": object()}, None)


def test_each_method_of_the_client_has_one_record():
    names = [call.name for call in client_calls()]
    assert len(names) == len(set(names)) > 70


def test_the_server_imports_no_module_of_routes_but_for_types():
    tree = ast.parse((ROOT / "server/api/server.py").read_text())
    names = [node.module for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert [name for name in names if name.startswith("quantd.server.api.routes")] == []
