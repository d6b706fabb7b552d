"""Current value, bound and headroom of each limit, and the largest order per symbol that would pass.

The gate computes the sizes for one symbol and side at a time, all on the state of one instant. The caller may do other
work between two symbols.
"""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Final

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from quantd.daemon.engine.agents.portfolios import place_of
from quantd.daemon.engine.planning.gate_account import account_of, limits_in_force, market_context
from quantd.daemon.engine.safety.monitor import state_losses
from quantd.daemon.engine.state import HOUSE, State
from quantd.daemon.views.limit_rows import largest, off, reason_text, words
from quantd.daemon.views.overview import SWITCH, LimitNow, found_in, limit_now
from quantd.risk.limits.catalogue import LIMIT_OF, LIMITS, Limits, Reason, bound_of
from quantd.risk.pretrade.gate import Account, Context
from quantd.risk.pretrade.headroom import Figure, figures, most
from quantd.trading.display_text import instant_text
from quantd.trading.exit_codes import USAGE, ExplainedError
from quantd.trading.orders import price_text, quantity_text


class SideRoom(Struct, frozen=True):
    """The largest order of one symbol and side that would pass on its own now.

    `qty` is its size in units and `value` its worth in currency: both are null when no limit applies. `limit` names the
    limit that the next lot would break, and `by` its owner, an agent or "house", where the limits of both apply.
    """

    qty: str | None
    value: float | None
    reason: str
    limit: str
    text: str
    by: str = ""


class SymbolRoom(Struct, frozen=True):
    """The headroom of one symbol in one book.

    A sale of a long position ends at zero lots: a sale beyond it takes a second order.
    """

    symbol: str
    price: str
    held: str
    weight: float | None
    buy: SideRoom
    sell: SideRoom


class LimitOff(Struct, frozen=True):
    """A limit that is off, and the config.toml line that turns it on."""

    limit: str
    words: str
    switch_on: str


class BookSwitch(Struct, frozen=True):
    """The kill switch of one agent."""

    switch: str
    reason: str
    suspended: bool


class RiskNow(Struct, frozen=True):
    """The limits and headroom of one book: `book` is "house" or an agent's name.

    An agent's book has the agent's limits only; the limits of the whole account apply after them. `room`
    has the headroom of the symbols with the largest positions, and `count` is the number of all symbols that match the
    request. `limit_drawdown` is from the highest equity since the book's last resume. `note` is the reason for unknown
    values.
    """

    run: str
    ts: int
    time: str
    book: str
    switch: str
    reason: str
    limit_drawdown: float
    agents: dict[str, BookSwitch]
    limits: list[LimitNow]
    off: list[LimitOff]
    room: list[SymbolRoom]
    note: str = ""
    count: int = 0


class Book:
    """One book at one instant, with the inputs of its gate (limit check); `number` is an agent's index or HOUSE.

    HOUSE is the whole account. `own` is the book's kill switch, and `switch` the stricter of this switch and the
    account's.
    """

    def __init__(self, state: State, number: int = HOUSE) -> None:
        """Read one book of a state. `number` is the index of an agent, or HOUSE for the whole account.

        `own` is the book's kill switch, and `switch` the stricter of this switch and the account's. `ctx` is the market
        as the limits see it, None before the first sample.
        """
        state.revalue()
        self.limits: Final[Limits] = limits_in_force(state, number)
        self.number: Final = number
        self.own: Final = state.switch_at(number)
        self.switch: Final = max(self.own.state, state.switch.state)
        self.equity_micro: Final = state.equity_of(number)
        self.losses: Final = state_losses(self.own, self.equity_micro, self.limits)
        self.universe: Final = state.universe
        self.account: Final[Account] = account_of(state, number)
        self.ctx: Final[Context | None] = market_context(state) if state.sample else None
        self.marks_nano: Final = state.marks_nano

    def standing(self) -> list[LimitNow]:
        """Every limit that is on, in the order of `LIMITS`. A limit without a measured value has NaN, shown as null.

        A limit on several groups has a key for each group: the limit's key, a dot, and the group's name.
        """
        figures_by_key: dict[str, Figure] = {}
        if self.ctx is not None:
            figures_by_key = figures(self.ctx, self.account, self.limits, None)  # None: without an order
            figures_by_key |= {key: Figure(*value) for key, value in self.losses.items()}
            figures_by_key["max_price_age_ns"] = Figure(float(self.ctx.oldest_ns), float(self.limits.max_price_age_ns))
        keys_off = {key for key, _, _ in off(self.limits)}
        rows = []
        for key, record in LIMITS.items():
            part_keys = sorted(k for k in figures_by_key if k == key or k.startswith(f"{key}."))
            for part_key in part_keys:
                rows.append(
                    limit_now(
                        part_key,
                        figures_by_key[part_key].value,
                        figures_by_key[part_key].bound,
                        self.limits,
                        figures_by_key[part_key].about,
                    )
                )
            # on, and not measured
            if not part_keys and record.example and key not in keys_off:
                rows.append(limit_now(key, float("nan"), bound_of(self.limits, key), self.limits))
        return rows

    def rooms(self, columns: Sequence[int]) -> Iterator[SymbolRoom]:
        """The headroom of each symbol in `columns`, one at a time, so that the caller can pause in between."""
        if self.ctx is None:
            return
        for column in columns:
            yield self._room(self.ctx, column)

    def _room(self, ctx: Context, column: int) -> SymbolRoom:
        """The position of the book in one symbol, and the largest orders in it that would pass."""
        held_lots, price = float(self.account.lots[column]), float(ctx.px[column])
        return SymbolRoom(
            symbol=self.universe.symbols[column],
            price=price_text(int(self.marks_nano[column])) if price > 0.0 else "",
            held=quantity_text(int(held_lots), self.universe.lot_nano[column]),
            weight=held_lots * price / self.account.equity if self.account.equity > 0.0 else None,
            buy=self._side(ctx, column, 1),
            sell=self._side(ctx, column, -1),
        )

    def _side(self, ctx: Context, column: int, side: int) -> SideRoom:
        capacity = most(ctx, self.account, self.limits, column, side, self.switch)
        order = largest(capacity, side, ctx, self.account, self.limits, column)
        key = LIMIT_OF[capacity.reason]
        value = capacity.lots * float(ctx.px[column]) if capacity.bounded else None
        return SideRoom(order.qty, value, order.reason, words(key, self.limits) if key else "", order.text)


