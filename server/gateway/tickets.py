"""The orders of trading programs as their API shows them: one ticket for each, folded from committed steps.

What can go wrong: a daemon that is killed between an order and its answer gives the order another id after its restart,
and the program sends it again. So the id of a ticket is computed from account, agent and client id, and nothing of a
ticket is stored: `Tickets` is folded from the journal at the start, and from each commit after it. An account outlives
its runs: with `--fresh` and `--carry` the journals of the runs before are folded, too, so that a client id that was
used there makes no second order.

An order that the gate refuses whole has no ticket, and its client id stays free.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import NAMESPACE_URL, uuid5

from quantd.adapters.store.handle import read_only
from quantd.daemon.engine.state.stop_records import STOP, TARGET
from quantd.trading.codec import decode
from quantd.trading.effects import Effect, Ended, Filled, OrdersHeld, ProposalEnded, Refused
from quantd.trading.events import JournalEvent, ProposalReviewed, Proposed
from quantd.trading.instruments import Universe
from quantd.trading.orders import UNTIL_CANCELLED, Cause, OrderBasket, OrderState, Reports

ENDED: Final = {OrderState.CANCELLED: "canceled", OrderState.REJECTED: "rejected", OrderState.EXPIRED: "expired"}
"""State of an order that has ended -> its status."""

WAITING: Final = frozenset({"pending_new", "accepted", "held"})
"""Status of an order that the venue has not confirmed: it waits for the venue, for a person, for a first price, or as
an exit for the fill of its entry. A stop order that waits for its price is `new`, as at the vendor."""

WITHDRAWN: Final = "the program cancelled it"
"""The reason of the program's own cancels."""

CLOSED: Final = frozenset({"filled", "canceled", "rejected", "expired", "replaced"})

THROUGH: Final = "order of the program, sent through the gateway"
"""The reason of the proposals of the gateway, by which the journal tells them from others."""


def name_of(*parts: str) -> str:
    """A UUID that is the same for the same parts."""
    return str(uuid5(NAMESPACE_URL, "quantd:" + "/".join(parts)))


@dataclass
class Ticket:
    """One order of a program: signed `lots` of a column, its limit price and its stop price (0: none), whether it ends
    with the day.

    `cause` names its proposal in the plans and orders of the engine. `key` is (sample, n) of its basket, (0, 0) before
    it is sent. `legs` are the exits of the order, and `leg` is True for an exit. `replaces` is the order
    in whose place it is, and `replaced_by` the one in its place. `filled` are unsigned lots, `value` is
    their sum of lots times price in nano-currency. Times are ns UTC, 0 for none.
    """

    id: str
    client_id: str
    agent: str
    cause: str
    column: int
    lots: int
    limit_nano: int
    stop_nano: int
    day: bool
    created: int
    key: tuple[int, int] = (0, 0)
    status: str = "pending_new"
    filled: int = 0
    value: int = 0
    changed: int = 0
    ended: int = 0
    note: str = ""
    legs: "list[Ticket]" = field(default_factory=list)
    leg: bool = False
    replaces: "Ticket | None" = None
    replaced_by: "Ticket | None" = None

    def end(self, status: str, ts: int, note: str) -> None:
        self.status, self.changed, self.ended, self.note = status, ts, ts, note


@dataclass(frozen=True)
class Update:
    """What happened to a ticket, for the stream: unsigned `lots` at `price_nano` are of a fill."""

    event: str
    ticket: Ticket
    ts: int
    price_nano: int = 0
    lots: int = 0


