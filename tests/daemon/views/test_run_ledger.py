"""The ledger from the journal: the books of the engine to the unit, and the lots that each movement closed."""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from msgspec.structs import replace

from quantd.daemon.engine.agents.carry_over import carry_of
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.settings import AgentRules
from quantd.daemon.engine.state.snapshot import freeze
from quantd.daemon.views.account_history import decode_folded
from quantd.daemon.views.run_ledger import HOUSE, LedgerDiffers, RunLedger
from quantd.trading.codec import decode, encode
from quantd.trading.effects import Filled, Valued
from quantd.trading.events import Action, Carried, Flow, PortfolioClosed, PortfolioOpened, Proposed, Tick
from quantd.trading.execution import Costs
from quantd.trading.market import JumpExplained, PriceJumped
from quantd.trading.sessions import DAY_NS
from quantd.trading.view import View
from tests.support.engine import COLLARED, START, Kept, World, block, walk

DAYS, SYMBOLS, MICRO = 40, 3, 1_000_000


def turning(seed: int) -> Callable[[View], object]:
    """Other weights each day, often short, so that positions are enlarged, reduced, closed and turned; none at the
    end."""
    return lambda view: (
        np.random.default_rng((seed, view.sample)).uniform(-0.3, 0.4, SYMBOLS) * (view.sample < DAYS - 4)
    )


