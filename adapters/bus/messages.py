"""Converts effects to messages for subscribers: topic, payload and id. Pure.

The same effects of the same journal entry give the same messages with the same ids, so that duplicates after a crash
are recognised.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from msgspec.structs import asdict

from quantd.adapters.bus.decision_lines import decision_lines
from quantd.adapters.bus.parts import part_id, parts_of
from quantd.adapters.bus.payloads import (
    SCHEMA,
    Alert,
    CrossLine,
    Decisions,
    FillLine,
    Fills,
    Heartbeat,
    Measure,
    OrderLine,
    Orders,
    Payload,
    Portfolio,
    Risk,
    Status,
    StatusState,
    SwitchName,
)
from quantd.adapters.bus.topics import escaped_level, root
from quantd.trading.display_text import microsecond_text
from quantd.trading.effects import Crossed, Effect, Ended, Filled, Planned, Publish, Switched, Valued
from quantd.trading.instruments import Universe
from quantd.trading.orders import OrderBasket, OrderState, money_text, order_id, price_text, quantities, quantity_text

TEXT_CHARS: Final = 1_000
"""Maximum length of free text in an alert: an exception of a user's policy can have any length."""

GROUPS: Final = "alert_groups"
"""Topic of alerts as groups: those of one kind and level within [alerts] group are one message."""

BASKETS: Final = 4_096
"""Maximum number of open baskets in memory; the oldest is removed first."""

PORTFOLIO: Final = "portfolio"
"""Retained topic of the account; its further parts have topics of their own, portfolio/2 and so on."""

_SWITCH: Final[tuple[SwitchName, ...]] = ("RUN", "REDUCE", "HALT")
_encode = msgspec.json.Encoder().encode


class Message(NamedTuple):
    """One message. With `retain`, the newest message of a topic is its current state and replaces older ones."""

    id: str
    topic: str
    payload: bytes
    retain: bool


