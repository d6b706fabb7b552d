"""[live]: absolute money, a ramp and so many orders a session, in the pure core, before the order."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantd.daemon.engine import step
from quantd.daemon.engine.planning.gate_account import account_of, limits_in_force
from quantd.daemon.engine.state import HOUSE, State
from quantd.daemon.engine.state.live_caps import Allowance
from quantd.daemon.engine.state.snapshot import freeze, in_force, thaw, with_limits
from quantd.daemon.views.headroom import Book, risk_now
from quantd.risk.limits.case import Account
from quantd.risk.limits.catalogue import AccountCap, Limits, Reason, override
from quantd.risk.limits.context import Context
from quantd.risk.pretrade.gate import gate
from quantd.trading.effects import Planned
from quantd.trading.events import Flow, Tick
from quantd.trading.instruments import MICRO, Instrument, Universe
from quantd.trading.orders import OrderBasket
from tests.support.engine import CASH, World, block, walk
from tests.support.examples import examples

CAP = 150_000


def full(view: object) -> np.ndarray:
    return np.array([0.4, 0.3, 0.3])


def world(allowance: Allowance, act=full, days: int = 40, house: Limits | None = None, **more: object) -> World:
    limits = house or Limits(collar=0.05)
    return World(block(walk(days, 3, 8)), [act], house=limits, agent=Limits(collar=0.05), live=allowance, **more)


def reach(state: State) -> float:
    """The most long and short value together, at the marks, that any fills of what is open can lead to."""
    up, down = np.zeros(state.universe.size), np.zeros(state.universe.size)
    for symbol, lots, *_ in state.open_rows(HOUSE):
        (up if lots > 0 else down)[symbol] += abs(lots)
    held = np.array(state.ledger.house.lots, dtype=np.float64)
    largest = np.maximum(np.abs(held + up), np.abs(held - down))
    return float((largest * state.marks * state.universe.lot_size).sum())


def reasons(run: World) -> set[int]:
    return {code for plan in run.of(Planned) for code in np.frombuffer(plan.reason, dtype=np.int8).tolist() if code}


@settings(max_examples=examples(120), deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10**6), money=st.floats(1_000.0, 200_000.0), equity=st.floats(10_000.0, 1e12))
def test_no_partial_fill_of_any_basket_exceeds_the_money(seed: int, money: float, equity: float) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 6))
    universe = Universe(tuple(Instrument(f"S{k}") for k in range(size)))
    px = np.round(rng.uniform(5, 300, size), 2)
    ctx = Context(
        px=px, prices_nano=(px * 1e9).astype(np.int64), age_ns=np.zeros(size, dtype=np.int64),
        volume_lots=np.full(size, 1e9), returns=lambda k: rng.normal(0, 0.01, (k, size)), universe=universe,
    )  # fmt: skip
    held = np.trunc(rng.normal(0, 1, size) * money / px / size)
    up, down = (np.trunc(rng.uniform(0, 0.5, size) * money / px / size) for _ in range(2))
    account = Account(
        lots=held, cash=equity, equity=equity, up=up, down=down, up_cash=float(up @ px) * 1.05,
        open_loss=0.05 * float((up + down) @ px),
    )  # fmt: skip
    in_flight = float(rng.choice([0.0, 0.5]))
    limits = Limits(in_flight=in_flight, max_account_notional=AccountCap(money / equity, money))
    asked = np.trunc(rng.normal(0, 2, size) * money / px)
    passed = gate(ctx, account, asked, limits).lots
    if not (passed * held >= 0.0)[passed != 0.0].any():
        return  # nothing that adds risk
    ups, downs = np.maximum(passed, 0.0) + up, np.maximum(-passed, 0.0) + down
    for _ in range(60):
        part = (
            held
            + np.floor(ups * rng.choice([0.0, 1.0, rng.random()], size))
            - np.floor(downs * rng.choice([0.0, 1.0], size))
        )
        assert float(np.abs(part) @ px) <= money * (1.0 + 1e-9) + 1e-9 * equity * 1e-3


@pytest.mark.parametrize("deposit", [0, 50 * CASH])
def test_the_account_never_holds_more_than_the_money_whatever_its_equity(deposit: int) -> None:
    run = world(Allowance(account_micro=CAP * MICRO), max_failures=3)
    if deposit:
        step(run.shell.state, Flow(0, deposit * MICRO, agent="a0"))
    most = 0.0
    for item in run.items():
        before = len(run.effects)
        run.shell.take(item)
        if any(isinstance(effect, OrderBasket) for effect in run.effects[before:]):
            state = run.shell.state
            adds = any(
                lots * state.ledger.house.lots[k] >= 0 for k, lots, *_ in state.open_rows(HOUSE)
            )  # fmt: skip
            if adds:
                most = max(most, reach(state))
                assert reach(state) <= CAP * (1.0 + 1e-9)
    assert most > 0.8 * CAP, "the cap is what stops it"
    assert Reason.ACCOUNT_NOTIONAL in reasons(run)


def test_without_the_table_the_house_has_its_own_limits() -> None:
    run = World(block(walk(30, 3, 8)), [full]).run()
    assert limits_in_force(run.shell.state, HOUSE) is run.shell.state.rules.house
    assert run.shell.state.live_sessions == 0


def test_the_share_rises_by_the_session_from_its_beginning_to_all() -> None:
    ramp = Allowance(account_micro=CAP * MICRO, ramp_days=20, ramp_from=0.1)
    assert ramp.share(0) == ramp.share(1) == pytest.approx(0.1)
    assert ramp.share(2) == pytest.approx(0.145)
    assert ramp.share(20) == pytest.approx(0.955)
    assert ramp.share(21) == ramp.share(1000) == 1.0
    assert Allowance().share(0) == 1.0
    shares = [ramp.share(k) for k in range(1, 30)]
    assert shares == sorted(shares)
    limits = ramp.limits(Limits(max_gross_exposure=2.0), CASH * MICRO, 2)
    assert limits.ramp is not None
    assert (limits.ramp.session, limits.ramp.days) == (2, 20)
    assert limits.ramp.limit == pytest.approx(0.29)
    assert limits.max_account_notional is not None
    assert limits.max_account_notional.limit == pytest.approx(0.145 * CAP / CASH)
    assert limits.max_account_notional.money == pytest.approx(0.145 * CAP)
    assert limits.max_gross_exposure == 2.0
    after = ramp.limits(Limits(), CASH * MICRO, 21)
    assert after.ramp is None
    assert after.max_account_notional == AccountCap(CAP / CASH, CAP)


def test_a_live_start_is_ramped_up_by_the_sessions_that_were_traded() -> None:
    run = world(Allowance(ramp_days=10, ramp_from=0.1), days=20)
    held: list[tuple[int, float]] = []
    for item in run.items():
        run.shell.take(item)
        state = run.shell.state
        if isinstance(item, Tick) and item.sample:
            held.append((state.live_sessions, reach(state) / state.equity_micro * MICRO))
            assert held[-1][1] <= run.rules.live.share(state.live_sessions) * (1.0 + 0.05)  # type: ignore[union-attr]
    assert [n for n, _ in held] == list(range(1, 21))
    assert held[0][1] == pytest.approx(0.1, abs=0.01)
    assert held[5][1] > 0.4
    assert held[-1][1] > 0.85
    assert Reason.RAMP in reasons(run)


def test_the_ramp_and_the_count_of_orders_survive_a_restart() -> None:
    run = world(Allowance(orders_per_day=2, ramp_days=10, ramp_from=0.5), days=6)
    for number, item in enumerate(run.items()):
        run.shell.take(item)
        if number == 8:
            break
    state = run.shell.state
    again = thaw(run.rules, freeze(state))
    assert again.live_sessions == state.live_sessions > 1
    assert again.activity.books[-1].orders == state.activity.books[-1].orders == 2
    assert account_of(again, HOUSE).session_orders == account_of(state, HOUSE).session_orders
    assert limits_in_force(again, HOUSE) == limits_in_force(state, HOUSE)


def test_a_session_sends_so_many_orders_and_the_next_one_begins_anew() -> None:
    run = world(Allowance(orders_per_day=1), days=8).run()
    per_day: dict[int, int] = {}
    for basket in run.of(OrderBasket):
        buys = sum(lots > 0 for lots in basket.lots)  # type: ignore[attr-defined]
        per_day[basket.ts] = per_day.get(basket.ts, 0) + buys  # type: ignore[attr-defined]
    assert max(per_day.values()) == 1
    assert sum(per_day.values()) >= 3
    assert Reason.ORDERS_PER_DAY in reasons(run)


def test_what_reduces_is_counted_and_passes() -> None:
    def leave(view: object) -> np.ndarray:
        return full(view) if view.time < run.bars.ts_event[3] else np.zeros(3)  # type: ignore[attr-defined]

    run = world(Allowance(orders_per_day=2), leave, days=10)
    run.run()
    assert run.shell.state.ledger.house.lots == [0, 0, 0]


@pytest.mark.parametrize(
    ("house_notional", "live", "holds"), [(5_000.0, 2_000, 2_000.0), (2_000.0, 5_000, 2_000.0), (None, 3_000, 3_000.0)]
)
def test_of_two_order_notionals_the_tighter_holds(house_notional: float | None, live: int, holds: float) -> None:
    run = world(
        Allowance(order_micro=live * MICRO), house=Limits(collar=0.05, max_order_notional=house_notional), days=8
    ).run()
    baskets = run.of(OrderBasket)
    values = [
        abs(lots) * worst / 1e9
        for b in baskets
        for lots, worst in zip(b.lots, b.worst_nano, strict=True)  # type: ignore[attr-defined]
    ]
    assert max(values) <= holds
    assert max(values) > 0.8 * holds
    assert Reason.ORDER_NOTIONAL in reasons(run)


def test_limits_in_force_carry_the_allowance_into_the_journal() -> None:
    run = world(Allowance(account_micro=CAP * MICRO))
    other = with_limits(world(Allowance()).rules, in_force(run.rules))
    assert other.live == run.rules.live
    plain = World(block(walk(3, 3, 8)), [full])
    assert with_limits(run.rules, in_force(plain.rules)).live is None


def test_risk_shows_each_with_its_own_words() -> None:
    run = world(Allowance(account_micro=CAP * MICRO, orders_per_day=9, ramp_days=10, ramp_from=0.5), days=5).run()
    state = run.shell.state
    rows = {row.limit: row for row in risk_now(state, Book(state), "run", 0, []).limits}
    assert rows["max_account_notional"].words == "long and short value together, 105,000.00 at most"
    assert rows["ramp"].words == "gross exposure, ramp of a live start, session 5 of 10"
    assert rows["ramp"].bound == pytest.approx(0.7)
    assert rows["max_orders_per_day"].bound == 9
    assert rows["max_account_notional"].bound == pytest.approx(105_000 / (state.equity_micro / MICRO))
    room = next(iter(Book(state).rooms([0]))).buy
    assert room.reason in ("account_notional", "ramp")


def test_an_account_that_is_worth_nothing_may_hold_nothing() -> None:
    limits = Allowance(account_micro=MICRO).limits(Limits(), 0, 1)
    assert limits.max_account_notional == AccountCap(0.0, 1.0)
    assert override(limits, max_account_notional=None) == Limits()
