"""The daemon's present state for API, dashboard and terminal.

The state is read between steps on the trading loop. Money and quantities are exact text, ratios are floats.
"""

import time
from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from msgspec import Struct, structs

from quantd.daemon.config import Agent, Config
from quantd.daemon.engine.planning.gate_account import limits_in_force
from quantd.daemon.engine.safety.market_regime import regime_text
from quantd.daemon.engine.safety.monitor import limit_values
from quantd.daemon.engine.safety.pending_limits import waiting_text
from quantd.daemon.engine.state import HOUSE, State
from quantd.daemon.engine.venue.coin_fees import dust_micro
from quantd.daemon.engine.venue.halts import limits_text
from quantd.daemon.engine.venue.price_jumps import hold_text
from quantd.daemon.policies.isolation.worker import lacking
from quantd.daemon.policies.seats import as_loaded
from quantd.daemon.runtime.leader import LeaderNow
from quantd.daemon.runtime.switch_causes import HOUSE as HOUSE_SWITCH
from quantd.daemon.runtime.switch_causes import SwitchCause
from quantd.daemon.runtime.version import VERSION
from quantd.daemon.views.agent_rows import capital_shares, diversity, shadow_lots
from quantd.daemon.views.limit_rows import HOUR_NS, finite, is_floor, unit, words
from quantd.daemon.views.risk_measures import Assessed
from quantd.daemon.views.struct_fields import struct_of
from quantd.risk.limits.catalogue import Limits
from quantd.risk.monitor.levels import UNWATCHED, floor_usage
from quantd.trading.display_text import instant_text
from quantd.trading.instruments import MICRO
from quantd.trading.market import Floats
from quantd.trading.orders import money_text, price_text, quantity_text

if TYPE_CHECKING:
    from quantd.daemon.assembly.parts import Parts
    from quantd.daemon.runtime.service import Service

SWITCH: Final = ("RUN", "REDUCE", "HALT")
"""The names of the positions of a switch, by its number."""
READY: Final = frozenset({"running", "ended"})
"""States of the service in which it accepts bars and commands."""

SHOWN: Final = 12
"""Maximum number of entries of each list of symbols in an overview."""

WEIGHTS_SHOWN: Final = 8
"""Maximum number of weights of an agent in an overview."""


class LimitNow(Struct, frozen=True):
    """One limit of a book.

    `use` is value / bound, or bound / value for a lower bound, and null for cash. `floor` marks a lower bound.
    `headroom` is the distance to the bound. Value, bound and headroom are in `unit`.
    """

    limit: str
    value: float | None
    bound: float | None
    use: float | None
    floor: bool = False
    words: str = ""
    unit: str = ""
    headroom: float | None = None


class PositionNow(Struct, frozen=True):
    """The house's position in one symbol, split by agents' books.

    `unrealised` is the value less the cost. `risk_share` is the part of the volatility of the whole account
    that comes from this position; the parts of all positions add up to 1, and the part of a hedge is negative.
    `risk_share` is null where the volatility is unknown. `group` names the correlation group
    (`Assessed.groups`); empty for none. `shadows` are simulated positions. `halted` is the reason why
    the symbol cannot be traded now; empty if it can. `jumped` describes a price jump because of which trading in the
    symbol is stopped and the worse price is used; empty without one. `dust` is a fraction of a lot at the venue that
    fees in the instrument itself caused and no book has; empty for none.
    """

    symbol: str
    qty: str
    price: str
    value: str
    weight: float
    cost: str
    agents: dict[str, str]
    unrealised: str = ""
    risk_share: float | None = None
    group: str = ""
    halted: str = ""
    jumped: str = ""
    dust: str = ""
    dust_value: str = ""
    shadows: dict[str, str] = {}


class AgentNow(Struct, frozen=True):
    """One agent and its book.

    `total` is the return since the start and `today` the return since the last close before today; null when unknown.
    Deposits and withdrawals do not count as return. `weights` are the largest weights, and `more` is the number of
    further holdings. A `shadow` is not part of the account; `challenges` names the agent that it may replace.
    `decided_by` is another agent whose policy it trades; empty for its own policy. `portfolio` is the name of the
    portfolio that this agent holds. `share` and `target` are its present and target share of the agents' capital.
    """

    name: str
    policy: str
    profile: str
    capital: float
    switch: str
    reason: str
    suspended: bool
    equity: str
    cash: float
    weights: dict[str, float]
    total: float | None
    today: float | None
    shadow: bool = False
    challenges: str = ""
    decided_by: str = ""
    share: float | None = None
    target: float | None = None
    portfolio: str = ""
    more: int = 0
    cause: SwitchCause | None = None


