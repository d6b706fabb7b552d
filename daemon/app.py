"""Runs the daemon: opens the store, recovers the run, and runs the loop and all edges in one TaskGroup.

The edges, services around the loop such as the API and the bus, are records in `quantd.daemon.edges`. So this module
imports neither the server nor the commands.
"""

import asyncio
import gc
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import structlog

from quantd.adapters.brokers.venue_errors import VenueError
from quantd.adapters.bus.embedded_broker import BrokerUnavailable, EmbeddedBroker
from quantd.adapters.bus.entry_messages import EntryComposer
from quantd.adapters.bus.messages import Composer, Message
from quantd.adapters.bus.outbox import Lanes, QueuedEntry, StoredAlerts
from quantd.adapters.bus.payloads import Alert, StatusState
from quantd.adapters.bus.publisher import MqttBus
from quantd.adapters.bus.settings import MqttSettings, address
from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.source import SourceError
from quantd.adapters.feeds.table_files.statement import stated
from quantd.adapters.listener import FEWEST_DESCRIPTORS, descriptors
from quantd.adapters.store.handle import Store
from quantd.adapters.store.queries import Reader
from quantd.adapters.store.store_errors import StoreDamaged
from quantd.adapters.store.tables.projection import Projection
from quantd.adapters.store.tables.revision import REVISION
from quantd.adapters.store.upkeep.backup import before_upgrade
from quantd.daemon.access.api_token import Insecure, tighten
from quantd.daemon.access.protection import (
    bus_tls,
    command_key,
    embedded_settings,
    secrets_mistakes,
    unenforced,
)
from quantd.daemon.assembly.names import known_names, mistakes_of
from quantd.daemon.assembly.parts import Parts, parts_of
from quantd.daemon.config import Config, ConfigError, load, secret, store_url
from quantd.daemon.edges.bus_edge import command_topic
from quantd.daemon.edges.edge_records import Edge, EdgeContext, OpenEdge, Until, edges
from quantd.daemon.jobs.alert_delivery import LAST_S, Delivery
from quantd.daemon.jobs.supervision import kept_up
from quantd.daemon.live.connect import Reach, account_of, reach
from quantd.daemon.live.permission import refusal
from quantd.daemon.live.session import Aside, Outside
from quantd.daemon.monitoring.signals import KillSignal
from quantd.daemon.policies.composed import left_out
from quantd.daemon.policies.deadline import Deadline
from quantd.daemon.policies.isolation.worker import Apart, lacking, unreadable
from quantd.daemon.recovery.continuation import (
    CLOSES,
    MOVES,
    SCHEDULES,
    carried_from,
    carried_limits,
    connected_to,
)
from quantd.daemon.recovery.replay import save_config
from quantd.daemon.recovery.start import begin
from quantd.daemon.recovery.stored_run import (
    CannotStart,
    recover,
    refuse_damaged,
    this_run,
    with_record,
    without_effect,
)
from quantd.daemon.recovery.tightening import last_live, limits_of, loosened
from quantd.daemon.runtime.alert_filter import filter_of
from quantd.daemon.runtime.committed_folds import BatchMessages, sent_by
from quantd.daemon.runtime.journal import Journal
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.runtime.recent_history import Histories
from quantd.daemon.runtime.service import Service
from quantd.daemon.runtime.version import VERSION
from quantd.daemon.views.run_summary import Summary, summary
from quantd.risk.limits.catalogue import REASON_NAMES
from quantd.trading.display_text import endpoint_text
from quantd.trading.exit_codes import CHECK_FAILED

log = structlog.get_logger("quantd")

STOP, DELIVERED, OVER = Until.STOP, Until.DELIVERED, Until.OVER


class BeginAnew(Exception):
    """The daemon stopped to continue with another universe, other agents or another calendar.

    The program then restarts with --carry, which moves the account into the new run.
    """


@dataclass(frozen=True, slots=True)
class Options:
    """The command-line options of `quantd run`."""

    config: Path
    state: Path | None = None
    sets: tuple[str, ...] = ()
    fresh: bool = False
    carry: bool = False
    live: bool = False
    loosen: bool = False
    adopt: str = ""
    quiet: bool = False
    environ: dict[str, str] = field(default_factory=dict)
    began: Callable[[Callable[[], str]], None] = lambda link: None
    """Called once the page is served, with the maker of one-time links to it."""


