"""The limit on the average correlation of all pairs of positions: what it refuses, and what always passes."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.risk.limits.average_correlation import average_of, openings
from quantd.risk.limits.catalogue import REASON_TEXT, Correlation, Limits, Reason, override
from quantd.risk.limits.context import Context
from quantd.risk.limits.ruleset import rules_of
from quantd.risk.limits.values import standing
from quantd.risk.pretrade.gate import Account, gate
from quantd.risk.pretrade.headroom import figures_of, most
from tests.support.examples import examples
from tests.support.risk_books import make_context

ROWS = 80
FREE = Limits(collar=0.0, reduce_collar=0.0, flatten_collar=0.0, volatility_lookback=ROWS)
CODE = Reason.AVERAGE_CORRELATION


def market(rho: Any, **changes: Any) -> Context:
    """A market whose sample correlations are exactly `rho`."""
    rho = np.array(rho)
    n = len(rho)
    drawn = np.random.default_rng(3).normal(size=(ROWS, n))
    axes, _ = np.linalg.qr(drawn - drawn.mean(axis=0))
    returns = axes @ np.linalg.cholesky(rho).T * 0.1
    return make_context(np.full(n, 100.0), returns, [f"S{k}" for k in range(n)], **changes)


def pairs(n: int, default: float = 0.0, **exceptions: float) -> np.ndarray:
    """float64[n, n]: `default` between two symbols, except pairs such as AB."""
    rho = np.full((n, n), default)
    np.fill_diagonal(rho, 1.0)
    for name, value in exceptions.items():
        i, j = (ord(letter) - ord("A") for letter in name)
        rho[i, j] = rho[j, i] = value
    return rho


def limited(average: float = 0.7, **keys: Any) -> Limits:
    return override(FREE, average_correlation=average, **keys)


def account(lots: list[float], **more: Any) -> Account:
    return Account(lots=np.array(lots), cash=100_000.0 - 100.0 * sum(lots), equity=100_000.0, **more)


def passed(
    ctx: Context, held: list[float], asked: list[float], limits: Limits | None = None, **more: Any
) -> list[float]:
    return gate(ctx, account(held, **more), np.array(asked), limits or limited()).lots.tolist()


@pytest.mark.requirement("R-143")
def test_a_symbol_that_moves_with_the_position_is_refused_and_the_other_side_of_it_passes() -> None:
    ctx = market(pairs(3, AB=0.9, AC=0.1, BC=0.1))
    verdict = gate(ctx, account([100.0, 0, 0]), np.array([0.0, 50.0, 0.0]), limited())
    assert (verdict.lots.tolist(), verdict.reason.tolist()) == ([0, 0, 0], [0, CODE, 0])
    assert "average correlation" in REASON_TEXT[CODE]
    assert passed(ctx, [100.0, 0, 0], [0, -50.0, 0]) == [0, -50, 0]
    assert passed(ctx, [100.0, 0, 0], [0, 0, 50.0]) == [0, 0, 50]
    # with C the average of three pairs is 0.37
    assert passed(ctx, [100.0, 0, 20.0], [0, 50.0, 0]) == [0, 50, 0]


@pytest.mark.requirement("R-143")
def test_the_average_may_reach_its_limit_and_not_a_hair_more() -> None:
    ctx = market(pairs(3, AB=0.9, AC=0.3, BC=0.3))
    assert passed(ctx, [10.0, 0, 10.0], [0, 10.0, 0], limited(0.5 + 1e-9)) == [0, 10, 0]
    assert passed(ctx, [10.0, 0, 10.0], [0, 10.0, 0], limited(0.5 - 1e-9)) == [0, 0, 0]


@pytest.mark.requirement("R-151")
def test_orders_that_reduce_or_close_a_position_pass_also_where_they_raise_the_average() -> None:
    ctx = market(pairs(3, AB=0.9))
    held = [100.0, 100.0, -100.0]
    assert passed(ctx, held, [-100.0, -5.0, 0]) == [-100, -5, 0]
    assert passed(ctx, held, [0, 0, 100.0]) == [0, 0, 100]
    assert passed(ctx, [100.0, 100.0, 0], [-1.0, -100.0, 0]) == [-1, -100, 0]


def test_while_the_average_is_too_high_positions_may_grow_and_only_a_symbol_that_lowers_it_is_opened() -> None:
    ctx = market(pairs(4, AB=0.9, AC=0.8, BC=0.8))
    held = [100.0, 100.0, 0, 0]
    assert passed(ctx, held, [5.0, 5.0, 0, 0]) == [5, 5, 0, 0]
    assert passed(ctx, held, [0, 0, 5.0, 0]) == [0, 0, 0, 0], "0.83 is less than 0.9 and more than the limit"
    assert passed(ctx, held, [0, 0, 0, 5.0]) == [0, 0, 0, 5]
    assert passed(ctx, held, [0, 0, 5.0, 5.0]) == [0, 0, 0, 5]


def test_of_two_orders_that_do_not_fit_together_the_larger_passes() -> None:
    ctx = market(pairs(3, BC=0.9))
    assert passed(ctx, [0, 0, 0], [10.0, 20.0, 30.0]) == [10, 0, 30]
    assert passed(ctx, [0, 0, 0], [10.0, 30.0, 20.0]) == [10, 30, 0]
    # of equal ones the first by name
    assert passed(ctx, [0, 0, 0], [10.0, 30.0, 30.0]) == [10, 30, 0]


def test_an_order_that_another_limit_refuses_displaces_no_other() -> None:
    ctx = market(pairs(3, BC=0.9))
    verdict = gate(ctx, account([0, 0, 0]), np.array([10.0, 20.0, 30.0]), limited(restricted=("S2",)))
    assert (verdict.lots.tolist(), verdict.reason.tolist()) == ([10, 20, 0], [0, 0, Reason.RESTRICTED])


def test_what_a_refused_order_would_have_used_is_free_for_the_others() -> None:
    ctx = market(pairs(3, AB=0.9))
    limits = limited(max_gross_exposure=0.6)
    assert passed(ctx, [0, 0, 0], [300.0, 299.0, 300.0], limits) == [300, 0, 300]


def test_every_subset_of_what_may_fill_keeps_the_limit() -> None:
    """All three together have the average 0.3; two of them alone have 0.9."""
    ctx = market(pairs(3, AB=0.9))
    assert passed(ctx, [0, 0, 0], [30.0, 20.0, 10.0], limited(0.5)) == [30, 0, 10]
    # an open purchase of C does not make room for B, one of B takes it
    assert passed(ctx, [30.0, 0, 0], [0, 20.0, 0], limited(0.5), up=np.array([0, 0, 10.0])) == [0, 0, 0]
    assert passed(ctx, [0, 0, 0], [30.0, 0, 0], limited(0.5), up=np.array([0, 10.0, 0])) == [0, 0, 0]
    # while C is sold it may be gone before B is there
    assert passed(ctx, [30.0, 0, 10.0], [0, 20.0, 0], limited(0.5)) == [0, 20, 0]
    assert passed(ctx, [30.0, 0, 10.0], [0, 20.0, -10.0], limited(0.5)) == [0, 0, -10]
    assert passed(ctx, [30.0, 0, 10.0], [0, 20.0, 0], limited(0.5), down=np.array([0, 0, 10.0])) == [0, 0, 0]


def test_what_open_orders_and_larger_ones_use_of_the_headroom_is_not_used_twice() -> None:
    held, limits = [10.0, 10.0, 0, 0], limited(0.5)
    # beside the average 0.2 of A and B there is room for C or for D
    ctx = market(pairs(4, AB=0.2, AC=0.6, BC=0.6, AD=0.6, BD=0.6, CD=0.5))
    assert passed(ctx, held, [0, 0, 20.0, 0], limits) == [0, 0, 20, 0]
    assert passed(ctx, held, [0, 0, 20.0, 10.0], limits) == [0, 0, 20, 0]
    assert passed(ctx, held, [0, 0, 0, 10.0], limits, up=np.array([0, 0, 20.0, 0])) == [0, 0, 0, 0]
    # nor for both where they are alike
    ctx = market(pairs(4, AB=0.15, AC=0.5, BC=0.5, AD=0.5, BD=0.5, CD=0.9))
    assert passed(ctx, held, [0, 0, 20.0, 10.0], limits) == [0, 0, 20, 0]
    assert passed(ctx, held, [0, 0, 0, 10.0], limits, up=np.array([0, 0, 20.0, 0])) == [0, 0, 0, 0]


def test_in_flight_widens_the_limit_until_all_has_filled() -> None:
    ctx = market(pairs(3, AB=0.9))
    wide = limited(0.5, in_flight=1.0)
    assert passed(ctx, [30.0, 0, 10.0], [0, 20.0, 0], wide) == [0, 20, 0]
    assert passed(ctx, [30.0, 0, 10.0], [0, 20.0, -10.0], wide) == [0, 0, -10]
    assert passed(ctx, [30.0, 0, 0], [-30.0, 20.0, 0], wide) == [-30, 20, 0]
    assert passed(ctx, [30.0, 0, 0], [-30.0, 20.0, 0], limited(0.5)) == [-30, 0, 0]


@pytest.mark.requirement("R-143")
@pytest.mark.parametrize("limits", [limited(0.5, in_flight=1.0), limited(0.5)], ids=["in flight", "at once"])
@pytest.mark.parametrize("held", [-5.0, 0.0], ids=["held", "open"])
def test_an_order_that_turns_the_side_of_an_open_order_replaces_it(limits: Limits, held: float) -> None:
    """A is short, B is on order; a larger sale of B leaves both short once all has filled."""
    more = {"up": np.array([0, 10.0]), "down": np.array([5.0 + held, 0])}
    assert passed(market(pairs(2, AB=0.6)), [held, 0], [0, -20.0], limits, **more) == [0, 0]
    assert passed(market(pairs(2, AB=0.4)), [held, 0], [0, -20.0], limits, **more) == [0, -20]
    # a purchase enlarges what is on order
    assert passed(market(pairs(2, AB=0.6)), [held, 0], [0, 20.0], limits, **more) == [0, 20]


@pytest.mark.requirement("R-143")
def test_a_side_that_an_order_may_end_makes_no_room_for_others_and_one_that_stays_does() -> None:
    """The purchase of B on order makes room for C beside A, unless a sale of B passes."""
    wide, up = limited(0.3, in_flight=1.0), np.array([0, 10.0, 0])
    ctx = market(pairs(3, AB=-0.2, AC=0.5))
    assert passed(ctx, [10.0, 0, 0], [0, 0, 20.0], wide, up=up) == [0, 0, 20]
    assert passed(ctx, [10.0, 0, 0], [0, -30.0, 20.0], wide, up=up) == [0, -30, 0]
    # the larger order passes, also beside a sale that would leave some of B
    assert passed(ctx, [10.0, 0, 0], [0, -5.0, 4.0], wide, up=up) == [0, -5, 0]
    assert passed(ctx, [10.0, 0, 0], [0, -5.0, 20.0], wide, up=up) == [0, 0, 20]
    # a sale that is refused takes no room
    ctx = market(pairs(3, AB=-0.5, AC=0.5))
    assert passed(ctx, [10.0, 0, 0], [0, -30.0, 20.0], wide, up=up) == [0, 0, 20]


@pytest.mark.requirement("R-143")
def test_while_open_orders_could_exceed_the_limit_no_order_turns_the_side_of_one() -> None:
    """A and B exceed the limit, with the open purchase of C they keep it; a sale of C could take that away."""
    ctx, held = market(pairs(3, AB=0.9, AC=-0.4, BC=-0.4)), [10.0, 0, 0]
    assert passed(ctx, held, [0, 0, -20.0], limited(0.5), up=np.array([0, 10.0, 0])) == [0, 0, -20]
    assert passed(ctx, held, [0, 0, -20.0], limited(0.5), up=np.array([0, 10.0, 5.0])) == [0, 0, 0]
    wide = limited(0.5, in_flight=1.0)
    ctx = market(pairs(3, AB=0.9, AC=-0.1, BC=-0.1))
    assert passed(ctx, [10.0, 10.0, 0], [0, 0, -20.0], wide) == [0, 0, -20]
    assert passed(ctx, [10.0, 10.0, 0], [0, 0, -20.0], wide, up=np.array([0, 0, 5.0])) == [0, 0, 0]


def test_too_little_history_refuses_as_the_pair_limit_does() -> None:
    ctx = market(pairs(3, AB=0.9))
    gaps = ctx.window(ROWS, 60).returns.copy()
    gaps[:30, 1] = np.nan
    ctx = make_context(np.full(3, 100.0), gaps, ["S0", "S1", "S2"])
    alone = gate(ctx, account([100.0, 0, 0]), np.array([0.0, 50.0, 50.0]), limited())
    strict = override(FREE, correlation=Correlation(lookback=ROWS, strict=True))
    pair = gate(ctx, account([100.0, 0, 0]), np.array([0.0, 50.0, 50.0]), strict)
    assert (alone.lots.tolist(), alone.reason.tolist()) == (pair.lots.tolist(), pair.reason.tolist())
    assert alone.reason.tolist() == [0, Reason.HISTORY, 0]
    bad = openings(ctx, rules_of(limited(), ctx.universe), account([100.0, 0, 0]), np.array([0.0, 50.0, 50.0]))
    assert bad is not None
    assert bad.tolist() == [False, True, True]


def test_an_instrument_that_never_moved_is_correlated_with_nothing() -> None:
    returns = np.random.default_rng(3).normal(size=(ROWS, 2)) * 0.01 * np.array([1.0, 0.0])
    ctx = make_context(np.full(2, 100.0), returns, ["S0", "S1"])
    assert passed(ctx, [10.0, 0], [0, 10.0], limited(0.05)) == [0, 10]


def test_values_and_headroom_name_the_average_and_what_a_symbol_would_add() -> None:
    ctx = market(pairs(3, AB=0.6, AC=0.2, BC=-0.4))
    limits, held = limited(0.5), account([10.0, 0, -10.0])
    assert standing(ctx, held, limits, None)["average_correlation"] == (pytest.approx(-0.2), 0.5)
    assert standing(ctx, held, limits, np.array([0, 5.0, 0]))["average_correlation"][0] == pytest.approx(0.8 / 3)
    assert standing(ctx, account([10.0, 0, 0]), limits, None)["average_correlation"][0] == 0.0
    after = figures_of(ctx, held, limits, np.zeros(3), 1)["average_correlation"]
    assert (after.value, after.about) == (pytest.approx(-0.2), "S1 bought 0.50 with the others")
    assert figures_of(ctx, account([0, 0, 0]), limits, None, 1)["average_correlation"].about == ""
    assert most(ctx, held, limited(0.2), 1, 1)[:2] == (0.0, CODE)
    assert most(ctx, held, limited(0.3), 1, 1).lots > 0.0


@settings(max_examples=examples(60), deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_accepted_order_raises_the_average_above_the_limit_and_none_is_refused_without_cause(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, limit = int(rng.integers(2, 7)), float(rng.uniform(0.05, 0.9))
    returns = rng.normal(size=(ROWS, 1)) * rng.choice([-1.0, 0.5, 1.0, 2.0], n) + rng.normal(size=(ROWS, n))
    ctx = make_context(np.full(n, 100.0), returns * 0.01, [f"S{k}" for k in range(n)])
    scenarios = ctx.window(ROWS, 60).all
    held = np.trunc(rng.normal(size=n) * 20.0) * (rng.random(n) < 0.6)
    before = average_of(scenarios, held)
    # one order: refused only where it opens a position, and the average would rise above the limit
    for column in range(n):
        asked = np.where(np.arange(n) == column, rng.choice([-5.0, 5.0]), 0.0)
        lots = gate(ctx, account(held.tolist()), asked, limited(limit)).lots
        most_after = max(0.0, _excess(scenarios, held, limit)) + 1e-9
        if held[column]:
            assert lots[column] == asked[column] or abs(held[column]) < 5.0
        else:
            assert (lots[column] != 0.0) == (_excess(scenarios, held + asked, limit) <= most_after)
    # several: whatever of them fills, the average does not rise above the limit
    lots = gate(ctx, account(held.tolist()), np.trunc(rng.normal(size=n) * 20.0), limited(limit)).lots
    adding = np.flatnonzero((lots != 0.0) & (held == 0.0)).tolist()
    reduced = held + np.where(held != 0.0, lots, 0.0)
    most_after = max(limit, before, average_of(scenarios, reduced)) + 1e-9
    for size in range(len(adding) + 1):
        for filled in combinations(adding, size):
            now = reduced + np.where(np.isin(np.arange(n), filled), lots, 0.0)
            assert average_of(scenarios, now) <= most_after


def _excess(scenarios: Any, held: np.ndarray, limit: float) -> float:
    """The sum of correlation - limit over all pairs of positions."""
    k = np.count_nonzero(held)
    return (average_of(scenarios, held) - limit) * k * (k - 1) / 2