class SinkNow(Struct, frozen=True):
    """A sink of alerts: `queued` alerts now, `delivered` alerts and failed attempts since the start.

    `error` is the reason of the last failure, empty after a success.
    """

    queued: int
    delivered: int
    failures: int
    error: str


class Overview(Struct, frozen=True):
    """One run at one instant of market time: `ts` (UTC) and `session` (its date).

    `halted`: symbol -> reason why the venue does not trade it. `jumped`: symbol -> the price jump because of which
    trading in it is stopped. `limited`: symbol at a price limit -> the limits. `store` is the reason why the store
    takes no writes, else empty. `agents` are the trading agents, then the shadows (agents on paper). `undelivered`:
    sink -> reason why it takes no alerts now. `sinks`: sink -> its deliveries. `diversity` is the mean absolute
    correlation of the trading agents' returns. `not_isolated`: policy file -> the rights that its process could not
    give up. `loosening` describes looser limits that are not in force yet, with the instant. `regime` is
    the market regime by [risk.regime]. `positions` are the largest positions; `halted`, `jumped` and `limited` the
    first symbols. `more`: name of such a list -> number of further entries, if any. `reviews` is the number of
    proposals that wait for a person. `leader` is the trading daemon, in the answers of a read-only instance. `cause` is
    who or what moved the kill switch, while it is not RUN. `drawdown` is the fall of the account from its highest worth
    of the run, which it had at `peak_ts` (0: at the start). `limit_drawdown` is the one that counts for the limit: from
    the highest equity since the last resume, at `resumed_ts` (0: there was none). `differs` has each key in which the
    configuration file differs from the run since the last reload.
    """

    name: str
    version: str
    mode: str
    run: str
    status: str
    ready: bool
    ts: int
    time: str
    session: str
    zone: str
    currency: str
    switch: str
    reason: str
    equity: str
    cash: str
    total: float | None
    today: float | None
    gross: float | None
    drawdown: float
    limit_drawdown: float
    peak_ts: int
    resumed_ts: int
    slices: int
    symbol_bars: int
    orders: int
    fills: int
    open_orders: int
    alerts: int
    trips: int
    uptime_s: float
    agents: list[AgentNow]
    positions: list[PositionNow]
    limits: list[LimitNow]
    halted: dict[str, str] = {}
    jumped: dict[str, str] = {}
    limited: dict[str, str] = {}
    diversity: float | None = None
    store: str = ""
    not_isolated: dict[str, str] = {}
    undelivered: dict[str, str] = {}
    sinks: dict[str, SinkNow] = {}
    loosening: str = ""
    regime: str = ""
    more: dict[str, int] = {}
    reviews: int = 0
    leader: LeaderNow | None = None
    cause: SwitchCause | None = None
    differs: list[str] = []


def overview(service: "Service", parts: "Parts", config: Config) -> Overview:
    """The overview of a run; takes about half a millisecond."""
    shell, state = service.shell, service.shell.state
    state.revalue()
    tally, equity = shell.tally, state.equity_micro
    prices = np.nan_to_num(state.marks * state.universe.lot_size)
    shown_positions, position_count = positions(state, most=SHOWN)
    sizes = {
        "positions": position_count, "halted": len(state.restrictions.halted), "jumped": len(state.restrictions.jumped),
        "limited": len(state.restrictions.limited),
    }  # fmt: skip
    return struct_of(
        Overview,
        tally,
        name=config.quantd.name,
        version=VERSION,
        mode=service.mode,
        run=service.run,
        status=service.status,
        ready=service.status in READY,
        ts=shell.ts,
        time=instant_text(shell.ts),
        session=instant_text(state.sample_key)[:10],
        zone=parts.sessions[state.universe.calendar].zone,
        currency=state.universe.currency,
        switch=SWITCH[state.switch.state],
        reason=state.switch.reason,
        equity=money_text(equity),
        cash=money_text(state.ledger.house.cash_micro),
        total=total_return(state, HOUSE),
        today=_ratio(equity, state.switch.day_open),
        gross=float(np.abs(state.lots(HOUSE) * prices).sum()) * MICRO / equity if equity > 0 else None,
        **_against_marks(service, equity),
        open_orders=sum(work.live for work in state.at_venue().values()),
        reviews=len(state.reviews),
        uptime_s=round(time.monotonic() - service.started, 1),
        agents=_agents(service, config, prices),
        positions=shown_positions,
        limits=limits_now(state),
        halted={state.universe.symbols[k]: why for k, (_, why) in sorted(state.restrictions.halted.items())[:SHOWN]},
        jumped={state.universe.symbols[k]: hold_text(state, k) for k in sorted(state.restrictions.jumped)[:SHOWN]},
        limited={
            state.universe.symbols[k]: limits_text(*pair)
            for k, pair in sorted(state.restrictions.limited.items())[:SHOWN]
        },
        diversity=diversity(state),
        store=service.store_error,
        not_isolated=dict(lacking(parts.policies)),
        undelivered={kind: counts.error for kind, counts in service.sinks.items() if counts.error},
        sinks={kind: SinkNow(c.depth, c.sent, c.failures, c.error) for kind, c in service.sinks.items()},
        loosening=waiting_text(state),
        regime=regime_text(state),
        more={name: size - SHOWN for name, size in sizes.items() if size > SHOWN},
        leader=service.leader,
        cause=service.histories.causes.of(HOUSE_SWITCH),
    )


