"""The fold of the account: lots through splits and delistings, and figures that are unknown rather than wrong."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.daemon.views.account_history import CROSSED, AccountHistory
from quantd.daemon.views.account_profit import AccountProfit, Present
from quantd.trading.codec import decode, encode
from quantd.trading.effects import Crossed, Filled, Refused
from quantd.trading.execution import with_remainder
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.market import JumpExplained
from tests.support.api_world import RUN, World, standing_shared
from tests.support.command_line import CONFIG
from tests.support.examples import examples

SPLIT = (
    CONFIG.replace('["SPY", "QQQ", "IWM"]', '["AAPL", "SPY", "BAC"]')
    .replace("start = 2019-01-02", "start = 2020-08-03")
    .replace("end = 2019-03-29", "end = 2020-10-30")
)
"""Four new shares of AAPL for one on 2020-08-31."""

in_module_loop = pytest.mark.asyncio(loop_scope="module")


world = standing_shared(SPLIT)


def folded(world: World, until: int = 10**9) -> AccountHistory:
    names = tuple(world.service.shell.state.rules.names())
    history = AccountHistory(world.assembly.universe, lambda _: names, world.assembly.slices)
    for seq, data in world.store.entries(RUN, 1):
        if seq <= until:
            entry = decode(data)
            history.add(seq, entry.event, entry.effects)
    return history


def present(world: World) -> Present:
    state, shell = world.service.shell.state, world.service.shell
    state.revalue()
    return Present.of(
        state.ledger, state.marks_nano, state.equity_micro, state.books_micro, world.service.journal.seq, shell.ts
    )


@pytest.mark.long
@in_module_loop
async def test_lots_marks_and_worth_are_those_of_the_ledger_after_a_split(world: World) -> None:
    history, now = folded(world), present(world)
    assert history.movements.lots.tolist() == now.lots
    assert history.movements.marks_nano.tolist() == now.marks.tolist()
    profit = AccountProfit(history, now, world.assembly.universe)
    rows, other = profit.symbols(0, now.ts)
    assert other is not None
    assert abs(Decimal(other)) < Decimal("0.0001")
    apple = next(row for row in rows if row.symbol == "AAPL")
    assert Decimal(apple.profit or 0) != 0
    benchmark = history.samples[-1].equal
    returns = world.service.shell.state.history.known.returns(len(history.samples) - 1)
    assert benchmark == pytest.approx(float(np.prod(1.0 + returns.mean(axis=1))), rel=1e-9)


def require_equal(history: AccountHistory, same: AccountHistory) -> None:
    for one, other in zip(history.samples, same.samples, strict=True):
        assert one[:4] == other[:4]
        for name in ("income", "benchmark", "equal", "books", "worth", "amounts"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)


@in_module_loop
async def test_a_fold_that_continues_is_one_that_began_again(world: World) -> None:
    history, part = folded(world), folded(world, until=300)
    for seq, data in world.store.entries(RUN, 301):
        entry = decode(data)
        part.add(seq, entry.event, entry.effects)
    require_equal(history, part)


@in_module_loop
async def test_a_fold_of_encoded_entries_is_that_of_whole_ones(world: World) -> None:
    history = folded(world)
    names = tuple(world.service.shell.state.rules.names())
    lean = AccountHistory(world.assembly.universe, lambda _: names, world.assembly.slices)
    for seq, data in world.store.entries(RUN, 1):
        lean.add_encoded(seq, data)
    assert len(history.samples) > 60
    require_equal(history, lean)
    assert history.notes == lean.notes != []
    assert (history.movements.lots.tolist(), history.seq) == (lean.movements.lots.tolist(), lean.seq)


@given(
    st.lists(st.integers(-(10**9), 10**9), min_size=2, max_size=6), st.integers(1, 10**12), st.sampled_from([1, 10**9])
)
@settings(max_examples=examples(200))
def test_what_agents_pay_for_a_cross_is_rounded_as_any_value(lots: list[int], price: int, unit: int) -> None:
    universe = Universe((Instrument("A", lot_nano=unit, calendar="X"),), calendar="X")
    names = tuple(f"a{k}" for k in range(len(lots)))
    history = AccountHistory(universe, lambda _: names)
    lots[-1] = -sum(lots[:-1])
    history.add(1, None, [Crossed(0, 1, 0, price, list(enumerate(lots)))])
    parts = [-history.movements.value(0, quantity, price) for quantity in lots[:-1]]
    assert history.amounts[CROSSED].tolist() == [*with_remainder(0, parts), 0]


@in_module_loop
async def test_profit_of_positions_is_unknown_where_their_lots_are_not_those_of_the_ledger(world: World) -> None:
    history, now = folded(world), present(world)
    history.movements.lots_of[0][0] += 1
    profit = AccountProfit(history, now, world.assembly.universe)
    rows, other = profit.symbols(0, now.ts)
    assert (other, {row.profit for row in rows}) == (None, {None})
    assert all(Decimal(row.unrealised) == Decimal(row.unrealised) for row in rows)
    account = profit.account(0, now.ts)
    assert Decimal(account.profit) == Decimal(account.closing) - Decimal(account.opening)


@in_module_loop
async def test_a_run_that_continues_an_account_opens_at_its_first_sample(world: World) -> None:
    history, now = folded(world), present(world)
    history.carried = True
    profit = AccountProfit(history, now, world.assembly.universe)
    first = history.samples[0]
    assert (
        profit.account(0, now.ts).opening
        == AccountProfit(folded(world), now, world.assembly.universe).days(0, now.ts, "day")[-1].closing
    )
    assert profit.instants(0, now.ts) == (first.ts, now.ts)
    assert {row.realised for row in profit.symbols(0, now.ts)[0]} == {None}


@in_module_loop
async def test_figures_stay_while_the_fold_goes_on(world: World) -> None:
    history, now = folded(world), present(world)
    profit = AccountProfit(history, now, world.assembly.universe)
    before = profit.symbols(0, now.ts), profit.account(0, now.ts), profit.notes(0, now.ts)
    history.net_cash[:] += 1_000_000
    history.movements.lots_of[0][:] += 1
    history.notes.clear()
    history.sure_from = 10**6
    assert (profit.symbols(0, now.ts), profit.account(0, now.ts), profit.notes(0, now.ts)) == before


def test_an_explanation_of_a_jump_that_was_refused_splits_no_lots() -> None:
    history = AccountHistory(Universe((Instrument("A", calendar="X"),), calendar="X"), lambda _: ("a",))
    history.add(1, None, [Filled(0, 1, 1, [0], [10], [10**9], [0], [[(0, 10)]])])
    explained = JumpExplained(2, 0, "x", "me", 2, 1)
    history.add_encoded(2, encode(explained, [Refused("conflict", "x")]))
    assert history.movements.lots.tolist() == [10]
    history.add_encoded(3, encode(explained, []))
    assert history.movements.lots.tolist() == [20]
