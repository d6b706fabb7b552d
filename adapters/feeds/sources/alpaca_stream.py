"""Alpaca's WebSocket: one-minute bars and their corrections, and halts and price limits of stocks."""

from collections.abc import AsyncGenerator, Callable
from datetime import UTC
from decimal import Decimal
from typing import TYPE_CHECKING, Final, cast

import msgspec
from msgspec import Struct

from quantd.adapters.calendars import instant_ns
from quantd.adapters.feeds.bars.rows import Rows, rows_of
from quantd.adapters.feeds.bars.stamps import UNITS_NS, interval_ns
from quantd.adapters.feeds.source import SourceError
from quantd.adapters.feeds.sources.alpaca import StockFeed, pairs
from quantd.adapters.feeds.vendor import Request
from quantd.adapters.proxies import proxy_of
from quantd.trading.events import Halted, Limited
from quantd.trading.instruments import NANO, Universe

if TYPE_CHECKING:
    from aiohttp import ClientWebSocketResponse

STREAM_URL: Final = "wss://stream.data.alpaca.markets"
SILENCE_S: Final = 20.0
"""Seconds without an answer to pings after which the connection counts as lost."""

_BAR_KINDS: Final = ("b", "u")
"""Alpaca's message kinds of a bar, and of a bar corrected by late trades."""

HALTS: Final = frozenset("2HP")
"""Status codes of stopped trading: 2 is a halt on tapes A and B, H a halt and P a volatility pause on tape C.

Resumed quotes (Q) are no trading yet. Trading continues under all other codes.
"""

RESUMES: Final = frozenset("3T")
"""Status codes of resumed trading."""

NO_TAPE: Final = frozenset({400, 405, 409, 410})
"""Error codes of a refused subscription to halts and limits, which the plan does not include."""

_CODES: Final[dict[int, tuple[str, str, bool, float]]] = {
    # code: what, remedy, whether to retry, after how many seconds (https://docs.alpaca.markets, real-time stock data)
    401: ("a request preceded the authentication", "", True, 0.0),
    402: ("it refuses the key", "Check QUANTD_ALPACA_KEY and QUANTD_ALPACA_SECRET", False, 0.0),
    404: ("the authentication took too long", "", True, 0.0),
    405: ("more symbols than the plan allows", "Take fewer symbols, or another plan", False, 0.0),
    406: ("another connection of this account is open", "Stop the other program, or take another plan", True, 30.0),
    407: ("this client reads too slowly", "", True, 0.0),
    409: ("the plan does not allow this feed", 'Take feed "iex", which is free', False, 0.0),
    410: ("it does not know the subscription", "", False, 0.0),
    500: ("it is unavailable", "", True, 5.0),
}


class _Message(Struct):
    """The fields of all kinds of Alpaca's stream messages, under Alpaca's names; T is the kind of message.

    S is the symbol and t the time stamp. A bar has o, h, l, c and v. Price limits have u (up) and d (down). A trading
    status has sc (its code), sm (its text) and rm (the reason).
    """

    T: str
    msg: str = ""
    code: int = 0
    S: str = ""
    t: str = ""
    o: Decimal | None = None
    h: Decimal | None = None
    l: Decimal | None = None  # noqa: E741 - Alpaca's name
    c: Decimal | None = None
    v: Decimal | None = None
    u: Decimal | None = None
    d: Decimal | None = None
    sc: str = ""
    sm: str = ""
    rm: str = ""


_messages: Final = msgspec.json.Decoder(list[_Message])


