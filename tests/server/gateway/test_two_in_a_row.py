"""Two quantds in a row: quantd's own Alpaca adapter, unchanged, trades through the gateway of a run on recorded days.

The outer book is booked from what the adapter reports alone: executions of the stream and of answers, and the cash
flows of the activities. It must be the inner book, and that of the same orders without a gateway.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantd.adapters.brokers.alpaca.broker import Alpaca
from quantd.adapters.brokers.alpaca.connection import AlpacaSettings
from quantd.server.requests.control import market_now
from quantd.trading.events import Proposed
from quantd.trading.execution import round_micro
from quantd.trading.orders import THE_DAY, UNTIL_CANCELLED, Cause, OrderBasket, Reports, Wish
from tests.server.api.routes.outside_run import market
from tests.server.gateway.gateway_bot import WIDE, Bot, bot_of

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
    for name in ("through", "without"):
        (tmp_path / name).mkdir()
    outer_lots, outer_cash, lots, cash, taken, rig = await through_the_adapter(tmp_path / "through")
    assert outer_lots == lots
    assert abs(outer_cash - cash) < 10_000, (outer_cash, cash)  # a cent
    assert await without_a_gateway(tmp_path / "without", taken) == (lots, cash)
    ends = Counter(rig.outer.ended.values())
    assert len(taken) > 70
    assert min(rig.outer.seen[kind] for kind in ("fee", "dividend")) > 3
    assert ends[Cause.REJECTED] + ends[Cause.EXPIRED] > 5
