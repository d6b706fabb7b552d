"""A screen keeps only where a full measurement finds every level unchanged: random books, prices and limits near an
edge."""

from collections.abc import Callable
from functools import partial
from math import inf, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.risk import screen as screen_module
from quantd.risk.limits.case import Account
from quantd.risk.limits.catalogue import Correlation, Limits, Stress, Tail, override
from quantd.risk.limits.values import Values, standing
from quantd.risk.measures.portfolio import tail_count
from quantd.risk.measures.stress import Shock
from quantd.risk.monitor.levels import CRITICAL, INFO, NONE, observe
from quantd.risk.screen import ROUNDED, SAMPLES, SPREAD, WIDEST, Screen, _Expected, _Varying, screen
from tests.support.examples import examples
from tests.support.risk_books import make_context, scenario_returns

LOOKBACK = 80


class Held:
    """A book that holds on while a market goes on; the window of returns may still be growing."""

    def __init__(self, seed: int) -> None:
        rng = self.rng = np.random.default_rng(seed)
        n = self.n = int(rng.integers(1, 7))
        self.names = [f"S{k}" for k in range(n)]
        self.sectors = [str(rng.choice(["x", "y"])) for _ in range(n)]
        rows = int(rng.choice([62, 75, LOOKBACK, LOOKBACK + 9]))
        self.returns = scenario_returns(rng, n, rows)
        self.px = rng.uniform(5.0, 200.0, n)
        side = rng.choice([-1.0, 1.0], n) if rng.random() < 0.4 else np.ones(n)
        weights = side * rng.dirichlet(np.ones(n)) * rng.uniform(0.0, 1.3)
        weights[rng.random(n) < 0.2] = 0.0
        self.lots = np.round(weights * 1e6 / self.px)
        self.cash = 1e6 - float(self.lots.dot(self.px))
        if rng.random() < 0.3:
            self.returns[rng.random(rows) < 0.03] = np.nan
        self.quiet = float(rng.choice([0.1, 0.4, 1.0]))
        self.limits = self.near(self.wide())

    @property
    def equity(self) -> float:
        return round(self.cash + float(self.lots.dot(self.px)), 6)

    def wide(self) -> Limits:
        on = self.rng.random(10) < 0.6
        tail = Tail(limit=9.0, lookback=LOOKBACK, confidence=float(self.rng.choice([0.9, 0.95])))
        keys = {
            "max_position_weight": 9.0, "max_gross_exposure": 9.0, "max_net_exposure": 9.0, "max_leverage": 9.0,
            "max_sector_weight": 0.99, "max_herfindahl": 9.0, "var": tail, "cvar": tail, "max_volatility": 9.0,
            "correlation": Correlation(joint_weight=9.0, threshold=0.5, lookback=LOOKBACK),
        }  # fmt: skip
        chosen = {key: value for (key, value), each in zip(keys.items(), on, strict=True) if each}
        return override(Limits(min_history=60, volatility_lookback=LOOKBACK), **chosen)

    def near(self, limits: Limits) -> Limits:
        """Bounds of which the present values are shares about the edges of levels."""
        for key, (value, _) in self.values(limits).items():
            share = float(self.rng.choice([0.2, 0.5, 0.57, 0.62, 0.75, 0.82, 0.97, 1.02])) * self.rng.uniform(
                0.97, 1.03
            )
            bound = max(value, 1e-3) / share
            if key == "correlation":
                limits = override(limits, correlation=Correlation(joint_weight=bound, threshold=0.5, lookback=LOOKBACK))
            elif key in ("var", "cvar"):
                tail = getattr(limits, key)
                limits = override(limits, **{key: Tail(bound, confidence=tail.confidence, lookback=LOOKBACK)})
            elif key.startswith("max_") and key != "max_sector_weight":
                limits = override(limits, **{key: bound})
        return limits

    def context(self):
        return make_context(self.px, self.returns[-LOOKBACK:], self.names, self.sectors)

    def values(self, limits: Limits) -> Values:
        account = Account(lots=self.lots, cash=self.cash, equity=self.equity)
        return standing(self.context(), account, limits, None)

    def day(self) -> None:
        """A new row of returns, and prices by it; now and then a violent one."""
        scale = self.quiet * (6.0 if self.rng.random() < 0.05 else 1.0)
        row = scenario_returns(self.rng, self.n, 1)[0] * scale
        self.px = self.px * (1.0 + row)
        self.returns = np.vstack((self.returns, row))

    def screen(self, levels: dict[str, int]) -> Screen | None:
        exposures = self.lots * self.px
        return screen(self.context(), exposures, self.equity, self.limits, self.values(self.limits), levels)


def kept_samples(seed: int) -> tuple[int, int]:
    """(samples a screen kept, samples at which a level changed) of one book, with every kept one checked."""
    book = Held(seed)
    levels: dict[str, int] = {}
    observe(levels, book.values(book.limits))
    kept = changed = 0
    made = book.screen(levels)
    first = book.px
    for _ in range(40):
        book.day()
        ratios = (book.px / first)[book.lots != 0.0] if made else np.ones(0)
        low, high = (float(ratios.min()), float(ratios.max())) if len(ratios) else (1.0, 1.0)
        every = book.px / first
        keeps = made is not None and made.keeps(every, low, high, book.equity)
        crossings = observe(levels, book.values(book.limits))
        kept += keeps
        changed += bool(crossings)
        assert not (keeps and crossings), f"{crossings} were screened away"
        if not keeps:
            made, first = book.screen(levels), book.px
    return kept, changed


@settings(max_examples=examples(60), deadline=None)
@given(st.integers(0, 2**32))
def test_what_is_screened_away_is_never_a_crossing(seed: int) -> None:
    kept_samples(seed)


