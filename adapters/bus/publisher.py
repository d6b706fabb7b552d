"""The publisher: sends a durable outbox to an MQTT broker, at least once, and never delays trading.

A message stays in the outbox until the broker has acknowledged it. Without an acknowledgement it is sent again with the
same id. Retained messages are current states: after each connection, the newest message of each retained topic is sent
again. A message that the broker never accepts is set aside with an alert, and other messages continue (`suspects`).
Pauses between attempts to connect grow; the pauses start anew after a connection that lasted longer than the longest
pause.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import Final, TypeVar
from typing import Protocol as Shape

from aiomqtt import MqttError, Will

from quantd.adapters.bus.mqtt_client import OTHER_VERSION, BusClient, Refused
from quantd.adapters.bus.settings import MqttSettings
from quantd.adapters.bus.suspects import REFUSED_S, TRIES, Sent, Suspects
from quantd.adapters.pace import back_off_s
from quantd.trading.display_text import endpoint_text

T = TypeVar("T")

WINDOW: Final = 32
"""Maximum number of unacknowledged messages, so that one round trip carries many messages and not one."""

RETAINED: Final = 256
"""Maximum number of retained topics that are remembered for the next connection; the daemon has four, and one for each
outside agent."""

TRANSIENT: Final = 16
"""Maximum number of queued transient messages; older messages are dropped."""

TAKEN_OVER: Final = 0x8E
"""Reason code of a DISCONNECT of MQTT 5: another client came with the same id (MQTT 5.0, 3.14.2.1)."""

RIVAL_AT: Final = 3
"""Number of short connections in a row after which another client with our id is suspected."""

COUNT_S: Final = 1.0
"""Seconds between counts of queued messages, while some are queued or the broker is unreachable."""

Outgoing = tuple[str, str, bytes, bool]
"""(id, topic, payload, retain)."""

log = logging.getLogger("quantd.bus")


class Outbox(Shape):
    """Messages queued for the broker, oldest first. A single thread calls it, other than the thread of the event
    loop."""

    def pending(self, limit: int) -> Sequence[Outgoing]:
        """Return at most `limit` messages that were not acknowledged."""

    def acknowledge(self, ids: Sequence[str]) -> None:
        """Record durably that the broker has the messages with these ids."""

    def depth(self) -> int:
        """Return the number of queued messages."""

    def dropped(self) -> int:
        """Return the number of messages dropped from a full queue."""


@dataclass(frozen=True, slots=True)
class Listen:
    """A topic to subscribe to. `received`(payload, retained) is called for each message in the event loop's thread,
    and must return at once."""

    topic: str
    received: Callable[[bytes, bool], None]


class OutboxFailed(Exception):
    """The outbox raised an error; its messages stay in it."""


class MqttBus:
    """The connection to an MQTT broker, maintained by `run`. All methods are called in the event loop's thread and
    return at once.

    Counters are plain attributes: `online`, `queue_depth` (at most COUNT_S seconds old), `sent`, `connections`,
    `last_error`, and `failures` (failed attempts and lost connections). `drops` counts lost messages.
    """

    def __init__(self, settings: MqttSettings, outbox: Outbox, status_topic: str, offline: bytes) -> None:
        """`offline` is the last will, retained on `status_topic`: the broker publishes it after a lost connection.

        `settings` are the broker's address, login and timeouts, `outbox` has the messages that must be delivered.
        Transient messages and heartbeats (`_beat`) may be lost. Suspects are messages that may make the broker
        disconnect. `_limit` ends `run` within `_within_s` seconds of `stop`.
        """
        self.listen: Listen | None = None
        """The subscription; set before `run`."""
        self.undeliverable: Callable[[str], None] = lambda text: None
        """Raises an alert about messages that the broker never takes; set before `run`."""
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
        self._suspects = Suspects()
        self._flight: dict[str, Sent] = {}
        """Messages without an acknowledgement, by key."""
        self._settled: dict[str, None] = {}
        """Ids that the broker has accepted or never accepts, and that are not deleted from the outbox yet."""
        self._acknowledged = False
        """Whether the broker acknowledged a message on this connection."""
        self._retained: dict[str, bytes] = {}  # topic -> newest state
        self._unsent: set[str] = set()  # topics whose newest state was not sent on this connection
        self._transient: deque[tuple[str, bytes]] = deque()
        self._beat: tuple[str, bytes] | None = None
        self._given_up = 0  # number of messages that were refused, or transient while offline
        self._dropped_from_outbox = 0  # number of messages, at the last count
        self._ended = 0  # short connections in a row that the broker ended without a message in flight
        self._rival = False  # whether the alert about another client with our id was raised
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._last: bytes | None = None  # the status to publish at the end
        self._limit: asyncio.Timeout | None = None
        self._within_s = 0.0

    @property
    def drops(self) -> int:
        """Number of lost messages: refused by the broker, transient while offline, or dropped from a full outbox."""
        return self._given_up + self._dropped_from_outbox

    @property
    def reconnects(self) -> int:
        """Number of connections after the first."""
        return max(0, self.connections - 1)

    def wake(self) -> None:
        """Signal that the outbox has new messages. From another thread: loop.call_soon_threadsafe(bus.wake)."""
        self._wake.set()

    def retain(self, topic: str, payload: bytes) -> None:
        """Publish the current state of a topic, at once or on the next connection, and after every reconnect.

        Raises ValueError for an empty topic, a topic with a wildcard, and more than RETAINED topics.
        """
        if not topic or "+" in topic or "#" in topic:
            raise ValueError(f"{topic!r} is not a topic that can be published on")
        if topic not in self._retained and len(self._retained) >= RETAINED:
            raise ValueError(f"more than {RETAINED} retained topics: {topic} cannot be added; use fewer")
        self._retained[topic] = payload
        self._unsent.add(topic)
        self._wake.set()

    def status(self, payload: bytes) -> None:
        """Publish the daemon's state on the status topic, retained."""
        self.retain(self._status_topic, payload)

    def heartbeat(self, topic: str, payload: bytes) -> None:
        """Send a heartbeat only if online. A lost heartbeat does no harm, because the next one
        replaces it."""
        if self.online:
            self._beat = topic, payload
            self._wake.set()

    def transient(self, topic: str, payload: bytes) -> None:
        """Send a message at most once and only now; while offline it is dropped and counted."""
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
        """Maintain the connection and drain the outbox until `stop`. Only cancellation ends it early.

        `_within_s` are the seconds that `stop` permits for the last messages; `_limit` is the time limit that `stop`
        sets.
        """
        # One thread for the outbox: it may have a SQLite connection, and its commits must not delay the loop.
        with _Worker(1, "quantd-outbox") as worker:
            counting = asyncio.create_task(self._count_queued(worker), name="outbox depth")
            try:
                async with asyncio.timeout(self._within_s if self._stopping.is_set() else None) as self._limit:
                    await self._keep_connected(worker)
            except TimeoutError:
                log.warning("the MQTT broker did not accept the last messages in time; they stay in the outbox")
                with contextlib.suppress(OutboxFailed):
                    await self._acknowledge_settled(worker)
            finally:
                counting.cancel()
                self.online = False

    async def _count_queued(self, worker: "_Worker") -> None:
        """Update `queue_depth` repeatedly while the broker is unreachable or does not answer."""
        while True:
            if self.queue_depth or not self.online:
                with contextlib.suppress(OutboxFailed):  # `_publish` reports the failure
                    self.queue_depth = await worker.call(self._outbox.depth)
                    self._dropped_from_outbox = await worker.call(self._outbox.dropped)
            await asyncio.sleep(COUNT_S)

    async def _keep_connected(self, worker: "_Worker") -> None:
        """Connect again after each failure, until `stop`.

        The pause grows with the failures in a row; after a connection that lasted longer than the longest pause, the
        count starts anew.
        """
        failures, now_s = 0, asyncio.get_running_loop().time
        while True:
            connections_before, began_s = self.connections, now_s()
            try:
                await self._connection(worker)
                return
            except* (MqttError, OSError) as group:
                error, entered = _first_error(group), self.connections > connections_before
                why = self._reason_of(error, entered=entered)
                self._note_rival(error, entered=entered, short=now_s() - began_s <= self._settings.retry_most_s)
                self._note(f"{self._endpoint()}: {why}")
                self._note_suspects(why, now_s())
            finally:
                self.online = False
            self.failures += 1
            with contextlib.suppress(OutboxFailed):  # the next connection tries again, and reports it
                await self._acknowledge_settled(worker)
            if self._stopping.is_set():
                return
            long_connection = self.connections > connections_before and now_s() - began_s > self._settings.retry_most_s
            failures = 1 if long_connection else failures + 1
            await self._pause(failures)

    def _note_suspects(self, why: str, now_s: float) -> None:
        """Mark as suspects (possible causes) the messages that were in flight when the connection was lost."""
        flight, self._flight = list(self._flight.values()), {}
        refused = self._suspects.lost(flight, acknowledged=self._acknowledged, now_s=now_s)
        self._acknowledged = False
        if refused is not None:
            self._report(refused, f"{why}, at each of {TRIES} tries")

    def _note_rival(self, error: BaseException, *, entered: bool, short: bool) -> None:
        """Raise one alert when another client seems to use our client id: the broker then ends the older connection.

        A broker of MQTT 5 says so. One of 3.1.1 only ends the connection; the third short connection in a row that
        ended without a message in flight is the sign. A connection that lasts makes a later alert possible.
        """
        taken = _taken_over(error)
        self._ended = self._ended + (not self._flight) if entered and short else 0
        if not taken and self._ended < RIVAL_AT:
            self._rival = self._rival and short
            return
        if not self._rival:
            self._rival = True
            found = "another client has taken over" if taken else "another client may use"
            text = (
                f"the MQTT broker {self._endpoint()} ended the connection: {found} the client id "
                f"{self._settings.client_id}. Is a second daemon of this name running? Stop it, or give it another "
                "[quantd] name"
            )
            log.error("MQTT: %s", text)
            self.undeliverable(text)

    def _endpoint(self) -> str:
        return endpoint_text(self._settings.host, self._settings.port)

    def _report(self, message: Sent, why: str) -> None:
        """Raise one alert for a message that the broker never accepts, with the reason `why`."""
        text = (
            f"the MQTT broker {self._endpoint()} does not accept {message.topic} with "
            f"{message.size} bytes ({why}): it is set aside, and so are longer ones for {REFUSED_S / 3600:g} h. Check "
            "the broker's packet limit (mosquitto: max_packet_size) and the rights of the login"
        )
        log.error("MQTT: %s", text)
        self.undeliverable(text)

    async def _pause(self, failed: int) -> None:
        """Wait after `failed` failed connections in a row, longer for more of them; `stop` ends the wait."""
        wait_s = back_off_s(failed, self._settings.retry_first_s, self._settings.retry_most_s)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._stopping.wait()

    def _note(self, text: str) -> None:
        """Log a reason once until it changes, so that a long outage does not fill the log."""
        if text != self.last_error:
            log.warning("MQTT %s; trading goes on, messages wait", text)
        self.last_error = text

    def _reason_of(self, error: BaseException, *, entered: bool) -> str:
        """Return the error as text; for a broker of another protocol version, also the configuration line that corrects
        it.

        `entered` tells whether the broker had accepted the connection.
        """
        if OTHER_VERSION in str(error):
            return f'{error}; write [bus] protocol = "3.1.1"'
        if not entered and self._settings.protocol == "3.1.1" and "timed out" in str(error):
            # a broker of MQTT 5 alone refuses our version before the client reads: it looks like a time-out
            return f'{error}; to a broker that speaks MQTT 5 alone write [bus] protocol = "5"'
        return str(error)

    def _client(self) -> BusClient:
        """Return a client for one connection. Its last will is the offline status."""
        settings = self._settings
        client = BusClient(
            settings.host,
            settings.port,
            username=settings.username or None,
            password=settings.password or None,
            identifier=settings.client_id or None,
            will=Will(self._status_topic, self._offline, qos=1, retain=True),
            tls_context=self._tls,
            timeout=settings.connect_s,  # aiomqtt does not detect a connection lost before it is accepted
            keepalive=settings.keepalive_s,
            max_queued_incoming_messages=WINDOW,
            protocol=settings.protocol,
            window=WINDOW,
        )
        # aiomqtt warns above this number of pending calls, and a window in flight is usual here
        client.pending_calls_threshold = 2 * WINDOW
        return client

    async def _connection(self, worker: "_Worker") -> None:
        """Run one connection. Returns after a clean stop, and raises when the connection is lost."""
        async with _connected_client(self._client()) as client:
            client.timeout = self._settings.answer_s
            self.connections += 1
            self.online = True
            if self.last_error:
                log.info("MQTT broker %s is back", self._endpoint())
                self.last_error = ""
            self._unsent = set(self._retained)
            self._wake.set()
            try:
                async with asyncio.TaskGroup() as tasks:
                    watch = tasks.create_task(_receive(client, self.listen))
                    await self._publish(client, worker)
                    watch.cancel()
            except BaseException:
                # A crash of the daemon ends here with a clean disconnect, which makes the broker discard the last will.
                # The offline status is therefore published first.
                with contextlib.suppress(MqttError, Refused):
                    await client.publish(self._status_topic, self._offline, qos=0, retain=True, timeout=1.0)
                raise

    async def _publish(self, client: BusClient, worker: "_Worker") -> None:
        """Send retained states and the outbox whenever `wake` is called; after `stop`, once more, and then the last
        status."""
        while not self._stopping.is_set():
            await self._wake.wait()
            self._wake.clear()
            await self._send_states(client)
            try:
                await self._drain(client, worker)
            except OutboxFailed as why:  # the store reports this itself; the bus must survive it
                self.failures += 1
                self._note(f"outbox: {why}")
                await self._pause(1)  # as after one failure
                self._wake.set()
        with contextlib.suppress(TimeoutError, OutboxFailed):
            async with asyncio.timeout(self._within_s / 2):  # the other half of the time is for the last status
                await self._drain(client, worker)
                await self._send_states(client)
        if self._last is not None:
            await self._send_outside_outbox(client, self._status_topic, self._last, qos=1, retain=True)

    async def _send_outside_outbox(
        self, client: BusClient, topic: str, payload: bytes, qos: int = 0, retain: bool = False
    ) -> None:
        """Publish a message outside the outbox. A refusal is logged, and other messages continue."""
        try:
            await client.publish(topic, payload, qos=qos, retain=retain)
        except Refused as why:
            self._given_up += 1
            log.error("MQTT: %s", why)

    async def _send_unacknowledged(self, client: BusClient, topic: str, payload: bytes) -> None:
        """Send a message with QoS 0 (without acknowledgement). A message whose size or topic could make the broker
        close the connection is dropped and counted."""
        unproven = bool(self._suspects) and len(payload) > self._suspects.largest
        if unproven or self._suspects.refuses(topic, len(payload), _now_s()):
            self._given_up += 1
        else:
            await self._send_outside_outbox(client, topic, payload)

    async def _deliver(self, client: BusClient, key: str, topic: str, payload: bytes, retain: bool) -> bool:
        """Publish until the broker acknowledges; False when it refuses the message. Raises MqttError for a lost
        connection.

        A message without an answer stays in `_flight`, the messages on their way.

        `key` is the message's id, or is derived from the topic for a retained state. Suspects are messages that the
        broker may never accept; an acknowledged message is no suspect.
        """
        message = self._flight[key] = Sent(key, topic, len(payload))
        try:
            await client.publish(topic, payload, qos=1, retain=retain)
        except ValueError as why:
            # invalid for MQTT, or refused by this broker: repeated, it would block other messages
            del self._flight[key]
            self._given_up += 1
            if self._suspects.refused(message, _now_s()):
                self._report(message, str(why))
            return False
        del self._flight[key]
        self._acknowledged = True
        self._suspects.taken(message)
        return True

    async def _send_states(self, client: BusClient) -> None:
        """Send the retained states that this connection has not sent, the status first. A deferred state, one that may
        have ended an earlier connection, waits for `_send_deferred`."""
        while topics := [topic for topic in self._unsent if not self._suspects.deferred(_state(topic))]:
            await self._send_state(client, min(topics, key=lambda topic: topic != self._status_topic))

    async def _send_deferred(self, client: BusClient) -> bool:
        """Send the shortest of the retained states that may have ended an earlier connection. Returns False if none is
        left.

        The shortest is first, because if it is refused for its size, longer ones are too.
        """
        if not self._unsent:
            return False
        await self._send_state(client, min(self._unsent, key=lambda topic: len(self._retained[topic])))
        return True

    async def _send_state(self, client: BusClient, topic: str) -> None:
        payload = self._retained[topic]
        if self._suspects.refuses(topic, len(payload), _now_s()):
            self._given_up += 1
        else:
            await self._deliver(client, _state(topic), topic, payload, retain=True)
        if self._retained[topic] is payload:
            self._unsent.discard(topic)

    async def _drain(self, client: BusClient, worker: "_Worker") -> None:
        """Send messages in windows (groups in flight together) until the outbox is empty, with states and heartbeats
        between them.

        `_settled` has the ids that can be deleted from the outbox. The answer about a message is True if it was
        acknowledged, False if it was refused, and an exception if the connection was lost.
        """
        while True:
            while self._transient:
                await self._send_unacknowledged(client, *self._transient.popleft())
            if self._beat is not None:
                beat, self._beat = self._beat, None
                await self._send_unacknowledged(client, *beat)
            await self._send_states(client)
            window = await self._window(worker)
            if not window:
                if not await self._send_deferred(client):
                    return
                continue
            answers = await asyncio.gather(
                *(self._deliver(client, *message) for message in window), return_exceptions=True
            )
            failure: BaseException | None = None
            for (id, topic, payload, retain), answer in zip(window, answers, strict=True):
                if isinstance(answer, BaseException):
                    failure = failure or answer
                    continue
                self._settled[id] = None
                self.sent += answer
                if answer and retain and (topic in self._retained or len(self._retained) < RETAINED):
                    self._retained[topic] = payload
            await self._acknowledge_settled(worker)
            if failure is not None:
                raise failure

    async def _window(self, worker: "_Worker") -> Sequence[Outgoing]:
        """Return the messages of the outbox to send now: a window, or a single message that may make the broker
        disconnect.

        A single message is a suspect, or one longer than all that the broker has accepted: the acknowledgements of
        other messages in its window would be lost with the connection. Deferred messages go last. Messages that
        resemble a refused one (topic, size) are removed from the outbox.
        """
        await self._acknowledge_settled(worker)
        limit = WINDOW + self._suspects.deferrals()
        while True:
            batch = await worker.call(partial(self._outbox.pending, limit))
            self.queue_depth = await worker.call(self._outbox.depth) if len(batch) == limit else len(batch)
            refused = [id for id, topic, payload, _ in batch if self._suspects.refuses(topic, len(payload), _now_s())]
            if not refused:
                break
            self._given_up += len(refused)
            self._settled |= dict.fromkeys(refused)
            await self._acknowledge_settled(worker)
        # a message is (id, topic, payload, retain)
        direct = [message for message in batch if not self._suspects.deferred(message[0])]
        if not direct:
            return sorted(batch, key=lambda message: len(message[2]))[:1]
        proven = list(takewhile(lambda message: self._suspects.proven(message[0], len(message[2])), direct))
        return proven[:WINDOW] or direct[:1]

    async def _acknowledge_settled(self, worker: "_Worker") -> None:
        """Delete acknowledged and refused messages from the outbox.

        Raises OutboxFailed; the outbox has then recorded the ids itself.
        """
        if self._settled:
            arrived, self._settled = list(self._settled), {}
            await worker.call(partial(self._outbox.acknowledge, arrived))
            self.queue_depth = max(0, self.queue_depth - len(arrived))


