"""An MQTT broker inside the daemon, so that a first start needs no set-up.

The embedded broker serves one machine and its owner: it stores nothing across a restart, and only the daemon may
publish. For every other use choose `mosquitto`. The broker runs in its own thread with its own event loop, so that it
and the daemon cannot block each other.

The broker speaks MQTT 3.1.1. A client of another version gets the refusal in the form of the client's version: a
CONNACK of 3.1.1 looks broken to a client of MQTT 5, which then repeats its attempts for ever without a message.
"""

import asyncio
import contextlib
import errno
import hmac
import logging
import secrets
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from quantd.adapters.bus.embedded_settings import EmbeddedSettings
from quantd.adapters.certificates import Certificate
from quantd.adapters.listener import Listener, descriptors, is_loopback
from quantd.trading.display_text import endpoint_text
from quantd.trading.exit_codes import CONFIG, ExplainedError

if TYPE_CHECKING:  # 0.2 s of import that a daemon with an external broker avoids
    from amqtt.broker import Broker  # type: ignore[import-untyped]  # amqtt ships no types

CONNECTIONS: Final = 64
"""Maximum number of clients, and at most an eighth of the file descriptors; more clients are refused."""

CONNECT_S: Final = 10.0
"""Seconds until a client without a CONNECT packet is disconnected."""

PACKET_BYTES: Final = 256 * 1024
"""Maximum packet size from a client: MQTT permits 256 MiB, subscribers need a few bytes."""

LISTENER: Final = "default"
"""The listener's name in the configuration of amqtt."""

CONNECT: Final = 0x10
"""First byte of a CONNECT packet."""

NAMES: Final = (b"MQTT", b"MQIsdp")
"""Protocol names in CONNECT: of 3.1.1 and 5, and of 3.1."""

REFUSED_5: Final = bytes([0x20, 3, 0, 0x84, 0])
"""CONNACK of MQTT 5: unsupported protocol version, no properties (MQTT 5.0, 3.2.2.2)."""

REFUSED_3: Final = bytes([0x20, 2, 0, 1])
"""CONNACK of 3.1 and 3.1.1: unacceptable protocol version."""

log = logging.getLogger("quantd.bus")


class BrokerUnavailable(ExplainedError):
    """The embedded broker could not start; the message has the reason and the remedy."""

    exit_code = CONFIG