def test_screens_keep_and_levels_change_in_these_books() -> None:
    found = [kept_samples(seed) for seed in range(60)]
    assert sum(kept for kept, _ in found) > 400
    assert sum(changed for _, changed in found) > 80


@pytest.mark.parametrize("name", ["growth", "rows", "leaving"])
def test_each_part_of_the_bound_is_needed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one part of it taken away, some book crosses a level behind the screen's back."""
    if name == "growth":
        monkeypatch.setattr(Screen, "bound", lambda self, lower, upper, within: None)
    elif name == "rows":
        monkeypatch.setattr(Screen, "rows_below", lambda self, most: None)
        monkeypatch.setattr(Screen, "expect", lambda self, tail: None)
        monkeypatch.setattr(Screen, "vary", lambda self, deviation: None)
    else:
        monkeypatch.setattr(screen_module, "band", lambda key, at, bound: (-np.inf, _above(at, bound)))
    with pytest.raises(AssertionError, match="screened away"):
        [kept_samples(seed) for seed in range(200)]


def _above(at: int, bound: float) -> float:
    return (0.6, 0.8, 1.0, np.inf)[at] * bound


def drifting_hedge() -> bool:
    """Whether a screen keeps all the way while a hedge of two shares that move alike drifts apart by 8 % and VaR
    crosses."""
    rng = np.random.default_rng(3)
    returns = np.repeat(rng.normal(0.0, 0.1, (LOOKBACK, 1)), 2, axis=1)
    px, lots = np.array([100.0, 100.0]), np.array([5_000.0, -5_000.0])
    limits = Limits(min_history=60, var=Tail(limit=0.008, lookback=LOOKBACK))
    account = Account(lots=lots, cash=1e6, equity=1e6)
    values = standing(make_context(px, returns, ["A", "B"]), account, limits, None)
    assert values["var"][0] < 1e-12
    made = screen(make_context(px, returns, ["A", "B"]), lots * px, 1e6, limits, values, {})
    if made is None:
        return False
    for _ in range(16):
        row = np.array([0.005, 0.0])
        px, returns = px * (1.0 + row), np.vstack((returns, row))[-LOOKBACK:]
        equity = 1e6 + float(lots.dot(px))
        ratios = px / 100.0
        if not made.keeps(ratios, float(ratios.min()), float(ratios.max()), equity):
            return False
        account = Account(lots=lots, cash=1e6, equity=equity)
        value, bound = standing(make_context(px, returns, ["A", "B"]), account, limits, None)["var"]
        if value > 0.6 * bound:
            return True
    return False


def test_a_hedge_that_drifts_apart_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not drifting_hedge()
    monkeypatch.setattr(screen_module._Moves, "apart", np.zeros(LOOKBACK))
    assert drifting_hedge()  # without what positions move by alone it would not have been


def test_it_serves_for_so_many_samples_and_so_wide_a_range_of_prices_only() -> None:
    context = make_context(np.array([10.0]), np.zeros((80, 1)), ["S0"])
    limits = Limits(max_gross_exposure=1.0)
    values = {"max_gross_exposure": (0.1, 1.0)}
    one = np.ones(1)
    made = screen(context, np.array([100.0]), 1_000.0, limits, values, {})
    assert made is not None
    assert [made.keeps(one, 1.0, 1.0, 1_000.0) for _ in range(SAMPLES + 1)] == [True] * SAMPLES + [False]
    wide = (1.0 + SPREAD) / (1.0 - SPREAD)
    for high, keeps in ((wide * 0.999, True), (wide * 1.001, False), (float("nan"), False)):
        made = screen(context, np.array([100.0]), 1_000.0, limits, values, {})
        assert made is not None
        assert made.keeps(one, 1.0, high, 1_000.0) is keeps


def test_a_limit_it_does_not_know_is_always_measured() -> None:
    context = make_context(np.array([10.0]), np.zeros((80, 1)), ["S0"])
    # that it weighs as much as the whole book does not make it known
    for value in (0.0, 0.25):
        values = {"max_of_something_new": (value, 1.0)}
        assert screen(context, np.array([250.0]), 1_000.0, Limits(), values, {}) is None
    both = {"max_of_something_new": (0.25, 1.0), "max_gross_exposure": (0.25, 1.0)}
    assert screen(context, np.array([250.0]), 1_000.0, Limits(max_gross_exposure=1.0), both, {}) is None
    assert screen(context, np.array([1.0]), 1_000.0, Limits(min_diversification=0.3), {}, {}) is None


# ---- by hand: where a screen stops keeping, of one part of it at a time ----------------------------------------------

TWO = np.array([600.0, -300.0])


def once(made: Screen, ratios: list[float], equity: float = 1_000.0) -> bool:
    """The answer to prices `ratios` times what they were."""
    return made.keeps(np.array(ratios), min(ratios), max(ratios), equity)


@pytest.mark.parametrize(
    ("ratios", "equity", "keeps"),
    [
        ([1.0, 1.0], 1_000.0, True),
        ([1.15, 1.19], 1_000.0, True),
        ([1.15, 1.21], 1_000.0, False),
        ([0.81, 0.85], 1_000.0, True),
        ([0.79, 0.85], 1_000.0, False),
        # a smaller equity makes shares larger, by 1 / 0.9, and a larger one smaller
        ([1.0, 1.07], 900.0, True),
        ([1.0, 1.09], 900.0, False),
        ([0.89, 0.95], 1_100.0, True),
        ([0.87, 0.95], 1_100.0, False),
        ([1.0, 1.0], 0.0, False),
        ([1.0, 1.0], -1_000.0, False),
        ([1.0, 1.0], float("nan"), False),
        ([0.0, 0.0], 1_000.0, False),
    ],
)
def test_a_measure_of_weights_keeps_while_the_range_of_prices_over_equity_leaves_it_in_its_band(
    ratios: list[float], equity: float, keeps: bool
) -> None:
    made = Screen(1_000.0, TWO)
    made.bound(0.5, 0.5, (0.4, 0.6))
    assert once(made, ratios, equity) is keeps


