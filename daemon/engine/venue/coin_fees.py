"""Units of an instrument that move without a trade: fees in the coin, rewards, dust.

Books hold whole lots; the remainder of a lot is dust. Lots plus dust equal the venue's units to the nano-unit. A fee of
a fill takes whole lots from the buyers at the price of the fill, as a sale whose whole amount is the fee.

What can go wrong: Alpaca takes a fee from the coin at the trade and lists it at the end of the day. Until then the
venue has less than the books, and each purchase would move the kill switch to REDUCE. So a lack of at most the highest
fee on the trades since then is booked ahead, as a fee; when the venue lists the fee, it is not booked again. A larger
lack is a difference like any other. Rejected: to book the rate of a tier at the fill, because the tier depends on 30
days of trading and on maker or taker.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from math import ceil
from typing import Final, Literal

from msgspec import UnsetType, structs

from quantd.daemon.engine.state import HOUSE, CoinFees, State
from quantd.trading.effects import Booked, Effect, Filled
from quantd.trading.events import Flow
from quantd.trading.execution import round_micro
from quantd.trading.instruments import NANO, is_pair
from quantd.trading.ledger.shares import share
from quantd.trading.ports import VenueAccount
from quantd.trading.sessions import DAY_NS

LISTED_NS: Final = 3 * DAY_NS
"""Longest time from a trade until the venue has taken and listed its fee."""

ROUNDING_NANO: Final = 1_000
ROUNDING_MICRO: Final = 10_000
"""Excess over the highest fee of a fill that is its rounding: a venue rounds each fee to a cent."""

CASH: Final = -1
"""The key of cash in `CoinFees`, beside columns."""


def pay_in_coin(
    state: State,
    key: tuple[int, int],
    ts: int,
    sym: int,
    price_nano: int,
    fee_nano: int,
    shares: Sequence[tuple[int, int]],
) -> list[Effect]:
    """Pay a fee of `fee_nano` nano-units of the column `sym` from its dust (units beyond whole lots), then in whole
    lots of the books.

    `shares` are (book, signed lots) of the fill, which bear the lots in proportion.
    """
    lot_nano = state.universe.lot_nano[sym]
    remaining = state.venue.dust.get(sym, 0) - fee_nano
    lots = -(remaining // lot_nano) if remaining < 0 else 0  # rounded up to whole lots
    state.venue.dust[sym] = remaining + lots * lot_nano
    if not lots:
        return []
    paid = [
        (who, -unsigned)
        for who, unsigned in share(lots, [(who, abs(unsigned)) for who, unsigned in shares])
        if unsigned
    ]
    amount = round_micro(lots * lot_nano * price_nano)[0]  # [0]: without the residue of rounding
    state.ledger.fills([sym], [-lots], [price_nano], [amount], [paid])
    state.booked()
    return [Filled(*key, ts, [sym], [-lots], [price_nano], [amount], [paid])]


def dust_micro(state: State, sym: int) -> int:
    """Value at the mark, in micro-currency, of a symbol's dust: units beyond whole lots, which are in no book's
    equity."""
    return round_micro(state.venue.dust.get(sym, 0) * int(state.marks_nano[sym]))[0]


def count_uncharged(state: State, ts: int, sym: Sequence[int], lots: Sequence[int], price_nano: Sequence[int]) -> None:
    """Count fills of currency pairs, in signed lots, whose fee the venue lists later."""
    if not state.rules.coin_fee_bp:
        return
    for column, count, price in zip(sym, lots, price_nano, strict=True):
        if is_pair(state.universe.symbols[column]):
            units = count * state.universe.lot_nano[column]
            if units > 0:
                _add_uncharged(state, column, units, ROUNDING_NANO, ts)
            else:
                _add_uncharged(state, CASH, round_micro(-units * price)[0], ROUNDING_MICRO, ts)


def _add_uncharged(state: State, key: int, size: int, rounding: int, ts: int) -> None:
    """Add a fill to the trades whose fee the venue has not listed yet, under the column `key` or CASH (fees in
    currency).

    `size` is in nano-units, under CASH in micro-currency. It is enlarged so that its highest fee includes the venue's
    largest rounding.
    """
    size += ceil(rounding * 10_000 / state.rules.coin_fee_bp)
    fees = state.venue.coin_fees
    if isinstance(fees, UnsetType):
        fees = state.venue.coin_fees = CoinFees()
    before, since = fees.uncharged.get(key, (0, 0))
    fees.uncharged[key] = (before if ts - since < LISTED_NS else 0) + size, ts


def unlisted_fees(state: State, account: VenueAccount) -> Iterator[Flow]:
    """Fees that the venue has taken and not listed yet, as flows to book before the venue lists them (`ahead`).

    An amount of a coin or of cash that the venue lacks counts as such a fee if it is at most the highest fee on the
    trades.
    """
    house, (fenced_lots, fenced_cash) = state.ledger.house, state.venue.fenced
    odd_nano = {symbol: int(Decimal(text) * NANO) for symbol, text in account.odd}
    uncharged = {} if isinstance(state.venue.coin_fees, UnsetType) else state.venue.coin_fees.uncharged
    # by column the nano-units bought whose fee is not listed yet, at CASH the micro-currency of sales, and since when
    for key, (size, since) in list(uncharged.items()):
        if state.now - since >= LISTED_NS or key in account.unread:
            continue
        highest_fee = int(Decimal(size) * Decimal(repr(state.rules.coin_fee_bp)) / 10_000)
        if key == CASH:
            lack = house.cash_micro + fenced_cash - account.cash_micro
            if 0 < lack <= highest_fee + ROUNDING_MICRO:
                yield Flow(account.ts, -lack, "venue", "fee", f"ahead {account.ts}", ahead=True)
            continue
        lot_nano, symbol = state.universe.lot_nano[key], state.universe.symbols[key]
        ours = (house.lots[key] + fenced_lots[key]) * lot_nano + state.venue.dust.get(key, 0)
        lack = ours - account.lots[key] * lot_nano - odd_nano.get(symbol, 0)
        if 0 < lack <= highest_fee + ROUNDING_NANO:
            id = f"ahead {symbol} {account.ts}"
            yield Flow(account.ts, 0, "venue", "fee", id, key, units_nano=-lack, ahead=True)


def count_fee(state: State, moved: Flow) -> Flow:
    """Count a fee of the venue; returns the flow that is still to be booked, without any part that was booked ahead.

    Only fees of pairs, such as BTC/USD, are listed late and counted. A charge is a negative flow.
    """
    of_pairs = moved.ahead or (moved.symbol >= 0 and is_pair(state.universe.symbols[moved.symbol]))
    # the entry of a fee in money may have no symbol
    of_pairs = of_pairs or (moved.symbol < 0 and all(map(is_pair, state.universe.symbols)))
    fees = state.venue.coin_fees
    if not of_pairs or isinstance(fees, UnsetType):
        return moved
    if moved.ahead:
        for key, size in ((moved.symbol, -moved.units_nano), (CASH, -moved.amount_micro)):
            if size > 0:
                fees.ahead[key] = fees.ahead.get(key, 0) + size
    elif fees.ahead:
        # the fee may be of another trade than the one booked ahead: then that other trade stays uncharged
        units = moved.units_nano + _use_booked_ahead(fees, moved.symbol, -moved.units_nano)
        amount = moved.amount_micro + _use_booked_ahead(fees, CASH, -moved.amount_micro)
        moved = structs.replace(moved, units_nano=units, amount_micro=amount)
    bp = state.rules.coin_fee_bp or 1.0  # never 0: it is a divisor
    _subtract_charged(fees, bp, moved.symbol, -moved.units_nano)
    _subtract_charged(fees, bp, CASH, -moved.amount_micro)
    return moved


def _subtract_charged(fees: CoinFees, bp: float, key: int, fee: int) -> None:
    """Remove from the uncharged trades under `key` the trades that a listed fee of `bp` basis points pays for.

    `key` is a column or CASH; `fee` is in nano-units of the coin, under CASH in micro-currency.
    """
    if fee > 0 and key in fees.uncharged:
        size, since = fees.uncharged[key]
        remaining = size - int(Decimal(fee) * 10_000 / Decimal(repr(bp)))
        if remaining > 0:
            fees.uncharged[key] = remaining, since
        else:
            del fees.uncharged[key]


def _use_booked_ahead(fees: CoinFees, key: int, fee: int) -> int:
    """The part of a listed fee that was booked ahead; that part is removed from the fees that were booked ahead.

    `key` is a column or CASH; both amounts are in nano-units of the coin, under CASH in micro-currency.
    """
    booked = fees.ahead.get(key, 0)
    used = max(min(booked, fee), 0)
    if used:
        fees.ahead[key] = booked - used
        if not fees.ahead[key]:
            del fees.ahead[key]
    return used


def book_units(state: State, moved: Flow) -> list[Effect]:
    """Book units of a fee, a reward or dust, as income (negative: a charge) at the mark.

    Whole lots arrive in kind, in proportion to the books' positions; the income of the same value offsets the flow, so
    that cash does not change. Without a position the unallocated book (what no agent has) takes them.
    """
    column, lot_nano = moved.symbol, state.universe.lot_nano[moved.symbol]
    units = state.venue.dust.get(column, 0) + moved.units_nano
    lots = units // lot_nano
    held = state.account(HOUSE).held[column]
    if lots < 0:
        lots = max(lots, -max(held, 0))  # a fee of what is not held any more stays in the dust
    state.venue.dust[column] = units - lots * lot_nano
    price = int(state.marks_nano[column])
    kind: Literal["interest", "fee"] = "interest" if moved.units_nano > 0 else "fee"
    if not lots:
        return [Booked(moved.ts, kind, column, 0)]
    holders = [
        (book, account.held[column]) for book, account in enumerate(state.ledger.books) if account.held[column] > 0
    ]
    sign = 1 if lots > 0 else -1
    parts = share(abs(lots), holders) if holders else [(len(state.ledger.books) - 1, abs(lots))]
    effects: list[Effect] = []
    for book, part in parts:
        value = round_micro(sign * part * lot_nano * price)[0]  # [0]: without the residue of rounding
        state.ledger.in_kind(column, sign * part, value, book)
        state.ledger.deposit(-value, book)
        state.ledger.income(value, [(book, 1)])  # all of it to this book
        number = book if book < len(state.ledger.books) - 1 else -1  # -1: the unallocated book
        effects.append(Booked(moved.ts, "in_kind", column, value, number, lots=sign * part))
        effects.append(Booked(moved.ts, "flow", -1, -value, number))
        effects.append(Booked(moved.ts, kind, column, value, number, parts=[(number, value)]))
    state.booked()
    return effects


def takes_fee(state: State, effects: Sequence[Effect]) -> bool:
    """Whether effects have a fill of a pair at a venue that takes its fee in the coin: the account is then compared."""
    return state.rules.coin_fee_bp > 0.0 and any(
        is_pair(state.universe.symbols[column]) for effect in effects if type(effect) is Filled for column in effect.sym
    )
