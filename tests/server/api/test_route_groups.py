"""Groups of routes are found by their records, and each route has one group."""

import pytest

from quantd.records import FaultyRecord
from quantd.server.api.route_groups import RouteGroup, routes_of
from quantd.server.api.route_records import Page


async def handler(request):
    raise AssertionError


PAGE = Page("/x", handler, "A page.", "text/plain")


def test_a_route_of_two_groups_is_refused_with_both_names(monkeypatch):
    groups = {name: RouteGroup(name, 1, lambda context: context, (PAGE,)) for name in ("one", "two")}
    monkeypatch.setattr("quantd.server.api.route_groups.route_groups", lambda: groups)
    assert [route.path for route in routes_of({"one": object(), "two": None}, None)] == ["/x"]
    with pytest.raises(FaultyRecord, match="the routes two: GET /x is already a route of the group one; change one"):
        routes_of({"one": object(), "two": object()}, None)
