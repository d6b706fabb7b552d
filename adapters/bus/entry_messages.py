"""Composes the messages of a journal entry (an event with its effects) when they are sent: decisions, orders, fills.

An entry is composed from its bytes in the journal and from nothing else, so a message has the same bytes whether it is
sent at once, after an absence of the broker, or from a store that another process wrote. One effect needs a second
entry: `Ended`, the end of orders, has only row numbers of an order basket, so that its lines come from the entry that
sent the basket.

What can go wrong. The entry that sent a basket was written by an earlier process, or a full queue dropped it before it
was composed. That entry is then read from the store. If the store cannot be read now, the store's error is raised and
the message is composed later. If the store has the entry no longer, the lines stay empty: the report is published
without a guess.

What the order of the steps guarantees. Entries are composed in the order of the journal, by one thread. A basket is
therefore known from its own entry before its rows end, and is removed when its last row has ended.

Rejected: composing messages during the commit, where the effects are at hand. A bar costs up to a fifth more of the
loop's time for messages that a full queue may drop before a broker takes them. Rejected too: queueing the effects.
Their objects are several times as large as the entry, and the garbage collector walks over them.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np

from quantd.adapters.bus.decision_lines import decision_lines
from quantd.adapters.bus.messages import Composer, Message, clean, measures
from quantd.adapters.bus.payloads import CrossLine, Decisions, FillLine, Fills, OrderLine, Orders, Payload
from quantd.trading.codec import effects_of
from quantd.trading.effects import Crossed, Ended, Filled, JournalEffect, Planned
from quantd.trading.orders import (
    OrderBasket,
    OrderState,
    limit_text,
    money_text,
    order_id,
    price_text,
    quantity_text,
    size_text,
)

BASKETS: Final = 4_096
"""Maximum number of open baskets in memory; the oldest is removed first."""

SENT_EFFECTS: Final = frozenset({Planned, OrderBasket, Ended, Filled, Crossed})
"""The effects that are published: one message each, or several parts of a long message."""


class SentEntry(NamedTuple):
    """The journal entry with which an order basket was sent to the venue, and the names of the agents at that time."""

    entry: bytes
    agents: Sequence[str]


SentBy = Callable[[int, int], SentEntry | None]
"""Returns the journal entry with which the basket (sample, n) was sent; None where the store has it no longer."""


class _OpenBasket(NamedTuple):
    """An order basket of which some rows (orders) are open at the venue, with the agents of each row."""

    basket: OrderBasket
    agents: Sequence[str]
    working: set[int]


class EntryComposer:
    """Composes the messages of journal entries, in their order, and remembers the order baskets with open orders."""

    def __init__(self, composer: Composer, sent_by: SentBy = lambda sample, n: None) -> None:
        self._composer = composer
        self._sent_by = sent_by
        self._baskets: dict[tuple[int, int], _OpenBasket] = {}

    def messages(self, sequence: int, entry: bytes) -> list[Message]:
        """Return the MQTT messages of a journal entry, in the order of its effects."""
        effects = effects_of(entry)
        messages: list[Message] = []
        for k, effect in enumerate(effects):
            if type(effect) in SENT_EFFECTS:
                suffix, payload = self._payload(effect, effects, f"{self._composer.run}-{sequence}-{k}")
                messages += self._composer.parts(suffix, payload)
        return messages

    def _payload(self, effect: JournalEffect, effects: Sequence[JournalEffect], id: str) -> tuple[str, Payload]:
        """Return the topic below the root and the payload of one effect. Raises TypeError for an effect without a
        message."""
        match effect:
            case OrderBasket():
                return "orders", self._sent_orders(effect, effects, id)
            case Ended():
                return "orders", self._ended_orders(effect, id)
            case Filled():
                return "fills", self._fills_of(effect, id)
            case Crossed():
                return "fills", self._cross_of(effect, id)
            case Planned():
                return "decisions", self._decision_of(effect, id)
        raise TypeError(f"{type(effect).__name__} has no message")

    def _shares_text(self, symbol: int, shares: Sequence[tuple[int, int]]) -> dict[str, str]:
        """Return the signed quantities of a fill by the agents' names; a share is (agent index, signed lots)."""
        total: dict[str, int] = {}
        for agent, lots in shares:
            name = self._composer.agent_name(agent)
            total[name] = total.get(name, 0) + lots
        lot_nano = self._composer.universe.lot_nano[symbol]
        return {name: quantity_text(lots, lot_nano) for name, lots in total.items() if lots}

    def _sent_orders(self, basket: OrderBasket, effects: Sequence[JournalEffect], id: str) -> Orders:
        open_basket = self._add_basket(basket, effects, self._composer.agent_name)
        return self._orders_of(basket, open_basket, range(len(basket.sym)), ["sent"] * len(basket.sym), None, id)

    def _add_basket(
        self, basket: OrderBasket, effects: Sequence[JournalEffect], agent_name: Callable[[int], str]
    ) -> _OpenBasket:
        """Register an order basket together with the effects of its journal entry."""
        agents = _requesters(basket, effects, agent_name)
        open_basket = _OpenBasket(basket, agents, set(range(len(basket.sym))))
        self._baskets[basket.sample, basket.n] = open_basket
        while len(self._baskets) > BASKETS:
            del self._baskets[next(iter(self._baskets))]
        return open_basket

    def _basket_of(self, sample: int, n: int) -> _OpenBasket | None:
        """Return a basket with open orders, None if it is lost. It is read from the store if this process has not
        composed the journal entry that sent it.

        A basket has the orders of one decision; (`sample`, `n`) is its key. A basket is lost if the store has no
        journal entry that sent it.
        """
        if (open_basket := self._baskets.get((sample, n))) is not None:
            return open_basket
        if (sent := self._sent_by(sample, n)) is None:
            return None
        effects, names = effects_of(sent.entry), sent.agents
        baskets = (
            effect for effect in effects if type(effect) is OrderBasket and (effect.sample, effect.n) == (sample, n)
        )
        if (basket := next(baskets, None)) is None:
            return None
        return self._add_basket(
            basket, effects, lambda agent: names[agent] if 0 <= agent < len(names) else "unallocated"
        )

    def _ended_orders(self, effect: Ended, id: str) -> Orders:
        states = [OrderState(s).name.lower() for s in effect.state]
        open_basket = self._basket_of(effect.sample, effect.n)
        payload = self._orders_of(effect, open_basket, effect.row, states, clean(effect.reason), id)
        if open_basket is not None:
            open_basket.working.difference_update(effect.row)
            if not open_basket.working:
                del self._baskets[effect.sample, effect.n]
        return payload

    def _orders_of(
        self,
        effect: OrderBasket | Ended,
        open_basket: _OpenBasket | None,
        rows: Sequence[int],
        states: list[str],
        reason: str | None,
        id: str,
    ) -> Orders:
        """Return the message lines of the orders in `rows`, which have these `states`.

        A line has the text `reason`; if `reason` is None, the line names the limit that reduced its order. Without
        `open_basket` a line has only the row, the state and the reason of its order.
        """
        universe, run, lines = self._composer.universe, self._composer.run, []
        for row, state in zip(rows, states, strict=True):
            if open_basket is None:
                lines.append(OrderLine(row, "", "", "", "", "", state, reason or "", ""))
                continue
            basket = open_basket.basket
            column = basket.sym[row]
            limit_reason = self._composer.reason_name(basket.reason[row]) if basket.reason else ""
            lines.append(
                OrderLine(
                    row=row,
                    order=order_id(run, effect.sample, universe.symbols[column], effect.n),
                    **size_text(universe.symbols[column], basket.lots[row], universe.lot_nano[column]),
                    limit=limit_text(basket.worst_nano[row]),
                    state=state,
                    reason=limit_reason if reason is None else reason,
                    agent=open_basket.agents[row],
                )
            )
        return Orders(**self._composer.stamp(id, effect.ts), sample=effect.sample, n=effect.n, orders=lines)

    def _fills_of(self, effect: Filled, id: str) -> Fills:
        """Return the message of fills, each with the shares of the agents in it."""
        universe, run, lines = self._composer.universe, self._composer.run, []
        for column, lots, price, fee, agent_lots in zip(
            effect.sym, effect.lots, effect.price_nano, effect.fee_micro, effect.shares, strict=True
        ):
            shares = self._shares_text(column, agent_lots)
            lines.append(
                FillLine(
                    order=order_id(run, effect.sample, universe.symbols[column], effect.n),
                    **size_text(universe.symbols[column], lots, universe.lot_nano[column]),
                    price=price_text(price),
                    fee=money_text(fee),
                    agent="+".join(shares),
                    shares=shares,
                )
            )
        return Fills(**self._composer.stamp(id, effect.ts), fills=lines, crosses=[])

    def _cross_of(self, effect: Crossed, id: str) -> Fills:
        symbol = self._composer.universe.symbols[effect.symbol]
        line = CrossLine(symbol, price_text(effect.price_nano), self._shares_text(effect.symbol, effect.shares))
        return Fills(**self._composer.stamp(id, effect.ts), fills=[], crosses=[line])

    def _decision_of(self, effect: Planned, id: str) -> Decisions:
        """Return the message of a plan: its decisions and the values of its limits."""
        lines = decision_lines(effect, self._composer.universe, self._composer.agent_name, self._composer.reason_name)
        return Decisions(
            **self._composer.stamp(id, effect.ts),
            sample=effect.sample,
            n=effect.n,
            follow_up=effect.follow_up,
            **lines._asdict(),
            limits=measures(effect.values),
        )


def _requesters(basket: OrderBasket, effects: Sequence[JournalEffect], agent_name: Callable[[int], str]) -> list[str]:
    """Return, for each row, the names of the agents whose allowed change has the direction of the order, joined by +.

    The allowed changes are in the plan, an effect of the same journal entry; without a plan each text is empty.
    """
    key = basket.sample, basket.n
    plan = next(
        (effect for effect in reversed(effects) if type(effect) is Planned and (effect.sample, effect.n) == key), None
    )
    if plan is None:
        return [""] * len(basket.sym)
    allowed = [(agent_name(part.agent), np.frombuffer(part.allowed, dtype="<i8").tolist()) for part in plan.agents]
    return [
        "+".join(name for name, lots_of in allowed if lots_of[column] * lots > 0)
        for column, lots in zip(basket.sym, basket.lots, strict=True)
    ]
