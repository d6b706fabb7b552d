"""The publisher: sends a durable outbox to an MQTT broker, at least once, and never delays trading.

A message stays in the outbox until the broker has acknowledged it. In doubt it is sent again with the same id. Retained
messages are states: every connection sends the newest of each topic again.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar
from typing import Protocol as Shape

from aiomqtt import MqttError, Will

from quantd.adapters.bus.mqtt_client import OTHER_VERSION, BusClient, Refused
from quantd.adapters.bus.settings import MqttSettings
from quantd.adapters.pace import back_off_s

T = TypeVar("T")

WINDOW: Final = 32
"""Maximum number of unacknowledged messages: one round trip carries a window, not one message."""

RETAINED: Final = 64
"""Maximum number of retained topics for the next connection; the daemon has four."""

TRANSIENT: Final = 16
"""Maximum number of transient messages queued during a window; older ones are dropped."""

COUNT_S: Final = 1.0
"""Seconds between counts of queued messages, while some are queued or the broker is unreachable."""

Outgoing = tuple[str, str, bytes, bool]
"""(id, topic, payload, retain)."""

log = logging.getLogger("quantd.bus")


class Outbox(Shape):
    """Messages queued for the broker, oldest first. One thread calls it, which is not the loop's."""

    def pending(self, limit: int) -> Sequence[Outgoing]:
        """Return at most `limit` messages that were not acknowledged."""

    def acknowledge(self, ids: Sequence[str]) -> None:
        """Record that the broker has these; the record is durable on return."""

    def depth(self) -> int:
        """Return the number of queued messages."""

    def dropped(self) -> int:
        """Return the number of messages dropped from a full queue."""


@dataclass(frozen=True, slots=True)
class Listen:
    """A topic to subscribe to. `received` takes (payload, retained) in the loop's thread, and must return at once."""

    topic: str
    received: Callable[[bytes, bool], None]


class OutboxFailed(Exception):
    """The outbox raised an error; its messages stay in it."""


