"""Whether an exchange can be traded with our rules, and which of its markets our columns are."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from msgspec import Struct

from quantd.adapters.brokers.ccxt.connection import Line
from quantd.adapters.brokers.ccxt.wire import history_of
from quantd.adapters.brokers.errors import VenueError
from quantd.adapters.exchange.client import Exchange
from quantd.adapters.exchange.dialects import Dialect
from quantd.adapters.exchange.errors import Outcome, outcome
from quantd.adapters.exchange.numbers import NotExact, nano, text_of
from quantd.trading.instruments import Universe

Mistake = tuple[str, str]
"""What is wrong, and its remedy."""

NEEDED: Final = {
    "createOrder": "take orders",
    "cancelOrder": "cancel orders",
    "fetchBalance": "tell balances",
    "fetchOpenOrders": "list open orders",
    "fetchMyTrades": "list our own trades",
    "fetchLedger": "list deposits and withdrawals",
}
"""What an exchange must have, by ccxt's name."""

ANOTHER: Final = "Use kraken, which has all of it"
KEY: Final = "Check key and secret, and what the key is allowed to do, at the venue"


class Markets(Struct, frozen=True):
    """The exchange's side of our columns: its symbols, price ticks (nano) and coins by column, and back."""

    names: tuple[str, ...]
    tick_nano: tuple[int, ...]
    bases: tuple[str, ...]
    column: dict[str, int]


async def compare(line: Line, universe: Universe, clock: Callable[[], int]) -> Markets:
    """Compare exchange, clock, universe and key with what we need. Raises VenueError with every mistake,
    ConnectionError when the venue does not answer."""
    exchange, where = line.exchange, line.access.venue
    mistakes = lacks(exchange, line.speaks)
    markets = Markets((), (), (), {})
    if not mistakes:
        try:
            said = await line.read(exchange.load_markets)
            if exchange.has.get("fetchTime"):
                mistakes += _skew(int(await line.read(exchange.fetch_time)), clock(), line.settings.skew_s)
            markets, wrong = match(said, universe)
            mistakes += wrong
            mistakes += await _permissions(line, clock() // 1_000_000)
        except Exception as error:
            raise line.lost(error) from None
    if mistakes:
        remedies = dict.fromkeys(remedy for _, remedy in mistakes)
        raise VenueError(where, "; ".join(wrong for wrong, _ in mistakes), "; ".join(remedies))
    return markets


def lacks(exchange: Exchange, speaks: Dialect) -> list[Mistake]:
    """What an exchange does not have that our rules need."""
    out = [
        (f"{exchange.id} cannot {what}", ANOTHER) for name, what in NEEDED.items() if exchange.has.get(name) is not True
    ]
    if not history_of(exchange.has):
        out.append((f"{exchange.id} cannot list ended orders", ANOTHER))
    spot = exchange.features.get("spot") or {}
    for name in ("fetchOpenOrders", "fetchMyTrades"):
        if (spot.get(name) or {}).get("symbolRequired"):
            out.append((f"{exchange.id} answers {name} only symbol by symbol", ANOTHER))
    return out


def _skew(venue_ms: int, now_ns: int, most_s: float) -> list[Mistake]:
    skew_s = abs(venue_ms / 1e3 - now_ns / 1e9)
    if skew_s <= most_s + 1.0:  # some exchanges tell whole seconds
        return []
    return [(f"the venue's clock differs by {skew_s:.1f} s from ours", "Synchronise the clock (timedatectl, chrony)")]


async def _permissions(line: Line, now_ms: int) -> list[Mistake]:
    """Ask for everything once that will be asked for later: a key may be allowed less."""
    exchange = line.exchange
    asks: list[tuple[str, Callable[[], Awaitable[Any]]]] = [
        ("read balances", exchange.fetch_balance),
        ("read open orders", exchange.fetch_open_orders),
        ("read trades", lambda: exchange.fetch_my_trades(None, now_ms, None, {})),
        ("read the ledger", lambda: exchange.fetch_ledger(None, now_ms, None, {})),
    ]
    out: list[Mistake] = []
    for what, ask in asks:
        try:
            await line.read(ask)
        except Exception as error:
            if outcome(error) not in (Outcome.DENIED, Outcome.REFUSED):
                raise
            out.append((f"the key may not {what} ({line.words(error)})", KEY))
            if not type(error).__name__.startswith("Permission"):
                break  # a wrong key fails everywhere alike
    return out


def match(said: dict[str, Any], universe: Universe) -> tuple[Markets, list[Mistake]]:
    """The market of each column, and every mistake of the universe; the first is whole only without the second."""
    names, ticks, bases, wrong = [], [], [], []
    for each in universe.instruments:
        name = name_of(said, each.symbol, universe.currency)
        market = said.get(name)
        if market is None or not market.get("spot"):
            wrong.append((f"{each.symbol} is no market of this venue", f'Write it as "BTC/{universe.currency}"'))
            continue
        if market["quote"] != universe.currency:
            remedy = f"Trade it against {universe.currency}, or set [universe] currency"
            wrong.append((f"{each.symbol} is quoted in {market['quote']}", remedy))
            continue
        if market.get("active") is False:
            wrong.append((f"{each.symbol} is not trading now", "Take it out of [universe] symbols"))
        try:
            tick, size = nano(market["precision"]["price"]), nano(market["precision"]["amount"])
        except NotExact:
            wrong.append((f"{each.symbol} is finer than 0.000000001", "It cannot be held exactly: take it out"))
            continue
        if size != each.lot_nano:
            # executions come in any of its sizes, and each must be whole lots of ours
            text = f"a lot of {each.symbol} is {text_of(each.lot_nano)}, and the venue fills any {text_of(size)}"
            wrong.append((text, f'Set lot = "{text_of(size)}" for {each.symbol}'))
        names.append(name)
        ticks.append(tick)
        bases.append(str(market["base"]))
    columns = {name: column for column, name in enumerate(names)}
    return Markets(tuple(names), tuple(ticks), tuple(bases), columns), wrong


def name_of(said: dict[str, Any], symbol: str, currency: str) -> str:
    """How the exchange calls a symbol: BTC/USD, BTC-USD and BTC are one."""
    for name in (symbol, symbol.replace("-", "/"), f"{symbol}/{currency}"):
        if name in said:
            return name
    return symbol
