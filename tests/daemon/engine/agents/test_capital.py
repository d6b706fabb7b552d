"""Capital between agents: it adds up, it follows its method, it takes nothing from a position that was not sold, and it
is neither profit nor loss."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.daemon.engine.state import HOUSE
from quantd.daemon.engine.state.capital_shares import CapitalRules, Regime, amounts, shrunken, stepped, wanted, within
from quantd.daemon.engine.state.snapshot import freeze, thaw
from quantd.risk.limits.catalogue import Limits, override
from quantd.risk.switch import losses
from quantd.trading.effects import Publish, Reallocated, Valued
from quantd.trading.events import Tick
from tests.support.engine import CASH, World, block, walk
from tests.support.examples import examples
from tests.support.promotion_world import ticked

LOOSE = Limits(in_flight=1.0, max_cash_debit=1.0)


def whole(view):
    """All of the book in the first symbol."""
    return np.eye(len(view.prices))[0]


def half(view):
    return np.full(len(view.prices), 0.5 / len(view.prices))


def last(view):
    return np.eye(len(view.prices))[-1]


def idle(view):
    return np.zeros(len(view.prices))


def world(acts, rules, days=90, every=10, seed=3, limits=LOOSE, prices=None, **more):
    run = World(block(walk(days, 3, seed) if prices is None else prices), acts, house=limits, capital=rules, **more)
    return run, ticked(run, every, "reallocate")


def rules_for(n, method, **keys):
    return CapitalRules(method, tuple(range(n)), (1.0 / n,) * n, **{"max_step": 1.0, **keys})


def books(run):
    run.shell.state.revalue()
    return list(run.shell.state.books_micro)


shares_of = st.lists(st.floats(0.0, 1.0), min_size=2, max_size=6).filter(lambda v: sum(v) > 0.1)


@given(shares_of, st.integers(0, 10**16))
def test_amounts_add_up_to_the_pool_and_are_its_parts(shares, pool):
    parts = amounts(pool, shares)
    assert sum(parts) == pool
    for part, share in zip(parts, shares, strict=True):
        assert abs(part - pool * share / sum(shares)) <= 2 + pool * 1e-15


@given(shares_of, st.floats(0.0, 0.3), st.floats(0.2, 1.0))
def test_shares_within_bounds_add_up_to_one_and_do_not_know_the_order(shares, floor, ceiling):
    shares = [share / sum(shares) for share in shares]
    new_shares = within(shares, floor, ceiling)
    if floor * len(shares) <= 1.0 <= ceiling * len(shares):
        assert sum(new_shares) == pytest.approx(1.0, abs=1e-9)
        assert all(floor - 1e-12 <= share <= ceiling + 1e-12 for share in new_shares)
        if all(floor <= share <= ceiling for share in shares):
            assert new_shares == pytest.approx(shares, abs=1e-9)
    assert within(shares[::-1], floor, ceiling) == pytest.approx(new_shares[::-1], abs=1e-12)


@given(shares_of, st.floats(0.01, 1.0))
def test_no_share_moves_by_more_than_a_step(shares, most):
    now = [1.0 / len(shares)] * len(shares)
    target = [share / sum(shares) for share in shares]
    new_shares = stepped(now, target, most)
    assert sum(new_shares) == pytest.approx(1.0)
    assert max(abs(a - b) for a, b in zip(now, new_shares, strict=True)) <= most + 1e-12


@pytest.mark.requirement("R-164")
def test_each_method_wants_other_shares_and_names_its_reason():
    rng = np.random.default_rng(5)
    common = rng.normal(0.0, 0.01, 252)
    returns = [common * k + rng.normal(0.0005 * k * k, 0.001, 252) for k in (1, 2, 3, 4)]
    names = ("a", "b", "c", "d")
    regimes = (Regime("quiet", 0.0, (0.1, 0.2, 0.3, 0.4)), Regime("wild", 0.3, (0.7, 0.1, 0.1, 0.1)))
    targets = {
        method: wanted(rules_for(4, method, shrink=0.0, regimes=regimes), returns, names, 0.2)
        for method in ("fixed", "equal_risk", "performance", "regime")
    }
    assert all(sum(target.shares) == pytest.approx(1.0) for target in targets.values())
    assert len({tuple(np.round(target.shares, 6)) for target in targets.values()}) == 4
    assert len({target.why for target in targets.values()}) == 4
    # equal risk: share x volatility is the same for all
    risks = [
        share * series[-126:].std(ddof=1) for share, series in zip(targets["equal_risk"].shares, returns, strict=True)
    ]
    assert risks == pytest.approx([risks[0]] * 4)
    assert list(targets["performance"].shares) == sorted(targets["performance"].shares)
    assert targets["regime"].shares == pytest.approx((0.1, 0.2, 0.3, 0.4))
    wild = wanted(rules_for(4, "regime", shrink=0.0, regimes=regimes), returns, names, 0.3)
    assert wild.shares[0] == pytest.approx(0.7)
    assert "wild" in wild.why
    # full shrinkage is the configured shares, whatever the method
    for method in targets:
        pulled = wanted(rules_for(4, method, shrink=1.0, regimes=regimes), returns, names, 0.2)
        assert pulled.shares == pytest.approx((0.25,) * 4)


@pytest.mark.parametrize("method", ["equal_risk", "performance"])
def test_the_order_of_agents_does_not_matter(method):
    rng = np.random.default_rng(6)
    returns = [rng.normal(0.001 * k, 0.004 * (k + 1), 200) for k in range(5)]
    rules = CapitalRules(method, tuple(range(5)), (0.1, 0.15, 0.2, 0.25, 0.3), shrink=0.3, floor=0.05, ceiling=0.4)
    shares = wanted(rules, returns, "abcde", 0.1).shares
    order = [3, 0, 4, 2, 1]
    turned = CapitalRules(
        method, tuple(range(5)), tuple(rules.base[k] for k in order), shrink=0.3, floor=0.05, ceiling=0.4
    )
    again = wanted(turned, [returns[k] for k in order], "abcde", 0.1).shares
    assert again == pytest.approx([shares[k] for k in order], abs=1e-9)


def test_what_is_only_noise_is_shrunken_away_and_what_is_not_stays():
    assert shrunken([0.5, 0.6, 0.4, 0.5], 126) == [0.0] * 4
    far = shrunken([-3.0, -1.0, 1.0, 3.0], 2_000)
    assert far == pytest.approx([-3.0, -1.0, 1.0, 3.0], rel=0.1)
    assert shrunken([0.5, 1.5], 126) == [-0.25, 0.25]
    # what agents have in common is no error of their differences
    alone, together = (shrunken([-1.5, 0.0, 0.5, 1.0], 126, c)[0] for c in (0.0, 0.95))
    assert abs(together) > abs(alone)


def test_without_enough_returns_nothing_moves_and_it_says_so():
    few = [np.zeros(5)] * 2
    assert wanted(rules_for(2, "performance"), few, ("a", "b"), 0.1).shares == ()
    flat = [np.zeros(50), np.full(50, 0.01) * np.resize([1, -1], 50)]
    assert "no risk" in wanted(rules_for(2, "equal_risk"), flat, ("a", "b"), 0.1).why
    assert wanted(rules_for(2, "regime"), few, ("a", "b"), float("nan")).shares == ()


@pytest.mark.requirement("R-164")
@pytest.mark.parametrize("method", ["fixed", "equal_risk", "performance", "regime"])
def test_sums_are_kept_to_the_unit_at_every_bar(method):
    regimes = (Regime("any", 0.0, (0.6, 0.3, 0.1)),)
    run, items = world([whole, half, last], rules_for(3, method, shrink=0.0, regimes=regimes, tilt=2.0))
    flows = [CASH * 1_000_000 // 3] * 3
    for item in items:
        run.shell.take(item)
        ledger, state = run.shell.state.ledger, run.shell.state
        ledger.check()
        assert sum(state.owed) == 0
        assert sum(book.flows_micro for book in ledger.books) == ledger.house.flows_micro == CASH * 1_000_000
        assert sum(books(run)) == state.equity_micro
    transfers = run.of(Reallocated)
    assert all(sum(transfer.moved) == 0 and sum(transfer.owed) == 0 for transfer in transfers)
    assert sum(bool(transfer.target) for transfer in transfers) >= 6
    assert [book.flows_micro for book in run.shell.state.ledger.books[:-1]] != flows
    assert any(e.kind == "capital" and method in e.text for e in run.of(Publish))


def test_an_agent_that_holds_shares_sells_first_and_pays_then():
    regimes = (Regime("all to two", 0.0, (0.2, 0.8)),)
    run, items = world(
        [whole, idle], rules_for(2, "regime", shrink=0.0, regimes=regimes), days=31, every=30, limits=LOOSE
    )
    state = None
    for item in items:
        run.shell.take(item)
        state = run.shell.state
        if any(state.owed):
            break
    assert state is not None
    assert state.owed[0] > 0
    assert state.owed[0] == -state.owed[1]
    assert thaw(run.rules, freeze(state)).owed == state.owed
    before = state.ledger.books[0].lots[0]
    # the sale of it is on its way already: it was planned with less capital at once
    assert (
        sum(lots for _, agent, lots in ((r, a, n) for w in state.working.values() for r, a, n in w.open_shares())) < 0
    )
    for item in items:
        run.shell.take(item)
    assert state.ledger.books[0].lots[0] < before
    equity = books(run)
    assert equity[0] / sum(equity[:2]) == pytest.approx(0.2, abs=0.02)
    assert abs(state.owed[0]) < 0.01 * CASH * 1_000_000


def test_capital_that_moves_is_no_profit_and_no_drawdown():
    # prices fall, so that there is a drawdown to be kept; then half of the capital goes elsewhere
    prices = np.repeat(np.linspace(100.0, 90.0, 40)[:, None], 3, axis=1).round(2)
    regimes = (Regime("half", 0.0, (0.25, 0.75)),)
    run, items = world(
        [half, idle], rules_for(2, "regime", shrink=0.0, regimes=regimes), every=30, prices=prices,
        limits=override(LOOSE, max_drawdown=0.9),
    )  # fmt: skip
    falls, returns = [], []
    for item in items:
        run.shell.take(item)
        state = run.shell.state
        if isinstance(item, Tick) and item.sample:
            state.revalue()
            for k in range(2):
                limits = state.rules.agents[k].limits
                falls.append(losses(state.agents[k].switch, state.books_micro[k], limits)["max_drawdown"][0])
            returns.append(state.watch.realised[1].returns().tolist()[-1:])
    falls = np.array(falls).reshape(-1, 2)
    assert max(abs(tail[0]) for tail in returns if tail) < 0.02  # half of the capital left, and no return says so
    assert np.abs(np.diff(falls[:, 0])).max() < 0.01
    assert falls[-1, 0] > 0.02
    assert (falls[:, 1] == 0.0).all()


@pytest.mark.long
@settings(max_examples=examples(10), deadline=None)
@given(st.integers(1, 80), st.integers(0, 5))
def test_a_run_put_down_and_taken_up_again_moves_the_same_capital(cut, seed):
    rules = rules_for(3, "performance", shrink=0.0, tilt=3.0)
    whole_run, items = world([whole, half, last], rules, every=7, seed=seed)
    whole_run.run(items)
    run, items = world([whole, half, last], rules, every=7, seed=seed)
    for k, item in enumerate(items):
        if k == 2 * cut:
            run.restart()
        run.shell.take(item)
    assert run.of(Reallocated) == whole_run.of(Reallocated)
    assert [v.books for v in run.of(Valued)] == [v.books for v in whole_run.of(Valued)]
    assert run.shell.digest.hexdigest() == whole_run.shell.digest.hexdigest()


def test_the_volatility_of_a_regime_is_the_benchmarks_or_the_houses():
    calm = np.round(100 * (1 + 0.0001 * np.resize([1, -1], 60)), 4)
    wild = np.round(100 * (1 + 0.05 * np.resize([1, -1], 60)), 4)
    regimes = (Regime("calm", 0.0, (0.9, 0.1)), Regime("wild", 0.2, (0.1, 0.9)))
    for column, name in ((0, "calm"), (1, "wild")):
        rules = rules_for(2, "regime", shrink=0.0, regimes=regimes, benchmark=column)
        run, items = world([idle, idle], rules, every=50, prices=np.stack([calm, wild], axis=1))
        run.run(items)
        assert f"regime {name}" in run.of(Reallocated)[0].why
    assert not run.shell.state.lots(HOUSE).any()