def test_of_several_bounds_the_nearest_holds() -> None:
    made = Screen(1_000.0, TWO)
    made.bound(0.5, 0.5, (0.4, 0.6))
    made.bound(0.4, 0.6, (-inf, 0.63))
    made.bound(0.4, 0.6, (0.38, inf))
    made.bound(0.0, 0.0, (-inf, 0.1))
    assert made.holds()
    assert [once(made, [f, f]) for f in (0.94, 0.96, 1.04, 1.06)] == [False, True, True, False]


@pytest.mark.parametrize(
    ("lower", "upper", "within", "told"),
    [
        (0.5, 0.5, (0.4, 0.6), True),
        (0.5, 0.6, (0.4, 0.6), False),
        (0.4, 0.5, (0.4, 0.6), False),
        (0.0, 0.5, (0.4, 0.6), False),
        (-0.1, 0.5, (-inf, 0.6), True),
        (0.0, 0.0, (-inf, 0.6), True),
        (0.5, 0.7, (0.4, inf), True),
    ],
)
def test_a_measure_that_may_be_outside_its_band_already_is_not_bounded(
    lower: float, upper: float, within: tuple[float, float], told: bool
) -> None:
    made = Screen(1_000.0, TWO)
    made.bound(lower, upper, within)
    assert made.holds() is told


@pytest.mark.parametrize(
    ("band", "ratios", "keeps"),
    [
        # 0.9 of equity is held: by the range of prices
        ((0.8, 1.0), [1.05, 1.1], True),
        # the range would allow 0.99 and 0.792, the positions themselves are 0.93 and 0.87
        ((0.8, 0.98), [1.0, 1.1], True),
        ((0.8, 0.98), [1.1, 1.1], False),
        ((0.8, 1.0), [1.0, 0.9], True),
        ((0.8, 1.0), [0.88, 0.88], False),
        ((0.82, 1.0), [0.9, 1.0], True),
        ((0.85, 1.0), [0.9, 1.0], False),
        ((0.8, 0.95), [1.1, 1.0], False),
    ],
)
def test_the_whole_exposure_is_looked_at_exactly_where_the_range_of_prices_leaves_it_open(
    band: tuple[float, float], ratios: list[float], keeps: bool
) -> None:
    made = Screen(1_000.0, TWO)
    made.whole_within(0.9, band)
    made.whole_within(0.9, (0.1, 2.0))
    assert once(made, ratios) is keeps


@pytest.mark.parametrize(
    ("band", "ratios", "keeps"),
    [
        ((0.5, 0.7), [1.1, 1.05], True),
        ((0.5, 0.65), [1.0, 1.1], True),
        ((0.5, 0.65), [1.1, 1.0], False),
        ((0.55, 0.7), [1.0, 0.9], True),
        ((0.55, 0.7), [0.9, 1.0], False),
    ],
)
def test_the_heaviest_position_is_looked_at_exactly_where_the_range_of_prices_leaves_it_open(
    band: tuple[float, float], ratios: list[float], keeps: bool
) -> None:
    made = Screen(1_000.0, TWO)
    made.heaviest_within(0.6, (0.1, 2.0))
    made.heaviest_within(0.6, band)
    assert once(made, ratios) is keeps


def test_positions_are_not_looked_at_one_by_one_where_the_range_of_prices_tells() -> None:
    unknown = np.full(1, np.nan)
    for factor, told in ((1.0, True), (1.4, True), (0.6, True), (1.6, False), (0.4, False)):
        for look in (Screen.whole_within, Screen.heaviest_within):
            made = Screen(1_000.0, np.array([500.0]))
            look(made, 0.5, (0.25, 0.75))
            assert made.keeps(unknown, factor, factor, 1_000.0) is told


def test_the_heaviest_may_become_another() -> None:
    made = Screen(1_000.0, np.array([500.0, 499.0]))
    made.heaviest_within(0.5, (0.1, 0.52))
    assert once(made, [1.0, 1.05]) is False


def test_exact_looks_are_shares_of_the_equity_of_now() -> None:
    for within in (Screen.whole_within, Screen.heaviest_within):
        for equity, keeps in ((800.0, False), (900.0, True), (1_100.0, True), (1_300.0, False)):
            made = Screen(1_000.0, np.array([500.0]))
            within(made, 0.5, (0.4, 0.6))
            assert once(made, [1.0], equity) is keeps


@pytest.mark.parametrize("band", [(0.1, 0.5), (0.6, 2.0), (0.1, 0.6), (0.9, 2.0)])
def test_what_is_outside_its_band_already_is_not_screened(band: tuple[float, float]) -> None:
    for within, value in ((Screen.heaviest_within, 0.6), (Screen.whole_within, 0.9)):
        made = Screen(1_000.0, TWO)
        within(made, value, (0.1, 2.0))
        assert made.holds()
        within(made, value, band)
        assert made.holds() is (band[0] < value < band[1])


def test_the_worst_day_since_counts_as_a_row_at_the_equity_of_now() -> None:
    def made() -> Screen:
        found = Screen(1_000.0, np.zeros(1))
        found.rows_below(0.05)
        found.rows_below(0.2)
        return found

    # 47 / 953 = 0.0493, 48 / 952 = 0.0504
    assert once(made(), [1.0], 953.0)
    assert not once(made(), [1.0], 952.0)
    # a gain is no loss
    assert once(made(), [1.0], 1_200.0)
    # 47 / 930 = 0.0505
    again = made()
    assert [once(again, [1.0], equity) for equity in (953.0, 945.0, 930.0)] == [True, True, False]
    later = made()
    assert [once(later, [1.0], equity) for equity in (990.0, 943.0, 990.0, 941.0)] == [True, True, True, False]