def read_config(options: Options) -> Config:
    """Return the configuration with its overrides. Raises ConfigError with all mistakes."""
    config = load(options.config, known_names(), environ=options.environ, sets=options.sets)
    mistakes = [*mistakes_of(config), *(config.missing_files() or unenforced(config))]
    if mistakes:
        raise ConfigError(mistakes)
    return config.in_state(options.state, options.environ)


def _describe(config: Config, parts: Parts) -> None:
    """Log what an operator must know of a run.

    These are policies that are weakly isolated or cannot read a file, features that no policy gets, and how tables of
    bars in other formats were read.
    """
    for worker, rights in lacking(parts.policies):
        log.warning("policy.not_isolated", policy=worker, missing=rights, see="docs/operate/security.md")
    for worker, text in unreadable(parts.policies):
        log.warning("policy.unreadable", policy=worker, found=text, see="docs/operate/security.md")
    for agent, features in left_out(config.seats, parts.policies):
        log.warning("features.left_out", agent=agent, features=features, why="use = false in [feed] series")
    for line in stated(parts.statements):
        log.info("bars.read_as", table=line)


# Long because the order is the guarantee: settings are refused before the store is opened, the run is recorded before
# its venue is reached, and at the end the venue is left before the broker of the bus stops.
async def serve(
    config: Config, options: Options, *, find: Reach = reach, now: Callable[[], int] = time.time_ns
) -> Summary:
    """Run the daemon until it is stopped; returns the summary of the run.

    `find` gives the feed and the venue of a live run, `now` is its clock (ns UTC). Raises CannotStart and ConfigError.
    Raises BeginAnew after a command that ended the run for a new one.
    """
    folder, config = config.state_folder(options.state), config.in_state(options.state, options.environ)
    if missing := refusal(config, folder, options.live):
        raise CannotStart(missing)
    if mistakes := secrets_mistakes(config):
        raise ConfigError(mistakes)
    key, _ = command_key(config)
    records = edges()
    if (descriptor_count := descriptors()) < FEWEST_DESCRIPTORS:
        text = f"this process may open {descriptor_count} files; store, venue and API need {FEWEST_DESCRIPTORS}"
        raise CannotStart(f"{text}. Raise the limit: ulimit -n 1024, or LimitNOFILE=1024 in the unit file.")
    try:
        for text in tighten(folder, config.api.tokens):
            remedy = "it is changed now; make a new token if others may have read it"
            log.warning("state.tightened", found=text, remedy=remedy)
    except Insecure as error:
        raise CannotStart(str(error)) from error
    kill_signal = KillSignal()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, kill_signal.pull)
    parts = parts_of(config, now(), cache=folder / "cache", isolation=Apart(folder))
    _describe(config, parts)
    where: str | Path = store_url(config.store.url) or folder
    with opened_store(config, where, folder) as store:
        refuse_damaged(store)
        parts = parts if options.fresh else with_record(parts, store)
        run = this_run(parts, store, fresh=options.fresh, carry=options.carry)
        names = [a.name for a in parts.rules.agents]
        projection = store.begin(run, parts.universe, agents=names, mode=config.quantd.mode, ts=now())
        try:
            shell, journal = recover(parts, store, run, folder)
        except StoreDamaged as error:
            raise CannotStart(str(error), CHECK_FAILED) from error
        fresh = journal.seq == 0
        pending = shell.state.loosening.limits if shell.state.loosening is not None else b""
        before = carried_limits(store, run) if fresh else limits_of(shell.state)
        mistakes = without_effect(store, run, folder, config, shell.config)
        if mistakes := [*mistakes, *(() if options.loosen else loosened(before, parts.rules, config, pending))]:
            raise ConfigError(mistakes)
        before = (last_live(store, run) if config.quantd.mode == "live" else before) if fresh else None
        aside = begin(shell, parts, config, run, fresh=fresh, carried=carried_from(parts, store, run), before=before)
        outside = await reached(parts, store, shell, run, folder, find, now, options.adopt) if parts.live else None
        broker = start_broker(config)
        try:
            around = Edges(config, parts, store, shell, run, broker, folder, where, outside)
            service = around.service(journal, projection)
            save_config(folder, config, options.config, options.sets, options.environ)
            service.quarantine = aside
            if outside is not None:
                outside.attach(service)
            bars = shell.tally.symbol_bars
            kill_signal.attach(service)
            # the objects of the start stay: each collection of them would delay the loop by 0.1 s and more
            gc.freeze()
            await around.keep(service, options, key, records)
        finally:
            gc.unfreeze()
            if isinstance(shell.meanwhile, Deadline):  # a program that restarts would keep its children
                await asyncio.to_thread(shell.meanwhile.close)
            if outside is not None:
                await outside.leave()
            if broker is not None:
                await asyncio.to_thread(broker.stop)
    if shell.stopped in (MOVES, CLOSES, SCHEDULES):
        raise BeginAnew
    return summary(shell, run, config.quantd.mode, service.busy_s, bars)


