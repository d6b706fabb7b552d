"""Answers of the gateway in the form of Alpaca's trading API, version 2: account, positions, assets, clock, orders.

Fields without a meaning here are constants: docs/trade/gateway.md lists them. Amounts are text, as at the vendor.
"""

from dataclasses import replace
from typing import Any

import msgspec
from aiohttp import web

from quantd.daemon.engine.state import State
from quantd.daemon.engine.venue.account import free_micro
from quantd.daemon.runtime.service import Service
from quantd.risk.switch import RUN
from quantd.server.gateway.tickets import CLOSED, Ticket, Tickets, name_of
from quantd.server.requests.control import ENDED, market_now
from quantd.trading.display_text import instant as instant_of
from quantd.trading.instruments import MICRO, NANO
from quantd.trading.orders import money_text, price_text, quantity_text, side_text

Answer = dict[str, Any]


class Fault(Exception):
    """An answer in the vendor's form of an error: a status, a code that begins with it, and one sentence."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code
        self.headers: dict[str, str] = {}


def invalid(message: str) -> Fault:
    return Fault(422, 42210000, message)


def answer(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), content_type="application/json", status=status)


def instant(ns: int) -> str | None:
    """An instant in ns UTC as the vendor writes it; None for 0."""
    return instant_of(ns).isoformat().replace("+00:00", "Z") if ns else None


def account_of(state: State, book_index: int, tickets: Tickets, agent: str, *, cut: bool) -> Answer:
    """The account of a program: the book of its agent.

    Cash and buying power are divided by 1 + collar + fee, so that an order of this value at the last price passes: a
    market order here is a limit order at the collar. They are exact for a book with `cut`, whose orders need not pass
    whole.
    """
    state.revalue()
    book, limits = state.ledger.books[book_index], state.rules.agents[book_index].limits
    value = state.lots(book_index) * state.lot_values()
    halted = max(state.agents[book_index].switch.state, state.switch.state) != RUN
    dearest = 1.0 if cut else 1.0 + limits.collar + state.rules.house.fee_bp / 1e4
    power = money_text(max(int(free_micro(state, book_index) / dearest), 0))
    equity = money_text(state.books_micro[book_index])
    return {
        "id": name_of("account", tickets.account, agent), "account_number": f"quantd-{agent}", "status": "ACTIVE",
        "crypto_status": "INACTIVE", "currency": state.universe.currency, "equity": equity,
        "cash": money_text(book.cash_micro if cut else int(book.cash_micro / dearest)), "portfolio_value": equity,
        "last_equity": equity, "buying_power": power,
        "regt_buying_power": power, "non_marginable_buying_power": power, "daytrading_buying_power": "0",
        "long_market_value": f"{value[value > 0].sum():.2f}", "short_market_value": f"{value[value < 0].sum():.2f}",
        "initial_margin": "0", "maintenance_margin": "0", "last_maintenance_margin": "0", "sma": "0",
        "accrued_fees": "0", "multiplier": "1", "daytrade_count": 0, "pattern_day_trader": False,
        "shorting_enabled": bool(limits.allow_short and state.rules.house.allow_short), "trading_blocked": halted,
        "account_blocked": False, "transfers_blocked": True, "trade_suspended_by_user": halted,
        "created_at": instant(tickets.since),
    }  # fmt: skip


def position_of(state: State, book_index: int, column: int) -> Answer:
    """A position of a book. `qty_available` is without the lots that open orders may sell."""
    universe, book = state.universe, state.ledger.books[book_index]
    symbol, lot, mark = universe.symbols[column], universe.lot_nano[column], int(state.marks_nano[column])
    lots, cost = int(state.lots(book_index)[column]), book.cost_micro[column]
    closing = sum(abs(k) for s, k, *_ in state.open_rows(book_index) if s == column and k * lots < 0)
    units = lots * lot / NANO
    value = round(units * mark / 1e3)
    share = f"{(value - cost) / abs(cost):.6f}" if cost else "0"
    return {
        "asset_id": name_of("asset", symbol), "symbol": symbol, "exchange": "NYSE", "asset_class": "us_equity",
        "asset_marginable": False, "qty": quantity_text(lots, lot),
        "qty_available": quantity_text((1 if lots > 0 else -1) * max(abs(lots) - closing, 0), lot),
        "side": "long" if lots > 0 else "short", "avg_entry_price": f"{cost / units / MICRO:.6f}",
        "cost_basis": money_text(cost), "market_value": money_text(value), "current_price": price_text(mark),
        "unrealized_pl": money_text(value - cost), "unrealized_plpc": share, "unrealized_intraday_pl": "0",
        "unrealized_intraday_plpc": "0", "lastday_price": price_text(mark), "change_today": "0",
    }  # fmt: skip


def asset_of(state: State, book_index: int, column: int) -> Answer:
    """An asset, as the book of a program may trade it: `shortable` where the book and the account may be short."""
    universe, house = state.universe, state.rules.house
    short = house.allow_short and state.rules.agents[book_index].limits.allow_short
    short = short and column not in state.venue.unlent
    symbol, lot = universe.symbols[column], universe.lot_nano[column]
    return {
        "id": name_of("asset", symbol), "class": "us_equity", "exchange": "NYSE", "symbol": symbol, "name": symbol,
        "status": "active", "tradable": column not in state.restrictions.halted, "marginable": False,
        "shortable": short, "easy_to_borrow": short, "fractionable": lot < NANO,
        "min_order_size": quantity_text(1, lot), "min_trade_increment": quantity_text(1, lot),
        "price_increment": price_text(universe.instruments[column].tick_nano), "attributes": [],
    }  # fmt: skip


def clock_of(service: Service) -> Answer:
    """The clock of the run: whether an order sent now can fill, and the next open and close of the calendar.

    In a replay of daily bars time stands at the closes: the session counts as open after its bar, and `next_open` is
    the next fill. After the last bar of a recorded market it is closed for ever. Else it is open within a session.
    """
    state, now = service.shell.state, market_now(service)
    sessions = state.rules.house_sessions()
    following = sessions.next_close(now)
    within = sessions.open_ns[following] <= now
    stands = state.rules.daily and service.market_ahead_ns is None
    return {
        "timestamp": instant(now), "is_open": (within or stands) and service.status != ENDED,
        "next_close": instant(sessions.close_ns[following]),
        "next_open": instant(sessions.open_ns[following + 1 if within else following]),
    }  # fmt: skip


def order_class(ticket: Ticket) -> str:
    """The class of an order: `bracket` with two exits, `oto` with one, `simple` without; an exit is of a `bracket`."""
    return "bracket" if ticket.leg else ("simple", "oto", "bracket")[len(ticket.legs)]


def order_of(state: State, ticket: Ticket) -> Answer:
    """An order of a program. One that the engine holds has the size and prices of there, which a split changes."""
    universe = state.universe
    held = next((waiting.orders[0] for waiting in state.awaiting if waiting.cause == ticket.cause), None)
    if held is not None and ticket.status not in CLOSED:
        ticket = replace(ticket, lots=held.lots, limit_nano=held.limit_nano, stop_nano=held.trigger_nano)
    symbol, lot = universe.symbols[ticket.column], universe.lot_nano[ticket.column]
    ended, status = instant(ticket.ended), ticket.status
    kind = "_".join(["stop"] * bool(ticket.stop_nano) + ["limit"] * bool(ticket.limit_nano)) or "market"
    price = price_text(ticket.value // ticket.filled) if ticket.filled else None
    return {
        "id": ticket.id, "client_order_id": ticket.client_id, "created_at": instant(ticket.created),
        "updated_at": instant(ticket.changed), "submitted_at": instant(ticket.created),
        "filled_at": ended if status == "filled" else None, "expired_at": ended if status == "expired" else None,
        "canceled_at": ended if status == "canceled" else None, "failed_at": ended if status == "rejected" else None,
        "replaced_at": ended if status == "replaced" else None,
        "replaced_by": ticket.replaced_by.id if ticket.replaced_by else None,
        "replaces": ticket.replaces.id if ticket.replaces else None, "asset_id": name_of("asset", symbol),
        "symbol": symbol, "asset_class": "us_equity", "notional": None, "qty": quantity_text(abs(ticket.lots), lot),
        "filled_qty": quantity_text(ticket.filled, lot), "filled_avg_price": price, "order_class": order_class(ticket),
        "order_type": kind, "type": kind, "side": side_text(ticket.lots), "status": status,
        "stop_price": price_text(ticket.stop_nano) if ticket.stop_nano else None,
        "time_in_force": "day" if ticket.day else "gtc", "extended_hours": False,
        "legs": [order_of(state, leg) for leg in ticket.legs] or None,
        "limit_price": price_text(ticket.limit_nano) if ticket.limit_nano else None, "trail_percent": None,
        "trail_price": None, "hwm": None,
    }  # fmt: skip
