"""A position is closed by the lesser of the books and the venue; flatten says the difference, and ends."""

import numpy as np
import pytest

from quantd.daemon.engine.planning.closing_lots import closing_lots
from quantd.daemon.engine.state.snapshot import freeze, thaw
from quantd.daemon.engine.venue.availability import asks_for_comparison
from quantd.risk.limits.catalogue import PROFILES
from quantd.trading.effects import Effect, Ended, Publish
from quantd.trading.events import Correction, Operator, Reconciled, Tick
from quantd.trading.orders import Cause, OrderBasket, OrderState, Reports
from tests.support.engine import World, block

RESEARCH = PROFILES["research"]


def held(*weights: tuple[float, float], days: int = 6) -> World:
    """Some days on: agents hold these weights of two symbols at 100.00."""
    acts = [lambda v, w=book_weights: np.array(w) for book_weights in weights]
    world = World(block(np.full((days, 2), 100.0)), acts, house=RESEARCH)
    world.run()
    world.effects.clear()
    return world


def compared(world: World, missing: dict[int, int]) -> Reconciled:
    """A comparison: the venue has `missing` unsigned lots less of a column, and lets the rest be closed."""
    state = world.shell.state
    lots = [have - (1 if have > 0 else -1) * missing.get(k, 0) for k, have in enumerate(state.ledger.house.lots)]
    return Reconciled(state.now + 1, lots, state.ledger.house.cash_micro, available=list(lots), run="run00001")


def command(world: World, what: str) -> Operator:
    return Operator(world.shell.state.now + 1, what, "out", "me")  # type: ignore[arg-type]


def ordered(effects: list[Effect]) -> list[dict[int, int]]:
    return [dict(zip(basket.sym, basket.lots, strict=True)) for basket in effects if isinstance(basket, OrderBasket)]


def answer(world: World, cause: Cause) -> None:
    """The venue's report on the newest basket."""
    key, work = list(world.shell.state.working.items())[-1]
    rows, lots = list(range(len(work.lots))), [abs(order_lots) for order_lots in work.lots]
    fills = lots if cause == Cause.LAST_FILL else [0] * len(rows)
    prices = [100 * 10**9 if fills[0] else 0] * len(rows)
    none = [0] * len(rows)
    now = world.shell.state.now + 1
    world.shell.run(Reports(*key, now, rows, fills, fills, prices, none, [int(cause)] * len(rows), "as the venue says"))


def tick(world: World, after_ns: int = 1) -> None:
    world.shell.take(Tick(world.shell.state.now + after_ns))


def critical(world: World) -> list[str]:
    return [e.text for e in world.of(Publish) if e.level == "CRITICAL" and e.kind == "flatten"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("missing", [1, 3999])
def test_flatten_sells_what_the_venue_has_says_the_difference_and_ends(missing: int) -> None:
    world = held((0.4, 0.2))
    state = world.shell.state
    before = list(state.ledger.house.lots)
    world.shell.run(command(world, "flatten"))
    assert ordered(world.effects) == [{0: -before[0], 1: -before[1]}]
    answer(world, Cause.REJECTED)
    world.effects.clear()
    world.shell.run(compared(world, {0: missing}))
    assert any("the lesser is closed" in text and "S0" in text for text in critical(world))
    tick(world)
    # the size of the one is another one; the other pauses for a minute after its refusal
    assert ordered(world.effects) == [{0: missing - before[0]}]
    answer(world, Cause.LAST_FILL)
    tick(world, 61 * 10**9)
    assert ordered(world.effects)[1:] == [{1: -before[1]}]
    answer(world, Cause.LAST_FILL)
    tick(world)
    assert state.ledger.house.lots == [missing, 0]
    assert not state.flattening
    assert any("reconcile --adopt" in text and f"have {missing} S0" in text for text in critical(world))
    world.effects.clear()
    tick(world)
    assert ordered(world.effects) == []
    assert critical(world) == []


def test_the_remedy_of_the_alert_leaves_books_without_the_lots_and_a_second_flatten_sells_nothing() -> None:
    world = held((0.4, 0.0))
    state = world.shell.state
    world.shell.run(command(world, "flatten"))
    answer(world, Cause.REJECTED)
    world.shell.run(compared(world, {0: 50}))
    world.shell.run(Correction(state.now + 1, [-50, 0], 50 * 100 * 10**6, "a0", "sold at the venue", "me"))
    assert state.venue.waits.missing == {}
    tick(world)
    assert ordered(world.effects)[-1] == {0: -state.ledger.house.lots[0]}
    answer(world, Cause.LAST_FILL)
    tick(world)
    assert state.ledger.house.lots == [0, 0]
    assert not state.flattening


def test_several_books_share_what_is_missing_and_never_sell_more_than_they_hold() -> None:
    world = held((0.4, 0.0), (0.2, 0.0), (0.1, 0.1))
    state = world.shell.state
    have = state.ledger.house.lots[0]
    world.shell.run(compared(world, {0: 700}))
    closing = [closing_lots(state, number) for number in range(3)]
    assert sum(change[0] for change in closing) == 700 - have
    for number, change in enumerate(closing):
        assert -state.ledger.books[number].lots[0] <= change[0] <= 0


@pytest.mark.parametrize("part", [0.3, 1.0])
def test_a_correction_takes_what_it_explains_from_the_missing_lots(part: float) -> None:
    world = held((0.4, 0.2))
    world.shell.run(compared(world, {0: 100}))
    taken = int(100 * part)
    world.shell.run(Correction(world.shell.state.now + 1, [-taken, 0], 0, "a0", "sold by hand", "me"))
    assert world.shell.state.venue.waits.missing.get(0, 0) == 100 - taken


def test_missing_lots_outlive_a_restart() -> None:
    world = held((0.4, 0.2))
    world.shell.run(compared(world, {1: 30}))
    assert thaw(world.rules, freeze(world.shell.state)).venue.waits == world.shell.state.venue.waits


def test_a_short_position_is_bought_back_by_the_lesser_of_both() -> None:
    world = held((-0.2, 0.0))
    state = world.shell.state
    have = state.ledger.house.lots[0]
    assert have < 0
    world.shell.run(compared(world, {0: 40}))
    assert closing_lots(state, 0)[0] == -have - 40


def test_nothing_that_the_venue_has_is_all_that_flatten_waits_for() -> None:
    """All positions were closed at the venue: flatten ends with the first comparison after it began, not before."""
    world = held((0.4, 0.2))
    state = world.shell.state
    everything = dict(enumerate(state.ledger.house.lots))
    world.shell.run(compared(world, everything))
    world.shell.run(command(world, "flatten"))
    assert ordered(world.effects) == []
    assert state.flattening, "what was missing before may be there now"
    world.shell.run(compared(world, everything))
    tick(world)
    assert not state.flattening
    assert ordered(world.effects) == []


def test_a_refused_order_and_a_flatten_ask_for_a_comparison() -> None:
    world = held((0.4, 0.2))
    state = world.shell.state
    assert asks_for_comparison(state, command(world, "flatten"), ())
    assert not asks_for_comparison(state, command(world, "halt"), ())
    for ended, asks in ((OrderState.REJECTED, True), (OrderState.EXPIRED, False)):
        assert (
            asks_for_comparison(state, Reports(0, 0, 0, [], [], [], [], [], []), [Ended(0, 0, 0, [0], [ended])]) is asks
        )