def opened_store(config: Config, where: str | Path, folder: Path) -> Store:
    """Open the store for a daemon, and take the lease on its account. An older store is backed up, then upgraded."""
    account, lease_s = account_of(config), config.store.lease_ns / 1e9
    holder = config.quantd.name
    store = Store.open(where, state=folder, account=account, holder=holder, lease_s=lease_s, save=before_upgrade)
    if store.saved is not None:
        log.warning("store.upgraded", revision=REVISION, backup=str(store.saved))
    return store


async def reached(
    parts: Parts,
    store: Store,
    shell: Shell,
    run: str,
    folder: Path,
    find: Reach,
    now: Callable[[], int],
    adopt: str = "",
) -> Outside:
    """Return the connected feed and venue of a live run, which `find` makes.

    `aside` collects quarantined bars, `leads` tells whether this daemon still holds the account's lease, and `began` is
    the first start of the run (ns UTC). A first start gives the venue's positions to the agent `adopt`. Raises
    CannotStart where the feed or the venue refuses or does not answer.
    """
    began = next((row.ts for row in store.runs() if row.run == run), parts.start_ns)
    aside = Aside()
    outside: Outside | None = None
    try:
        feed, venue = find(parts, run, folder, aside, now)
        outside = Outside(
            parts, feed, venue, began=began, leads=store.lease.valid, aside=aside, now=now, adopt=adopt,
            kept=connected_to(store, run),
        )  # fmt: skip
        await outside.open(shell)
        store.note_identity(run, outside.identity())
    except (VenueError, SourceError, FeedError) as error:
        raise CannotStart(str(error)) from error
    except ConnectionError as error:
        # 75 is the exit code TRY_LATER
        raise CannotStart(f"{error}. Nothing was traded; try again when the venue answers.", 75) from error
    finally:
        if outside is not None and not outside.opened:
            await outside.leave()
    return outside


class Edges:
    """The message bus of one run, and the functions that open, start and close the edges (services around the loop)."""

    def __init__(
        self,
        config: Config,
        parts: Parts,
        store: Store,
        shell: Shell,
        run: str,
        broker: EmbeddedBroker | None,
        folder: Path,
        where: str | Path,
        outside: Outside | None = None,
    ) -> None:
        """`folder` is the state folder, `where` the folder of the store or its URL.

        The composer writes the messages of the run, which wait in `lanes` until the bus (MQTT) publishes them.
        """
        state = shell.state
        # -1 is the house, k the agent with this index
        switch = {-1: state.switch.state, **{k: a.switch.state for k, a in enumerate(state.agents)}}
        self.config, self.parts, self.store, self.shell, self.run = config, parts, store, shell, run
        self.folder, self.where, self.outside = folder, where, outside
        self.composer = Composer(
            run,
            config.quantd.name,
            parts.universe,
            [a.name for a in parts.rules.agents],
            prefix=config.bus.prefix,
            reasons=REASON_NAMES,
            switch=switch,
        )
        self.histories = Histories(config.risk.history)
        self.histories.read(Reader.open(where, run))
        entries = EntryComposer(self.composer, sent_by(store, run))
        self.lanes = Lanes(StoredAlerts(store, self.composer), entries.messages)
        self.bus = make_bus(config, self.lanes, self.composer, broker)
        self.bus_url = bus_url(config, broker)
        self.deliveries: list[Delivery] = []

    def published(self, states: Sequence[Message], entries: Sequence[QueuedEntry]) -> None:
        """Publish the retained messages `states`, and queue the messages about committed journal entries.

        Alerts are published from the store.
        """
        for state in states:
            self.bus.retain(state.topic, state.payload)
        if entries:
            self.lanes.add(entries)
        self.bus.wake()

    def urgent(self, message: Message) -> None:
        """Publish an alert while the store fails: its message waits in memory for the broker and the sinks
        (receivers)."""
        self.lanes.put(message)
        self.bus.wake()
        for delivery in self.deliveries:
            delivery.urgent(msgspec.json.decode(message.payload, type=Alert))

    def service(self, journal: Journal, projection: Projection) -> Service:
        """Make the service that runs the loop of this run."""
        service = Service(
            self.shell,
            journal,
            self.store,
            projection,
            config=self.config,
            run=self.run,
            state_folder=self.folder,
            alerts=filter_of(self.config.alerts),
            messages=BatchMessages(self.composer, self.published, self.urgent),
            histories=self.histories,
        )
        self.bus.undeliverable = service.alert
        return service

    def status(self, state: StatusState, text: str) -> bytes:
        """Return the retained MQTT message with the status of the daemon, `state`, and its `text`."""
        mode = self.config.quantd.mode
        return self.composer.status(state, time.time_ns(), mode=mode, version=VERSION, text=text).payload

    async def keep(self, service: Service, options: Options, key: str, records: Mapping[str, Edge]) -> None:
        """Run the loop until a stop, with the tasks of all edges (services around it) in one TaskGroup.

        After the loop the tasks end in three groups: those of the stage STOP are cancelled, those of DELIVERED have
        LAST_S seconds, and those of OVER end by themselves after `last` of each edge, which sends the last messages.
        `key` signs commands over MQTT; it is empty without such commands.
        """
        context = EdgeContext(
            service, self.parts, self.config, self.folder, self.where, self.bus, self.bus_url, self.composer,
            self.lanes, self.status, lambda: read_config(options), options.began, key, options.sets, options.quiet,
            self.outside, deliveries=self.deliveries,
        )  # fmt: skip
        opened: list[OpenEdge] = []
        try:
            for record in records.values():
                if (edge := record.open(context)) is not None:
                    opened.append(edge)
            for edge in opened:
                await edge.start()
            async with asyncio.TaskGroup() as group:
                tasks = {until: begun(service, opened, group, until) for until in (DELIVERED, OVER, STOP)}
                await service.step_forever()
                for edge in reversed(opened):
                    await edge.stopping()
                for task in tasks[STOP]:
                    task.cancel()
                if tasks[DELIVERED]:
                    _, late = await asyncio.wait(tasks[DELIVERED], timeout=LAST_S)
                    for task in late:
                        task.cancel()
                for edge in opened:
                    edge.last()
                await asyncio.wait(tasks[OVER])  # the tasks end after their last messages and jobs
        finally:
            for edge in opened:
                await edge.close()