def _state(topic: str) -> str:
    """Return the key of a topic's retained state. Suspects (messages that the broker may never accept) are stored by
    key."""
    return f"state {topic}"


def _now_s() -> float:
    return asyncio.get_running_loop().time()


@contextlib.asynccontextmanager
async def _connected_client(client: BusClient) -> AsyncIterator[BusClient]:
    """Connect the client, and close its socket after a failed attempt.

    aiomqtt would leave that socket open, and the broker might still answer it.
    """
    try:
        await client.__aenter__()
    except BaseException:
        client._client.disconnect()
        raise
    try:
        yield client
    finally:
        await client.__aexit__(None, None, None)


async def _receive(client: BusClient, listen: Listen | None) -> None:
    """Pass messages of the subscribed topic to `listen`, and discard others. The read also detects a lost connection
    at once."""
    if listen is not None and not await client.hear(listen.topic):
        log.error(
            "the MQTT broker does not let this login read %s: commands over MQTT do not arrive",
            listen.topic,
        )
    async for message in client.messages:
        if listen is not None and message.topic.value == listen.topic and isinstance(message.payload, bytes):
            listen.received(message.payload, bool(message.retain))


def _taken_over(error: BaseException) -> bool:
    """Whether a broker of MQTT 5 ended the connection because another client came with the same id."""
    reason = getattr(error.__cause__ or error, "rc", None)
    return getattr(reason, "value", None) == TAKEN_OVER


def _first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error in a group, which may be nested."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class _Worker(ThreadPoolExecutor):
    """A thread for blocking calls. A cancelled call still runs to its end; leaving the `with` block does not wait
    for it."""

    def __exit__(self, *_: object) -> None:
        self.shutdown(wait=False, cancel_futures=True)

    async def call(self, function: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self, function)
        except Exception as why:
            raise OutboxFailed(f"{type(why).__name__}: {why}") from why
