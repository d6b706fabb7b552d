"""Alpaca's stream of trade updates, reconnected after each loss.

What can go wrong. A connection is accepted, and its first message cannot be read: without a pause, each attempt would
begin again at once. A message that cannot be read may be an update: it ends the connection, so that the loss is
reported and the account is compared.

What the order of the steps guarantees. `Connected` is yielded after authorisation and subscription, so that no update
is missed between the stream and a query that follows `Connected`. The count of tries restarts only after an update, or
after a long connection. Pauses are random, so that the clients of a venue that comes back do not arrive together.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final

import aiohttp
import msgspec

from quantd.adapters.brokers.alpaca.connection import CLOSE_S, AlpacaSettings, Lost, Rest, cause
from quantd.adapters.brokers.alpaca.wire import Garbled, Message, StreamData, Update
from quantd.adapters.proxies import proxy_of

LARGEST: Final = 1 << 20
"""Maximum bytes of one message."""


class Connected:
    """The stream is authorised and subscribed."""


_update = msgspec.json.Decoder(Update)
_message = msgspec.json.Decoder(Message)
_data = msgspec.json.Decoder(StreamData)


class Stream:
    """The stream of one account, until `close`."""

    def __init__(self, settings: AlpacaSettings, client: Rest) -> None:
        self._settings = settings
        self._rest = client
        self._closed = asyncio.Event()
        self._socket: aiohttp.ClientWebSocketResponse | None = None

    async def close(self) -> None:
        """Close the stream, which ends the iteration over `items`."""
        self._closed.set()
        if self._socket is not None:
            await self._socket.close()

    async def items(self) -> AsyncIterator[Update | Connected | Lost]:
        """Yield Connected for each connection, then its updates, and Lost for each connection that failed or was
        lost."""
        first_pause, longest_pause = self._settings.backoff_s
        tries = 0
        while not self._closed.is_set():
            connected_at = asyncio.get_running_loop().time()
            try:
                async with aclosing(self._connection()) as updates:
                    async for event in updates:
                        # not after Connected: the first message of a connection may be unreadable each time
                        tries = 0 if isinstance(event, Update) else tries
                        yield event
                lost = Lost("the venue closed the stream")
            except Lost as why:
                lost = why
            except (aiohttp.ClientError, TimeoutError, OSError) as why:
                lost = Lost(f"the stream is lost: {cause(why)}")
            if self._closed.is_set():
                return
            if asyncio.get_running_loop().time() - connected_at > longest_pause:
                tries = 0
            yield lost
            pause = min(first_pause * 2**tries, longest_pause) * (0.5 + random.random() / 2)
            tries = min(tries + 1, 16)  # 16: the power of two stays small
            try:
                async with asyncio.timeout(pause):
                    await self._closed.wait()
            except TimeoutError:
                continue

    async def _connection(self) -> AsyncGenerator[Update | Connected, None]:
        """Connect, authorise and subscribe, then yield Connected and the updates. Raises Lost at the end."""
        settings = self._settings
        async with asyncio.timeout(settings.timeout_s):
            socket = await self._rest.session.ws_connect(
                settings.stream_url,
                proxy=proxy_of(settings.stream_url),
                heartbeat=settings.heartbeat_s,
                max_msg_size=LARGEST,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_S),
            )
        self._socket = socket
        try:
            async with asyncio.timeout(settings.timeout_s):
                keys = {"key_id": settings.key, "secret_key": settings.secret}
                await socket.send_json({"action": "authenticate", "data": keys})
                answer = await self._control_message(socket, "authorization")
                if answer.status != "authorized":
                    raise Lost(f"the stream refuses the key ({settings.safe(answer.status or answer.error)})")
                await socket.send_json({"action": "listen", "data": {"streams": ["trade_updates"]}})
                answer = await self._control_message(socket, "listening")
                if "trade_updates" not in answer.streams:
                    raise Lost("the stream does not offer trade_updates")
            yield Connected()
            async for frame in socket:
                message = _message_of(frame)
                if message.stream == "trade_updates":
                    try:
                        yield _update.decode(message.data)
                    except (msgspec.DecodeError, Garbled):
                        raise Lost("a message of the stream cannot be read") from None
        finally:
            self._socket = None
            await socket.close()

    async def _control_message(self, socket: aiohttp.ClientWebSocketResponse, stream: str) -> StreamData:
        """Receive the next message, which must be a control message named `stream`. Raises Lost for any other
        message."""
        message = _message_of(await socket.receive())
        if message.stream != stream:
            raise Lost(f"the stream sent {message.stream[:40]!r} instead of {stream!r}")
        try:
            return _data.decode(message.data)
        except msgspec.DecodeError:
            raise Lost("a message of the stream cannot be read") from None


def _message_of(frame: aiohttp.WSMessage) -> Message:
    """Decode a text or binary frame. Raises Lost for another frame, which ends the stream, and for other content."""
    if frame.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
        raise Lost("the venue closed the stream")
    try:
        return _message.decode(frame.data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Lost("a message of the stream cannot be read") from None
