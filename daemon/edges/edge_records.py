"""Edges as records, found by name: what `quantd.daemon.app` opens around the loop of a run, and how it ends.

What can go wrong, and the order that prevents it:

- An alert of the first step is lost if nothing listens to commits yet. Therefore all edges are *opened*, in the order
  of their records, before one task of them runs. Whoever subscribes to commits does so while it is opened.
- A client sees the address of the API before the API answers, or a daemon trades although its port is in use. Therefore
  `start` is awaited for each edge before the first task. If one fails, nothing was stepped, and all are closed.
- A HALT file must apply to the first bar. Therefore tasks begin in the order of their edges, and the feed is late.
- The last alerts and the status "stopped" must reach their receivers. Therefore a stop has four stages. First each edge
  is told by `stopping`, the last one first: systemd hears of the stop before the orders of a venue are cancelled. Then
  tasks that last until the STOP are cancelled. Then tasks that are DELIVERED by then have `LAST_S` seconds. Then `last`
  is called, with which the bus takes the status as its last message, and the tasks that are OVER by themselves end.
- A fault of one edge must not keep another open. `close` is awaited for each that was opened, the first one first: the
  API stops before the sinks of alerts close, because a request may still raise an alert.

Rejected: closing in the reverse order, as a stack does. The bus, which is opened first, has to outlive the alerts, but
nothing of it needs the API. Rejected too: a class for edges with methods to override. Half of the edges are one task.

An edge knows no other one. What one makes for others is of the context: the runners of jobs, the page of the API, the
deliveries of alerts.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from quantd.adapters.plugins import ordered

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

PACKAGES: Final = ("quantd.daemon.edges", "quantd.server.api", "quantd.server.requests")
"""The packages of quantd whose modules are searched for edges."""

GROUP: Final = "quantd.edges"
"""The entry-point group of installed packages with an edge."""


class Until(Enum):
    """When a task of an edge ends."""

    STOP = "cancelled once the loop has stepped its last event"
    DELIVERED = "cancelled if it has not ended within LAST_S of that"
    OVER = "ends by itself after its last work"


@dataclass(frozen=True, slots=True)
class EdgeTask:
    """A task beside the loop. With `restarted` a failure is an alert, and the task begins again after a pause.

    A task that is not restarted ends the daemon by its failure.
    """

    name: str
    run: Callable[[], Coroutine[Any, Any, None]]
    until: Until = Until.STOP
    restarted: bool = True


async def nothing() -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class OpenEdge:
    """An edge that is open for one run: its tasks, and what it does at each stage of a run and of its stop."""

    tasks: Sequence[EdgeTask] = ()
    start: Callable[[], Awaitable[None]] = nothing
    begin: Callable[[asyncio.TaskGroup], None] = lambda tasks: None
    """Called with the group of all tasks, after those of earlier edges have begun."""
    stopping: Callable[[], Awaitable[None]] = nothing
    last: Callable[[], None] = lambda: None
    close: Callable[[], Awaitable[None]] = nothing


class Page(Protocol):
    """The pages of the API: their address, and the maker of one-time links."""

    url: str

    def link(self) -> str:
        """A one-time link to the page."""
        ...


@dataclass(slots=True)
class EdgeContext:
    """The parts of one run that edges may use.

    `folder` is the state folder, `store` the folder again or a URL, `sets` are overrides of the configuration. `key` is
    that of commands over MQTT, empty without them. `read` reads the configuration again, `began` gets the maker of
    links to the page, `status` makes a retained status message. `outside` is the feed and venue of a live run.
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
    """One edge. `order` is its place when edges open, begin and close; `open` returns None where a run has none."""

    name: str
    order: int
    open: Callable[[EdgeContext], OpenEdge | None]


def edges() -> Mapping[str, Edge]:
    """Every edge by its name, in order."""
    return ordered(PACKAGES, Edge, GROUP)