def account_line(service: "Service") -> str:
    """The account now in one line: equity, change since the day's first value, and the switch where it is not RUN."""
    state = service.shell.state
    state.revalue()
    today, switch = _ratio(state.equity_micro, state.switch.day_open), SWITCH[state.switch.state]
    parts = [f"equity {money_text(state.equity_micro)} {state.universe.currency}"]
    parts += [] if today is None else [f"{today:+.2%} today"]
    return ", ".join(parts + ([f"switch {switch}"] if switch != "RUN" else []))


def _against_marks(service: "Service", equity_micro: int) -> dict[str, Any]:
    """The two drawdowns, with the instants from which they are, and where the file differs from the run."""
    peak, mark = service.histories.peak, max(service.shell.state.switch.high_water, 1)
    return {
        "drawdown": peak.drawdown(equity_micro), "limit_drawdown": max(0.0, 1.0 - equity_micro / mark),
        "peak_ts": peak.ts, "resumed_ts": service.histories.causes.resumed_ts, "differs": service.differs,
    }  # fmt: skip


def total_return(state: State, number: int) -> float:
    """The return since the first equity of the book of agent `number`, or of the account for HOUSE: 0.1 is 10 %."""
    house = number == HOUSE
    equity = state.equity_micro if house else state.books_micro[number]
    book = state.ledger.house if house else state.ledger.books[number]
    return state.watch.realised[number + 1].grown(equity, book.flows_micro) - 1.0


def _ratio(now_micro: int, then_micro: int) -> float | None:
    return now_micro / then_micro - 1.0 if then_micro > 0 else None


def _agents(service: "Service", config: Config, prices: Floats) -> list[AgentNow]:
    """The rows of the agents in use, then of the shadows (agents on paper)."""
    state = service.shell.state
    shares, shadow_mode, count = capital_shares(state), config.quantd.mode == "shadow", len(state.agents)
    seats = as_loaded(config.seats, state.loaded)
    rows = []
    for k in state.in_use():
        row = _agent(state, seats, k, k, prices, shadow_mode, shares.get(k, (None, None)))
        rows.append(structs.replace(row, cause=service.histories.causes.of(row.name)))
    for policy_index, shadow in enumerate(state.shadows, count):
        shadow.revalue()
        rows.append(_agent(shadow, seats, policy_index, 0, prices, True, (None, None)))
    return rows


def _agent(
    state: State,
    seats: Sequence[Agent],
    policy_index: int,
    number: int,
    prices: Floats,
    shadow: bool,
    shares: tuple[float | None, float | None],
) -> AgentNow:
    """Agent `number` of a house (an account with its agents); a shadow is the only agent of its own house.

    `seats[policy_index]` is the agent's configuration. `prices` float64[N] are the values of a lot, `shares` the
    (present, target) share of the agents' capital, None without reallocation.
    """
    rules = state.rules.agents[number]
    table, agent = seats[policy_index], state.agents[number]
    book, equity = state.ledger.books[number], state.books_micro[number]
    values = state.lots(number) * prices
    held_columns = np.flatnonzero(values)
    shown_columns = held_columns[np.argsort(-np.abs(values[held_columns]), kind="stable")[:WEIGHTS_SHOWN]]
    return AgentNow(
        name=rules.name,
        policy=seats[state.seats[number]].policy,
        profile=table.profile or "",
        capital=table.capital,
        switch=SWITCH[agent.switch.state],
        reason=agent.switch.reason,
        suspended=agent.suspended,
        equity=money_text(equity),
        cash=book.cash_micro / equity if equity > 0 else 0.0,
        weights={state.universe.symbols[k]: float(values[k]) * MICRO / equity for k in shown_columns}
        if equity > 0
        else {},
        total=total_return(state, number),
        today=_ratio(equity, agent.switch.day_open),
        shadow=shadow,
        challenges=table.challenges,
        decided_by=state.policy_of(number),
        share=shares[0],
        target=shares[1],
        portfolio=state.portfolios[number].name if number in state.portfolios else "",
        more=len(held_columns) - len(shown_columns) if equity > 0 else 0,
    )


