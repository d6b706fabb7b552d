"""How much more passes is exact, and what each limit measures of a symbol is what an evaluator of its own measures."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.gate import Account, gate
from risk.headroom import Figure, Most, figures, figures_of, most, most_under, only, sent
from risk.limits import Correlation, Limits, Liquidity, Rate, Reason, Tail
from risk.switch import HALT, REDUCE
from tests.risk_cases import Book, States, make_context, numerators, orders_of, random_book, scenario_returns

SEEDS = st.integers(0, 2**32 - 1)


def passes(book: Book, column: int, lots: float) -> bool:
    """Whether an order of one symbol alone passes whole."""
    asked = np.zeros(len(book.px))
    asked[column] = lots
    return bool((gate(book.ctx, book.account, asked, book.limits).lots == asked).all())


@settings(max_examples=120, deadline=None)
@given(SEEDS)
def test_that_many_lots_pass_whole_and_one_more_is_cut(seed: int) -> None:
    book = random_book(np.random.default_rng(seed))
    for column in range(len(book.px)):
        for side in (1, -1):
            found = most(book.ctx, book.account, book.limits, column, side)
            assert found.bounded
            assert passes(book, column, side * found.lots)
            assert not passes(book, column, side * (found.lots + 1))


def plain_book(limits: Limits, lots: list[float], **account: object) -> Book:
    """Three symbols at 100, 50 and 10 with an equity of 100,000."""
    px = np.array([100.0, 50.0, 10.0])
    returns = scenario_returns(np.random.default_rng(5), 3)
    names = ["A", "B", "C"]
    ctx = make_context(px, returns, names, ["x", "x", "y"], ["a", "", "a"], (("g", ("A", "C")),))
    held = np.array(lots)
    one = Account(lots=held, cash=100_000.0 - float(held @ px), equity=100_000.0, **account)  # type: ignore[arg-type]
    return Book(ctx, one, np.zeros(3), limits, [], returns, px, names)


def test_without_costs_the_most_is_the_share_of_equity_that_is_left() -> None:
    book = plain_book(Limits(collar=0.0, max_position_weight=0.3), [100.0, 0.0, 0.0])
    assert most(book.ctx, book.account, book.limits, 0, 1) == Most(200.0, Reason.POSITION_WEIGHT, True)
    assert most(book.ctx, book.account, book.limits, 1, 1) == Most(600.0, Reason.POSITION_WEIGHT, True)
    # what is held can be sold, and nothing goes through zero
    assert most(book.ctx, book.account, book.limits, 0, -1) == Most(100.0, Reason.ZERO_CROSSING, True)


def test_what_no_limit_stops_has_no_most() -> None:
    book = plain_book(Limits(collar=0.0), [0.0, 0.0, 0.0])
    assert most(book.ctx, book.account, book.limits, 0, 1).reason == Reason.CASH
    assert not most(book.ctx, book.account, book.limits, 0, -1).bounded


def test_a_switch_that_is_not_run_leaves_no_room_to_add() -> None:
    book = plain_book(Limits(), [100.0, 0.0, 0.0])
    assert most(book.ctx, book.account, book.limits, 0, 1, REDUCE) == Most(0.0, Reason.SWITCH, True)
    assert most(book.ctx, book.account, book.limits, 0, -1, REDUCE).lots == 100.0
    assert most(book.ctx, book.account, book.limits, 0, -1, HALT) == Most(0.0, Reason.SWITCH, True)


def test_a_question_is_no_duplicate() -> None:
    free = plain_book(Limits(), [0.0, 0.0, 0.0])
    found = most(free.ctx, free.account, free.limits, 0, 1)
    again = plain_book(Limits(), [0.0, 0.0, 0.0], repeated=np.array([found.lots, 0.0, 0.0]))
    assert most(again.ctx, again.account, again.limits, 0, 1) == found


EACH = {
    "max_position_weight": (Limits(collar=0.0, max_position_weight=0.3), 200.0),
    "max_gross_exposure": (Limits(collar=0.0, max_gross_exposure=0.5), 250.0),
    "max_net_exposure": (Limits(collar=0.0, max_net_exposure=0.4), 150.0),
    "max_leverage": (Limits(collar=0.0, max_leverage=1.5), 1_250.0),
    "max_sector_weight": (Limits(collar=0.0, max_sector_weight=0.45), 200.0),
    "group_caps.g": (Limits(collar=0.0, group_caps=(("g", 0.2),)), 100.0),
    "max_concentration": (Limits(collar=0.0, max_concentration=0.25), 150.0),
    "max_herfindahl": (Limits(collar=0.0, max_herfindahl=0.05), 65.0),
    "max_order_notional": (Limits(collar=0.0, max_order_notional=12_345.0), 123.0),
    "max_turnover": (Limits(collar=0.0, max_turnover=0.15), 150.0),
    "cash": (Limits(collar=0.0, cash_reserve=0.25), 500.0),
    "max_open_orders": (Limits(collar=0.0, max_open_orders=1), None),
}


@pytest.mark.parametrize("key", EACH)
def test_each_limit_alone_leaves_what_its_definition_says(key: str) -> None:
    limits, lots = EACH[key]
    # 100 A (10 %), 300 B (15 %): A may be added to
    book = plain_book(limits, [100.0, 300.0, 0.0])
    found = most_under(book.ctx, book.account, limits, key, 0, 1)
    assert found.lots == lots if found.bounded else lots is None
    # a tight limit of another kind changes nothing of it, its own does
    crowded = Limits(**{f: getattr(limits, f) for f in Limits.__struct_fields__} | {"max_volatility": 0.001})
    assert most_under(book.ctx, book.account, crowded, key, 0, 1) == found
    assert most_under(book.ctx, book.account, crowded, "max_volatility", 0, 1).lots == 0.0


def test_one_limit_alone_is_made_once() -> None:
    limits = Limits(max_position_weight=0.3, var=Tail(limit=0.03), group_caps=(("g", 0.2), ("h", 0.4)))
    assert only(limits, "var") is only(limits, "var")
    assert only(limits, "var") == Limits(var=Tail(limit=0.03))
    assert only(limits, "group_caps.h").group_caps == (("h", 0.4),)
    assert only(limits, "cash") == Limits()


@settings(max_examples=80, deadline=None)
@given(SEEDS)
def test_figures_are_those_of_an_evaluator_of_its_own(seed: int) -> None:
    book = random_book(np.random.default_rng(seed), most_open=0)
    lots = gate(book.ctx, book.account, book.asked, book.limits).lots
    orders = orders_of(book, lots)
    state = States(book, orders, orders.lots[None, :], at_worst=False)
    equity = float(state.equity[0])
    judged = {name: float(value[0]) / equity for name, (value, _) in numerators(book, state).items()}
    found = figures(book.ctx, book.account, book.limits, lots)
    same = {
        "max_gross_exposure": "gross", "var": "var", "cvar": "cvar", "max_volatility": "volatility",
        "max_turnover": "turnover", "stress": "stress",
    }  # fmt: skip
    for key, name in same.items():
        assert (key in found) == (name in judged)
        if key in found:
            assert found[key].value == pytest.approx(judged[name], rel=1e-6, abs=1e-9)
    rho = np.atleast_2d(np.corrcoef(book.returns.T))
    for column, symbol in enumerate(book.names):
        own = figures_of(book.ctx, book.account, book.limits, lots, column)
        if book.limits.max_position_weight is not None:
            assert own["max_position_weight"] == Figure(
                pytest.approx(judged[f"weight {column}"]), book.limits.max_position_weight, symbol
            )
        sector = book.ctx.universe.sectors[column]
        if book.limits.max_sector_weight is not None and sector:
            assert own["max_sector_weight"].value == pytest.approx(judged[f"sector {sector}"])
            assert own["max_sector_weight"].about == sector
        if book.limits.max_concentration is not None:
            asset = book.ctx.universe.assets[column]
            assert own["max_concentration"].value == pytest.approx(judged[f"asset {asset}"])
        grouped = symbol in dict(book.ctx.universe.groups)["odd"] and bool(book.limits.group_caps)
        assert ("group_caps.odd" in own) == grouped
        if grouped:
            assert own["group_caps.odd"].value == pytest.approx(judged["group odd"])
        if book.limits.correlation is not None:
            weights = state.exposure[0] / equity
            assert own["correlation"].value == pytest.approx(
                heaviest_pair(weights, rho, column, book.limits.correlation), abs=1e-9
            )


def heaviest_pair(weights: np.ndarray, rho: np.ndarray, column: int, spec: Correlation) -> float:
    """Joint weight of one symbol with the heaviest that it loses together with, by definition."""
    joint = 0.0
    for other, weight in enumerate(weights):
        both = min(abs(weight), abs(weights[column])) > spec.min_weight + 1e-12
        together = rho[column, other] * np.sign(weight * weights[column])
        if other != column and both and together > spec.threshold:
            joint = max(joint, abs(weight) + abs(weights[column]))
    return joint


def test_pairs_are_named_with_their_correlation() -> None:
    one = np.random.default_rng(1).normal(0.0, 0.01, 80)
    noise = np.random.default_rng(2).normal(0.0, 0.002, 80)
    returns = np.column_stack((one, one + noise, -one))
    names = ["A", "B", "C"]
    px = np.array([10.0, 10.0, 10.0])
    limits = Limits(correlation=Correlation(lookback=80))
    ctx = make_context(px, returns, names)
    account = Account(lots=np.array([1_000.0, 3_000.0, 2_000.0]), cash=40_000.0, equity=100_000.0)
    rho = np.corrcoef(returns.T)[0, 1]
    found = figures_of(ctx, account, limits, None, 0)
    # C moves against A, so two long positions do not add up
    assert found["correlation"] == Figure(pytest.approx(0.4), 0.5, f"A~B {rho:.2f}")
    assert "correlation.C" not in found
    short = Account(lots=np.array([1_000.0, 3_000.0, -2_000.0]), cash=80_000.0, equity=100_000.0)
    found = figures_of(ctx, short, limits, None, 0)
    assert found["correlation.C"] == Figure(pytest.approx(0.3), 0.5, "A~C -1.00")


def test_figures_of_an_order_are_its_own() -> None:
    limits = Limits(
        collar=0.1, max_order_notional=20_000.0, max_share_of_volume=0.1, liquidity=Liquidity(2.0, 0.5),
        order_rate=Rate(5), max_open_orders=9,
    )  # fmt: skip
    book = plain_book(limits, [100.0, 0.0, 0.0], open_orders=3, recent_orders=2)
    ctx = make_context(book.px, book.returns, book.names, volume_lots=np.array([1_000.0, 1_000.0, 1_000.0]))
    lots = np.array([50.0, 0.0, 0.0])
    found = figures_of(ctx, book.account, limits, lots, 0)
    assert found["max_order_notional"] == Figure(pytest.approx(5_500.0), 20_000.0)
    assert found["max_share_of_volume"] == Figure(pytest.approx(0.05), 0.1)
    assert found["liquidity"] == Figure(pytest.approx(0.3), 2.0)
    assert found["max_open_orders"] == Figure(4, 9)
    assert found["order_rate"] == Figure(3, 5)
    before = figures_of(ctx, book.account, limits, None, 0)
    assert before["max_order_notional"].value == 0.0
    assert before["liquidity"].value == pytest.approx(0.2)
    assert before["max_open_orders"].value == 3


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_what_was_sent_takes_room_from_what_comes_next(seed: int) -> None:
    book = random_book(np.random.default_rng(seed))
    lots = gate(book.ctx, book.account, book.asked, book.limits).lots
    then = sent(book.ctx, book.account, lots, book.limits)
    up = np.zeros(len(lots)) if then.up is None else then.up
    down = np.zeros(len(lots)) if then.down is None else then.down
    was_up = np.zeros(len(lots)) if book.account.up is None else book.account.up
    was_down = np.zeros(len(lots)) if book.account.down is None else book.account.down
    assert (up - was_up - (down - was_down) == lots).all()
    assert then.open_orders == book.account.open_orders + np.count_nonzero(lots)


@pytest.mark.parametrize("key", ["max_position_weight", "max_gross_exposure", "cash"])
def test_what_passes_alone_may_be_sent_in_two_parts_and_no_more(key: str) -> None:
    limits = Limits(collar=0.05, fee_bp=10.0, max_position_weight=0.4, max_gross_exposure=0.8)
    book = plain_book(limits, [100.0, 300.0, 0.0])
    alone = most_under(book.ctx, book.account, limits, key, 0, 1)
    first = np.array([alone.lots // 2, 0.0, 0.0])
    rest = most_under(book.ctx, sent(book.ctx, book.account, first, limits), limits, key, 0, 1)
    assert alone.lots - 1 <= first[0] + rest.lots <= alone.lots