class Composer:
    """Converts effects to messages. It stores open baskets (an `Ended` has row numbers only) and current values."""

    def __init__(
        self,
        run: str,
        name: str,
        universe: Universe,
        agents: Sequence[str],
        *,
        prefix: str = "quantd",
        reasons: Sequence[str] = (),
        switch: Mapping[int, int] | None = None,
        lots: Sequence[int] = (),
    ) -> None:
        """`reasons` are the names of the gate's reason codes.

        `switch` (-1: the house, or an agent's number -> 0 RUN, 1 REDUCE, 2 HALT) and `lots` (by column) are the current
        values of a restarted daemon for retained messages. Raises ValueError when `name` or `prefix` is no valid topic.
        """
        self.run = run
        self.name = name
        self.root = root(prefix, name)
        self.universe = universe
        self.agents = tuple(agents)
        self._reasons = tuple(reasons)
        self._baskets: dict[tuple[int, int], tuple[OrderBasket, list[str], set[int]]] = {}
        self._switch = dict(switch or {})
        self._lots = list(lots)
        self._portfolio_parts = 1

    def messages(
        self,
        sequence: int,
        effects: Sequence[Effect],
        lots: Sequence[int] | None = None,
        *,
        only: tuple[type, ...] = (),
    ) -> list[Message]:
        """Return the messages of one journal entry, or of its effects of the types `only`.

        `lots` are the house's lots by column after the entry, where known.
        """
        if lots is not None:
            self._lots = list(lots)
        planned = {(e.sample, e.n): e for e in effects if isinstance(e, Planned)}
        found: list[Message] = []
        for k, effect in enumerate(effects):
            if only and not isinstance(effect, only):
                continue
            for suffix, payload in self._payloads(effect, planned, f"{self.run}-{sequence}-{k}"):
                found += self._messages(suffix, payload)
        return found

    def remember(self, basket: OrderBasket, agents: Sequence[str] = ()) -> None:
        """Register a basket sent before this process started; `agents` are names per row."""
        self._baskets[basket.sample, basket.n] = (
            basket,
            list(agents) or [""] * len(basket.sym),
            set(range(len(basket.sym))),
        )
        while len(self._baskets) > BASKETS:
            del self._baskets[next(iter(self._baskets))]

    def alert(self, body: str | bytes, merged: int = 0) -> Alert:
        """Return an alert of a store's queue, which represents `merged` others. Raises msgspec.ValidationError."""
        stored = msgspec.json.decode(body, type=dict[str, Any])
        stamp = self._stamp(stored["id"], stored["ts_event"])
        return msgspec.convert({"type": "alert"} | stored | stamp | {"count": merged + 1}, Alert)

    def stored(self, body: str | bytes, merged: int = 0) -> Message:
        """Convert an alert as `alert` does to its message."""
        payload = self.alert(body, merged)
        return self._message(f"alerts/{payload.level}/{escaped_level(payload.kind)}", payload)

    def group(self, alert: Alert) -> Message:
        """Return the message of GROUPS for alerts that `merged` made one."""
        message = self._message(GROUPS, alert)
        return message._replace(id=f"{alert.id}/{GROUPS}")  # its first alert has a message of its own

    def status(self, state: StatusState, ts: int, *, mode: str = "paper", version: str = "", text: str = "") -> Message:
        """Return the daemon's status; `offline` is created in advance, as the last will."""
        id = f"{self.run}-status-{state}-{ts}"
        payload = Status(**self._stamp(id, ts), state=state, mode=mode, version=version, text=_clean(text))
        return self._message("status", payload, retain=True)

    def heartbeat(self, ts: int, beat: int, slices: int, equity_micro: int) -> Message:
        """Return a liveness message; `beat` increases within the process."""
        id = f"{self.run}-beat-{ts}-{beat}"
        house = _SWITCH[self._switch.get(-1, 0)]
        payload = Heartbeat(**self._stamp(id, ts), slices=slices, switch=house, equity=money_text(equity_micro))
        return self._message("heartbeat", payload)

    def risk(
        self, sequence: int, ts: int, reason: str, limits: Mapping[str, tuple[float, float]], drawdown: float
    ) -> Message:
        """Return the switches with the house's limits and drawdown, all at `ts`.

        The limits come from the account itself, because journal records contain some of an earlier instant.
        """
        id = f"{self.run}-{sequence}-risk"
        payload = Risk(
            **self._stamp(id, ts),
            switch=_SWITCH[self._switch.get(-1, 0)],
            reason=_clean(reason),
            agents={self._who(a): _SWITCH[s] for a, s in sorted(self._switch.items()) if a >= 0},
            limits=_measures(limits),
            drawdown=drawdown,
        )
        return self._message("risk", payload, retain=True)

    def _messages(self, suffix: str, payload: Payload) -> Iterator[Message]:
        """The parts of a payload. Each part of a state has a topic of its own; those of an earlier state are cleared.

        An empty retained payload removes the topic (MQTT 3.1.1, 3.3.1.3).
        """
        retain, parts = suffix == PORTFOLIO, parts_of(payload)
        topic = f"{self.root}/{suffix}"
        for k, (part, text) in enumerate(parts, 1):
            yield Message(part.id, part_id(topic, k) if retain else topic, text, retain)
        if retain:
            for k in range(len(parts) + 1, self._portfolio_parts + 1):
                yield Message(part_id(payload.id, k), part_id(topic, k), b"", retain)
            self._portfolio_parts = len(parts)

    def _message(self, suffix: str, payload: Payload, *, retain: bool = False) -> Message:
        return Message(payload.id, f"{self.root}/{suffix}", _encode(payload), retain)

    def _payloads(
        self, effect: Effect, planned: Mapping[tuple[int, int], Planned], id: str
    ) -> Iterator[tuple[str, Payload]]:
        match effect:
            case Publish():
                yield f"alerts/{effect.level}/{escaped_level(effect.kind)}", self._alert(effect, id)
            case OrderBasket():
                yield "orders", self._sent(effect, planned.get((effect.sample, effect.n)), id)
            case Ended():
                yield "orders", self._ended(effect, id)
            case Filled():
                yield "fills", self._filled(effect, id)
            case Crossed():
                yield "fills", self._crossed(effect, id)
            case Planned():
                yield "decisions", self._decided(effect, id)
            case Valued():
                yield "portfolio", self._valued(effect, id)
            case Switched():
                self._switch[effect.agent] = effect.after
            case _:  # Ask, Assessed, Cancel, Query, Booked, Snapshot and Stop are internal
                pass

    def _stamp(self, id: str, ts: int) -> dict[str, Any]:
        """Return the fields of `Stamp`."""
        time = microsecond_text(ts)
        return {"schema": SCHEMA, "id": id, "run": self.run, "name": self.name, "ts_event": ts, "time": time}

    def _who(self, agent: int) -> str:
        return self.agents[agent] if 0 <= agent < len(self.agents) else "unallocated"

    def _reason(self, code: int) -> str:
        if code == 0:
            return ""
        return self._reasons[code] if 0 < code < len(self._reasons) else str(code)

    def _shares(self, symbol: int, shares: Sequence[tuple[int, int]]) -> dict[str, str]:
        total: dict[str, int] = {}
        for agent, lots in shares:
            total[self._who(agent)] = total.get(self._who(agent), 0) + lots
        lot_nano = self.universe.lot_nano[symbol]
        return {who: quantity_text(lots, lot_nano) for who, lots in total.items() if lots}

    def _alert(self, effect: Publish, id: str) -> Alert:
        fields: dict[str, Any] = {
            k: _clean(v) if isinstance(v, str) else v for k, v in asdict(effect).items() if k != "ts"
        }
        return Alert(**self._stamp(id, effect.ts), **fields)

    def _sent(self, basket: OrderBasket, plan: Planned | None, id: str) -> Orders:
        who = self._asked_by(basket, plan) if plan else [""] * len(basket.sym)
        self.remember(basket, who)
        return self._orders(basket, range(len(basket.sym)), ["sent"] * len(basket.sym), None, id)

    def _asked_by(self, basket: OrderBasket, plan: Planned) -> list[str]:
        """Return, per row, the agents whose allowed change has the direction of the order, joined by +."""
        allowed = [(self._who(a.agent), np.frombuffer(a.allowed, dtype="<i8").tolist()) for a in plan.agents]
        return [
            "+".join(who for who, lots_of in allowed if lots_of[s] * lots > 0)
            for s, lots in zip(basket.sym, basket.lots, strict=True)
        ]

    def _ended(self, effect: Ended, id: str) -> Orders:
        states = [OrderState(s).name.lower() for s in effect.state]
        payload = self._orders(effect, effect.row, states, _clean(effect.reason), id)
        key = (effect.sample, effect.n)
        if key in self._baskets:
            left = self._baskets[key][2]
            left.difference_update(effect.row)
            if not left:
                del self._baskets[key]
        return payload

    def _orders(
        self, of: OrderBasket | Ended, rows: Sequence[int], states: list[str], reason: str | None, id: str
    ) -> Orders:
        known = self._baskets.get((of.sample, of.n))
        lines = []
        for row, text in zip(rows, states, strict=True):
            if known is None:
                lines.append(OrderLine(row, "", "", "", "", "", text, reason or "", ""))
                continue
            basket, who, _ = known
            s, lots = basket.sym[row], basket.lots[row]
            cut = self._reason(basket.reason[row]) if basket.reason else ""
            lines.append(
                OrderLine(
                    row=row,
                    order=order_id(self.run, of.sample, self.universe.symbols[s], of.n),
                    symbol=self.universe.symbols[s],
                    side="buy" if lots > 0 else "sell",
                    qty=quantity_text(abs(lots), self.universe.lot_nano[s]),
                    limit=price_text(basket.worst_nano[row]),
                    state=text,
                    reason=cut if reason is None else reason,
                    agent=who[row],
                )
            )
        return Orders(**self._stamp(id, of.ts), sample=of.sample, n=of.n, orders=lines)

    def _filled(self, effect: Filled, id: str) -> Fills:
        lines = []
        for s, lots, price, fee, parts in zip(
            effect.sym, effect.lots, effect.price_nano, effect.fee_micro, effect.shares, strict=True
        ):
            shares = self._shares(s, parts)
            lines.append(
                FillLine(
                    order=order_id(self.run, effect.sample, self.universe.symbols[s], effect.n),
                    symbol=self.universe.symbols[s],
                    side="buy" if lots > 0 else "sell",
                    qty=quantity_text(abs(lots), self.universe.lot_nano[s]),
                    price=price_text(price),
                    fee=money_text(fee),
                    agent="+".join(shares),
                    shares=shares,
                )
            )
        return Fills(**self._stamp(id, effect.ts), fills=lines, crosses=[])

    def _crossed(self, effect: Crossed, id: str) -> Fills:
        symbol = self.universe.symbols[effect.symbol]
        line = CrossLine(symbol, price_text(effect.price_nano), self._shares(effect.symbol, effect.shares))
        return Fills(**self._stamp(id, effect.ts), fills=[], crosses=[line])

    def _decided(self, effect: Planned, id: str) -> Decisions:
        found = decision_lines(effect, self.universe, self._who, self._reason)
        return Decisions(
            **self._stamp(id, effect.ts),
            sample=effect.sample,
            n=effect.n,
            follow_up=effect.follow_up,
            **found._asdict(),
            limits=_measures(effect.values),
        )

    def _valued(self, effect: Valued, id: str) -> Portfolio:
        return Portfolio(
            **self._stamp(id, effect.ts),
            equity=money_text(effect.equity_micro),
            cash=money_text(effect.cash_micro),
            gross=effect.gross,
            drawdown=effect.drawdown,
            books={self._who(k): money_text(micro) for k, micro in enumerate(effect.books) if micro},
            positions=quantities(self.universe, self._lots),
        )


def _measures(values: Mapping[str, tuple[float, float]]) -> dict[str, Measure]:
    return {limit: Measure(value, bound) for limit, (value, bound) in values.items()}


def _clean(text: str) -> str:
    """Convert text of any origin to valid, bounded UTF-8: a lone surrogate must not stop an alert."""
    return text[:TEXT_CHARS].encode("utf-8", "replace").decode()