def test_the_first_row_of_a_book_that_was_traded_is_what_its_own_exposures_lost() -> None:
    # 4 % of 500 and 2 % of -200: 24, and (1.02 / 0.96 - 1) x 0.06 x 700 = 2.6 for how far prices moved apart
    for most, keeps in ((0.0268, True), (0.0264, False)):
        made = Screen(1_000.0, np.array([500.0, -200.0]))
        made.rows_below(most)
        made.begin(np.array([0.96, 1.02]), 1_000.0)
        assert once(made, [0.96, 1.02]) is keeps


def test_prices_that_moved_apart_add_to_what_a_row_may_have_lost() -> None:
    # (1.05 / 0.95 - 1) x 0.10 x 900 = 9.47: with a loss of 36, 45.5 / 964 = 0.0472
    for most, keeps in ((0.0475, True), (0.0470, False)):
        made = Screen(1_000.0, TWO)
        made.rows_below(most)
        assert once(made, [0.95, 1.05], 964.0) is keeps
    # as far apart as they have ever been: 1.05 at one sample, 0.95 at the next
    for most, keeps in ((0.0475, True), (0.0470, False)):
        made = Screen(1_000.0, TWO)
        made.rows_below(most)
        assert once(made, [1.05, 1.05])
        assert once(made, [0.95, 0.95], 964.0) is keeps


@pytest.mark.parametrize(
    ("var", "equity", "high", "keeps"),
    [
        # no loss: 0.03, where no row beats the VaR of 0.02
        (0.02, 1_000.0, 0.0301, True),
        (0.02, 1_000.0, 0.0299, False),
        # 30 lost of 970: 0.03 x 1.0309 + (0.0309 - 0.0206) / 5 = 0.03299
        (0.02, 970.0, 0.0331, True),
        (0.02, 970.0, 0.0329, False),
        # a tail that is a gain: (0.0309 + 0.0103) / 5 + 0.0309 = 0.03917
        (-0.01, 970.0, 0.0393, True),
        (-0.01, 970.0, 0.0390, False),
    ],
)
def test_an_expected_shortfall_grows_by_the_part_that_a_worse_row_has_in_it(
    var: float, equity: float, high: float, keeps: bool
) -> None:
    made = Screen(1_000.0, np.zeros(1))
    made.expect(_Expected(var, 0.03, 5, high))
    assert once(made, [1.0], equity) is keeps


def test_each_sample_may_have_brought_another_row_into_the_tail() -> None:
    # 20 lost of 980, then as much as that in each row: 0.03 / 0.98 + 2 x (0.02041 - 0.01020) / 5 = 0.0347
    for high, keeps in ((0.0350, True), (0.0345, False)):
        made = Screen(1_000.0, np.zeros(1))
        made.expect(_Expected(0.01, 0.03, 5, high))
        assert once(made, [1.0], 980.0)
        assert once(made, [1.0], 980.0) is keeps
    # a tail lies lower where prices fell (0.9), and its VaR with it: 0.03 + (0.02041 - 0.00918) / 5
    for high, keeps in ((0.0316, True), (0.0295, False)):
        made = Screen(1_000.0, np.zeros(1))
        made.expect(_Expected(0.01, 0.03, 5, high))
        assert once(made, [0.9], 980.0) is keeps


@pytest.mark.parametrize(
    ("path", "mean", "high", "keeps"),
    [
        ([1_000.0], 0.0, 0.0301, True),
        ([1_000.0], 0.0, 0.0299, False),
        # sqrt(0.03^2 + 0.01^2) = 0.03162 by the mean alone
        ([1_000.0], 0.01, 0.0317, True),
        ([1_000.0], 0.01, 0.0315, False),
        # a gain of 20 as a loss: sqrt((0.03 / 1.02)^2 + (20 / 1020)^2) = 0.03534
        ([1_020.0], 0.0, 0.0355, True),
        ([1_020.0], 0.0, 0.0352, False),
        # sqrt((0.03 / 0.98)^2 + (20 / 980)^2) = 0.03679
        ([980.0], 0.0, 0.0370, True),
        ([980.0], 0.0, 0.0366, False),
        # twice the largest of two, though the second is small: sqrt((0.03 / 0.98)^2 + 2 (20 / 980)^2) = 0.04207
        ([980.0, 980.0], 0.0, 0.0422, True),
        ([980.0, 980.0], 0.0, 0.0419, False),
        # the gain of 20 is larger than the loss of 10: sqrt((0.03 / 1.01)^2 + 2 (20 / 1010)^2) = 0.04083
        ([1_020.0, 1_010.0], 0.0, 0.0410, True),
        ([1_020.0, 1_010.0], 0.0, 0.0406, False),
    ],
)
def test_a_deviation_grows_by_the_largest_move_of_each_sample(
    path: list[float], mean: float, high: float, keeps: bool
) -> None:
    made = Screen(1_000.0, np.zeros(1))
    made.vary(_Varying(0.03, mean, high))
    assert [once(made, [1.0], equity) for equity in path][-1] is keeps


def bounded(lower: float, upper: float, within: tuple[float, float]) -> Screen:
    made = Screen(1_000.0, np.array([500.0]))
    made.bound(lower, upper, within)
    return made


def looked_at(within: Callable[[Screen, float, tuple[float, float]], None]) -> Screen:
    made = Screen(1_000.0, np.array([500.0]))
    within(made, 0.5, (0.25, 0.75))
    return made


