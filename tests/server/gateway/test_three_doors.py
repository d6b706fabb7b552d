"""The same orders through the gateway, as proposals over REST and by hand: the same fills, fees and journal."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from alpaca.common.exceptions import APIError

from quantd.trading.codec import decode
from quantd.trading.effects import Filled, Publish
from quantd.trading.events import Proposed
from tests.server.gateway.gateway_bot import WIDE, Bot, bot_of
from tests.support.api_world import RUN

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


async def by_proposal(bot: Bot, order: Order, name: str) -> bool:
    symbol, qty, limit = order
    asked: Any = {"units": str(qty), "limit": str(limit), "until": "cancelled"} if limit else str(qty)
    if not limit:
        asked = {"units": str(qty), "until": "day"}
    body = {"orders": {symbol: asked}, "id": name, "reason": "the same", "whole": True}
    path = "/api/v1/agents/guest/propose"
    async with bot.world.session.post(path, json=body, headers=bot.world.bearer) as response:
        return bool(response.status == 200 and (await response.json())["verdict"]["outcome"] == "passed")


async def by_hand(bot: Bot, order: Order, name: str) -> bool:
    symbol, qty, limit = order
    side = "buy" if qty > 0 else "sell"
    body = {"side": side, "qty": str(abs(qty)), "symbol": symbol, "reason": name, "agent": "guest"}
    body |= {"limit": str(limit), "until": "cancelled"} if limit else {"until": "day"}
    async with bot.world.session.post("/api/v1/orders", json=body, headers=bot.world.bearer) as response:
        return response.status == 200


async def stop_by_proposal(bot: Bot, order: Order, name: str) -> bool:
    symbol, qty, _ = order
    asked = {"units": str(qty), "until": "cancelled"} | trigger(bot, order, name)
    body = {"orders": {symbol: asked}, "id": name, "reason": "the same", "whole": True}
    path = "/api/v1/agents/guest/propose"
    async with bot.world.session.post(path, json=body, headers=bot.world.bearer) as response:
        return response.status == 200


async def stop_by_hand(bot: Bot, order: Order, name: str) -> bool:
    symbol, qty, _ = order
    body = {"side": "buy" if qty > 0 else "sell", "qty": str(abs(qty)), "symbol": symbol, "reason": name}
    body |= {"agent": "guest", "until": "cancelled"} | trigger(bot, order, name)
    async with bot.world.session.post("/api/v1/orders", json=body, headers=bot.world.bearer) as response:
        return response.status == 200


def trigger(bot: Bot, order: Order, name: str) -> dict[str, str]:
    symbol, qty, _ = order
    state = bot.world.service.shell.state
    mark = float(state.marks[state.universe.index[symbol]])
    return {} if name == "0.0" else {"trigger": f"{mark * (1.001 if qty > 0 else 0.999):.2f}"}


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
    for name in ("gateway", "proposals", "hand"):
        (tmp_path / name).mkdir()
    gateway = await traded(tmp_path / "gateway", by_gateway, [*DAYS, *TOO_LARGE])
    proposals = await traded(tmp_path / "proposals", by_proposal, [*DAYS, *TOO_LARGE])
    hand = await traded(tmp_path / "hand", by_hand, DAYS)
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
    for name in ("proposals", "hand"):
        (tmp_path / name).mkdir()
    proposals = await traded(tmp_path / "proposals", stop_by_proposal, STOPPED)
    hand = await traded(tmp_path / "hand", stop_by_hand, STOPPED)
    assert hand[2] == proposals[2] == [True] * 3
    assert (hand[0], hand[3:]) == (proposals[0], proposals[3:])
    held = [effect for _, effects in hand[1] for effect in effects if effect["type"] == "OrdersHeld"]
    assert len(held) == 2
    assert len([fill for fill in hand[0] if any(share[0] == 2 for share in fill["shares"][0])]) > 1