def with_risk(rows: Sequence[PositionNow], risk: Assessed) -> list[PositionNow]:
    """The positions `rows` with their shares of the account's volatility and their correlation groups from `risk`."""
    volatility, parts = risk.house.volatility_annual, risk.house.positions or {}
    return [
        structs.replace(
            row,
            risk_share=parts[row.symbol].component_volatility / volatility
            if volatility and row.symbol in parts
            else None,
            group=risk.groups.get(row.symbol, ""),
        )
        for row in rows
    ]


def positions(state: State, *, search: str = "", most: int | None = None) -> tuple[list[PositionNow], int]:
    """(at most `most` positions, the largest value first; the number of all positions).

    A symbol counts if the whole account or any agent holds it, because opposite books may leave the house
    flat. With `search` only symbols that contain it count, in upper or lower case.
    """
    columns = largest(state, search)
    return [_position(state, column) for column in columns[:most]], len(columns)


def largest(state: State, search: str = "") -> list[int]:
    """Columns of the symbols that the whole account, an agent or a shadow (agent on paper) holds.

    The columns are sorted by falling value in the whole account, then by falling value in all books.
    """
    prices = np.nan_to_num(state.marks * state.universe.lot_size)
    house_lots = np.abs(np.asarray(state.ledger.house.held))
    book_lots = np.abs([np.asarray(book.held) for book in state.ledger.books]).sum(axis=0)
    in_shadows = [np.asarray(shadow.ledger.house.held) != 0 for shadow in state.shadows]
    held_columns = np.flatnonzero((house_lots != 0) | (book_lots != 0) | np.logical_or.reduce(in_shadows, axis=0))
    order = held_columns[np.lexsort((-(book_lots * prices)[held_columns], -(house_lots * prices)[held_columns]))]
    return [column for column in order.tolist() if found_in(search, state.universe.symbols[column])]


def found_in(search: str, symbol: str) -> bool:
    """Whether a symbol contains the text `search`, in upper or lower case."""
    return search.casefold() in symbol.casefold()


def _position(state: State, column: int) -> PositionNow:
    """The position of the whole account in one symbol, with the lots of its agents and of the shadows
    (agents on paper)."""
    universe, house, names, equity = state.universe, state.ledger.house, state.ledger.names, state.equity_micro
    lot_nano, price, symbol = universe.lot_nano[column], int(state.marks_nano[column]), universe.symbols[column]
    books = {
        name: int(book.held[column]) for name, book in zip(names, state.ledger.books, strict=True) if book.held[column]
    }
    lots, cost, lots_by_shadow = int(house.held[column]), int(house.cost[column]), shadow_lots(state, column)
    value_micro = lots * lot_nano * price // 10**12
    return PositionNow(
        symbol=symbol,
        qty=quantity_text(lots, lot_nano),
        price=price_text(price),
        value=money_text(value_micro),
        weight=value_micro / equity if equity > 0 else 0.0,
        cost=money_text(cost),
        agents={name: quantity_text(book_lots, lot_nano) for name, book_lots in books.items()},
        unrealised=money_text(value_micro - cost),
        halted=state.restrictions.halted[column][1] or "halted by the venue"
        if column in state.restrictions.halted
        else "",
        jumped=hold_text(state, column) if column in state.restrictions.jumped else "",
        dust=quantity_text(state.venue.dust[column], 1) if state.venue.dust.get(column) else "",
        dust_value=money_text(dust_micro(state, column)) if state.venue.dust.get(column) else "",
        shadows={name: quantity_text(book_lots, lot_nano) for name, book_lots in lots_by_shadow.items()},
    )


def limits_now(state: State) -> list[LimitNow]:
    """The limits of the whole account, limits on losses included, with their present values."""
    limits, values = limits_in_force(state, HOUSE), limit_values(state)
    return [limit_now(key, value, bound, limits) for key, (value, bound) in sorted(values.items())]


NO_LIMITS: Final = Limits()
"""Default limits, for the names of limits where those in force are not passed."""


def limit_now(key: str, value: float, bound: float, limits: Limits | None = None, about: str = "") -> LimitNow:
    """A limit's value with its bound, and the share of the bound that is in use; NaN becomes null."""
    floor, unit_name = is_floor(key), unit(key)
    if unit_name == "hours":
        value, bound = value / HOUR_NS, bound / HOUR_NS
    use = None
    if key.partition(".")[0] not in UNWATCHED and bound > 0 and isfinite(value):
        use = finite(floor_usage(value, bound)) if floor else value / bound
    headroom = value - bound if floor else bound - value
    limit_words = words(key, limits or NO_LIMITS, about)
    return LimitNow(key, finite(value), finite(bound), use, floor, limit_words, unit_name, finite(headroom))