@pytest.mark.parametrize(
    "make",
    [
        lambda: bounded(0.5, 0.5, (0.25, 0.75)),
        lambda: looked_at(Screen.whole_within),
        lambda: looked_at(Screen.heaviest_within),
    ],
)
def test_an_edge_is_outside_and_the_last_number_before_it_inside(make: Callable[[], Screen]) -> None:
    for factor, inside in ((1.5, 1.0), (0.5, 1.0)):
        assert once(make(), [factor]) is False
        assert once(make(), [float(np.nextafter(factor, inside))]) is True


def test_what_is_at_an_edge_to_begin_with_does_not_hold() -> None:
    for within, holds in (((0.25, 0.75), True), ((0.5, 0.75), False), ((0.25, 0.5), False)):
        assert bounded(0.5, 0.5, within).holds() is holds
        for look in (Screen.whole_within, Screen.heaviest_within):
            made = Screen(1_000.0, np.array([500.0]))
            look(made, 0.5, within)
            assert made.holds() is holds
    made = Screen(1_000.0, np.array([500.0]))
    made.never()
    assert not made.holds()
    assert once(made, [1.0]) is False


def test_a_row_a_shortfall_and_a_deviation_stay_below_their_bounds_to_the_last_bit() -> None:
    row = (47.0 + ROUNDED) / 953.0
    grown = 1_000.0 / 953.0
    new = row + grown * 0.01
    for bound, part in (
        (row, lambda made, most: made.rows_below(most)),
        (grown * 0.03 + (row - grown * 0.02) / 5, lambda made, most: made.expect(_Expected(0.02, 0.03, 5, most))),
        (sqrt((grown * 0.03) ** 2 + new * new), lambda made, most: made.vary(_Varying(0.03, 0.01, most))),
    ):
        for most, keeps in ((bound, False), (float(np.nextafter(bound, 1.0)), True)):
            made = Screen(1_000.0, np.zeros(1))
            part(made, most)
            assert once(made, [1.0], 953.0) is keeps


def test_what_rounding_makes_of_a_book_that_does_not_move_still_counts() -> None:
    small = ROUNDED / 1_000.0
    for most, keeps in ((small, False), (2.0 * small, True)):
        made = Screen(1_000.0, np.zeros(1))
        made.rows_below(most)
        assert once(made, [1.0]) is keeps
        varying = Screen(1_000.0, np.zeros(1))
        varying.vary(_Varying(0.0, 0.0, most))
        assert once(varying, [1.0]) is keeps
        expected = Screen(1_000.0, np.zeros(1))
        expected.expect(_Expected(0.0, 0.0, 1, most))
        assert once(expected, [1.0]) is keeps


def test_prices_may_be_so_far_apart_and_no_farther() -> None:
    for high, keeps in ((WIDEST, True), (float(np.nextafter(WIDEST, 2.0)), False)):
        assert Screen(1_000.0, TWO).keeps(np.array([1.0, high]), 1.0, high, 1_000.0) is keeps
    assert pytest.approx(SPREAD) == (WIDEST - 1.0) / (WIDEST + 1.0)
    for low in (0.0, -1.0):
        assert Screen(1_000.0, TWO).keeps(np.full(2, low), low, low, 1_000.0) is False
    # a book of half a unit of currency is a book
    assert once(Screen(0.5, TWO / 2_000.0), [1.0, 1.0], 0.5) is True


def test_the_var_of_a_shortfall_is_taken_where_more_of_a_row_lies_beyond_it() -> None:
    # 30 lost of 970: (30 + 1.9) / 970; of prices between 0.99 and 1.01 the lower VaR, of a gain the higher
    slack = (1.01 / 0.99 - 1.0) * 0.02 * 900.0 + ROUNDED
    row, least, most = (30.0 + slack) / 970.0, 0.99 / 0.97, 1.01 / 0.97
    for var, beyond in ((0.02, 0.02 * least), (-0.01, -0.01 * most), (0.0, 0.0)):
        edge = most * 0.03 + (row - beyond) / 5
        for high, keeps in ((edge - 1e-9, False), (edge + 1e-9, True)):
            made = Screen(1_000.0, TWO)
            made.expect(_Expected(var, 0.03, 5, high))
            assert once(made, [0.99, 1.01], 970.0) is keeps


def edges(make: Callable[[], Screen | None]) -> tuple[float, float]:
    """The factors of all prices between which a screen keeps, at the equity it was made for, by bisection; 0 and
    infinity where it keeps at 0.4 and 1.6."""

    def keeps(factor: float) -> bool:
        made = make()
        assert made is not None
        return made.keeps(np.full(2, factor), factor, factor, 1_000.0)

    def last(far: float, beyond: float) -> float:
        near = 1.0
        if keeps(far):
            return beyond
        while abs(far - near) > 1e-5:
            middle = (near + far) / 2.0
            near, far = (middle, far) if keeps(middle) else (near, middle)
        return near

    return last(0.4, 0.0), last(1.6, inf)


PRICES = np.array([10.0, 20.0])
LONG, HEDGED = np.array([600.0, 300.0]), np.array([600.0, -300.0])


def scenes() -> np.ndarray:
    """float64[80, 2], of two that move together."""
    one = np.random.default_rng(11).normal(0.0, 0.01, (80, 1))
    return np.hstack((one, one + np.random.default_rng(12).normal(0.0, 0.002, (80, 1))))


def of(
    limits: Limits, exposures: np.ndarray, levels: dict[str, int], returns: np.ndarray | None = None
) -> Screen | None:
    rows = scenes() if returns is None else returns
    ctx = make_context(PRICES, rows, ["A", "B"], ["x", "x"], ["a", "a"], (("g", ("A",)),))
    account = Account(lots=exposures / PRICES, cash=1_000.0 - float(exposures.sum()), equity=1_000.0)
    return screen(ctx, exposures, 1_000.0, limits, standing(ctx, account, limits, None), levels)