def at(day: int) -> dict[str, int]:
    return {"ts": START + day * DAY_NS + 9 * DAY_NS // 24, "key": START + day * DAY_NS}


def world_of(seed: int, log: Kept, *, venue_pays: bool) -> World:
    """Two agents that trade against each other and a place for a portfolio, through splits and a dividend; a symbol is
    delisted unless the venue pays for shares itself."""
    actions = [
        Action(**at(8), symbol=0, kind="split", numerator=3, denominator=2),
        Action(**at(13), symbol=1, kind="dividend", cash_nano=1_234_567_890),
        Action(**at(19), symbol=1, kind="split", numerator=1, denominator=150),
        Action(**at(22), symbol=0, kind="split", numerator=1, denominator=100_000),
        Action(**at(30), symbol=2, kind="delisting", cash_nano=31_000_000_001),
    ]
    world = World(
        block(walk(DAYS, SYMBOLS, seed)), [turning(seed), turning(seed + 99)], house=COLLARED, shares=[0.4, 0.3],
        log=log, actions=actions[:-1] if venue_pays else actions,
        costs=Costs(commission_bp=3.7, borrow_bp_annual=120.0),
        venue_pays=venue_pays, borrow_bp_annual=120.0,
    )  # fmt: skip
    place = AgentRules("place", 0, COLLARED, scheduled=True, place=True)
    world.rules = replace(world.rules, agents=(*world.rules.agents, place), seats=(*world.rules.seats, "place"))
    world.policies.append(world.policies[0])  # a place is never asked
    world.shell = world.fresh(log)
    return world


def run(world: World) -> None:
    """Take all days, with deposits, payments of the venue, and a portfolio that is opened and handed over with lots."""
    samples = 0
    for item in world.items():
        world.shell.take(item)
        if not (isinstance(item, Tick) and item.sample):
            continue
        samples += 1
        now, weights = world.shell.state.now, np.array([0.2, -0.2, 0.3]).tobytes()
        for event in {
            5: [
                Flow(now, 5_000 * MICRO, "me", agent="a0", reason="x"),
                PortfolioOpened(now, "place", "core", 50_000 * MICRO, "x", "me", "weights"),
                Proposed(now, "place", "1", "x", "me", weights),
            ],
            25: [
                PortfolioClosed(now, "core", "hand_over", "x", "me", "a1"),
                Flow(now, -1_000 * MICRO, "venue", "fee", "f1"),
                Flow(now, 777 * MICRO, "venue", "cash_in_lieu", "c1", 0),
            ],
        }.get(samples, ()):
            world.shell.run(event)


def folded(
    world: World, entries: Sequence[bytes], *, valued: bool = True, before: RunLedger | None = None
) -> RunLedger:
    names = [agent.name for agent in world.rules.agents]
    ledger = RunLedger(world.universe, names, valued=valued, until=2**63, before=before)
    for data in entries:
        ledger.add(*decode_folded(data))
    return ledger


def require_equal(ledger: RunLedger, state: State) -> None:
    """The residue of rounding, of which no payment is a part, comes last."""
    np.testing.assert_array_equal(ledger.ledger.cells()[:, :-2], state.ledger.cells()[:, :-2])


@pytest.mark.parametrize("venue_pays", [False, True])
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_the_closed_lots_of_each_book_add_up_to_its_realised_profit_and_fees(seed: int, *, venue_pays: bool) -> None:
    log = Kept(live=True)
    world = world_of(seed, log, venue_pays=venue_pays)
    run(world)
    ledger = folded(world, log.entries)
    require_equal(ledger, world.shell.state)
    books = dict(zip((0, 1, 2, -1, HOUSE), (*ledger.ledger.books, ledger.ledger.house), strict=True))
    realised, fees, kinds = Counter[int](), Counter[int](), set()
    first_out = Counter[tuple[int, int]]()
    for closed in ledger.closed:
        kinds.add(closed.kind)
        if closed.kind != "dividend":
            realised[closed.book] += closed.proceeds - closed.cost
            fees[closed.book] += closed.buy_fee + closed.sell_fee
            if closed.lots:
                average = (closed.cost, closed.buy_fee) if closed.lots > 0 else (-closed.proceeds, closed.sell_fee)
                lot = closed.lot_micro if closed.lots > 0 else -closed.lot_micro
                first_out[closed.book, closed.symbol] += lot + closed.lot_fee - sum(average)
                assert closed.lot_micro > 0 or closed.kind == "cash_in_lieu"
            at_close = closed.proceeds if closed.lots > 0 else closed.cost
            assert not closed.price_nano or abs(at_close - abs(closed.lots) * closed.price_nano // 1000) <= 5
            assert 0 < closed.opened <= closed.ts or not closed.lots
    assert {number: realised[number] for number in books} == {k: book.realised_micro for k, book in books.items()}
    assert not any(any(book.lots) for book in books.values())
    assert first_out, "the cost of the lots themselves is by lot another one"
    assert set(first_out.values()) == {0}, "and in all the same: every position was closed"
    assert {number: fees[number] for number in books} == {k: book.fees_micro for k, book in books.items()}
    assert {"trade", "cross", "transfer", "dividend" if not venue_pays else "cash_in_lieu"} <= kinds
    assert ("delisting" in kinds) is not venue_pays
    assert not {closed.kind for closed in ledger.closed if closed.book == HOUSE} & {"cross", "transfer"}
    without = folded(world, log.entries, valued=False)
    assert without.closed == ledger.closed, "closed lots need no prices"


def test_a_run_that_carries_an_account_closes_its_lots_at_their_cost_with_the_dates_of_the_run_before() -> None:
    log = Kept(live=True)
    world = world_of(5, log, venue_pays=False)
    items = list(world.items())
    for item in items[: len(items) // 2]:
        world.shell.take(item)
    old, count = world.shell.state, len(log.entries)
    account = carry_of(freeze(old), old.universe, ("a0", "a1", "place"), simulated=True)
    world.shell = world.fresh(log)
    world.shell.run(Carried(old.now, "before", account, since=old.now, until=old.now))
    world.shell.run(Action(old.now - 1, old.now - 1, 2, "split", 2, 1))  # the carried account has it
    for item in items[len(items) // 2 :]:
        world.shell.take(item)
    alone = folded(world, log.entries[count:])
    assert {closed.opened > 0 for closed in alone.closed if closed.lots} == {False, True}
    before = folded(world, log.entries[:count])
    ledger = folded(world, log.entries[count:], before=before)
    require_equal(ledger, world.shell.state)
    old.revalue()
    assert ledger.first is not None
    assert before.last is not None
    assert ledger.first.equities == old.books_micro, "the closing of one run is the opening of the next one"
    assert before.last.equities == old.books_micro
    lots = [closed for closed in ledger.closed if closed.lots]
    assert all(closed.opened > 0 for closed in lots)
    assert {closed.opened <= old.now for closed in lots} == {False, True}
    fees = sum(closed.buy_fee + closed.sell_fee for closed in (*before.closed, *lots) if closed.book == HOUSE)
    held = sum(ledger._fees[HOUSE, symbol] for symbol in range(SYMBOLS))
    assert fees + held == ledger.ledger.house.fees_micro


@pytest.mark.parametrize("explained", [False, True])
def test_a_carried_position_that_is_held_after_a_jump_of_its_price_is_valued_as_the_engine_values_it(
    *, explained: bool
) -> None:
    closes = walk(20, 2, 3)
    closes[6:, 0] *= 2.0
    market, log = block(closes), Kept(live=True)
    prices = [int(market.close_nano[day][0]) for day in (5, 6)]
    jump = PriceJumped(int(market.ts_open[6]), 0, *prices, 1, 2)
    world = World(market, [lambda view: np.array([0.4, 0.4])], actions=[jump], log=log)
    items = list(world.items())
    half = next(k for k, item in enumerate(items) if isinstance(item, Tick) and item.ts > market.ts_event[8])
    for item in items[:half]:
        world.shell.take(item)
    old = world.shell.state
    if explained:
        world.shell.run(JumpExplained(old.now, 0, "a merger", "ann", 1, 1))
    before = folded(world, log.entries)
    assert bool(old.restrictions.jumped) is not explained
    account = carry_of(freeze(old), old.universe, ("a0",), simulated=True)
    log.entries.clear()
    world.shell = world.fresh(log)
    world.shell.run(Carried(old.now, "before", account, since=old.now, until=old.now))
    if explained:
        world.shell.take(jump)  # of the history of the market
    for item in items[half:]:
        world.shell.take(item)
    assert bool(world.shell.state.restrictions.jumped) is not explained
    ledger = folded(world, log.entries, before=before)
    require_equal(ledger, world.shell.state)
    assert ledger.last is not None
    assert ledger.last.equities == world.shell.state.books_micro


def test_a_journal_that_does_not_give_its_valuations_is_refused_with_the_difference() -> None:
    log = Kept(live=True)
    world = world_of(6, log, venue_pays=False)
    run(world)
    entries = [decode(data) for data in log.entries]
    fills = next(entry for entry in entries if any(isinstance(effect, Filled) for effect in entry.effects))
    assert any(isinstance(effect, Valued) for entry in entries for effect in entry.effects)
    lacking = [encode(entry.event, () if entry is fills else entry.effects) for entry in entries]
    with pytest.raises(LedgerDiffers, match=r"cash of the account at .* a difference of -?[0-9.]+; `quantd replay`"):
        folded(world, lacking)
