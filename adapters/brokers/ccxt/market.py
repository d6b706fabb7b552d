"""Checks before trading: the functions of an exchange, and its market for each column (symbol of the universe)."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from msgspec import Struct

from quantd.adapters.brokers.ccxt.connection import Line
from quantd.adapters.brokers.ccxt.wire import history_of
from quantd.adapters.brokers.venue_errors import VenueError
from quantd.adapters.exchange.client import Exchange, market_of
from quantd.adapters.exchange.dialects import DIALECTS
from quantd.adapters.exchange.exchange_errors import outcome
from quantd.adapters.exchange.numbers import NotExact, decimal, nano, text_of
from quantd.adapters.exchange.refusal_words import Outcome
from quantd.trading.instruments import NANO, Universe

Mistake = tuple[str, str]
"""(the text of a mistake, its remedy)."""

NEEDED: Final = {
    "createOrder": "take orders",
    "cancelOrder": "cancel orders",
    "fetchBalance": "report balances",
    "fetchOpenOrders": "list open orders",
    "fetchMyTrades": "list our own trades",
    "fetchLedger": "list deposits and withdrawals",
}
"""Required functions by ccxt's name."""

# remedies of mistakes
ANOTHER: Final = f"Use {' or '.join(DIALECTS)}, which have every function that quantd needs"
KEY: Final = "Check key and secret, and what the key is allowed to do, at the venue"


class Markets(Struct, frozen=True):
    """The exchange's symbols (`names`), price ticks and base coins by column, and `column` by symbol.

    `untradable` has the columns that the exchange does not trade, with the reasons; their symbols, ticks and coins come
    from the universe.
    """

    names: tuple[str, ...]
    tick_nano: tuple[int, ...]
    bases: tuple[str, ...]
    column: dict[str, int]
    untradable: dict[int, str] = {}
    least: tuple[tuple[int, int], ...] = ()
    """By column: the least size of an order in nano-units, and its least cost in nano-currency; 0 for none."""