@pytest.mark.parametrize(
    ("key", "exposures", "value", "grows"),
    [
        ("max_position_weight", LONG, 0.6, 1.0),
        ("max_gross_exposure", HEDGED, 0.9, 1.0),
        ("max_net_exposure", LONG, 0.9, 1.0),
        ("max_leverage", LONG, 0.9, 1.0),
        ("max_sector_weight", HEDGED, 0.9, 1.0),
        ("max_concentration", LONG, 0.9, 1.0),
        ("group_caps", HEDGED, 0.6, 1.0),
        ("max_herfindahl", LONG, 0.45, 2.0),
    ],
)
@pytest.mark.parametrize(
    ("share", "level", "low", "high"),
    [(0.5, NONE, 0.0, 0.6), (0.7, INFO, 0.55, 0.8), (0.57, INFO, 0.55, 0.8), (1.2, CRITICAL, 0.95, inf)],
)
def test_a_weight_is_screened_up_to_the_edges_of_its_band(
    key: str, exposures: np.ndarray, value: float, grows: float, share: float, level: int, low: float, high: float
) -> None:
    bound = value / share
    limits = Limits(group_caps=(("g", bound),)) if key == "group_caps" else Limits(**{key: bound})
    name = "group_caps.g" if key == "group_caps" else key
    found = edges(lambda: of(limits, exposures, {name: level}))
    least, most = ((edge / share) ** (1.0 / grows) for edge in (low, high))
    assert found == (pytest.approx(least, abs=1e-4), pytest.approx(most, abs=1e-4))


def test_a_net_exposure_may_grow_by_how_far_prices_drift_apart() -> None:
    # net 0.3 of 0.9 gross, which may come to 0.3 +- 0.06 x 0.9
    low, high = 0.246, 0.354
    for share, told in ((0.674, True), (0.666, False), (0.682, False)):
        limits = Limits(max_net_exposure=0.3 / share)
        assert (of(limits, HEDGED, {"max_net_exposure": INFO}) is not None) is told
    bound = 0.3 / 0.674
    found = edges(lambda: of(Limits(max_net_exposure=bound), HEDGED, {"max_net_exposure": INFO}))
    assert found == (pytest.approx(0.55 * bound / low, abs=1e-4), pytest.approx(0.8 * bound / high, abs=1e-4))
    bound = 0.3 / 1.4
    found = edges(lambda: of(Limits(max_net_exposure=bound), HEDGED, {"max_net_exposure": CRITICAL}))
    assert found == (pytest.approx(0.95 * bound / low, abs=1e-4), inf)


def test_leverage_by_shares_sold_short_is_always_measured() -> None:
    assert of(Limits(max_leverage=9.0), HEDGED, {}) is None


@pytest.mark.parametrize(
    ("min_weight", "share", "edge"),
    [
        # both together weigh 0.9: up to 0.6 / 0.5
        (0.05, 0.5, 1.2),
        # the second weighs 0.3: no pair counts before it weighs 0.4
        (0.4, 0.5, 0.4 / 0.3),
        # both together up to 0.6 / 0.409, which is more
        (0.4, 0.409, 0.6 / 0.409),
    ],
)
def test_pairs_are_screened_while_none_can_weigh_too_much(min_weight: float, share: float, edge: float) -> None:
    limits = Limits(correlation=Correlation(joint_weight=0.9 / share, lookback=80, min_weight=min_weight))
    assert edges(lambda: of(limits, LONG, {})) == (0.0, pytest.approx(edge, abs=1e-4))
    small = override(limits, correlation=Correlation(joint_weight=0.9 / share, lookback=80, min_weight=0.7))
    for level in (INFO, CRITICAL):
        assert of(limits, LONG, {"correlation": level}) is None
        assert of(small, LONG, {"correlation": level}) is None
    assert edges(lambda: of(limits, np.array([600.0, 0.0]), {})) == (0.0, inf)


def tail_edges(measure: Callable[[np.ndarray, int], float], exposures: np.ndarray) -> tuple[float, float, float]:
    """(value, lower end, upper end) of a tail at 95 %: while prices drift apart, and while 25 rows leave."""
    moves = scenes() * (exposures / 1_000.0)
    losses, apart = -moves.sum(axis=1), SPREAD * np.abs(moves).sum(axis=1)
    count = tail_count(80, 0.95)
    return (
        measure(np.sort(losses), count),
        measure(np.sort((losses - apart)[SAMPLES:]), count),
        measure(np.sort(losses + apart), count),
    )


TAILS: dict[str, Callable[[np.ndarray, int], float]] = {
    "var": lambda ranked, count: float(ranked[-count]),
    "cvar": lambda ranked, count: float(ranked[-count:].mean()),
}


@pytest.mark.parametrize("key", TAILS)
@pytest.mark.parametrize("horizon", [1, 4])
@pytest.mark.parametrize(("share", "level"), [(0.55, NONE), (0.7, INFO), (1.3, CRITICAL)])
def test_a_tail_is_screened_between_what_its_rows_can_come_to(key: str, horizon: int, share: float, level: int) -> None:
    value, lower, upper = tail_edges(TAILS[key], LONG)
    scale = sqrt(horizon)
    limits = Limits(**{key: Tail(value * scale / share, lookback=80, horizon=horizon)})
    low, high = {NONE: (0.0, 0.6), INFO: (0.55, 0.8), CRITICAL: (0.95, inf)}[level]
    least, most = low * value / share / lower, high * value / share / upper
    found = edges(lambda: of(limits, LONG, {key: level}))
    # without a level only how far prices moved sets a lower edge
    assert level == NONE or found[0] == pytest.approx(least, abs=1e-4)
    assert found[1] == pytest.approx(most if most < 1.6 else inf, abs=1e-4)


