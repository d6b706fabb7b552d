"""The activities of a book, as Alpaca's trading API lists them: executions, fees, payments, splits and moved capital.

What can go wrong: a program books a fee twice or never, because the list differs from what the book had. So nothing is
read here from an effect: `Movements`, which statements and profits read too, says what each book had, and each of its
movements is one activity, or two where an execution had a fee. The list of a run is folded from its journal, so that an
activity has the same id in every answer and after a restart.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from quantd.adapters.store.queries import Reader
from quantd.daemon.views.movements import Movement, Movements
from quantd.server.gateway.tickets import Tickets, name_of
from quantd.trading.display_text import instant
from quantd.trading.effects import Filled
from quantd.trading.events import split_of
from quantd.trading.instruments import Universe
from quantd.trading.orders import money_text, price_text, quantity_text, side_text

Row = dict[str, Any]

PAGE: Final = 100
"""Most activities of one answer, and the number where none is asked for."""

PAID: Final = {
    "dividend": "DIV", "borrow": "FEE", "cash_in_lieu": "CIL", "fee": "FEE", "interest": "INT", "delisting": "MA",
}  # fmt: skip
"""Kind of a payment -> its type."""

WORDS: Final = {
    "borrow": "borrowing fee", "cash_in_lieu": "cash in lieu of a fraction", "flow": "deposit or withdrawal",
    "moved": "capital moved from or to another book", "transfer": "position moved from or to another book",
    "in_kind": "position that came or left without a trade", "delisting": "payment for a delisted position",
}  # fmt: skip
"""Kind of a movement -> its description; other kinds are described by their name."""

TYPES: Final = frozenset({"FILL", "SPLIT", "CSD", "CSW", "JNLC", "JNLS", *PAID.values()})
GROUPS: Final = {"TRANS": frozenset({"CSD", "CSW"})}
"""A type of the vendor that stands for several."""

ZONE: Final = ZoneInfo("America/New_York")
"""The vendor writes the time in the id of an activity in the time of its exchanges."""


class Activities:
    """The activities of the book of one agent, folded from the journal as far as it was read."""

    def __init__(self, universe: Universe, account: str, agent: str) -> None:
        """`account` is the name that ids are computed from, the same as that of `Tickets`."""
        self._universe, self._account, self._agent = universe, account, agent
        self._movements, self._tickets = Movements(universe), Tickets(account)
        self._filled: dict[str, int] = {}  # id of an order -> its filled lots so far
        self._seq = 0
        self.rows: list[Row] = []
        """The activities in the order of the journal; `at` is the time in ns UTC, which no answer has."""

    def read(self, reader: Reader) -> None:
        """Fold the entries of the journal that came since the last call."""
        for seq, entry in reader.journal(self._seq + 1):
            self._take(seq, entry.event, entry.effects, reader.run.agents_at(seq))
            self._seq = seq

    def _take(self, seq: int, event: Any, effects: Iterable[Any], names: tuple[str, ...]) -> None:
        book = names.index(self._agent) if self._agent in names else -1
        for _ in self._tickets.take(event, effects):  # type: ignore[arg-type]
            pass
        split = split_of(event)
        held = self._movements.lots_of.get(book)
        before = 0 if split is None or held is None else int(held[split.symbol])
        done: list[tuple[Any, Movement]] = []
        for effect, movements in self._movements.add(event, effects):
            done += [(effect, movement) for movement in movements if movement.book == book >= 0]
        if split is not None and before and book >= 0:
            change = int(self._movements.lots_of[book][split.symbol]) - before
            text = f"{split.numerator} new for {split.denominator}"
            if change:  # a refused explanation of a jump splits nothing
                self._add(f"{seq}-split", split.ts, "SPLIT", self._paid(split.symbol, 0, change, text))
        for k, (effect, movement) in enumerate(done):
            self._add_movement(f"{seq}-{k}", effect, movement)

    def _add_movement(self, part: str, effect: object, move: Movement) -> None:
        """Add the one or two activities of a movement."""
        text = WORDS.get(move.kind, move.kind)
        if move.kind in ("trade", "bust", "cross"):
            self._add(part, move.ts, "FILL", self._executed(effect, move))
            if move.fee_micro:
                self._add(f"{part}-fee", move.ts, "FEE", self._paid(-1, -move.fee_micro, 0, "fee of an execution"))
        elif move.kind in ("transfer", "in_kind"):
            self._add(part, move.ts, "JNLS", self._paid(move.symbol, 0, move.lots, text))
        elif move.kind in ("flow", "moved"):
            kind = "JNLC" if move.kind == "moved" else "CSD" if move.flow_micro > 0 else "CSW"
            self._add(part, move.ts, kind, self._paid(-1, move.flow_micro, 0, text))
        elif move.amount_micro:
            self._add(part, move.ts, PAID[move.kind], self._paid(move.symbol, move.amount_micro, 0, text))

    def _add(self, part: str, ts: int, kind: str, fields: Row) -> None:
        moment = instant(ts)
        digits = f"{moment.astimezone(ZONE):%Y%m%d%H%M%S}{moment.microsecond // 1000:03d}"
        timed = {"transaction_time": _text(moment)} if kind == "FILL" else {
            "date": f"{moment:%Y-%m-%d}", "created_at": _text(moment), "status": "executed",
        }  # fmt: skip
        name = name_of("activity", self._account, self._agent, part)
        self.rows.append({"at": ts, "id": f"{digits}::{name}", "activity_type": kind} | timed | fields)

    def _executed(self, effect: object, move: Movement) -> Row:
        """The fields of an execution. An execution that no order of the program caused is an order of its own."""
        symbol, lot = self._universe.symbols[move.symbol], self._universe.lot_nano[move.symbol]
        size = done = abs(move.lots)
        unfilled, order = 0, name_of("execution", self._account, str(move.ts), symbol, str(move.lots))
        ticket = self._tickets.sent(effect.sample, effect.n) if isinstance(effect, Filled) else None
        if ticket is not None and ticket.agent == self._agent:
            order = ticket.id
            self._filled[order] = done = self._filled.get(order, 0) + (move.lots if ticket.lots > 0 else -move.lots)
            unfilled = max(abs(ticket.lots) - done, 0)
        held = int(self._movements.lots_of[move.book][move.symbol]) if move.lots < 0 else 0
        return {
            "type": "partial_fill" if unfilled else "fill", "symbol": symbol, "price": price_text(move.price_nano),
            "qty": quantity_text(size, lot), "side": "sell_short" if held < 0 else side_text(move.lots),
            "order_id": order, "cum_qty": quantity_text(done, lot), "leaves_qty": quantity_text(unfilled, lot),
            "order_status": "partially_filled" if unfilled else "filled",
        }  # fmt: skip

    def _paid(self, column: int, amount_micro: int, lots: int, text: str) -> Row:
        fields: Row = {"net_amount": money_text(amount_micro), "description": text}
        if column >= 0:
            fields["symbol"] = self._universe.symbols[column]
        if lots:
            fields["qty"] = quantity_text(lots, self._universe.lot_nano[column])
        return fields


def page_of(rows: list[Row], query: Mapping[str, str], only: str) -> list[Row]:
    """Return the activities that a request asks for. Raises ValueError with one sentence for a wrong request.

    `only` is the type in the path, empty for all. `after` and `until` are instants or dates, `page_token` is the id of
    the last activity that the program has.
    """
    asked = dict(query)
    named = only or asked.pop("activity_types", "")
    kinds: set[str] = set()
    for kind in filter(None, named.split(",")):
        if kind not in TYPES and kind not in GROUPS:
            raise ValueError(f"activity type {kind[:20]!r} is not reported here: {', '.join(sorted(TYPES))} are")
        kinds |= GROUPS.get(kind, {kind})
    since, until = span_of(asked)
    direction, size = asked.pop("direction", "desc"), asked.pop("page_size", str(PAGE))
    category, token = asked.pop("category", ""), asked.pop("page_token", "")
    if asked:
        raise ValueError(f"the filter {min(asked)[:20]} is not supported here; leave it out")
    if direction not in ("asc", "desc") or category not in ("", "trade_activity", "non_trade_activity"):
        raise ValueError("direction must be asc or desc, and category trade_activity or non_trade_activity")
    if not (size.isascii() and size.isdigit() and 1 <= int(size) <= PAGE):
        raise ValueError(f"page_size must be a number from 1 to {PAGE}")
    listed = [
        row
        for row in sorted(rows, key=lambda row: row["at"], reverse=direction == "desc")
        if since < row["at"] <= until
        and (not kinds or row["activity_type"] in kinds)
        and category in ("", "trade_activity" if row["activity_type"] == "FILL" else "non_trade_activity")
    ]
    if token:
        places = [k for k, row in enumerate(listed) if row["id"] == token]
        if not places:
            raise ValueError("page_token must be the id of an activity that the request lists")
        del listed[: places[0] + 1]
    return [{key: value for key, value in row.items() if key != "at"} for row in listed[: int(size)]]


def span_of(asked: dict[str, str]) -> tuple[int, int]:
    """Take `date`, `after` and `until` out of a query: ns UTC, since < instant <= until. Raises ValueError."""
    after, until, day = (asked.pop(key, "") for key in ("after", "until", "date"))
    if day and (after or until):
        raise ValueError("date excludes after and until")
    if day:
        start = _instant("date", day)
        return start - 1, start + 86_400 * 10**9 - 1
    since, end = _instant("after", after) if after else -1, _instant("until", until) if until else 2**63
    if since > end:  # an empty answer would say that nothing happened
        raise ValueError("after is later than until; exchange them")
    return since, end


def _instant(name: str, text: str) -> int:
    """Return an instant or a date of a query in ns UTC; text without a zone is UTC. Raises ValueError."""
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))  # a program may leave the + of a zone as it is
    except ValueError:
        raise ValueError(
            f"{name} must be a date such as 2026-01-31, or an instant such as 2026-01-31T14:30:00Z"
        ) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000


def _text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