def least_room(own: SymbolRoom, house: SymbolRoom, agent: str) -> SymbolRoom:
    """The headroom of an agent's book under its `own` limits and those of the whole account.

    The text of a limit of the account has no figures, because these are of other agents too.
    """

    def least(mine: SideRoom, theirs: SideRoom) -> SideRoom:
        if theirs.qty is None or (mine.qty is not None and float(mine.qty) <= float(theirs.qty)):
            return replace(mine, by=agent)
        return replace(theirs, by="house", text=reason_text(Reason[theirs.reason.upper()]))

    return replace(own, buy=least(own.buy, house.buy), sell=least(own.sell, house.sell))


class Unknown(ExplainedError, ValueError):
    """No agent or symbol has the requested name; the text lists the existing names."""

    exit_code = USAGE


def named(state: State, agent: str | None, symbol: str | None, search: str = "") -> tuple[int, list[int]]:
    """Return (index of the book, columns of symbols) for the name of an agent (None: the whole account) and a symbol.

    Only symbols that contain `search` count. Without a symbol, the result has the columns of all: the largest position
    of the book first, then symbols without a position in the order of the universe. Raises Unknown for an unknown agent
    or symbol.
    """
    names, universe = {state.rules.agents[k].name: k for k in state.in_use()}, state.universe
    if agent is not None and agent not in names:
        if (place := place_of(state, agent)) is None:
            raise Unknown(f"there is no agent {agent}; the agents are {', '.join(names)}")
        agent = state.rules.agents[place].name
    if symbol is not None and symbol not in universe.index:
        near = get_close_matches(symbol.upper(), universe.symbols, n=3, cutoff=0.5) or universe.symbols[:8]
        raise Unknown(f"{symbol} is not in [universe] symbols; {'the nearest are ' if near else ''}{', '.join(near)}")
    number = HOUSE if agent is None else names[agent]
    if symbol is not None:
        return number, [universe.index[symbol]] if found_in(search, symbol) else []
    values = np.nan_to_num(state.lots(number) * state.marks * universe.lot_size)
    order = np.argsort(-np.abs(values), kind="stable").tolist()
    return number, [column for column in order if found_in(search, universe.symbols[column])]


def risk_now(state: State, book: Book, run: str, ts: int, room: list[SymbolRoom], count: int = 0) -> RiskNow:
    """The risk view of one book at `ts` (ns UTC, market time).

    `room` has the headroom of some of `count` symbols; a `count` of 0 means that these are all.
    """
    book_name = "house" if book.number == HOUSE else state.rules.agents[book.number].name
    table_name = "[risk]" if book.number == HOUSE else f"limits of [[agents]] {book_name}"
    return RiskNow(
        run=run,
        ts=ts,
        time=instant_text(ts),
        book=book_name,
        switch=SWITCH[book.switch],
        reason=book.own.reason or state.switch.reason,
        limit_drawdown=max(0.0, 1.0 - book.equity_micro / max(book.own.high_water, 1)),
        agents={
            state.rules.agents[k].name: BookSwitch(SWITCH[agent.switch.state], agent.switch.reason, agent.suspended)
            for k in state.in_use()
            for agent in [state.agents[k]]
        },
        limits=book.standing(),
        off=[LimitOff(key, text, f"{example} in {table_name}") for key, text, example in off(book.limits)],
        room=room,
        count=count or len(room),
    )