def test_the_losses_of_a_tail_that_is_far_away_are_not_summed() -> None:
    """What a book of its size loses at most is enough; that bound is wider, so nearer to the edge."""
    scenarios = make_context(PRICES, scenes(), ["A", "B"]).window(80, 60).all
    crude = float(scenarios.reach(tail_count(80, 0.95)).dot(LONG)) / 1_000.0
    for key, measure in TAILS.items():
        for horizon in (1, 4):
            assert crude > 1.1 * tail_edges(measure, LONG)[2]
            # 0.6 of the limit is so much more than the bound
            bounds = [room * crude * sqrt(horizon) / 0.6 for room in (1.001 * WIDEST, 0.999 * WIDEST)]
            asked = [Limits(**{key: Tail(bound, lookback=80, horizon=horizon)}) for bound in bounds]
            tops = [edges(partial(of, limits, LONG, {}))[1] for limits in asked]
            assert tops[1] > tops[0] + 0.05
            # where rows that come may be in the tail as well, it is nearer still
            assert tops[0] == pytest.approx(1.001 * WIDEST, abs=1e-4) if key == "var" else tops[0] < WIDEST
    # with a level there is a lower edge, which asks for the losses
    assert of(Limits(var=Tail(WIDEST * 1.001 * crude / 0.6, lookback=80)), LONG, {"var": INFO}) is None


def test_a_loss_counts_in_a_shortfall_by_what_of_it_lies_beyond_var_and_in_a_deviation_whole() -> None:
    moves = scenes() * (LONG / 1_000.0)
    ranked = np.sort(-moves.sum(axis=1) + SPREAD * np.abs(moves).sum(axis=1))
    count = tail_count(80, 0.95)
    value = TAILS["cvar"](np.sort(-moves.sum(axis=1)), count)
    limits = Limits(cvar=Tail(value / 0.5, lookback=80))
    kept = []
    for lost in np.arange(1.0, 60.0, 0.05):
        equity = 1_000.0 - lost
        grown = 1_000.0 / equity
        most = grown * ranked[-count:].mean() + max((lost + ROUNDED) / equity - grown * ranked[-count], 0.0) / count
        made = of(limits, LONG, {})
        assert made is not None
        kept.append(once(made, [1.0, 1.0], equity))
        assert kept[-1] is bool(most < 0.6 * value / 0.5)
    assert 0.2 < sum(kept) / len(kept) < 0.8
    # twice its volatility would do; a fifth of equity in a day is more than that
    deviation = float(moves.sum(axis=1).std(ddof=1)) * sqrt(252.0)
    for equity, keeps in ((990.0, True), (800.0, False)):
        made = of(Limits(max_volatility=deviation / 0.3, volatility_lookback=80), LONG, {})
        assert made is not None
        assert once(made, [1.0, 1.0], equity) is keeps


def test_a_screen_needs_more_rows_than_it_serves_samples() -> None:
    """By then all of fewer may have left, and nothing would be known of those that came."""
    for limits in (
        Limits(min_history=2, var=Tail(9.0, lookback=80)),
        Limits(min_history=2, max_volatility=9.0, volatility_lookback=80),
    ):
        assert of(limits, LONG, {}, scenes()[:SAMPLES]) is None
        assert of(limits, LONG, {}, scenes()[: SAMPLES + 1]) is not None


def test_with_few_rows_none_of_which_must_stay_a_level_is_measured_again() -> None:
    for key, limits in (
        ("var", Limits(min_history=2, var=Tail(0.02, lookback=80, confidence=0.5))),
        ("cvar", Limits(min_history=2, cvar=Tail(0.02, lookback=80))),
        ("max_volatility", Limits(min_history=2, max_volatility=0.2, volatility_lookback=80)),
    ):
        assert of(limits, LONG, {key: CRITICAL}, scenes()[: SAMPLES + 1]) is None


def test_a_tail_too_near_an_edge_to_tell_is_not_screened() -> None:
    for key, measure in TAILS.items():
        value, lower, upper = tail_edges(measure, LONG)
        for share, level, told in (
            (0.8 * value / upper - 1e-3, INFO, True), (0.8 * value / upper + 1e-3, INFO, False),
            (0.95 * value / lower + 1e-2, CRITICAL, True), (0.95 * value / lower - 1e-2, CRITICAL, False),
        ):  # fmt: skip
            limits = Limits(**{key: Tail(value / share, lookback=80)})
            assert (of(limits, LONG, {key: level}) is not None) is told, (key, share)


def test_a_stress_loss_is_screened_without_a_look_at_new_rows() -> None:
    shocks = (Shock("fall", moves={"*": -0.2}), Shock("rise", moves={"*": 0.5}))
    # 0.18 is lost, and while prices drift apart 6 % more; it falls away with prices alone
    found = edges(lambda: of(Limits(stress=Stress(0.18 / 0.7, shocks)), LONG, {"stress": INFO}))
    bound = 0.18 / 0.7
    assert found == (
        pytest.approx(0.55 * bound / (0.18 * 0.94), abs=1e-4), pytest.approx(0.8 * bound / (0.18 * 1.06), abs=1e-4)
    )  # fmt: skip
    made = of(Limits(stress=Stress(0.18 / 0.3, shocks)), LONG, {})
    assert made is not None
    assert once(made, [0.99, 0.99], 500.0) is False
    made = of(Limits(stress=Stress(0.18 / 0.3, shocks)), LONG, {})
    assert made is not None
    assert once(made, [0.99, 0.99], 600.0) is True
    # a day's loss of 25 % is no scenario
    made = of(Limits(stress=Stress(9.0, shocks)), LONG, {})
    assert made is not None
    assert once(made, [1.0, 1.0], 750.0) is True