def begun(
    service: Service, opened: Sequence[OpenEdge], group: asyncio.TaskGroup, until: Until
) -> list[asyncio.Task[None]]:
    """Start the tasks of the `opened` edges (services around the loop) that end at the stage `until`; return the tasks.

    The tasks start in the order of the edges. The caller starts the tasks that end at STOP last: then each edge may
    also add tasks of its own to the group (`begin`).
    """
    tasks = []
    for edge in opened:
        for task in edge.tasks:
            if task.until is until:
                run = kept_up(service, task.name, task.run) if task.restarted else task.run()
                tasks.append(group.create_task(run, name=task.name))
        if until is STOP:
            edge.begin(group)
    return tasks


def start_broker(config: Config) -> EmbeddedBroker | None:
    """Return the embedded MQTT broker, if configured. Raises CannotStart when its port is in use."""
    if config.bus.kind != "embedded":
        return None
    topic = command_topic(config) if config.bus.commands else ""
    broker = EmbeddedBroker(embedded_settings(config, config.bus.host, config.bus.port, topic))
    try:
        broker.start()
    except BrokerUnavailable as error:
        raise CannotStart(str(error)) from error
    return broker


def make_bus(config: Config, lanes: Lanes, composer: Composer, broker: EmbeddedBroker | None) -> MqttBus:
    """Return the MQTT publisher for the embedded broker or for the external broker at [bus] url."""
    # the last will, which the MQTT broker publishes when the connection of the daemon breaks
    offline = composer.status("offline", time.time_ns(), mode=config.quantd.mode, version=VERSION)
    if broker is not None:
        username, password = broker.publisher
        tls = bus_tls(config, secure=False)
        settings = MqttSettings(broker.host, broker.port, "quantd", username, password, tls)
    else:
        host, port, secure = address(config.bus.url)
        client, password = f"quantd-{config.quantd.name}", secret("mqtt_password") or ""
        tls = bus_tls(config, secure)
        settings = MqttSettings(host, port, client, config.bus.username, password, tls, config.bus.protocol)
    return MqttBus(settings, lanes, offline.topic, offline.payload)


def bus_url(config: Config, broker: EmbeddedBroker | None) -> str:
    """Return the MQTT URL at which clients subscribe to the messages of this run."""
    host, port, secure = address(config.bus.url) if broker is None else (broker.host, broker.port, False)
    return f"mqtt{'s' if secure or config.bus.tls is not None else ''}://{endpoint_text(host, port)}"
