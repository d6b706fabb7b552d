"""A transfer is measured as an order of the same lots: it makes no limit worse than its bound."""

from pathlib import Path
from typing import Any

import pytest

from quantd.daemon.engine.safety.monitor import basket_values
from quantd.daemon.engine.state import HOUSE
from quantd.risk.monitor.levels import UNWATCHED, share_of
from tests.server.requests.orders_by_hand import post
from tests.support.api_world import standing, standing_at_the_end
from tests.support.command_line import CONFIG

GIVER = (
    CONFIG.replace("capital = 0.5", "capital = 0.3")
    .replace("capital = 0.4", "capital = 0.2")
    .replace("max_position_weight = 0.25", "max_position_weight = 0.25\nmax_gross_exposure = 0.25")
    + "\n[portfolios]\nplaces = 2\nlimits = { max_position_weight = 0.9, allow_short = false }\n"
)


world = standing(GIVER)


def broken(world: Any, books: list[int]) -> set[tuple[int, str]]:
    state = world.service.shell.state
    state.revalue()
    return {
        (book, key)
        for book in books
        for key, (value, bound) in basket_values(state, book).items()
        if key not in UNWATCHED and share_of(key, value, bound) > 1.0 + 1e-9
    }


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("order", [("", "even", "trend"), ("trend", "", "even"), ("even", "trend", "")])
async def test_withdrawals_go_up_to_a_limit_and_not_beyond_it(world: Any, order: tuple[str, ...]) -> None:
    state = world.service.shell.state
    names, refused = [rule.name for rule in state.rules.agents], None
    before = broken(world, [HOUSE])
    for book in order:
        number = names.index(book) if book else -1
        for _ in range(2):
            amount = f"{state.ledger.books[number].cash_micro * 9 // 10_000_000}.00"
            body = {"do": "remove", "amount": amount, "reason": "x"} | ({"agent": book} if book else {})
            status, answer = await post(world, "cash", body)
            assert broken(world, [HOUSE]) == before
            if status == 409:
                assert "would break a limit of" in answer["detail"], answer
                assert "--beyond-limits" in answer["detail"]
                refused = body
    assert refused is not None
    equity = state.equity_micro
    status, paid = await post(world, "cash", refused | {"beyond_limits": True})
    assert status == 200, paid
    assert state.equity_micro < equity


async def test_a_deposit_an_order_and_a_withdrawal_enlarge_no_limit(world: Any) -> None:
    deposit = {"do": "add", "amount": "900000.00", "reason": "x", "agent": "even"}
    status, refused = await post(world, "cash", deposit | {"beyond_limits": True})
    assert (status, "of a withdrawal" in refused["detail"]) == (422, True), refused
    assert (await post(world, "cash", deposit))[0] == 200
    state = world.service.shell.state
    before = broken(world, [HOUSE, 0])
    order = {"side": "buy", "qty": "700", "symbol": "SPY", "reason": "x", "agent": "even"}
    status, ordered = await post(world, "orders", order)
    assert status == 200
    assert float(ordered["allowed"]) > 0, ordered
    status, refused = await post(world, "cash", {"do": "remove", "amount": "750000.00", "reason": "x", "agent": "even"})
    assert (status, refused["code"]) == (409, "conflict"), refused
    assert broken(world, [HOUSE, 0]) == before
    assert state.equity_micro > 900_000 * 10**6


@pytest.mark.long
@pytest.mark.parametrize(
    ("limits", "passes"),
    [
        ('restricted = ["SPY"]', False),
        ("max_position_weight = 0.05", False),
        ("max_gross_exposure = 0.05", False),
        ('restricted = ["QQQ"]', True),
    ],
)
async def test_a_hand_over_needs_the_room_that_an_order_of_its_lots_needs(
    tmp_path: Path, limits: str, passes: bool
) -> None:
    text = GIVER.replace('name = "even"', f'name = "even"\nlimits = {{ {limits} }}', 1)
    text = text.replace("max_gross_exposure = 0.25\n", "")
    async with standing_at_the_end(tmp_path, text) as world:
        state = world.service.shell.state
        held = state.ledger.books[0].lots[0]
        body = {"name": "core", "weights": {"SPY": 0.8}, "capital": "9000", "reason": "x"}
        assert (await post(world, "portfolios", body))[0] == 200
        giver = next(iter(state.portfolios))
        # the lots of another book arrive without a bar: the fill of the order is not what is tested
        value = state.ledger.books[1].lots[0] * int(state.marks_nano[0]) // 1_000
        state.ledger.hand_over(1, giver, 0, [(0, state.ledger.books[1].lots[0], value)])
        state.booked()
        assert state.ledger.books[giver].lots[0] > 0
        status, closed = await post(world, "portfolios/core/close", {"how": "hand_over", "to": "even", "reason": "x"})
        if passes:
            assert status == 200, closed
            return
        assert (status, closed["code"]) == (409, "conflict"), closed
        assert "even may not take over portfolio core" in closed["detail"]
        assert "close it with flatten" in closed["detail"]
        assert state.ledger.books[0].lots[0] == held
