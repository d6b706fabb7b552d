"""How much more passes is exact, and what each limit measures of a symbol is what an evaluator of its own measures."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quantd.risk.limits.catalogue import Correlation, Limits, Liquidity, Rate, Reason, Stress
from quantd.risk.measures.stress import Shock
from quantd.risk.pretrade.gate import Account, gate
from quantd.risk.pretrade.headroom import Figure, Most, figures, figures_of, most, most_under, sent
from quantd.risk.switch import HALT, REDUCE
from quantd.trading.instruments import NANO, Instrument, Universe
from tests.support.examples import examples
from tests.support.risk_books import Book, States, make_context, numerators, orders_of, random_book, scenario_returns

SEEDS = st.integers(0, 2**32 - 1)


def passes(book: Book, column: int, lots: float) -> bool:
    """Whether an order of one symbol alone passes whole."""
    asked = np.zeros(len(book.px))
    asked[column] = lots
    return bool((gate(book.ctx, book.account, asked, book.limits).lots == asked).all())


@settings(max_examples=examples(120), deadline=None)
@given(SEEDS)
@example(941794)  # what a vast order may cost leaves too little equity for a pair of positions
def test_that_many_lots_pass_whole_and_one_more_is_cut(seed: int) -> None:
    book = random_book(np.random.default_rng(seed))
    for column in range(len(book.px)):
        for side in (1, -1):
            largest = most(book.ctx, book.account, book.limits, column, side)
            assert largest.bounded
            assert passes(book, column, side * largest.lots)
            assert not passes(book, column, side * (largest.lots + 1))


def plain_book(limits: Limits, lots: list[float], **account: object) -> Book:
    """Three symbols at 100, 50 and 10 with an equity of 100,000."""
    px = np.array([100.0, 50.0, 10.0])
    returns = scenario_returns(np.random.default_rng(5), 3)
    names = ["A", "B", "C"]
    ctx = make_context(px, returns, names, ["x", "x", "y"], ["a", "", "a"], (("g", ("A", "C")),))
    held = np.array(lots)
    one = Account(lots=held, cash=100_000.0 - float(held @ px), equity=100_000.0, **account)  # type: ignore[arg-type]
    return Book(ctx, one, np.zeros(3), limits, [], returns, px, names)


def test_a_switch_that_is_not_run_leaves_no_room_to_add() -> None:
    book = plain_book(Limits(), [100.0, 0.0, 0.0])
    assert most(book.ctx, book.account, book.limits, 0, 1, REDUCE) == Most(0.0, Reason.SWITCH, True)
    assert most(book.ctx, book.account, book.limits, 0, -1, REDUCE).lots == 100.0
    assert most(book.ctx, book.account, book.limits, 0, -1, HALT) == Most(0.0, Reason.SWITCH, True)


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
    largest = most_under(book.ctx, book.account, limits, key, 0, 1)
    assert largest.lots == lots if largest.bounded else lots is None
    # a tight limit of another kind changes nothing of it, its own does
    crowded = Limits(**{f: getattr(limits, f) for f in Limits.__struct_fields__} | {"max_volatility": 0.001})
    assert most_under(book.ctx, book.account, crowded, key, 0, 1) == largest
    assert most_under(book.ctx, book.account, crowded, "max_volatility", 0, 1).lots == 0.0


@settings(max_examples=examples(80), deadline=None)
@given(SEEDS)
def test_figures_are_those_of_an_evaluator_of_its_own(seed: int) -> None:
    book = random_book(np.random.default_rng(seed), most_open=0)
    lots = gate(book.ctx, book.account, book.asked, book.limits).lots
    orders = orders_of(book, lots)
    state = States(book, orders, orders.lots[None, :], at_worst=False)
    equity = float(state.equity[0])
    judged = {name: float(value[0]) / equity for name, (value, _) in numerators(book, state).items()}
    measures = figures(book.ctx, book.account, book.limits, lots)
    same = {
        "max_gross_exposure": "gross", "var": "var", "cvar": "cvar", "max_volatility": "volatility",
        "max_turnover": "turnover", "stress": "stress",
    }  # fmt: skip
    for key, name in same.items():
        assert (key in measures) == (name in judged)
        if key in measures:
            assert measures[key].value == pytest.approx(judged[name], rel=1e-6, abs=1e-9)
    rho = np.atleast_2d(np.corrcoef(book.returns.T))
    for column, symbol in enumerate(book.names):
        of_symbol = figures_of(book.ctx, book.account, book.limits, lots, column)
        if book.limits.max_position_weight is not None:
            assert of_symbol["max_position_weight"] == Figure(
                pytest.approx(judged[f"weight {column}"]), book.limits.max_position_weight, symbol
            )
        sector = book.ctx.universe.sectors[column]
        if book.limits.max_sector_weight is not None and sector:
            assert of_symbol["max_sector_weight"].value == pytest.approx(judged[f"sector {sector}"])
            assert of_symbol["max_sector_weight"].about == sector
        if book.limits.max_concentration is not None:
            asset = book.ctx.universe.assets[column]
            assert of_symbol["max_concentration"].value == pytest.approx(judged[f"asset {asset}"])
        grouped = symbol in dict(book.ctx.universe.groups)["odd"] and bool(book.limits.group_caps)
        assert ("group_caps.odd" in of_symbol) == grouped
        if grouped:
            assert of_symbol["group_caps.odd"].value == pytest.approx(judged["group odd"])
        if book.limits.correlation is not None:
            weights = state.exposure[0] / equity
            assert of_symbol["correlation"].value == pytest.approx(
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
    measures = figures_of(ctx, account, limits, None, 0)
    # C moves against A, so two long positions do not add up
    assert measures["correlation"] == Figure(pytest.approx(0.4), 0.5, f"A~B {rho:.2f}")
    assert "correlation.C" not in measures
    short = Account(lots=np.array([1_000.0, 3_000.0, -2_000.0]), cash=80_000.0, equity=100_000.0)
    measures = figures_of(ctx, short, limits, None, 0)
    assert measures["correlation.C"] == Figure(pytest.approx(0.3), 0.5, "A~C -1.00")


@settings(max_examples=examples(60), deadline=None)
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


def test_a_question_is_no_duplicate_even_of_itself_or_of_what_is_not_known() -> None:
    limits = Limits(collar=0.0, max_position_weight=0.3)
    expected = Most(300.0, Reason.POSITION_WEIGHT, True)
    # the gate is asked for 10,000 times the equity
    for repeated in ([1e7, 0.0, 0.0], [np.nan] * 3):
        book = plain_book(limits, [0.0, 0.0, 0.0], repeated=np.array(repeated))
        assert most(book.ctx, book.account, limits, 0, 1) == expected


def test_what_has_no_price_has_no_room_and_a_price_below_one_has_all_of_it() -> None:
    limits = Limits(collar=0.0, max_position_weight=0.3)
    ctx = make_context(np.array([0.5, np.nan]), np.zeros((80, 2)), ["A", "B"])
    rich = Account(lots=np.zeros(2), cash=1e10, equity=1e10)
    assert most(ctx, rich, limits, 0, 1) == Most(6e9, Reason.POSITION_WEIGHT, True)
    assert most(ctx, rich, limits, 1, 1) == Most(0.0, Reason.PRICE_MISSING, True)


def test_a_book_without_equity_may_still_sell_all_that_it_holds_and_buys_nothing() -> None:
    # far more than 10,000 times one unit of currency is held
    px, names = np.array([100.0]), ["A"]
    ctx = make_context(px, np.zeros((80, 1)), names)
    for equity in (-1e3, 0.0, 0.5):
        ruined = Account(lots=np.array([5e4]), cash=equity - 5e6, equity=equity)
        assert most(ctx, ruined, Limits(), 0, -1) == Most(5e4, Reason.ZERO_CROSSING, True)
        assert most(ctx, ruined, Limits(), 0, 1).lots == 0.0


def test_what_is_sent_is_open_at_its_worst_prices_with_fees() -> None:
    limits = Limits(collar=0.05, reduce_collar=0.15, fee_bp=10.0, order_rate=Rate(9))
    book = plain_book(limits, [0.0, 0.0, 500.0])
    # buys 100 A up to 105, sells 40 B down to 47.5, and 300 C, of what is held, down to 8.5
    lots = np.array([100.0, -40.0, -300.0])
    then = sent(book.ctx, book.account, lots, limits)
    assert then.up is not None
    assert then.down is not None
    assert then.up.tolist() == [100.0, 0.0, 0.0]
    assert then.down.tolist() == [0.0, 40.0, 300.0]
    assert then.up_cash == pytest.approx(10_500.0 * 1.001)
    loss = (10_500.0 * 1.001 - 10_000.0) + (2_000.0 - 1_900.0 * 0.999) + (3_000.0 - 2_550.0 * 0.999)
    assert then.open_loss == pytest.approx(loss)
    assert (then.open_orders, then.recent_orders) == (3, 3)
    assert (then.cash, then.equity) == (book.account.cash, book.account.equity)
    again = sent(book.ctx, then, np.array([10.0, -10.0, 0.0]), limits)
    assert again.up is not None
    assert again.down is not None
    assert again.up.tolist() == [110.0, 0.0, 0.0]
    assert again.down.tolist() == [0.0, 50.0, 300.0]
    assert again.up_cash == pytest.approx(11_550.0 * 1.001)
    assert again.open_loss == pytest.approx(loss + 1_050.0 * 1.001 - 1_000.0 + 500.0 - 475.0 * 0.999)
    assert (again.open_orders, again.recent_orders) == (5, 5)
    assert sent(book.ctx, then, lots, Limits()).recent_orders == 3
    assert sent(book.ctx, then, np.zeros(3), limits) is then


def test_what_is_sent_of_parts_of_a_unit_costs_parts_of_its_price() -> None:
    coin = Universe((Instrument("BTC", lot_nano=NANO // 100),))
    price = np.array([10_000 * NANO])
    ctx = make_context(np.array([100.0]), np.zeros((80, 1)), ["BTC"], universe=coin, prices_nano=price)
    account = Account(lots=np.zeros(1), cash=1e5, equity=1e5)
    assert sent(ctx, account, np.array([3.0]), Limits(collar=0.05)).up_cash == pytest.approx(315.0)
    # an order whose limit is better than the mark loses nothing
    for lots in (-3.0, 3.0):
        assert sent(ctx, account, np.array([lots]), Limits(collar=0.0)).open_loss == 0.0
    # nothing that is off has a figure
    assert figures(ctx, account, Limits(), None).keys() == {"cash"}
    assert figures_of(ctx, account, Limits(), None, 0).keys() == {"cash", "max_price_age_ns"}


def test_figures_say_whose_they_are() -> None:
    fall, rise = Shock("fall", moves={"*": -0.1}), Shock("rise", moves={"*": 0.1, "y": 0.4})
    limits = Limits(
        max_position_weight=0.3, max_sector_weight=0.5, max_concentration=0.6, stress=Stress(0.2, (fall, rise)),
        group_caps=(("g", 0.4),),
    )  # fmt: skip
    book = plain_book(limits, [100.0, -300.0, -500.0])
    measures = figures(book.ctx, book.account, limits, None)
    assert measures["max_position_weight"] == Figure(pytest.approx(0.15), 0.3, "B")
    assert measures["max_sector_weight"] == Figure(pytest.approx(0.25), 0.5, "x")
    # of A and C together, which are one asset
    assert measures["max_concentration"] == Figure(pytest.approx(0.15), 0.6, "a")
    assert measures["group_caps.g"] == Figure(pytest.approx(0.15), 0.4)
    assert measures["stress"] == Figure(pytest.approx(0.025), 0.2, "rise")
    # of what positions are worth, not of how many lots they are: 300 of A at 100 against 500 of C at 10
    other = plain_book(limits, [300.0, 0.0, -500.0])
    assert figures(other.ctx, other.account, limits, None)["stress"] == Figure(pytest.approx(0.025), 0.2, "fall")
    of_symbol = figures_of(book.ctx, book.account, limits, None, 2)
    assert of_symbol["max_position_weight"] == Figure(pytest.approx(0.05), 0.3, "C")
    assert of_symbol["max_sector_weight"] == Figure(pytest.approx(0.05), 0.5, "y")
    assert of_symbol["stress"] == measures["stress"]
    flat = plain_book(limits, [0.0, 0.0, 0.0])
    assert figures(flat.ctx, flat.account, limits, None)["max_position_weight"] == Figure(0.0, 0.3)
    assert figures(flat.ctx, flat.account, limits, None)["stress"].about == ""


@pytest.mark.parametrize(("equity", "has_share"), [(0.0, False), (-1.0, False), (0.5, True)])
def test_without_equity_nothing_has_a_share_of_it(equity: float, has_share: bool) -> None:
    limits = Limits(max_position_weight=0.3, max_sector_weight=0.5, correlation=Correlation(lookback=80))
    book = plain_book(limits, [100.0, 300.0, 0.0])
    account = Account(lots=book.account.lots, cash=0.0, equity=equity)
    for measures in (figures(book.ctx, account, limits, None), figures_of(book.ctx, account, limits, None, 1)):
        assert ({"max_position_weight", "max_sector_weight"} <= measures.keys()) is has_share
        assert ({"max_position_weight", "max_sector_weight"} & measures.keys() != set()) is has_share
        if has_share:
            assert measures["max_position_weight"].about == "B"
            assert measures["max_sector_weight"].about == "x"


def test_without_enough_returns_no_pair_is_measured() -> None:
    limits = Limits(correlation=Correlation(lookback=80))
    book = plain_book(limits, [100.0, 300.0, 0.0])
    short = make_context(book.px, book.returns[:59], book.names)
    assert "correlation" in figures_of(book.ctx, book.account, limits, None, 0)
    assert "correlation" not in figures_of(short, book.account, limits, None, 0)


def test_pairs_are_of_the_column_asked_about_the_heaviest_first() -> None:
    one = np.random.default_rng(1).normal(0.0, 0.01, (80, 1))
    returns = np.hstack((one, one, one, -one))
    px = np.full(4, 10.0)
    limits = Limits(correlation=Correlation(lookback=80, min_weight=0.05))
    ctx = make_context(px, returns, ["A", "B", "C", "D"])
    account = Account(lots=np.array([1_000.0, 2_000.0, 3_000.0, 400.0]), cash=36_000.0, equity=100_000.0)
    measures = figures_of(ctx, account, limits, None, 1)
    assert measures["correlation"] == Figure(pytest.approx(0.5), 0.5, "B~C 1.00")
    assert measures["correlation.A"] == Figure(pytest.approx(0.3), 0.5, "B~A 1.00")
    # D is too light to count, and on the other side
    assert measures.keys() & {"correlation.B", "correlation.C", "correlation.D"} == set()
    assert figures_of(ctx, account, limits, None, 3)["correlation"] == Figure(0.0, 0.5)


def test_figures_of_an_order_count_what_is_open() -> None:
    limits = Limits(
        collar=0.1, max_order_notional=20_000.0, max_share_of_volume=0.1, liquidity=Liquidity(2.0, 0.5),
        order_rate=Rate(5), max_open_orders=9, max_price_age_ns=77,
    )  # fmt: skip
    up, down = np.array([30.0, 0.0, 0.0]), np.array([20.0, 0.0, 5.0])
    book = plain_book(limits, [100.0, 0.0, 0.0], up=up, down=down)
    ages = np.array([3, 0, 0])
    ctx = make_context(book.px, book.returns, book.names, volume_lots=np.array([1_000.0, 0.0, np.nan]), age_ns=ages)
    one = figures_of(ctx, book.account, limits, np.array([1.0, 0.0, -1.0]), 0)
    assert one["max_order_notional"] == Figure(pytest.approx(110.0), 20_000.0)
    assert one["max_share_of_volume"] == Figure(pytest.approx(0.051), 0.1)
    assert one["liquidity"] == Figure(pytest.approx(111.0 / 500.0), 2.0)
    assert one["max_price_age_ns"] == Figure(3.0, 77.0)
    assert (one["max_open_orders"].value, one["order_rate"].value) == (2, 2)
    sold = figures_of(ctx, book.account, limits, np.array([-50.0, 0.0, 0.0]), 0)
    assert sold["max_order_notional"] == Figure(pytest.approx(5_000.0), 20_000.0)
    assert sold["max_share_of_volume"] == Figure(pytest.approx(0.1), 0.1)
    assert sold["liquidity"] == Figure(pytest.approx(60.0 / 500.0), 2.0)
    assert (sold["max_open_orders"].value, sold["order_rate"].value) == (1, 1)
    held = figures_of(ctx, book.account, limits, None, 0)
    assert held["liquidity"] == Figure(pytest.approx(100.0 / 500.0), 2.0)
    for column in (1, 2):
        unknown = figures_of(ctx, book.account, limits, None, column)
        assert "max_share_of_volume" not in unknown
        assert "liquidity" not in unknown
    nobody = Limits(liquidity=Liquidity(2.0, 0.0))
    assert "liquidity" not in figures_of(ctx, book.account, nobody, None, 0)
    few = Limits(max_share_of_volume=0.5, liquidity=Liquidity(2.0, 0.5))
    thin = make_context(book.px, book.returns, book.names, volume_lots=np.array([0.5, 0.0, 0.0]))
    assert figures_of(thin, book.account, few, None, 0)["liquidity"].value == pytest.approx(400.0)
