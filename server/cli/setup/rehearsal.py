"""Rehearses the kill switch and the delivery of an alert on a temporary service, before money is at stake."""

import asyncio
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiomqtt import MqttError

from quantd.adapters.bus.embedded_broker import BrokerUnavailable, EmbeddedBroker
from quantd.adapters.bus.mqtt_client import BusClient
from quantd.adapters.bus.settings import Tls, address
from quantd.adapters.bus.topics import root
from quantd.adapters.store.handle import Store
from quantd.daemon.access.protection import bus_tls, embedded_settings
from quantd.daemon.assembly.job_records import JobContext
from quantd.daemon.assembly.parts import Parts, parts_of
from quantd.daemon.assembly.sinks import REHEARSAL, open_sinks, rehearsal
from quantd.daemon.config import Config, secret
from quantd.daemon.jobs.job_lanes import JobLanes, works_of
from quantd.daemon.monitoring.watchdog import watch_halt_file
from quantd.daemon.policies.isolation.worker import Apart
from quantd.daemon.recovery.start import begin
from quantd.daemon.recovery.stored_run import recover
from quantd.daemon.runtime.alert_filter import AlertFilter
from quantd.daemon.runtime.service import Service, reason_of
from quantd.risk.switch import HALT, RUN
from quantd.server.api.server import Api
from quantd.trading.display_text import endpoint_text

RUN_NAME: Final = REHEARSAL
WITHIN_S: Final = 10.0
"""Seconds within which the file HALT must halt the service, and a published alert must arrive."""

SINK_S: Final = 61.0
"""Seconds for a delivery: longer than every sink's own time-out, whose error names the reason."""

Post = Callable[[str, Mapping[str, object]], object]


@dataclass(frozen=True, slots=True)
class Tried:
    """One rehearsal of `what`: `failed` is the reason of its failure, empty on success; `ms` is its time in ms."""

    what: str
    failed: str
    ms: float


async def kill_switch(config: Config, post: Callable[[Path], Post]) -> list[Tried]:
    """Rehearse the kill switch: halt a service of this configuration through its API, then through the file HALT.

    The service runs in a temporary folder. `post(folder)` returns the function that sends a request to the daemon of a
    state folder. Raises ValueError unless the configuration has a simulated broker.
    """
    if config.broker.kind != "paper":
        raise ValueError(
            "broker.kind is not paper, and a rehearsal must send no order to a venue; set broker.kind=paper"
        )
    with tempfile.TemporaryDirectory(prefix="quantd-rehearsal-") as folder_name:
        folder = Path(folder_name)
        parts = parts_of(config, time.time_ns(), cache=folder / "cache", isolation=Apart(folder))
        with Store.open(folder) as store:
            async with serving(config, parts, store, folder, RUN_NAME, fresh=True) as (service, _):
                watching = asyncio.create_task(watch_halt_file(service))
                try:
                    return await _try_halts(service, folder, post(folder))
                finally:
                    watching.cancel()
                    await asyncio.gather(watching, return_exceptions=True)


@asynccontextmanager
async def serving(
    config: Config, parts: Parts, store: Store, folder: Path, run: str, *, fresh: bool, jobs: bool = False
) -> AsyncIterator[tuple[Service, Api]]:
    """Start a run on the store in a folder, with its API and without a bus; with `jobs` the API runs jobs.

    Yields the service, which steps, and the API. `fresh` is True for a new run. Raises CannotStart.
    """
    names = [rules.name for rules in parts.rules.agents]
    projection = store.begin(run, parts.universe, agents=names, mode=config.quantd.mode, ts=time.time_ns())
    shell, journal = recover(parts, store, run, folder)
    service = Service(
        shell, journal, store, projection, config=config, run=run, state_folder=folder,
        alerts=AlertFilter(("CRITICAL",), 60, "", "UTC"),  # at most 60 a minute, no quiet hours
    )  # fmt: skip
    begin(shell, parts, config, run, fresh=fresh)
    lanes = JobLanes(service, parts, works_of(JobContext(service, parts, folder, folder))) if jobs else None
    api = Api(service, parts, config, folder, None, "", lanes)
    await api.start()
    stepping = asyncio.create_task(service.step_forever())
    try:
        yield service, api
    finally:
        shell.stopped = "the trial is over"
        await asyncio.gather(stepping, return_exceptions=True)
        if service.deadline is not None:
            service.deadline.close()
        await api.stop()


