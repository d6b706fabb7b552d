"""A broker inside the daemon, so that a first start needs no set-up. For one machine and its owner: it keeps
nothing over a restart, and only the daemon may publish. `mosquitto` is the broker for everything else.

It runs in its own thread with its own loop: whatever it does never stalls trading, and no slow policy stalls it.
"""

import asyncio
import errno
import hmac
import secrets
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from quantd.adapters.listener import Listener, descriptors, is_loopback
from quantd.trading.exit_codes import CONFIG, ExplainedError

if TYPE_CHECKING:  # 0.2 s of import that a daemon on a real broker never pays
    from amqtt.broker import Broker  # type: ignore[import-untyped]  # amqtt ships no types

CONNECTIONS: Final = 64
"""Most clients at once, and an eighth of the file descriptors at most; the next ones are turned away."""

CONNECT_S: Final = 10.0
"""A client that has not said CONNECT by then is cut off."""

PACKET_BYTES: Final = 256 * 1024
"""Largest packet taken from a client: MQTT allows 256 MiB, subscribers need a few bytes."""

LISTENER: Final = "default"


class BrokerUnavailable(ExplainedError):
    """The embedded broker could not start; the message says why and what to do."""

    exit_code = CONFIG


@dataclass(frozen=True, slots=True)
class EmbeddedSettings:
    """Where it listens and who may read. `port` 0 is any free one. Without a username anybody who reaches the
    port may subscribe, which is allowed on the loopback interface only."""

    host: str = "127.0.0.1"
    port: int = 1883
    username: str = ""
    password: str = field(default="", repr=False)
    cert_file: str = ""
    key_file: str = ""
    open_topic: str = ""
    """The one topic on which clients may publish too; empty for none."""