class MqttBus:
    """One connection to a broker, maintained by `run`. All methods are called in the loop's thread and return at once.

    Counters are plain attributes: `online`, `queue_depth` (at most COUNT_S old), `sent`, `connections`, `last_error`,
    and `failures` (failed attempts and connections). `drops` are lost messages.
    """

    def __init__(self, settings: MqttSettings, outbox: Outbox, status_topic: str, offline: bytes) -> None:
        """`offline` is the last will, retained on `status_topic`: the broker publishes it after a lost connection."""
        self.listen: Listen | None = None
        """The subscription; set before `run`."""
        self.online = False
        self.queue_depth = 0
        self.sent = 0
        self.connections = 0
        self.failures = 0
        self.last_error = ""
        self._settings = settings
        self._tls = settings.tls.context() if settings.tls else None  # reads files: once, and early
        self._outbox = outbox
        self._status_topic = status_topic
        self._offline = offline
        self._retained: dict[str, bytes] = {}
        self._unsent: set[str] = set()
        self._transient: deque[tuple[str, bytes]] = deque()
        self._beat: tuple[str, bytes] | None = None
        self._given_up = 0
        self._gave_way = 0
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._last: bytes | None = None
        self._limit: asyncio.Timeout | None = None
        self._within_s = 0.0

    @property
    def drops(self) -> int:
        """Lost messages: refused by every broker, transient while offline, or dropped from a full outbox."""
        return self._given_up + self._gave_way

    @property
    def reconnects(self) -> int:
        """Connections after the first."""
        return max(0, self.connections - 1)

    def wake(self) -> None:
        """Signal that the outbox has new messages. From another thread: loop.call_soon_threadsafe(bus.wake)."""
        self._wake.set()

    def retain(self, topic: str, payload: bytes) -> None:
        """Publish the current state of a topic, at once or on the next connection, and after every reconnect."""
        if not topic or "+" in topic or "#" in topic:
            raise ValueError(f"{topic!r} is not a topic that can be published on")
        if topic not in self._retained and len(self._retained) >= RETAINED:
            raise ValueError(f"more than {RETAINED} retained topics; {topic} would be one too many")
        self._retained[topic] = payload
        self._unsent.add(topic)
        self._wake.set()

    def status(self, payload: bytes) -> None:
        """Publish the daemon's state, retained."""
        self.retain(self._status_topic, payload)

    def heartbeat(self, topic: str, payload: bytes) -> None:
        """Send a heartbeat only if online. A lost one is no loss, because the next one replaces it."""
        if self.online:
            self._beat = topic, payload
            self._wake.set()

    def transient(self, topic: str, payload: bytes) -> None:
        """Send at most once and only now; dropped and counted while offline."""
        if not self.online:
            self._given_up += 1
            return
        if len(self._transient) == TRANSIENT:
            self._transient.popleft()
            self._given_up += 1
        self._transient.append((topic, payload))
        self._wake.set()

    def stop(self, last: bytes, within_s: float = 3.0) -> None:
        """Let `run` send the queued messages, then `last` as the retained status, and end within `within_s`."""
        self._last = last
        self._within_s = within_s
        self._stopping.set()
        self._wake.set()
        if self._limit is not None:
            self._limit.reschedule(asyncio.get_running_loop().time() + within_s)

    async def run(self) -> None:
        """Maintain the connection and drain the outbox until `stop`. Only cancellation ends it early."""
        # One thread for the outbox: it may have a SQLite connection, and its commits must not delay the loop.
        with _Worker(1, "quantd-outbox") as worker:
            counting = asyncio.create_task(self._count(worker), name="outbox depth")
            try:
                async with asyncio.timeout(self._within_s if self._stopping.is_set() else None) as self._limit:
                    await self._keep_connected(worker)
            except TimeoutError:
                log.warning("the MQTT broker did not take the last messages in time; they wait in the outbox")
            finally:
                counting.cancel()
                self.online = False

    async def _count(self, worker: "_Worker") -> None:
        """Update `queue_depth` while the broker is unreachable or does not answer."""
        while True:
            if self.queue_depth or not self.online:
                with contextlib.suppress(OutboxFailed):  # the sender reports the failure
                    self.queue_depth = await worker.call(self._outbox.depth)
                    self._gave_way = await worker.call(self._outbox.dropped)
            await asyncio.sleep(COUNT_S)

    async def _keep_connected(self, worker: "_Worker") -> None:
        failed = 0
        while True:
            before = self.connections
            try:
                await self._connection(worker)
                return
            except* (MqttError, OSError) as group:
                why = self._why(_first(group), entered=self.connections > before)
                self._note(f"{self._settings.host}:{self._settings.port}: {why}")
            finally:
                self.online = False
            self.failures += 1
            if self._stopping.is_set():
                return
            failed = 1 if self.connections > before else failed + 1
            await self._pause(failed)

    async def _pause(self, failed: int) -> None:
        """Wait after failures; `stop` ends the wait."""
        wait_s = back_off_s(failed, self._settings.retry_first_s, self._settings.retry_most_s)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._stopping.wait()

    def _note(self, text: str) -> None:
        """Log one line for each new reason, so that a long outage does not fill the log."""
        if text != self.last_error:
            log.warning("MQTT %s; trading goes on, messages wait", text)
        self.last_error = text

    def _why(self, error: BaseException, *, entered: bool) -> str:
        """Return the reason as text, with the configuration line that reaches a broker of another version."""
        if OTHER_VERSION in str(error):
            return f'{error}; write [bus] protocol = "3.1.1"'
        if not entered and self._settings.protocol == "3.1.1" and "timed out" in str(error):
            # such a broker refuses our version before the client reads
            return f'{error}; to a broker that speaks MQTT 5 alone write [bus] protocol = "5"'
        return str(error)

    def _client(self) -> BusClient:
        s = self._settings
        client = BusClient(
            s.host,
            s.port,
            username=s.username or None,
            password=s.password or None,
            identifier=s.client_id or None,
            will=Will(self._status_topic, self._offline, qos=1, retain=True),
            tls_context=self._tls,
            timeout=s.connect_s,  # aiomqtt does not detect a connection lost before it is accepted
            keepalive=s.keepalive_s,
            max_queued_incoming_messages=WINDOW,
            protocol=s.protocol,
            window=WINDOW,
        )
        client.pending_calls_threshold = 2 * WINDOW
        return client

    async def _connection(self, worker: "_Worker") -> None:
        """Run one connection. Returns after a clean stop, and raises when the connection is lost."""
        async with _entered(self._client()) as client:
            client.timeout = self._settings.answer_s
            self.connections += 1
            self.online = True
            if self.last_error:
                log.info("MQTT broker %s:%d is back", self._settings.host, self._settings.port)
                self.last_error = ""
            self._unsent = set(self._retained)
            self._wake.set()
            try:
                async with asyncio.TaskGroup() as tasks:
                    watch = tasks.create_task(_hear(client, self.listen))
                    await self._publish(client, worker)
                    watch.cancel()
            except BaseException:
                # A crash of the daemon ends here with a clean disconnect, which makes the broker discard the last will.
                # The offline status is therefore published first.
                with contextlib.suppress(MqttError, Refused):
                    await client.publish(self._status_topic, self._offline, qos=0, retain=True, timeout=1.0)
                raise

    async def _publish(self, client: BusClient, worker: "_Worker") -> None:
        while not self._stopping.is_set():
            await self._wake.wait()
            self._wake.clear()
            await self._send_states(client)
            try:
                await self._drain(client, worker)
            except OutboxFailed as why:  # the store reports this itself; the bus must survive it
                self.failures += 1
                self._note(f"outbox: {why}")
                await self._pause(1)
                self._wake.set()
        with contextlib.suppress(TimeoutError, OutboxFailed):
            async with asyncio.timeout(self._within_s / 2):  # the other half of the time is for the last status
                await self._drain(client, worker)
                await self._send_states(client)
        if self._last is not None:
            await self._say(client, self._status_topic, self._last, qos=1, retain=True)

    async def _say(self, client: BusClient, topic: str, payload: bytes, qos: int = 0, retain: bool = False) -> None:
        """Publish a message outside the outbox. A refusal is logged, and other messages continue."""
        try:
            await client.publish(topic, payload, qos=qos, retain=retain)
        except Refused as why:
            self._given_up += 1
            log.error("MQTT: %s", why)

    async def _send_states(self, client: BusClient) -> None:
        while self._unsent:
            topic = min(self._unsent, key=lambda t: t != self._status_topic)  # the status goes first
            payload = self._retained[topic]
            await self._say(client, topic, payload, qos=1, retain=True)
            if self._retained[topic] is payload:
                self._unsent.discard(topic)

    async def _drain(self, client: BusClient, worker: "_Worker") -> None:
        """Send windows until the outbox is empty, with states and heartbeats between them."""
        while True:
            while self._transient:
                await self._say(client, *self._transient.popleft())
            if self._beat is not None:
                beat, self._beat = self._beat, None
                await self._say(client, *beat)
            await self._send_states(client)
            batch = await worker.call(partial(self._outbox.pending, WINDOW))
            self.queue_depth = await worker.call(self._outbox.depth) if len(batch) == WINDOW else len(batch)
            if not batch:
                return
            answers = await asyncio.gather(
                *(client.publish(topic, payload, qos=1, retain=retain) for _, topic, payload, retain in batch),
                return_exceptions=True,
            )
            await self._settle(batch, answers, worker)

    async def _settle(
        self, batch: Sequence[Outgoing], answers: Sequence[BaseException | None], worker: "_Worker"
    ) -> None:
        """Acknowledge delivered messages and permanently refused ones. Raises the first other failure."""
        done: list[str] = []
        failure: BaseException | None = None
        for (id, topic, payload, retain), answer in zip(batch, answers, strict=True):
            if answer is None:
                done.append(id)
                self.sent += 1
                if retain and (topic in self._retained or len(self._retained) < RETAINED):
                    self._retained[topic] = payload
            elif isinstance(
                answer, ValueError
            ):  # invalid for MQTT or refused by this broker: it would block the others
                done.append(id)
                self._given_up += 1
                log.error("message %s cannot be sent over MQTT and was dropped: %s", id, answer)
            else:
                failure = failure or answer
        if done:
            await worker.call(partial(self._outbox.acknowledge, done))
            self.queue_depth = max(0, self.queue_depth - len(done))
        if failure is not None:
            raise failure


@contextlib.asynccontextmanager
async def _entered(client: BusClient) -> AsyncIterator[BusClient]:
    """Enter the client. aiomqtt leaves the socket of a failed attempt open, and the broker may still answer it."""
    try:
        await client.__aenter__()
    except BaseException:
        client._client.disconnect()
        raise
    try:
        yield client
    finally:
        await client.__aexit__(None, None, None)


async def _hear(client: BusClient, listen: Listen | None) -> None:
    """Pass on the subscribed messages and discard the rest. The read also detects a lost connection at once."""
    if listen is not None and not await client.hear(listen.topic):
        log.error("the MQTT broker does not let us read %s; commands over MQTT do not arrive", listen.topic)
    async for message in client.messages:
        if listen is not None and message.topic.value == listen.topic and isinstance(message.payload, bytes):
            listen.received(message.payload, bool(message.retain))


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


class _Worker(ThreadPoolExecutor):
    """A thread for blocking calls. A cancelled call still runs to its end; `with` does not wait for it."""

    def __exit__(self, *_: object) -> None:
        self.shutdown(wait=False, cancel_futures=True)

    async def call(self, function: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self, function)
        except Exception as why:
            raise OutboxFailed(f"{type(why).__name__}: {why}") from why