async def _try_halts(service: Service, folder: Path, post: Post) -> list[Tried]:
    """Halt through the API, resume, and halt through the file; each halt with its time."""
    tried = []
    began = time.monotonic()
    try:
        await asyncio.to_thread(post, "/api/v1/commands", {"command": "halt", "reason": "rehearsal"})
        fault = "" if service.shell.state.switch.state == HALT else "the API accepted the halt, but nothing was halted"
        tried.append(Tried("API", fault, 1e3 * (time.monotonic() - began)))
        await asyncio.to_thread(post, "/api/v1/commands", {"command": "resume", "reason": "rehearsal"})
    except Exception as error:
        tried.append(Tried("API", f"{error}"[:300], 1e3 * (time.monotonic() - began)))
    if service.shell.state.switch.state != RUN:
        return [*tried, Tried("file HALT", "not tried: the switch did not return to RUN", 0.0)]
    began = time.monotonic()
    service.halt_file.touch()
    while service.shell.state.switch.state != HALT and time.monotonic() - began < WITHIN_S:
        await service.changed(0.05)
    fault = "" if service.shell.state.switch.state == HALT else f"nothing was halted in {WITHIN_S:g} s"
    return [*tried, Tried("file HALT", fault, 1e3 * (time.monotonic() - began))]


async def alert(config: Config) -> Tried:
    """Publish an alert on the configured bus and receive it. An embedded broker is started on a free port."""
    if config.bus.kind == "mqtt":
        host, port, secure = address(config.bus.url)
        login = config.bus.username, secret("mqtt_password") or ""
        return await _round_trip(config, host, port, login, login, bus_tls(config, secure))
    username, password = config.bus.username, secret("mqtt_password") or ""
    try:
        broker = EmbeddedBroker(embedded_settings(config, "127.0.0.1", 0))
        await asyncio.to_thread(broker.start)
    except BrokerUnavailable as error:
        return Tried("embedded broker", str(error), 0.0)
    try:
        return await _round_trip(
            # False: the address itself asks for no TLS
            config,
            broker.host,
            broker.port,
            broker.publisher,
            (username, password),
            bus_tls(config, False),
        )
    finally:
        await asyncio.to_thread(broker.stop)


async def deliveries(config: Config) -> list[Tried]:
    """Deliver an INFO alert of kind `rehearsal` to each sink of [alerts.sinks]."""
    test_alert, tried = rehearsal(config.quantd.name), []
    for kind, sink in open_sinks(config).items():
        fault, began = "", time.monotonic()
        try:
            async with asyncio.timeout(SINK_S):
                await sink.deliver(test_alert)
        except Exception as error:  # a sink of another package may raise any error
            fault = f"{kind}: {reason_of(error)}"
        finally:
            await sink.close()
        tried.append(Tried(kind, fault, 1e3 * (time.monotonic() - began)))
    return tried


async def _round_trip(
    config: Config, host: str, port: int, publisher: tuple[str, str], reader: tuple[str, str], tls: Tls | None
) -> Tried:
    """Publish an alert on the bus with the login `publisher`, and receive the alert with the login `reader`."""
    topic = f"{root(config.bus.prefix, config.quantd.name)}/alerts/INFO/rehearsal"
    broker_address, payload, began = endpoint_text(host, port), uuid.uuid4().hex.encode(), time.monotonic()

    def client(login: tuple[str, str]) -> BusClient:
        context = None if tls is None else tls.context()
        return BusClient(
            host, port, username=login[0] or None, password=login[1] or None, tls_context=context, timeout=WITHIN_S,
            protocol=config.bus.protocol,
        )  # fmt: skip

    try:
        async with asyncio.timeout(WITHIN_S), client(reader) as subscriber, client(publisher) as sender:
            await subscriber.subscribe(topic, qos=1)
            await sender.publish(topic, payload, qos=1)
            async for message in subscriber.messages:
                if message.payload == payload:
                    return Tried(broker_address, "", 1e3 * (time.monotonic() - began))
    except TimeoutError:
        return Tried(broker_address, f"the alert did not arrive within {WITHIN_S:g} s", 1e3 * WITHIN_S)
    except (MqttError, OSError) as error:
        return Tried(broker_address, f"the MQTT broker at {broker_address}: {error}", 1e3 * (time.monotonic() - began))
    return Tried(broker_address, "the MQTT broker closed the connection", 1e3 * (time.monotonic() - began))
