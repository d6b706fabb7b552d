"""Edges as records, found by name. An edge is a service around the loop of a run: bus, API, feed, jobs, watchdog.

`quantd.daemon.app` opens the edges of a run, starts their tasks and closes them. What can go wrong, and the order that
prevents it:

- An alert of the first step is lost if nothing listens to commits yet. So all edges are *opened*, in the order of their
  records, before a task of any edge runs. An edge subscribes to commits while it is opened.
- A client sees the address of the API before the API answers, or a daemon trades although its port is in use. So
  `start` is awaited for each edge before the first task. If a `start` fails, no event was processed, and all edges are
  closed.
- The first bar is processed before an existing HALT file is noticed. So tasks begin in the order of their edges, and
  the feed is one of the last.
- The last alerts or the status "stopped" do not reach their receivers. So a stop has four stages:
  1. `stopping` of each edge is awaited, the last edge first: systemd is notified before orders are cancelled.
  2. Tasks with `Until.STOP` are cancelled.
  3. Tasks with `Until.DELIVERED` have `LAST_S` seconds to end.
  4. `last` of each edge is called, which gives the bus its last message. Tasks with `Until.OVER` then end.
- A fault while one edge closes keeps another edge open. So `close` is awaited for each opened edge, the first edge
  first: the API closes before the sinks of alerts, because a request may still raise an alert.

Rejected: closing in the reverse order, as a stack does. The bus is opened first and has to outlive the alerts, but it
does not need the API. Rejected too: a class for edges with methods to override. Half of the edges are one task.

No edge refers to another edge. Objects that other edges use are in the context: the runners of jobs, the page of the
API, the deliveries of alerts.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from quantd.records import ordered

if TYPE_CHECKING:
    from quantd.adapters.bus.messages import Composer
    from quantd.adapters.bus.outbox import Lanes
    from quantd.adapters.bus.payloads import StatusState
    from quantd.adapters.bus.publisher import MqttBus
    from quantd.daemon.assembly.parts import Parts
    from quantd.daemon.config import Config
    from quantd.daemon.jobs.alert_delivery import Delivery
    from quantd.daemon.jobs.job_lanes import JobLanes
    from quantd.daemon.live.session import Outside
    from quantd.daemon.runtime.service import Service

PACKAGES: Final = (
    "quantd.daemon.edges", "quantd.server.api.api_edge", "quantd.server.gateway.gateway_edge",
    "quantd.server.requests.mqtt_edge", "quantd.server.api.telegram_chat", "quantd.server.requests.ntfy_presses",
)  # fmt: skip
"""The packages and modules of quantd with edges."""

GROUP: Final = "quantd.edges"
"""The entry-point group of installed packages with an edge."""


class Until(Enum):
    """When a task of an edge, a service around the trading loop, ends."""

    STOP = "cancelled once the loop has stepped its last event"
    DELIVERED = "cancelled if it has not ended within LAST_S of that"
    OVER = "ends by itself after its last work"


@dataclass(frozen=True, slots=True)
class EdgeTask:
    """A task beside the loop. With `restarted`, a failure raises an alert and the task is started again after a pause.

    The failure of a task without `restarted` ends the daemon.
    """

    name: str
    run: Callable[[], Coroutine[Any, Any, None]]
    until: Until = Until.STOP
    restarted: bool = True


async def nothing() -> None:
    """Do nothing: the default of the functions of an edge (service beside the loop)."""


@dataclass(frozen=True, slots=True)
class OpenEdge:
    """An edge (service beside the loop) that is open for one run: its tasks, and the functions for each stage of the
    run and of its stop."""

    tasks: Sequence[EdgeTask] = ()
    start: Callable[[], Awaitable[None]] = nothing
    begin: Callable[[asyncio.TaskGroup], None] = lambda tasks: None
    """Called with the group of all tasks, after the tasks of earlier edges have begun."""
    stopping: Callable[[], Awaitable[None]] = nothing
    last: Callable[[], None] = lambda: None
    close: Callable[[], Awaitable[None]] = nothing


class Page(Protocol):
    """The web pages of the API: their address, and the maker of one-time links."""

    url: str

    def link(self) -> str: ...


@dataclass(slots=True)
class EdgeContext:
    """The parts of one run that edges (services beside the loop) may use.

    `folder` is the state folder, `store` the state folder or a URL, `sets` are overrides of the configuration. `key`
    signs commands over MQTT; it is empty if they are off. `read` reads the configuration again. `began` is called with
    the function that makes links to the page. `status` makes a retained status message. `outside` is the feed and venue
    of a live run.
    """

    service: "Service"
    parts: "Parts"
    config: "Config"
    folder: Path
    store: str | Path
    bus: "MqttBus"
    bus_url: str
    composer: "Composer"
    outbox: "Lanes"
    status: "Callable[[StatusState, str], bytes]"
    read: "Callable[[], Config]"
    began: Callable[[Callable[[], str]], None]
    key: str = ""
    sets: tuple[str, ...] = ()
    quiet: bool = False
    outside: "Outside | None" = None
    jobs: "JobLanes | None" = None
    page: Page | None = None
    deliveries: "list[Delivery]" = field(default_factory=list)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the account is reconciled."""


@dataclass(frozen=True, slots=True)
class Edge:
    """One edge, a service beside the loop. Edges with a lower `order` open, begin and close first; `open` returns None
    if a run needs none."""

    name: str
    order: int
    open: Callable[[EdgeContext], OpenEdge | None]


def edges() -> Mapping[str, Edge]:
    """Return every edge (service around the trading loop) by its name, in the order in which edges open."""
    return ordered(PACKAGES, Edge, GROUP)
