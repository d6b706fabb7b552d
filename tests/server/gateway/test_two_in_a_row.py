"""Two quantds in a row: quantd's own Alpaca adapter, unchanged, trades through the gateway of a run on recorded days.

The outer book is booked from what the adapter reports alone: executions of the stream and of answers, and the cash
flows of the activities. It must be the inner book, and that of the same orders without a gateway. Proposals over REST
and orders by hand leave the same fills, fees and journal, too.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from alpaca.common.exceptions import APIError

from quantd.adapters.brokers.alpaca.broker import Alpaca
from quantd.adapters.brokers.alpaca.connection import AlpacaSettings
from quantd.server.requests.control import market_now
from quantd.trading.codec import decode
from quantd.trading.effects import Filled, Publish
from quantd.trading.events import Proposed
from quantd.trading.execution import round_micro
from quantd.trading.orders import THE_DAY, UNTIL_CANCELLED, Cause, OrderBasket, Reports, Wish
from tests.server.api.routes.outside_run import market
from tests.server.gateway.gateway_bot import WIDE, Bot, bot_of
from tests.support.api_world import RUN

SESSIONS = 120
ALONE = (
    WIDE.replace("start = 2019-01-02\nend = 2019-03-29", "start = 2019-01-02\nend = 2020-01-31")
    .replace('policy = "external"', 'policy = "external"\ncut = true')
    .replace("max_position_weight = 1.0", "max_position_weight = 0.5, max_gross_exposure = 1.5")
)


@dataclass
class Outer:
    """The book of the outer quantd: lots by column, cash in micro-currency, and how its orders ended."""

    lots: list[int]
    cash: int = 0
    filled: dict[tuple[int, int, int], int] = field(default_factory=dict)
    ended: dict[tuple[int, int, int], int] = field(default_factory=dict)
    rows: dict[tuple[int, int], OrderBasket] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)

    def take(self, news: Sequence[Any]) -> None:
        for report in news:
            self.seen[type(report).__name__] += 1
            if isinstance(report, Reports):
                basket = self.rows[report.sample, report.n]
                each = zip(report.row, report.cum, report.lots, report.price_nano, report.cause, strict=True)
                for row, cum, lots, price, cause in each:
                    key = (report.sample, report.n, row)
                    if lots and cum > self.filled.get(key, 0):  # each fill once, whether from the stream or an answer
                        assert cum - lots == self.filled.get(key, 0)
                        self.filled[key] = cum
                        signed = lots if basket.lots[row] > 0 else -lots
                        self.lots[basket.sym[row]] += signed
                        self.cash -= round_micro(signed * 10**9 * price)[0]
                    if cause not in (Cause.ACCEPTED, Cause.PART_FILL):
                        self.ended[key] = cause


def orders_of(rng: np.random.Generator, marks: list[int], lots: list[int]) -> list[Wish]:
    """The orders of one day, at most one for a symbol: most fill, some rest, some open a short position, some are too
    large."""
    wishes = []
    for column in rng.permutation(len(marks))[: rng.integers(0, 3)].tolist():
        side = 1 if rng.random() < 0.5 else -1
        size = int(rng.integers(1, 30)) if rng.random() < 0.95 else 10_000
        if lots[column] * side < 0:  # a sale of a long position ends at zero, as at the vendor
            size = min(size, abs(lots[column]))
        near = rng.random() < 0.7
        limit = round(marks[column] * (1 + side * (0.015 if near else -0.01)) / 1e7) * 10**7
        wishes.append(Wish(column, side * size, limit, UNTIL_CANCELLED if rng.random() < 0.5 else THE_DAY))
    return wishes


class Rig:
    """The adapter at the gateway of a bot, and the outer book."""

    def __init__(self, bot: Bot) -> None:
        self.bot, self.service = bot, bot.world.service
        settings = AlpacaSettings(bot.url, bot.url.replace("http", "ws") + "/stream", bot.key, bot.secret)
        self.adapter = Alpaca(settings, self.state.universe, "outer001", lambda: market_now(self.service))
        self.outer = Outer([0] * self.state.universe.size)
        self.since, self.flows = 0, 0

    @property
    def state(self) -> Any:
        return self.service.shell.state

    async def listen(self) -> None:
        async for report in self.adapter.news():
            self.outer.take([report])

    async def send(self, wishes: Sequence[Wish], n: int) -> None:
        now = market_now(self.service)
        end = [0 if wish.end == UNTIL_CANCELLED else now + 10**15 for wish in wishes]
        basket = OrderBasket(
            now, n, now, [w.symbol for w in wishes], [w.lots for w in wishes], [w.limit_nano for w in wishes], end
        )
        self.outer.rows[now, n] = basket
        self.outer.take(await self.adapter.submit(basket))

    async def agree(self) -> None:
        """Wait until the outer book has every fill and end that the inner one has. Raises TimeoutError."""
        tickets = self.bot.gateway.tickets
        async with asyncio.timeout(20):
            while sum(self.outer.filled.values()) != sum(t.filled for t in tickets.by_id.values()):  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async def read_flows(self) -> None:
        flows = await self.adapter.flows(self.since)
        for flow in flows:
            self.outer.cash += flow.amount_micro
            self.outer.seen[flow.kind] += 1
            self.since = max(self.since, flow.ts)


async def through_the_adapter(folder: Path) -> tuple[list[int], int, list[int], int, list[tuple[int, Wish, str]], Rig]:
    """Trade SESSIONS days; returns outer lots and cash, inner lots and the change of its cash, and the orders that
    were taken: (day, order, id)."""
    rng, taken = np.random.default_rng(7), []
    async with bot_of(folder, ALONE, SESSIONS * 2) as bot:
        rig = Rig(bot)
        before = rig.state.ledger.books[2].cash_micro
        await rig.adapter.open()
        listening = asyncio.create_task(rig.listen())
        while not bot.gateway._streams:  # noqa: ASYNC110 - the adapter sets no event
            await asyncio.sleep(0.01)
        for day in range(SESSIONS):
            wishes = orders_of(rng, rig.state.marks_nano.tolist(), rig.state.lots(2).tolist())
            known = set(bot.gateway.tickets.by_id)
            for n, wish in enumerate(wishes):
                await rig.send([wish], n)
                for id in set(bot.gateway.tickets.by_id) - known:
                    ticket = bot.gateway.tickets.by_id[id]
                    taken.append((day, Wish(ticket.column, ticket.lots, ticket.limit_nano, wish.end), ticket.client_id))
                known = set(bot.gateway.tickets.by_id)
            await bot.world.go(2)
            await rig.agree()
        await rig.read_flows()
        account = await rig.adapter.account()
        inner = rig.state.lots(2).tolist(), rig.state.ledger.books[2].cash_micro
        assert list(account.lots) == inner[0]
        assert account.cash_micro == inner[1]
        assert (account.foreign, account.others, account.unlent, rig.adapter.set_aside()) == ((), (), (), [])
        assert len(account.ours) == sum(
            t.status in ("new", "partially_filled") for t in bot.gateway.tickets.by_id.values()
        )
        listening.cancel()
        await rig.adapter.close()
        return rig.outer.lots, rig.outer.cash, inner[0], inner[1] - before, taken, rig


async def without_a_gateway(folder: Path, taken: list[tuple[int, Wish, str]]) -> tuple[list[int], int]:
    """The lots and the change of cash of the book after the same orders on the same days, as plain proposals."""
    async with market(folder, ALONE, SESSIONS * 2) as world:
        state = world.service.shell.state
        before = state.ledger.books[2].cash_micro
        for day in range(SESSIONS):
            for _, wish, id in (row for row in taken if row[0] == day):
                proposal = Proposed(
                    market_now(world.service), "guest", id, "the same", "me", orders=(wish,), whole=True
                )
                commit = await world.service.inbox.command(proposal)
                assert commit.refused is None, commit.refused
            await world.go(2)
        return state.lots(2).tolist(), state.ledger.books[2].cash_micro - before


@pytest.mark.long
async def test_outer_and_inner_book_and_one_without_a_gateway_are_equal(tmp_path: Path) -> None:
    outer_lots, outer_cash, lots, cash, taken, rig = await through_the_adapter(tmp_path / "through")
    assert outer_lots == lots
    assert abs(outer_cash - cash) < 10_000, (outer_cash, cash)  # a cent
    assert await without_a_gateway(tmp_path / "without", taken) == (lots, cash)
    ends = Counter(rig.outer.ended.values())
    assert len(taken) > 70
    assert min(rig.outer.seen[kind] for kind in ("fee", "dividend")) > 3
    assert ends[Cause.REJECTED] + ends[Cause.EXPIRED] > 5


Order = tuple[str, int, float]
"""Symbol, signed quantity, and the limit price as a fraction of the mark; 0 for an order at the collar."""

DAYS: Sequence[Sequence[Order]] = (
    [("SPY", 7, 0.0), ("QQQ", 5, 1.01)], [("IWM", -6, 0.0)], [], [("SPY", -3, 1.004)], [("QQQ", 2, 0.985)], [],
    [("IWM", 6, 0.0), ("SPY", -4, 0.0)], [("QQQ", -1, 1.002)], [], [("IWM", 9, 0.999)], [],
)  # fmt: skip
"""Orders that fill, rest, open and close a short position."""

STOPPED: Sequence[Sequence[Order]] = ([("SPY", 7, 0.0)], [("SPY", -3, 0.0), ("QQQ", 4, 0.0)], [], [], [], [])
"""Orders of which all but the first are stop orders, 0.1 % below the mark for a sale and above it for a purchase."""

TOO_LARGE: Sequence[Sequence[Order]] = ([("SPY", 90_000, 0.0)], [])
"""An order that the limits cut; by hand its smaller part is sent."""

OWN = {"cause", "because"}
"""Fields that name the order of the sender."""


async def by_gateway(bot: Bot, order: Order, name: str) -> bool:
    symbol, qty, limit = order
    try:
        await bot.buy(qty, limit, symbol, client_order_id=name)
    except APIError as refused:
        if refused.code != 40310000:
            raise
        return False
    return True


def terms(bot: Bot, order: Order, name: str) -> dict[str, str]:
    return {"limit": str(order[2]), "until": "cancelled"} if order[2] else {"until": "day"}


def stop_terms(bot: Bot, order: Order, name: str) -> dict[str, str]:
    symbol, qty, _ = order
    state = bot.world.service.shell.state
    mark = float(state.marks[state.universe.index[symbol]])
    return {"until": "cancelled"} | (
        {} if name == "0.0" else {"trigger": f"{mark * (1.001 if qty > 0 else 0.999):.2f}"}
    )


def by_proposal(terms_of: Any = terms) -> Any:
    async def door(bot: Bot, order: Order, name: str) -> bool:
        asked = {"units": str(order[1])} | terms_of(bot, order, name)
        body = {"orders": {order[0]: asked}, "id": name, "reason": "the same", "whole": True}
        path = "/api/v1/agents/guest/propose"
        async with bot.world.session.post(path, json=body, headers=bot.world.bearer) as response:
            return bool(response.status == 200)

    return door


def by_hand(terms_of: Any = terms) -> Any:
    async def door(bot: Bot, order: Order, name: str) -> bool:
        symbol, qty, _ = order
        side = "buy" if qty > 0 else "sell"
        body = {"side": side, "qty": str(abs(qty)), "symbol": symbol, "reason": name, "agent": "guest"}
        body |= terms_of(bot, order, name)
        async with bot.world.session.post("/api/v1/orders", json=body, headers=bot.world.bearer) as response:
            return bool(response.status == 200)

    return door


def plain(effect: object) -> Any:
    """An effect without the names that the sender gave."""
    fields = msgspec.to_builtins(effect)
    for part in (fields, *fields.get("agents", ())):
        for key in OWN & part.keys():
            del part[key]
    return fields


def is_unsent(row: Any) -> bool:
    """Whether an entry is an order of which nothing was sent."""
    return isinstance(row[0], list) and not any(effect["type"] == "Submit" for effect in row[1])


async def traded(
    folder: Path, door: Any, days: Sequence[Sequence[Order]]
) -> tuple[list[Any], list[Any], list[bool], list[int], int]:
    """Fills, journal, answers, lots and cash of the book after all orders through a door."""
    async with bot_of(folder, WIDE) as bot:
        state, answers = bot.world.service.shell.state, []
        first = bot.world.store.last_seq(RUN)
        for day, orders in enumerate(days):
            for n, (symbol, qty, part) in enumerate(orders):
                mark = float(state.marks[state.universe.index[symbol]])
                answers.append(await door(bot, (symbol, qty, round(mark * part, 2)), f"{day}.{n}"))
            await bot.world.go(2)
        journal, fills = [], []
        for _, data in bot.world.store.entries(RUN, first + 1):
            entry = decode(data)
            own = isinstance(entry.event, Proposed)
            event = [list(wish) for wish in map(msgspec.to_builtins, entry.event.orders)] if own else plain(entry.event)
            effects = [effect for effect in entry.effects if not isinstance(effect, Publish)]
            fills += [msgspec.to_builtins(effect) for effect in effects if isinstance(effect, Filled)]
            journal.append((event, [plain(effect) for effect in effects]))
        return fills, journal, answers, state.lots(2).tolist(), state.ledger.books[2].cash_micro


async def test_three_doors_give_the_same_fills_fees_and_journal(tmp_path: Path) -> None:
    gateway = await traded(tmp_path / "gateway", by_gateway, [*DAYS, *TOO_LARGE])
    proposals = await traded(tmp_path / "proposals", by_proposal(), [*DAYS, *TOO_LARGE])
    hand = await traded(tmp_path / "hand", by_hand(), DAYS)
    assert gateway[0] == proposals[0]
    assert gateway[0][: len(hand[0])] == hand[0]
    assert sum(len(fill["sym"]) for fill in gateway[0] if any(share[0] == 2 for share in fill["shares"][0])) > 7
    assert gateway[3:] == proposals[3:]
    assert gateway[3] == hand[3]
    assert gateway[2] == proposals[2]
    assert (gateway[2].count(False), gateway[2][-1], all(hand[2])) == (2, False, True)  # by hand nothing is whole
    assert gateway[1] == proposals[1]
    last = next(k for k, row in enumerate(gateway[1]) if isinstance(row[0], list) and row[0][0][1] == 90_000)
    before = [row for row in gateway[1][:last] if not is_unsent(row)]
    assert before == [row for row in hand[1] if not is_unsent(row)][: len(before)]


async def test_stop_orders_by_proposal_and_by_hand_fill_alike(tmp_path: Path) -> None:
    proposals = await traded(tmp_path / "proposals", by_proposal(stop_terms), STOPPED)
    hand = await traded(tmp_path / "hand", by_hand(stop_terms), STOPPED)
    assert hand[2] == proposals[2] == [True] * 3
    assert (hand[0], hand[3:]) == (proposals[0], proposals[3:])
    held = [effect for _, effects in hand[1] for effect in effects if effect["type"] == "OrdersHeld"]
    assert len(held) == 2
    assert len([fill for fill in hand[0] if any(share[0] == 2 for share in fill["shares"][0])]) > 1