class Tickets:
    """The tickets of one account by id."""

    def __init__(self, account: str, since: int = 0) -> None:
        """`account` is the name that all ids are computed from; it outlives a run. It is open `since`, ns UTC."""
        self.account, self.since = account, since
        self.by_id: dict[str, Ticket] = {}
        self._elsewhere: set[str] = set()
        """Ids of orders of earlier runs in symbols that this run has not."""
        self._sent: dict[tuple[int, int], Ticket] = {}
        """(sample, n) of a basket -> its ticket: a basket of the gateway has one order."""
        self._unsent: list[Ticket] = []

    def find(self, agent: str, client_id: str) -> Ticket | None:
        return self.by_id.get(name_of(self.account, agent, client_id))

    def used(self, agent: str, client_id: str) -> bool:
        """Whether an order of this account has a client id, in this run or in one before it."""
        id = name_of(self.account, agent, client_id)
        return id in self.by_id or id in self._elsewhere

    def recall(self, earlier: "Tickets", then: Universe, now: Universe) -> None:
        """Take the orders of an earlier run with the universe `then`. One that was open ended with its run."""
        for ticket in earlier.by_id.values():
            if ticket.status not in CLOSED:
                ticket.end("canceled", ticket.changed, "its run has ended")
            column = now.index.get(then.symbols[ticket.column])
            if column is None or then.lot_nano[ticket.column] != now.lot_nano[column]:
                self._elsewhere.add(ticket.id)
            else:
                ticket.column, ticket.key = column, (0, 0)
                self.by_id[ticket.id] = ticket

    def sent(self, sample: int, n: int) -> Ticket | None:
        """The ticket of the basket (sample, n); None for a basket that no program sent."""
        return self._sent.get((sample, n))

    def ticket_of(self, event: Proposed) -> Ticket | None:
        """The ticket of a proposal of the gateway; None for any other."""
        if event.reason != THROUGH or len(event.orders) != 1:
            return None
        (wish,), agent, day = event.orders, event.portfolio or event.agent, event.orders[0].end != UNTIL_CANCELLED

        def made(more: str, lots: int, limit_nano: int, stop_nano: int) -> Ticket:
            id = event.id + more
            return Ticket(
                name_of(self.account, agent, id), id, agent, event.cause + more, wish.symbol, lots, limit_nano,
                stop_nano, day, event.ts, changed=event.ts, leg=bool(more), status="held" if more else "pending_new",
            )  # fmt: skip

        ticket = made("", wish.lots, wish.limit_nano, wish.trigger_nano)
        ticket.replaces = self.find(agent, event.replaces) if event.replaces else None
        if wish.exits:
            target_nano, stop_nano, stop_limit_nano = wish.exits
            exits = (TARGET, target_nano, 0), (STOP, stop_limit_nano, stop_nano)
            ticket.legs = [made(name, -wish.lots, *prices) for name, *prices in exits if any(prices)]
        return ticket

    def take(self, event: JournalEvent, effects: Sequence[Effect]) -> Iterator[Update]:
        """Fold one committed step; yields what happened to tickets."""
        if isinstance(event, Proposed):
            ticket = self.ticket_of(event)
            if ticket is not None and not any(isinstance(effect, Refused) for effect in effects):
                if ticket.replaces is not None:
                    ticket.replaces.replaced_by = ticket
                for leg in (ticket, *ticket.legs):
                    self.by_id[leg.id] = leg
                    self._unsent.append(leg)
                if not any(isinstance(effect, OrdersHeld) for effect in effects):
                    yield Update("pending_new", ticket, event.ts)
        elif isinstance(event, ProposalReviewed) and event.approve:
            # "refused" is the gate, after which nothing waits; after "conflict" the proposal waits on
            reasons = [effect.text for effect in effects if isinstance(effect, Refused) and effect.code == "refused"]
            for ticket in self._waiting(f"{event.agent}/{event.id}") if reasons else ():
                for leg in (ticket, *ticket.legs):
                    self._unsent.remove(leg)
                    leg.end("rejected", event.ts, reasons[0])
                    yield Update("rejected", leg, event.ts)
        elif isinstance(event, Reports) and int(Cause.ACCEPTED) in event.cause:
            accepted = self._sent.get((event.sample, event.n))
            if accepted is not None and accepted.status in WAITING:
                accepted.status, accepted.changed = "new", event.ts
                yield Update("new", accepted, event.ts)
        for effect in effects:
            match effect:
                case OrderBasket() if effect.cause and not effect.stop_nano:
                    self._bind(effect)
                case OrdersHeld():
                    for held in self._waiting(f"{effect.agent}/{effect.id}"):
                        held.status, held.changed = "new" if held.stop_nano else "accepted", effect.ts
                        yield Update(held.status, held, effect.ts)
                case ProposalEnded():
                    for ended in self._waiting(f"{effect.agent}/{effect.id}"):
                        self._unsent.remove(ended)
                        withdrawn = isinstance(event, ProposalReviewed) and event.reason == WITHDRAWN
                        withdrawn = withdrawn or effect.outcome == "withdrawn"
                        if ended.replaces is not None and ended.replaces.status != "replaced":
                            ended.replaces.replaced_by = None  # it was filled first
                        status = (
                            "canceled"
                            if withdrawn
                            else "replaced"
                            if effect.outcome == "replaced"
                            else "expired"
                            if effect.outcome == "lapsed"
                            else "rejected"
                        )
                        ended.end(status, effect.ts, effect.why)
                        yield Update(status, ended, effect.ts)
                case Filled():
                    yield from self._filled(effect)
                case Ended():
                    if (ticket := self._sent.get((effect.sample, effect.n))) is not None:
                        status = "replaced" if ticket.replaced_by else ENDED[OrderState(effect.state[0])]
                        ticket.end(status, effect.ts, effect.reason)
                        yield Update(ticket.status, ticket, effect.ts)

    def _waiting(self, cause: str) -> list[Ticket]:
        """The tickets, at most one, that are not sent and have this cause."""
        return [ticket for ticket in self._unsent if ticket.cause == cause]

    def _bind(self, basket: OrderBasket) -> None:
        """Tie the order of a basket to the ticket with its cause."""
        for ticket in self._waiting(basket.cause):
            ticket.key = basket.sample, basket.n
            # for what its entry has filled, or the order before it has not, or after a split
            ticket.lots = basket.lots[0]
            self._sent[ticket.key] = ticket
            self._unsent.remove(ticket)

    def _filled(self, fill: Filled) -> Iterator[Update]:
        if (ticket := self._sent.get((fill.sample, fill.n))) is None:
            return
        for lots, price in zip(fill.lots, fill.price_nano, strict=True):
            signed = lots if ticket.lots > 0 else -lots
            ticket.filled += signed
            ticket.value += signed * price
            if signed < 0:  # the venue took a fill back; the order stays as it is
                ticket.changed = fill.ts
                yield Update("trade_bust", ticket, fill.ts, price, -signed)
                continue
            complete = ticket.filled >= abs(ticket.lots)
            ticket.status, ticket.changed = ("filled" if complete else "partially_filled"), fill.ts
            ticket.ended = fill.ts if complete else 0
            yield Update("fill" if complete else "partial_fill", ticket, fill.ts, price, abs(lots))


def folded(where: str | Path, run: str) -> Tickets:
    """The tickets of a run and of the runs before it in a store. Raises StoreError."""
    records = read_only(where)
    runs = records.runs()
    now = next(record.universe for record in runs if record.run == run)
    tickets = Tickets(runs[0].run, runs[0].ts)
    for record in runs:
        of_run = tickets if record.run == run else Tickets(tickets.account)
        begun = False
        for _, data in records.entries(record.run, 1):
            begun = begun or THROUGH.encode() in data  # what was before the first order is of no ticket
            if begun:
                entry = decode(data)
                for _ in of_run.take(entry.event, entry.effects):  # type: ignore[arg-type]
                    pass
        if of_run is tickets:
            return tickets
        tickets.recall(of_run, record.universe, now)
    return tickets