class EmbeddedBroker:
    """The MQTT broker with its thread. `start` and `stop` block the caller, for a bounded time.

    `publisher` is the login generated for this start, the only one with publish rights.
    """

    def __init__(self, settings: EmbeddedSettings) -> None:
        """Raises BrokerUnavailable for a network address without a password.

        `publisher` is (user name, password) of the daemon itself, new at each start. `_failure` is the error of a
        failed start.
        """
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
        """Start; returns when the broker listens on `port`. Raises BrokerUnavailable with the port and the remedy."""
        self._thread.start()
        if not self._ready.wait(within_s):
            raise BrokerUnavailable(
                f"the embedded MQTT broker did not start within {within_s:g} s; start again, or use mosquitto with "
                "kind = 'mqtt'"
            )
        if self._failure is not None:
            raise self._start_error(self._failure) from self._failure

    def stop(self, within_s: float = 5.0) -> bool:
        """Close the port and wait for the thread; False when it did not end in time and ends with the process."""
        if self._loop is not None and self._ended is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ended.set)
            self._thread.join(within_s)
        return not self._thread.is_alive()

    def _start_error(self, error: BaseException) -> BrokerUnavailable:
        """Return the error of a failed start with its remedy: for a port in use, a forbidden port or another cause."""
        endpoint = endpoint_text(self.host, self._settings.port)
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            return BrokerUnavailable(
                f"[bus] port = {self._settings.port}: another program already listens on {endpoint}, perhaps "
                "another quantd. Stop it, or set another port (beside a quantd: --set bus.port=0 --set api.port=0), or "
                "kind = 'mqtt' if that program is the broker to use."
            )
        if isinstance(error, OSError) and error.errno == errno.EACCES:
            return BrokerUnavailable(
                f"[bus] port = {self._settings.port} may not be opened by this user; use a port above 1023."
            )
        return BrokerUnavailable(
            f"the embedded MQTT broker cannot listen on {endpoint}: {error}. See [bus] host and port."
        )

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as why:
            self._failure = self._failure or why
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        """Run the broker on this thread until `_ended` is set. The error of a failed start is stored in `_failure`."""
        from amqtt.adapters import StreamReaderAdapter, StreamWriterAdapter  # type: ignore[import-untyped]

        broker = _confined_broker(self.publisher, self._settings)
        await broker.start()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            """Pass a new connection to amqtt, or refuse a client that speaks another version of MQTT."""
            try:
                start, version = await _read_connect(reader)
                if version:
                    await _refuse(reader, writer, version)
                    return
                bounded = _Bounded(reader, writer, start)
                await broker.external_connected(bounded, StreamWriterAdapter(writer), LISTENER)
            except Exception as why:  # amqtt raises what it likes when a client leaves; its stack helps nobody
                log.info("an MQTT client was lost: %s: %s", type(why).__name__, str(why)[:200])
            finally:
                writer.close()

        class _Bounded(StreamReaderAdapter):  # type: ignore[misc]
            """Refuses oversized reads before memory is allocated for them."""

            def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, start: bytes) -> None:
                super().__init__(reader)
                self._transport = writer.transport
                self._start = start  # bytes that were read already

            async def read(self, n: int = -1) -> bytes:
                if n > PACKET_BYTES:
                    self._transport.abort()  # otherwise amqtt would parse the next bytes as a new packet
                    raise ConnectionResetError(f"a client sent a packet of {n} bytes; the maximum is {PACKET_BYTES}")
                if not self._start:
                    return await super().read(n)
                start, self._start = self._start[: n if n >= 0 else None], self._start[n:] if n >= 0 else b""
                return start if len(start) == n else start + await super().read(n - len(start) if n >= 0 else n)

        try:
            # here rather than in amqtt: port 0 can be read back, and a port in use is a plain OSError
            tls = _tls_context(self._settings)
            server = await asyncio.start_server(
                connected,
                sock=Listener(self.host, self.port, min(CONNECTIONS, descriptors() // 8)),  # the others are for files
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


async def _read_connect(reader: asyncio.StreamReader) -> tuple[bytes, int]:
    """Return the first bytes of a connection, and the version of MQTT if it is to be refused.

    The version is 0 for 3.1.1, and for bytes that are no CONNECT packet: amqtt then handles them.

    Raises TimeoutError after CONNECT_S, and EOFError.
    """
    async with asyncio.timeout(CONNECT_S):
        start = await reader.readexactly(1)
        if start[0] != CONNECT:
            return start, 0
        for _ in range(4):  # the remaining length: its last byte is below 128 (MQTT 3.1.1, 2.2.3)
            start += await reader.readexactly(1)
            if start[-1] < 128:
                break
        start += await reader.readexactly(2)
        if (size := int.from_bytes(start[-2:], "big")) not in map(len, NAMES):
            return start, 0
        start += await reader.readexactly(size + 1)
    name, version = start[-size - 1 : -1], start[-1]
    return start, 0 if name not in NAMES or (name, version) == (b"MQTT", 4) else version


async def _refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, version: int) -> None:
    """Send the CONNACK "unsupported protocol version" of the client's version, and wait until the client has it."""
    writer.write(REFUSED_5 if version >= 5 else REFUSED_3)
    peer = writer.get_extra_info("peername")
    log.warning(
        "an MQTT client at %s speaks version %s; choose 3.1.1 in it, or use mosquitto and [bus] kind = 'mqtt'",
        endpoint_text(*peer[:2]) if isinstance(peer, tuple) else peer,
        {3: "3.1", 5: "5"}.get(version, version),
    )
    # a socket that is closed with unread bytes is reset, and the answer may be lost
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(1.0):
            await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
            while await reader.read(4_096):
                pass


def _tls_context(settings: EmbeddedSettings) -> ssl.SSLContext | None:
    if not settings.cert_file:
        return None
    return Certificate(Path(settings.cert_file), Path(settings.key_file)).context


class _SnapshotIteration(dict[str, Any]):
    """A dict that iterates over a copy of its keys, because amqtt iterates over subscriptions while other clients
    add some."""

    def __iter__(self) -> Iterator[str]:
        return iter(list(self.keys()))


def _confined_broker(publisher: tuple[str, str], settings: EmbeddedSettings) -> "Broker":
    """Return amqtt's broker with stricter rules for connections, publish rights and retained messages.

    `publisher` is (user name, password) of the daemon, which alone may publish; other clients may publish only on the
    topic of the setting `open_topic`, if it is set.
    """
    from amqtt.broker import Broker
    from amqtt.contexts import Action  # type: ignore[import-untyped]
    from amqtt.errors import MQTTError  # type: ignore[import-untyped]

    logins = {publisher[0]: publisher[1]}
    if settings.username:
        logins[settings.username] = settings.password
    anonymous_allowed = not settings.username

    class ConfinedBroker(Broker):  # type: ignore[misc]
        async def _authenticate(self, session: Any, _: Any) -> bool:
            if not session.username:
                session.is_anonymous = True
                return anonymous_allowed
            expected = logins.get(session.username)
            given_password = (session.password or "").encode("utf-8", "replace")
            # Unknown names take the same time, so that timing does not reveal which names exist.
            matches = hmac.compare_digest(given_password, (expected or secrets.token_urlsafe(24)).encode())
            return matches and expected is not None

        async def _topic_filtering(self, session: Any, topic: str, action: Action) -> bool:
            if action is not Action.PUBLISH or session.username == publisher[0]:
                return True
            return bool(settings.open_topic) and topic == settings.open_topic

        async def _handle_disconnect(self, client_session: Any, handler: Any, disconnect_waiter: Any) -> None:
            if client_session.username != publisher[0]:
                client_session.will_flag = False  # amqtt publishes wills without checking publish rights
            await super()._handle_disconnect(client_session, handler, disconnect_waiter)

        async def _publish_retained_messages_for_subscription(self, sub: tuple[str, int], session: Any) -> None:
            # amqtt calls this on CONNECT for every subscription of every client
            if any(owner is session for owner, _ in self._subscriptions.get(sub[0], [])):
                await super()._publish_retained_messages_for_subscription(sub, session)

        async def _initialize_client_session(self, reader: Any, writer: Any, *where: Any) -> Any:
            try:
                async with asyncio.timeout(CONNECT_S):
                    return await super()._initialize_client_session(reader, writer, *where)
            except TimeoutError:
                await writer.close()
                raise MQTTError(f"a client sent no CONNECT within {CONNECT_S:g} s") from None

    listener = {"type": "external", "bind": endpoint_text(settings.host, settings.port)}
    broker = ConfinedBroker({"listeners": {LISTENER: listener}, "plugins": {}})
    # amqtt iterates over subscriptions while other clients add some
    broker._subscriptions = _SnapshotIteration()
    return broker