class EmbeddedBroker:
    """The broker with its thread. `start` and `stop` block for milliseconds, bounded; `publisher` is the login
    made for this start that alone may publish."""

    def __init__(self, settings: EmbeddedSettings) -> None:
        """BrokerUnavailable when it would be open to a network without a password."""
        if not is_loopback(settings.host) and not (settings.username and settings.password):
            raise BrokerUnavailable(
                f"[bus] host = {settings.host!r} can be reached from other machines; the embedded broker then needs "
                "[bus] username and the secret mqtt_password, or use host = '127.0.0.1'."
            )
        self.host = settings.host
        self.port = settings.port
        self.publisher = (f"quantd-{secrets.token_hex(4)}", secrets.token_urlsafe(24))
        self._settings = settings
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="quantd-mqtt-broker", daemon=True)

    def start(self, within_s: float = 20.0) -> None:
        """Listens when it returns, `port` is then the real one; BrokerUnavailable names the port and the remedy."""
        self._thread.start()
        if not self._ready.wait(within_s):
            raise BrokerUnavailable(f"the embedded MQTT broker did not start within {within_s:g} s")
        if self._failure is not None:
            raise self._refusal(self._failure) from self._failure

    def stop(self, within_s: float = 5.0) -> bool:
        """Closes the port and waits for the thread; False when it had to be left behind (it ends with the process)."""
        if self._loop is not None and self._ended is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ended.set)
            self._thread.join(within_s)
        return not self._thread.is_alive()

    def _refusal(self, why: BaseException) -> BrokerUnavailable:
        place = f"{self.host}:{self._settings.port}"
        if isinstance(why, OSError) and why.errno == errno.EADDRINUSE:
            return BrokerUnavailable(
                f"[bus] port = {self._settings.port}: something already listens on {place}. Set another port (0 takes "
                "any free one), or kind = 'mqtt' to use the broker that is there."
            )
        if isinstance(why, OSError) and why.errno == errno.EACCES:
            return BrokerUnavailable(f"[bus] port = {self._settings.port} is not ours to open; use one above 1023.")
        return BrokerUnavailable(f"the embedded MQTT broker cannot listen on {place}: {why}. See [bus] host and port.")

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as why:
            self._failure = self._failure or why
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        from amqtt.adapters import StreamReaderAdapter, StreamWriterAdapter  # type: ignore[import-untyped]

        broker = _confined_broker(self.publisher, self._settings)
        await broker.start()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await broker.external_connected(_Bounded(reader, writer), StreamWriterAdapter(writer), LISTENER)
            finally:
                writer.close()

        class _Bounded(StreamReaderAdapter):  # type: ignore[misc]
            """Refuses a read that only an attacker would ask for, before memory is set aside for it."""

            def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                super().__init__(reader)
                self._transport = writer.transport

            async def read(self, n: int = -1) -> bytes:
                if n > PACKET_BYTES:
                    self._transport.abort()  # amqtt would go on with the next bytes as a new packet
                    raise ConnectionResetError(f"packet of {n} bytes")
                return await super().read(n)

        try:
            # the socket is ours rather than amqtt's: port 0 can be read back, and a port in use is a plain OSError
            tls = _tls(self._settings)
            server = await asyncio.start_server(
                connected,
                sock=Listener(self.host, self.port, min(CONNECTIONS, descriptors() // 8)),
                ssl=tls,
                ssl_handshake_timeout=CONNECT_S if tls is not None else None,
            )
        except OSError as why:
            self._failure = why
            await broker.shutdown()
            return
        self.port = server.sockets[0].getsockname()[1]
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._ready.set()
        try:
            await self._ended.wait()
        finally:
            server.close()
            await broker.shutdown()


def _tls(settings: EmbeddedSettings) -> ssl.SSLContext | None:
    if not settings.cert_file:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(settings.cert_file, settings.key_file)
    return context


class _SnapshotIteration(dict[str, Any]):
    """amqtt walks its subscriptions while other clients add theirs, which would end the walker's connection."""

    def __iter__(self) -> Iterator[str]:
        return iter(list(self.keys()))


def _confined_broker(publisher: tuple[str, str], settings: EmbeddedSettings) -> "Broker":
    """amqtt's broker with what it leaves open closed: who may enter, who may publish, what is retained for whom."""
    from amqtt.broker import Broker
    from amqtt.contexts import Action  # type: ignore[import-untyped]
    from amqtt.errors import MQTTError  # type: ignore[import-untyped]

    logins = {publisher[0]: publisher[1]}
    if settings.username:
        logins[settings.username] = settings.password
    anonymous = not settings.username

    class ConfinedBroker(Broker):  # type: ignore[misc]
        async def _authenticate(self, session: Any, _: Any) -> bool:
            if not session.username:
                session.is_anonymous = True
                return anonymous
            expected = logins.get(session.username)
            given = (session.password or "").encode("utf-8", "replace")
            # compared for unknown names too, so that time does not tell which names exist
            same = hmac.compare_digest(given, (expected or secrets.token_urlsafe(24)).encode())
            return same and expected is not None

        async def _topic_filtering(self, session: Any, topic: str, action: Action) -> bool:
            if action is not Action.PUBLISH or session.username == publisher[0]:
                return True
            return bool(settings.open_topic) and topic == settings.open_topic

        async def _handle_disconnect(self, client_session: Any, handler: Any, disconnect_waiter: Any) -> None:
            if client_session.username != publisher[0]:
                client_session.will_flag = False  # amqtt publishes wills without asking who may publish
            await super()._handle_disconnect(client_session, handler, disconnect_waiter)

        async def _publish_retained_messages_for_subscription(self, sub: tuple[str, int], session: Any) -> None:
            # amqtt calls this on CONNECT for every subscription of every client
            if any(owner is session for owner, _ in self._subscriptions.get(sub[0], [])):
                await super()._publish_retained_messages_for_subscription(sub, session)

        async def _initialize_client_session(self, reader: Any, writer: Any, *where: Any) -> Any:
            try:
                return await asyncio.wait_for(super()._initialize_client_session(reader, writer, *where), CONNECT_S)
            except TimeoutError:
                await writer.close()
                raise MQTTError("no CONNECT in time") from None

    listener = {"type": "external", "bind": f"{settings.host}:{settings.port}"}
    broker = ConfinedBroker({"listeners": {LISTENER: listener}, "plugins": {}})
    broker._subscriptions = _SnapshotIteration()
    return broker