class AlpacaStream:
    """A Stream of one-minute bars, stamped with their open. Alpaca refuses a second connection of an account (406).

    Raises SourceError without key and secret.
    """

    def __init__(
        self,
        universe: Universe,
        *,
        key: str,
        secret: str,
        feed: StockFeed = "iex",
        crypto: bool = False,
        url: str = STREAM_URL,
        timeout_s: float = 10.0,
    ) -> None:
        """Raises SourceError without a key and a secret; `bars` connects.

        By column, in nano-currency: `_limits` are (lower, upper) price limits, `_close` is the last price, and
        `_at_limit` has the limits whose reaching was reported. `_tape_pending` is True while the subscription to halts
        and limits waits for its answer.
        """
        if not (key and secret):
            remedy = "Set QUANTD_ALPACA_KEY and QUANTD_ALPACA_SECRET; paper accounts have them too"
            raise SourceError("alpaca", "its stream needs a key and a secret", remedy, again=False)
        self._universe, self._key, self._secret = universe, key, secret
        self._url = f"{url.rstrip('/')}/{'v1beta3/crypto/us' if crypto else f'v2/{feed}'}"
        self._timeout_s = timeout_s
        self._socket: ClientWebSocketResponse | None = None
        self._receiver: Callable[[Halted | Limited], None] | None = None
        self._tape = not crypto
        """Whether to subscribe to halts and limits: stocks only, and not after a refusal by the plan."""
        self._tape_pending = self._bars_subscribed = False
        self._limits: dict[int, tuple[int, int]] = {}
        self._close: dict[int, int] = {}
        self._at_limit: dict[int, tuple[int, int]] = {}

    def tell_halts(self, receiver: Callable[[Halted | Limited], None]) -> None:
        """Register the receiver of trading halts and price limits. Call it before `bars` is read."""
        self._receiver = receiver

    async def bars(self) -> AsyncGenerator[Rows, None]:
        """Connect, authenticate, subscribe, then yield bars as they arrive. Raises SourceError for a lost
        connection."""
        import aiohttp

        try:
            async with (
                aiohttp.ClientSession() as session,
                session.ws_connect(
                    self._url,
                    proxy=proxy_of(self._url),
                    heartbeat=2 * SILENCE_S / 3,  # aiohttp gives up half a heartbeat after an unanswered ping
                    timeout=aiohttp.ClientWSTimeout(ws_close=2.0),
                ) as socket,
            ):
                self._socket = socket
                await self._subscribe(socket)
                while True:
                    messages = await self._next_messages(socket, None)  # bars may take any time
                    rows = self._bars(messages)
                    self._report_tape(messages, rows)
                    if len(rows):
                        yield rows
        except TimeoutError:
            raise SourceError("alpaca", f"its stream did not answer within {self._timeout_s:g} s") from None
        except aiohttp.WSServerHandshakeError as error:
            raise SourceError("alpaca", f"its stream refuses the connection (HTTP {error.status})") from None
        except (aiohttp.ClientError, OSError) as error:
            raise SourceError("alpaca", f"its stream cannot be reached ({type(error).__name__})") from None
        finally:
            self._socket = None

    async def close(self) -> None:
        """Close the connection; whoever iterates over `bars` gets SourceError."""
        if self._socket is not None:
            await self._socket.close()

    async def _subscribe(self, socket: "ClientWebSocketResponse") -> None:
        """Authenticate, then subscribe to bars, and to halts and limits if someone receives them."""
        await self._expect(socket, "connected")
        await socket.send_json({"action": "auth", "key": self._key, "secret": self._secret})
        await self._expect(socket, "authenticated")
        symbols = list(self._universe.symbols)
        await socket.send_json({"action": "subscribe", "bars": symbols, "updatedBars": symbols})
        self._tape_pending, self._bars_subscribed = self._tape and self._receiver is not None, False
        if self._tape_pending:
            # separate from the bars, because a plan without them refuses this request alone
            await socket.send_json({"action": "subscribe", "statuses": symbols, "lulds": symbols})

    async def _expect(self, socket: "ClientWebSocketResponse", word: str) -> None:
        if not any(m.T == "success" and m.msg == word for m in await self._next_messages(socket, self._timeout_s)):
            raise SourceError("alpaca", f'its stream did not send "{word}"')

    async def _next_messages(self, socket: "ClientWebSocketResponse", timeout_s: float | None) -> list[_Message]:
        """Receive the next messages. Raises SourceError at the end of the stream, and for an error that the vendor
        reports.

        If the vendor's plan excludes halts and limits (the tape), that refusal is no error, and they are not asked for
        again. `timeout_s` None waits without end.
        """
        import aiohttp

        frame = await socket.receive(timeout_s)
        if frame.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            raise SourceError("alpaca", f"its stream ended (code {socket.close_code or 'none'})")
        try:
            messages = _messages.decode(frame.data)
        except (msgspec.DecodeError, ValueError):
            raise SourceError("alpaca", "a message of its stream is not as documented") from None
        for message in messages:
            if message.T == "subscription":
                # the first one is for the bars, the second one for halts and limits
                self._bars_subscribed, self._tape_pending = True, self._tape_pending and not self._bars_subscribed
            if message.T == "error":
                if self._tape_pending and self._bars_subscribed and message.code in NO_TAPE:
                    self._tape_pending = self._tape = False
                    continue
                # an unknown error has no remedy, and may be repeated after 5 s
                what, remedy, again, after_s = _CODES.get(message.code, (message.msg, "", True, 5.0))
                raise SourceError(
                    "alpaca", f"{what} ({message.code}: {message.msg[:80]})", remedy, again=again, after_s=after_s
                )
        return messages

    def _report_tape(self, messages: list[_Message], rows: Rows) -> None:
        """Report trading halts, resumptions and reached price limits; a limit that moves is reported again when it is
        reached.

        The bars of `rows` give the last price of their symbols.
        """
        if self._receiver is None:
            return
        for message in messages:
            column = self._universe.index.get(message.S)
            if column is None:
                continue
            try:
                # types of messages: s is a trading status, l are price limits
                if message.T == "s" and message.sc in HALTS | RESUMES:
                    reason = " ".join(words for words in (message.sm, message.rm) if words) or message.sc
                    self._receiver(
                        Halted(instant_ns(message.t, UTC), column, message.sc in HALTS, reason[:200], announced=True)
                    )
                elif message.T == "l" and message.u is not None and message.d is not None:
                    self._limits[column] = int(message.d * NANO), int(message.u * NANO)
                    self._report_limit(column, instant_ns(message.t, UTC))
            except (ValueError, ArithmeticError):
                raise SourceError("alpaca", "a message of its stream about a halt cannot be read") from None
        for column, close, ts in zip(rows.column.tolist(), rows.close_nano.tolist(), rows.ts.tolist(), strict=True):
            self._close[column] = close
            # the stream has bars of one minute, stamped with their open
            self._report_limit(column, ts + 60 * NANO)

    def _report_limit(self, column: int, ts: int) -> None:
        """Report that the last price is at a limit or beyond; once for each pair of limits."""
        limits, close = self._limits.get(column), self._close.get(column)
        if limits is None or close is None:
            return
        down, up = limits
        if down < close and (not up or close < up):
            self._at_limit.pop(column, None)
        elif self._at_limit.get(column) != limits and self._receiver is not None:
            self._at_limit[column] = limits
            self._receiver(Limited(ts, column, down, up))

    def _bars(self, messages: list[_Message]) -> Rows:
        index = self._universe.index
        of_universe = [m for m in messages if m.T in _BAR_KINDS and m.S in index]
        try:
            return rows_of([(instant_ns(m.t, UTC), index[m.S], m.o, m.h, m.l, m.c, m.v) for m in of_universe])
        except ValueError:
            raise SourceError("alpaca", "a bar of its stream has no stamp that can be read") from None


def stream(request: Request) -> AlpacaStream | None:
    """Open the stream of one-minute bars; None for another interval. Raises SourceError without key and secret."""
    if interval_ns(request.interval) != UNITS_NS["m"]:
        return None
    url = request.url.replace("http", "ws", 1) if request.url else STREAM_URL
    return AlpacaStream(
        request.universe, key=request.secrets["alpaca_key"], secret=request.secrets["alpaca_secret"],
        feed=cast(StockFeed, request.plan), crypto=pairs(request.universe), url=url,
    )  # fmt: skip
