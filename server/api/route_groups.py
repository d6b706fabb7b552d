"""Groups of routes as records, found by name: each module of routes declares what it adds to the API.

What can go wrong: a group needs data of another group, such as the number of open streams. So the context, which all
groups share, has such data, and no group imports another. Two groups with the same route are refused at the start.

Order: routes are added to the application and to the OpenAPI document by `order`, so that the document of a version is
the same on every machine.

Rejected: a list of the groups in the server. The server would then import packages that are above it in the layers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from aiohttp import web

from quantd.adapters.store.journal.job_runs import JobRun
from quantd.records import FaultyRecord, ordered
from quantd.server.api.access.guard import Guard
from quantd.server.api.client_calls import Call, call_of
from quantd.server.api.idempotency import Keys
from quantd.server.api.route_records import Post, Read, Route
from quantd.server.api.run_reader import RunReader

if TYPE_CHECKING:
    from quantd.adapters.bus.publisher import MqttBus
    from quantd.daemon.jobs.job_lanes import JobLanes
    from quantd.server.api.routes.explanation_routes import Explaining

PACKAGES: Final = ("quantd.server.api.routes", "quantd.research.routes")
"""The packages of quantd whose modules are searched for groups."""

GROUP: Final = "quantd.routes"
"""The entry-point group of installed packages with a group of routes."""


class RunsOfJobs(Protocol):
    """The stored runs of jobs: all of them, newest first, or a single run by its number."""

    def runs(self) -> list[JobRun]:
        """The stored runs of jobs, newest first."""

    def get(self, id: int, /) -> JobRun | None:
        """The run with this number; None if the store has none."""


@dataclass(slots=True)
class RouteContext:
    """What routes may use of one running service.

    `bus` is the publisher of the message bus, or None; `bus_url` is the address for its subscribers. `lanes` executes
    jobs, and `job_runs` reads their stored runs; both are None without jobs. `refusal` is set on a read-only instance:
    it returns the reason why a request that would change something is refused. On a trading daemon it is None.
    """

    run: RunReader
    guard: Guard
    keys: Keys
    bus: "MqttBus | None" = None
    bus_url: str = ""
    lanes: "JobLanes | None" = None
    job_runs: RunsOfJobs | None = None
    refusal: Callable[[], str] | None = None
    streams: int = 0
    """Open streams of events, with the links of the dashboard."""
    server: web.Server | None = None
    """The server that listens; it answers the requests of a link. None before the start."""
    at_start: list[Callable[[], None]] = field(default_factory=list)
    """Functions of route groups that run once the server listens."""
    at_stop: list[Callable[[], None]] = field(default_factory=list)
    """Functions of route groups that run before the server closes its connections, in this order."""
    _explaining: "Explaining | None" = None

    def explaining(self) -> "Explaining":
        """Return the handler of the expensive reads (explanations, limits and plans), created at the first request."""
        if self._explaining is None:
            from quantd.server.api.routes.explanation_routes import Explaining

            self._explaining = Explaining(self.run.service, self.run.parts, self.run.folder)
            self.at_stop.append(self._explaining.close)
        return self._explaining


@dataclass(frozen=True, slots=True)
class RouteGroup:
    """One group of routes. Groups with a lower `order` come first.

    `open` makes what serves a running service, None for no routes: an object whose class has the handlers of `routes`.
    `calls` are the methods of the Python client that are more or fewer than one for each route.
    """

    name: str
    order: int
    open: Callable[[RouteContext], Any]
    routes: tuple[Route, ...] = ()
    calls: tuple[Call, ...] = ()


def route_groups() -> Mapping[str, RouteGroup]:
    return ordered(PACKAGES, RouteGroup, GROUP)


def client_calls() -> tuple[Call, ...]:
    """The methods of the client, in the order of their routes."""
    return tuple(
        call for group in route_groups().values()
        for call in (
            *(call_of(route) for route in group.routes if isinstance(route, Read | Post) and route.call), *group.calls,
        )
    )  # fmt: skip


def routes_of(opened: Mapping[str, Any], context: RouteContext) -> tuple[Route, ...]:
    """The routes of all groups, in order, with the handlers of what each group has `opened`, by its name.

    Raises FaultyRecord if two groups have the same route.
    """
    group_by_route: dict[tuple[str, str], str] = {}
    listed: list[Route] = []
    for name, serving in opened.items():
        for route in route_groups()[name].routes if serving is not None else ():
            if (first_group := group_by_route.setdefault((route.method, route.path), name)) != name:
                text = f"the routes {name}: {route.method} {route.path} is already a route of the group {first_group}"
                raise FaultyRecord(f"{text}; change one of the two paths, or uninstall the package of one group")
            handler: Any = partial(route.handler, serving)
            if not isinstance(route, Post):
                listed.append(replace(route, handler=handler))
            elif context.lanes is not None or not route.jobs:
                listed.append(replace(route, handler=handler, again=route.again and partial(route.again, serving)))
    return tuple(listed)