async def compare(line: Line, universe: Universe, clock: Callable[[], int], *, continues: bool = False) -> Markets:
    """Check the exchange's functions, its clock, the universe's markets and the key. If the run `continues` an earlier
    one, a missing market is untradable, not a mistake.

    Raises VenueError with every mistake and its remedy, or ConnectionError.
    """
    exchange, where = line.exchange, line.access.venue  # `line` is the connection to the exchange
    mistakes = lacks(exchange, line.access.venue)
    markets = Markets((), (), (), {})  # none so far
    if not mistakes:
        try:
            listing = await line.read(exchange.load_markets)
            unread = sorted(line.unread.get("Pair", set()) | line.unread.get("Asset", set()))
            absent = [symbol for symbol in universe.symbols if market_of(listing, symbol, universe.currency) is None]
            if unread and absent:
                text = f"the markets of {', '.join(absent)} are absent, and {', '.join(unread[:5])} cannot be read"
                raise ConnectionError(text)
            late: list[Mistake] = []
            if exchange.has.get("fetchTime"):
                most_s = min(line.settings.skew_s + line.dialect.skew_s, line.dialect.most_skew_s)
                late = _clock_mistakes(int(await line.read(exchange.fetch_time)), clock(), most_s)
            markets, wrong = match(listing, universe, continues=continues)
            mistakes += late + wrong
            by_signature = line.dialect.window or line.dialect.window_option
            if not (late and by_signature):  # by such a clock every request counts as late
                mistakes += await _permission_mistakes(line, clock() // 1_000_000, markets)
            if not mistakes:
                mistakes += await _fee_mistakes(line, universe, markets)
                mistakes += await _order_mistakes(line, universe, markets)
        except Exception as error:
            raise line.lost(error) from None
    if mistakes:
        remedies = dict.fromkeys(remedy for _, remedy in mistakes)
        raise VenueError(where, "; ".join(wrong for wrong, _ in mistakes), "; ".join(remedies))
    return markets


def lacks(exchange: Exchange, venue: str) -> list[Mistake]:
    """Return a mistake for each function that quantd needs and the exchange lacks, and one without a record of it."""
    if venue not in DIALECTS:
        return [
            (f"quantd has no record of {venue}, so that an order without an answer would not be found again", ANOTHER),
            *_lacking(exchange),
        ]
    return [] if DIALECTS[venue].by_symbol else _lacking(exchange)


def _lacking(exchange: Exchange) -> list[Mistake]:
    """Return a mistake for each required function that the exchange lacks."""
    mistakes = [
        (f"{exchange.id} cannot {what}", ANOTHER) for name, what in NEEDED.items() if exchange.has.get(name) is not True
    ]
    if not history_of(exchange.has):
        mistakes.append((f"{exchange.id} cannot list ended orders", ANOTHER))
    spot = exchange.features.get("spot") or {}
    for name in ("fetchOpenOrders", "fetchMyTrades"):
        if (spot.get(name) or {}).get("symbolRequired"):
            mistakes.append((f"{exchange.id} answers {name} only symbol by symbol", ANOTHER))
    return mistakes


def _clock_mistakes(venue_ms: int, now_ns: int, max_skew_s: float) -> list[Mistake]:
    skew_s = abs(venue_ms / 1e3 - now_ns / 1e9)
    if skew_s <= max_skew_s:
        return []
    return [(f"the venue's clock differs by {skew_s:.1f} s from ours", "Synchronise the clock (timedatectl, chrony)")]


async def _permission_mistakes(line: Line, now_ms: int, markets: Markets) -> list[Mistake]:
    """Send each kind of query once, and return a mistake for each that the key is not permitted to send."""
    queries: list[tuple[str, Callable[[], Awaitable[Any]]]] = [
        ("read balances", line.balances),
        ("read open orders", line.open_orders),
        ("read trades", lambda: _read_all(line.trades(markets.names[:1], now_ms))),
        ("read the ledger", lambda: _read_all(line.ledger(now_ms - 1, now_ms))),
    ]
    mistakes: list[Mistake] = []
    for what, query in queries:
        try:
            await line.read(query)
        except Exception as error:
            if outcome(error, line.dialect.means) not in (Outcome.DENIED, Outcome.REFUSED, Outcome.STRANGE):
                raise
            mistakes.append((f"the key may not {what} ({line.words(error)})", KEY))
            if not type(error).__name__.startswith("Permission"):
                break  # a wrong key fails for all of them
    return mistakes


async def _read_all(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


async def _fee_mistakes(line: Line, universe: Universe, markets: Markets) -> list[Mistake]:
    """Return a mistake if the account pays its fees in a coin that is not in the universe, so that the books could not
    have them."""
    coin = line.dialect.fee_coin
    if coin is None or coin.asset in markets.bases or not line.has_wallet:
        return []
    answer = await line.read(getattr(line.exchange, coin.query))
    if not answer[coin.key]:
        return []
    remedy = f"{coin.remedy}, or add {coin.asset}/{universe.currency} to [universe] symbols"
    return [(f"the account pays its fees in {coin.asset}, which is not in the universe", remedy)]


async def _order_mistakes(line: Line, universe: Universe, markets: Markets) -> list[Mistake]:
    """Let the exchange check an order that it never places, and return a mistake if the key may not place it.

    An exchange checks the key before the order. So any other answer says that the key may place orders.
    """
    column = next((column for column in range(universe.size) if column not in markets.untradable), None)
    if column is None or not line.dialect.check_only:
        return []
    size = max(markets.least[column][0], universe.lot_nano[column])
    order = markets.names[column], "limit", "buy", text_of(size), text_of(markets.tick_nano[column])
    try:
        await line.ask(lambda: line.exchange.create_order(*order, dict(line.dialect.check_only)))
    except Exception as error:
        if outcome(error, line.dialect.means) is Outcome.DENIED:
            return [(f"the key may not create orders ({line.words(error)})", KEY)]
    return []


async def again(line: Line, universe: Universe, markets: Markets) -> Markets:
    """Read the exchange's markets again: ticks, least sizes and states change while a daemon runs.

    A column with a mistake keeps its values, and is untradable with the mistake and its remedy. Raises the exchange's
    errors.
    """
    listing = await line.read(lambda: line.exchange.load_markets(True))  # True: not those of the last answer
    names, ticks = list(markets.names), list(markets.tick_nano)
    bases, least = list(markets.bases), list(markets.least)
    untradable: dict[int, str] = {}
    unread = line.unread.get("Pair", set()) | line.unread.get("Asset", set())
    for column, instrument in enumerate(universe.instruments):
        if unread and market_of(listing, instrument.symbol, universe.currency) is None:
            continue
        found, wrong = match(listing, Universe((instrument,), universe.currency), continues=True)
        if wrong:
            untradable[column] = "; ".join(f"{text}. {remedy}, and restart" for text, remedy in wrong)
            continue
        names[column], ticks[column] = found.names[0], found.tick_nano[0]
        bases[column], least[column] = found.bases[0], found.least[0]
        untradable.update((column, why) for why in found.untradable.values())
    columns = {name: column for column, name in enumerate(names)}
    return Markets(tuple(names), tuple(ticks), tuple(bases), columns, untradable, tuple(least))


def match(listing: dict[str, Any], universe: Universe, *, continues: bool = False) -> tuple[Markets, list[Mistake]]:
    """Return the market of each column, and every mistake of the universe. The markets are complete only if there is no
    mistake.

    A market that is not active is untradable. A market that the exchange lacks is a mistake, or untradable if the run
    `continues` an earlier one.

    Ticks are in nano-currency. `minimums` has (least size in nano-units, least cost in nano-currency) of an order, 0
    for none.
    """
    names, ticks, bases, minimums, mistakes = [], [], [], [], []
    untradable: dict[int, str] = {}
    for column, instrument in enumerate(universe.instruments):
        name = market_of(listing, instrument.symbol, universe.currency)
        market = listing[name] if name is not None else {}
        obstacle = "its market is not active" if market.get("active") is False else ""
        if name is None or not market.get("spot"):
            if not continues:
                mistakes.append(
                    (f"{instrument.symbol} is no market of this venue", f'Write it as "BTC/{universe.currency}"')
                )
                continue
            obstacle = "it is no market of this venue any more"
        if obstacle:
            # placeholders, so that each later column keeps its index
            untradable[column] = obstacle
            names.append(name or instrument.symbol)
            ticks.append(instrument.tick_nano)
            minimums.append((0, 0))
            bases.append(str(market.get("base") or instrument.symbol.replace("-", "/").partition("/")[0]))
            continue
        if market["quote"] != universe.currency:
            remedy = f"Trade it against {universe.currency}, or set [universe] currency"
            mistakes.append((f"{instrument.symbol} is quoted in {market['quote']}", remedy))
            continue
        try:
            tick, step = nano(market["precision"]["price"]), nano(market["precision"]["amount"])
        except NotExact:
            mistakes.append(
                (f"{instrument.symbol} has steps below 0.000000001", "It cannot be booked exactly: remove it")
            )
            continue
        if step != instrument.lot_nano:
            # the venue fills any multiple of its step, and the books need whole lots
            lot = text_of(instrument.lot_nano)
            text = f"a lot of {instrument.symbol} is {lot}, and the venue fills any {text_of(step)}"
            mistakes.append((text, f'Set lot = "{text_of(step)}" for {instrument.symbol}'))
        minimums.append((_minimum_nano(market, "amount"), _minimum_nano(market, "cost")))
        names.append(str(name))
        ticks.append(tick)
        bases.append(str(market["base"]))
    columns = {name: column for column, name in enumerate(names)}
    return Markets(tuple(names), tuple(ticks), tuple(bases), columns, untradable, tuple(minimums)), mistakes


def _minimum_nano(market: dict[str, Any], name: str) -> int:
    """Return the venue's minimum of an order ("amount" or "cost") in nano-units, rounded up; 0 without a readable
    one."""
    minimum = ((market.get("limits") or {}).get(name) or {}).get("min")
    try:
        return -int(-decimal(minimum) * NANO // 1) if minimum else 0
    except NotExact:
        return 0