@pytest.mark.parametrize(("share", "level"), [(0.56, NONE), (0.7, INFO), (1.3, CRITICAL)])
def test_volatility_is_screened_between_what_its_rows_can_come_to(share: float, level: int) -> None:
    moves = scenes() * (LONG / 1_000.0)
    series, apart = moves.sum(axis=1), SPREAD * np.abs(moves).sum(axis=1)
    value = float(series.std(ddof=1))
    limits = Limits(max_volatility=value * sqrt(252.0) / share, volatility_lookback=80)
    low, high = {NONE: (0.0, 0.6), INFO: (0.55, 0.8), CRITICAL: (0.95, inf)}[level]
    upper = np.linalg.norm(series - series.mean()) + np.linalg.norm(apart)
    # one new row may be as far from 0 as the mean
    new = abs(series.mean())
    most = high * value / share * sqrt(79.0) / sqrt(upper**2 + new**2)
    rest = series[SAMPLES:]
    lower = np.linalg.norm(rest - rest.mean()) - np.linalg.norm(apart[SAMPLES:])
    least = low * value / share * sqrt(79.0) / lower
    if level == CRITICAL:
        most = inf
    if least > 1.0:
        assert of(limits, LONG, {"max_volatility": level}) is None
        return
    found = edges(lambda: of(limits, LONG, {"max_volatility": level}))
    assert level == NONE or found[0] == pytest.approx(least, abs=1e-4)
    assert found[1] == pytest.approx(most if most < 1.6 else inf, abs=1e-3)


def test_what_new_rows_change_altogether_or_too_few_rows_tell_is_not_screened() -> None:
    filtered = Limits(var=Tail(9.0, lookback=80, method="filtered"))
    normal = Limits(var=Tail(9.0, lookback=80, method="ewma"))
    plain = Limits(var=Tail(9.0, lookback=80))
    assert of(filtered, LONG, {}) is None
    assert of(normal, LONG, {}) is None
    assert of(plain, LONG, {}) is not None
    assert of(plain, LONG, {}, scenes()[:59]) is None
    gaps = scenes()
    gaps[:21, 1] = np.nan
    assert of(plain, LONG, {}, gaps) is None
    assert of(plain, np.array([600.0, 0.0]), {}, gaps) is not None
    gaps[20, 1] = 0.0
    assert of(plain, LONG, {}, gaps) is not None
    # each has 65 returns, both together 50
    gaps = scenes()
    gaps[:15, 0] = gaps[-15:, 1] = np.nan
    assert of(plain, LONG, {}, gaps) is None


def test_a_lone_instrument_is_no_pair_and_a_tail_far_away_still_counts_new_rows() -> None:
    alone = make_context(PRICES[:1], scenes()[:, :1], ["A"])
    limits = Limits(correlation=Correlation(lookback=80))
    account = Account(lots=np.array([0.03]), cash=0.2, equity=0.5)
    values = standing(alone, account, limits, None)
    assert screen(alone, np.array([0.3]), 0.5, limits, values, {}) is not None
    # 0.6 x 9 = 5.4 is far: a loss of 900 is a row of 9, a fifth of it in the tail, one of 970 a row of 32
    for equity, keeps in ((100.0, True), (30.0, False)):
        made = of(Limits(cvar=Tail(9.0, lookback=80)), LONG, {})
        assert made is not None
        assert once(made, [1.0, 1.0], equity) is keeps
    # the same for VaR, which a row of 5.4 could be: 800 is one of 4
    for equity, keeps in ((200.0, True), (100.0, False)):
        made = of(Limits(var=Tail(9.0, lookback=80)), LONG, {})
        assert made is not None
        assert once(made, [1.0, 1.0], equity) is keeps


def test_a_book_without_equity_is_not_screened() -> None:
    ctx = make_context(PRICES, scenes(), ["A", "B"])
    for equity, told in ((0.0, False), (-1.0, False), (float("nan"), False), (0.5, True)):
        assert (screen(ctx, LONG, equity, Limits(), {}, {}) is not None) is told


def test_turnover_and_cash_are_left_out_and_columns_say_whose_the_ratios_are() -> None:
    ctx = make_context(PRICES, scenes(), ["A", "B"])
    values = {"max_turnover": (0.9, 1.0), "cash": (-1.0, 0.0), "max_gross_exposure": (0.3, 0.6)}
    limits = Limits(max_turnover=1.0, max_gross_exposure=0.6)
    made = screen(ctx, np.array([0.0, 300.0]), 1_000.0, limits, values, {}, np.array([1]))
    assert made is not None
    assert made.keeps(np.array([1.05]), 1.05, 1.05, 1_000.0)
    # 0.6 and 0.3 are held of the last two; where prices moved apart they are looked at one by one
    three = make_context(np.array([10.0, 10.0, 10.0]), np.zeros((80, 3)), ["A", "B", "C"])
    exposures, gross = np.array([0.0, 600.0, 300.0]), Limits(max_gross_exposure=1.6)
    made = screen(three, exposures, 1_000.0, gross, {"max_gross_exposure": (0.9, 1.6)}, {}, np.array([1, 2]))
    assert made is not None
    assert made.keeps(np.array([1.0, 1.1]), 1.0, 1.1, 1_000.0)


def test_a_book_that_holds_nothing_is_screened_until_it_does() -> None:
    everything = Limits(
        max_position_weight=0.5, max_gross_exposure=1.0, max_net_exposure=1.0, max_leverage=1.0, max_herfindahl=0.5,
        max_sector_weight=0.5, var=Tail(0.1, lookback=80), cvar=Tail(0.1, lookback=80), max_volatility=0.2,
        volatility_lookback=80, correlation=Correlation(lookback=80),
        stress=Stress(0.1, (Shock("s", moves={"*": -0.5}),)),
    )  # fmt: skip
    made = of(everything, np.zeros(2), {})
    assert made is not None
    assert [once(made, [0.5 + 0.05 * k] * 2) for k in range(3)] == [True] * 3
