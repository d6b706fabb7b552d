"""What a venue lets be bought binds before the order: what it said last, less what was sent since."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantd.daemon.engine import step
from quantd.daemon.engine.planning.buying_power import counted, cut_by_venue, left_micro, limit
from quantd.daemon.engine.planning.gate_account import limits_in_force
from quantd.daemon.engine.state import HOUSE, State
from quantd.daemon.engine.state.snapshot import freeze, thaw
from quantd.daemon.engine.venue.account import strays
from quantd.daemon.views.headroom import Book, risk_now
from quantd.risk.limits.case import Account
from quantd.risk.limits.catalogue import AccountCap, Limits, Reason
from quantd.risk.limits.context import Context
from quantd.risk.pretrade.gate import gate
from quantd.trading.effects import Planned
from quantd.trading.events import Reconciled
from quantd.trading.instruments import MICRO, Instrument, Universe
from quantd.trading.orders import Cause, OrderBasket, Reports
from quantd.trading.ports import OpenOrder, VenueAccount
from tests.support.engine import CASH, World, block, walk
from tests.support.examples import examples

POWER = 150_000
PAID = 1.05 * 1.001


def full(view: object) -> np.ndarray:
    return np.array([0.4, 0.3, 0.3])


def world(act=full, days: int = 20) -> World:  # type: ignore[no-untyped-def]
    return World(block(walk(days, 3, 8)), [act], house=Limits(fee_bp=10.0))


def said(state: State, power: int | None, heard: tuple[tuple[int, int], ...] = ()) -> Reconciled:
    """A venue that has what we have, and lets so much be bought, in whole currency."""
    house = state.ledger.house
    micro = None if power is None else power * MICRO
    return Reconciled(state.now, list(house.lots), house.cash_micro, buying_power_micro=micro, counted=heard)


def cost(basket: object) -> float:
    """What the purchases of a basket can cost, by hand."""
    rows = zip(basket.lots, basket.worst_nano, strict=True)  # type: ignore[attr-defined]
    return sum(lots * worst / 1e9 * 1.001 for lots, worst in rows if lots > 0)


def market(rng: np.random.Generator, size: int) -> Context:
    px = np.round(rng.uniform(5, 300, size), 2)
    return Context(
        px=px, prices_nano=(px * 1e9).astype(np.int64), age_ns=np.zeros(size, dtype=np.int64),
        volume_lots=np.full(size, 1e9), returns=lambda k: rng.normal(0, 0.01, (k, size)),
        universe=Universe(tuple(Instrument(f"S{k}") for k in range(size))),
    )  # fmt: skip


def adding_cost(passed: np.ndarray, held: np.ndarray, px: np.ndarray) -> float:
    return sum(abs(p) * x * PAID for p, h, x in zip(passed, held, px, strict=True) if p * h >= 0)


@settings(max_examples=examples(200), deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10**6), money=st.floats(0.0, 300_000.0), in_flight=st.sampled_from([0.0, 0.5]))
def test_what_adds_risk_never_costs_more_than_the_venue_lets_and_what_reduces_passes(
    seed: int, money: float, in_flight: float
) -> None:
    rng = np.random.default_rng(seed)
    size, equity = int(rng.integers(1, 6)), 1_000_000.0
    ctx = market(rng, size)
    px = ctx.px
    held = np.trunc(rng.normal(0, 1, size) * 50_000 / px)
    account = Account(lots=held, cash=equity, equity=equity)
    limits = Limits(fee_bp=10.0, in_flight=in_flight, buying_power=AccountCap(money / equity, money))
    asked = np.trunc(rng.normal(0, 2, size) * 100_000 / px)
    asked = np.where(asked * held < 0, np.sign(asked) * np.minimum(abs(asked), abs(held)), asked)
    verdict = gate(ctx, account, asked, limits)
    assert adding_cost(verdict.lots, held, px) <= money * (1 + 1e-9) + 1e-3
    reducing = asked * held < 0
    assert (verdict.lots[reducing] == asked[reducing]).all()
    assert (gate(ctx, account, verdict.lots, limits).lots == verdict.lots).all()
    free = gate(ctx, account, asked, Limits(fee_bp=10.0, in_flight=in_flight))
    if (free.lots == verdict.lots).all():
        assert Reason.BUYING_POWER not in verdict.reason
    else:
        assert Reason.BUYING_POWER in verdict.reason


def test_a_lone_order_gets_nearly_all_that_may_be_bought() -> None:
    """The last percent goes to what equity loses when it is bought at its worst price: the limit is a share of that."""
    ctx = market(np.random.default_rng(1), 1)
    limits = Limits(fee_bp=10.0, buying_power=AccountCap(0.1, 100_000.0))
    account = Account(lots=np.zeros(1), cash=1e6, equity=1e6)
    for side in (1.0, -1.0):
        lots = abs(gate(ctx, account, np.array([side * 1e6]), limits).lots)
        assert 0.99 * 100_000 < float(lots[0] * ctx.px[0]) * PAID <= 100_000


def test_purchases_since_the_venue_was_asked_stay_within_what_it_said() -> None:
    run = world()
    spent = 0.0
    for number, item in enumerate(run.items()):
        before = len(run.effects)
        run.shell.take(item)
        if number == 0:
            run.shell.run(said(run.shell.state, POWER))
        spent += sum(cost(e) for e in run.effects[before:] if isinstance(e, OrderBasket))
    assert 0.97 * POWER < spent <= POWER
    reasons = {c for p in run.of(Planned) for c in np.frombuffer(p.reason, dtype=np.int8).tolist()}
    assert Reason.BUYING_POWER in reasons
    assert any(cut_by_venue([p]) for p in run.of(Planned))
    headroom = left_micro(run.shell.state)
    assert headroom is not None
    assert headroom / MICRO == pytest.approx(POWER - spent, abs=1.0)


def test_without_a_word_of_the_venue_nothing_is_bounded() -> None:
    run = world()
    run.run()
    state = run.shell.state
    assert limits_in_force(state, HOUSE) is run.rules.house
    assert state.venue.spending == {}
    assert not cut_by_venue(run.effects)
    assert state.ledger.house.cash_micro < 0.2 * CASH * MICRO


def test_what_the_venue_has_counted_is_not_taken_off_twice() -> None:
    run = world()
    items = run.items()
    run.shell.take(next(items))
    run.shell.run(said(run.shell.state, POWER))
    for _ in range(5):
        run.shell.take(next(items))
    state = run.shell.state
    heard = counted(state)
    assert heard == tuple(state.venue.spending)
    assert heard
    run.shell.run(said(state, 30_000, heard))
    assert left_micro(state) == 30_000 * MICRO
    assert state.venue.spending == {}


def report(basket: OrderBasket, cause: Cause, lots: list[int]) -> Reports:
    rows = len(basket.sym)
    return Reports(
        sample=basket.sample, n=basket.n, ts=basket.ts, row=list(range(rows)), cum=lots, lots=lots,
        price_nano=list(basket.worst_nano), fee_micro=[0] * rows, cause=[int(cause)] * rows,
    )  # fmt: skip


def bare() -> tuple[State, OrderBasket]:
    """A state whose basket has left, without a venue that answers by itself."""
    run = world()
    state = run.shell.state
    state.venue.buying_power_micro = 10 * CASH * MICRO
    sent: list[OrderBasket] = []

    class Silent:
        def fill_terms(self) -> None:
            """Nobody knows its fills."""

        def submit(self, basket: OrderBasket) -> list[object]:
            sent.append(basket)
            return []

        def __getattr__(self, name: str) -> object:
            return lambda *args, **kwargs: []

    run.shell.broker = Silent()  # type: ignore[assignment]
    for item in run.items():
        run.shell.take(item)
        if sent:
            return state, sent[0]
    raise AssertionError("nothing was sent")


def test_an_order_that_the_venue_has_not_heard_of_stays_taken_off_and_what_ended_unfilled_comes_back() -> None:
    state, basket = bare()
    power = 10 * CASH * MICRO
    taken = left_micro(state)
    assert taken is not None
    assert (power - taken) / MICRO == pytest.approx(cost(basket), abs=1.0)
    assert counted(state) == ()
    step(state, report(basket, Cause.ACCEPTED, [0] * len(basket.sym)))
    assert counted(state) == ((basket.sample, basket.n),)
    assert left_micro(state) == taken
    half = [lots // 2 for lots in basket.lots]
    step(state, report(basket, Cause.PART_FILL, half))
    assert left_micro(state) == taken
    state.revalue()
    again = thaw(state.rules, freeze(state))
    assert left_micro(again) == taken
    assert limits_in_force(again, HOUSE) == limits_in_force(state, HOUSE)
    end = report(basket, Cause.CANCELLED, [0] * len(half))
    end = Reports(**{name: getattr(end, name) for name in end.__struct_fields__} | {"cum": half})
    step(state, end)
    headroom = left_micro(state)
    assert headroom is not None
    bought = sum(lots * worst / 1e9 * 1.001 for lots, worst in zip(half, basket.worst_nano, strict=True))
    assert (power - headroom) / MICRO == pytest.approx(bought, abs=1.0)


def test_the_limit_is_the_money_that_is_left_and_none_where_more_was_sent() -> None:
    assert limit(4 * MICRO, 3 * MICRO) == AccountCap(0.75, 3.0)
    assert limit(4 * MICRO, -1) == AccountCap(0.0, 0.0)
    assert limit(1, 3) == AccountCap(3.0, 3.0 / MICRO)
    assert limit(0, 3 * MICRO) == limit(-1, 3 * MICRO) == AccountCap(0.0, 3.0)


def test_reducing_passes_when_nothing_may_be_bought() -> None:
    def leave(view: object) -> np.ndarray:
        return full(view) if view.time < run.bars.ts_event[5] else np.zeros(3)  # type: ignore[attr-defined]

    run = world(leave)
    for number, item in enumerate(run.items()):
        if number == 9:
            assert any(run.shell.state.ledger.house.lots)
            run.shell.run(said(run.shell.state, 0))
        run.shell.take(item)
    assert run.shell.state.ledger.house.lots == [0, 0, 0]


def test_risk_shows_it_and_room_names_it() -> None:
    run = world()
    items = list(run.items())
    # after the first fills and before the order of the rest: cash is left for about 46,000
    for item in items[:3]:
        run.shell.take(item)
    run.shell.run(said(run.shell.state, 5_000))
    state = run.shell.state
    rows = {row.limit: row for row in risk_now(state, Book(state), "run", 0, []).limits}
    assert rows["buying_power"].bound == 5_000.0
    assert rows["buying_power"].value == 0.0
    assert "buying power" in rows["buying_power"].words
    room = next(iter(Book(state).rooms([0]))).buy
    assert room.reason == "buying_power"


@pytest.mark.parametrize(
    ("power", "settled", "spendable"), [(5, None, 5), (None, 7, 7), (5, 3, 3), (3, 5, 3), (None, None, None)]
)
def test_money_that_has_not_settled_is_not_spent(power: int | None, settled: int | None, spendable: int | None) -> None:
    account = VenueAccount(0, "USD", (), 9, buying_power_micro=power, settled_micro=settled)
    assert account.spendable_micro == spendable


def test_what_the_venue_does_not_lend_is_not_sold_short_and_may_be_sold_as_far_as_it_is_held() -> None:
    def below(view: object) -> np.ndarray:
        return np.array([-0.3, 0.3, -0.3]) if view.time > run.bars.ts_event[6] else np.array([0.3, 0.3, 0.0])

    run = world(below)
    for number, item in enumerate(run.items()):
        if number == 1:
            house = run.shell.state.ledger.house
            run.shell.run(Reconciled(run.shell.state.now, list(house.lots), house.cash_micro, unlent=(0,)))
        run.shell.take(item)
    state = run.shell.state
    assert state.ledger.house.lots[0] == 0, "sold whole, and no further"
    assert state.ledger.house.lots[2] < 0
    reasons = {c for p in run.of(Planned) for c in np.frombuffer(p.reason, dtype=np.int8).tolist()}
    assert Reason.NO_BORROW in reasons
    assert limits_in_force(thaw(run.rules, freeze(state)), HOUSE).no_borrow == ("S0",)


def test_an_order_that_is_open_there_and_ended_here_is_nobodys_and_counts() -> None:
    state, basket = bare()
    key = basket.sample, basket.n
    assert strays(state, [OpenOrder(*key, 0)]) == [], "it works here too"
    none = [0] * len(basket.sym)
    step(state, report(basket, Cause.REJECTED, none))
    (stray,) = strays(state, [OpenOrder(*key, 1, 2), OpenOrder(key[0], 99, 0), OpenOrder(*key, 0, basket.lots[0])])
    assert (stray.symbol, stray.lots, stray.limit_nano) == (basket.sym[1], basket.lots[1] - 2, basket.worst_nano[1])
