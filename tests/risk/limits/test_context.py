"""What the gate knows of the market: which prices count, which grids hold a price, and what is made of
returns, once."""

import numpy as np
import pytest

from quantd.risk.limits.context import Floats, Scenarios, Spread, Window
from quantd.risk.measures.portfolio import FEW
from quantd.trading.instruments import NANO
from tests.support.risk_books import make_context, scenario_returns

TICK = NANO // 100


def test_the_deviation_of_two_or_more_returns_is_that_of_numpy_and_of_one_it_is_none() -> None:
    rng = np.random.default_rng(1)
    for rows in (2, 3, 60):
        returns = rng.normal(0.001, 0.01, (rows, 4))
        assert Scenarios(returns).deviation() == pytest.approx(returns.std(axis=0, ddof=1), rel=1e-9)
    assert not Scenarios(np.array([[0.01, -0.02]])).deviation().any()


def test_a_price_counts_when_both_the_mark_and_the_value_of_a_lot_are_above_nothing() -> None:
    def priced(px: float, nano: int) -> tuple[bool, bool]:
        ctx = make_context(np.array([50.0, px]), np.zeros((80, 2)), ["A", "B"], prices_nano=np.array([50 * NANO, nano]))
        assert ctx.px.tolist() == [50.0, px if ctx.priced[1] else 0.0]
        return bool(ctx.all_priced), bool(ctx.priced[1])

    assert priced(0.5, NANO // 2) == (True, True)
    assert priced(1e-6, 1) == (True, True)
    for px, nano in ((0.0, NANO), (-1.0, NANO), (float("nan"), NANO), (float("inf"), NANO), (1.0, 0), (1.0, -1)):
        assert priced(px, nano) == (False, False)


@pytest.mark.parametrize(
    ("nano", "bad"),
    [
        (501 * NANO // 1000, True),  # a tick below it and none above
        (509 * NANO // 1000, True),  # a tick above it and none below
        (505 * NANO // 1000, True),
        (50 * TICK, False),
        (0, False),
    ],
)
def test_a_grid_without_a_tick_on_one_side_is_no_grid(nano: int, bad: bool) -> None:
    """Ticks of a cent, and a collar of less than one."""
    px = np.array([50.0, nano / NANO])
    ctx = make_context(px, np.zeros((80, 2)), ["A", "B"], prices_nano=np.array([50 * NANO, nano]))
    mask = ctx.off_grid(0.008, np.full(2, float(TICK)))
    assert (mask is not None) is bad
    assert mask is None or mask.tolist() == [False, True]
    assert ctx.off_grid(0.008, np.full(2, float(TICK))) is mask


def test_a_collar_as_wide_as_the_widest_tick_needs_no_look_at_each_price() -> None:
    """Two prices, of which the lower is a hundred ticks."""
    ticks = np.full(2, float(TICK))
    for collar, looked in ((0.01, False), (0.02, False), (0.0099, True)):
        ctx = make_context(np.array([1.0, 50.0]), np.zeros((80, 2)), ["A", "B"])
        assert ctx.off_grid(collar, ticks, float(TICK)) is None or looked
        assert ("priced" in vars(ctx)) is looked
        assert list(ctx._off_grid) == [collar]


@pytest.mark.parametrize(
    ("volumes", "has_volumes"),
    [([0.5, 5.0], True), ([0.0, 5.0], True), ([-1.0, 5.0], False), ([np.nan, 5.0], False), ([5.0, np.inf], False)],
)
def test_volumes_are_known_when_each_is_a_number_and_none_below_zero(volumes: list[float], has_volumes: bool) -> None:
    ctx = make_context(np.array([50.0, 50.0]), np.zeros((80, 2)), ["A", "B"], volume_lots=np.array(volumes))
    assert ctx.volumes_known is has_volumes


def reach_of(scenarios: Scenarios, m: int) -> Floats:
    """The bound of the gate on the mean of the m worst losses, per unit of exposure."""
    return scenarios.beyond(m) * scenarios.deviation() + scenarios.mean_size()


def losses_of(scenarios: Scenarios, long: Floats, both: Floats) -> Floats:
    """Losses of long exposures, without gains of what may not fill; `both` is long plus short."""
    return np.maximum(scenarios.returns, 0.0) @ both - scenarios.returns @ long


def test_what_is_made_of_returns_is_made_once() -> None:
    returns = scenario_returns(np.random.default_rng(2), 3)
    scenarios = Scenarios(returns)
    for array_of in (
        lambda: scenarios.sums, scenarios.deviation, lambda: scenarios.by_symbol,
        lambda: scenarios.sample, lambda: scenarios.sample.linked(0.1),
    ):  # fmt: skip
        assert array_of() is array_of()
    given = returns.sum(axis=0)
    assert Scenarios(returns, given).sums is given
    ctx = make_context(np.full(3, 50.0), returns, ["A", "B", "C"])
    assert ctx.whole((80,), 60) is ctx.whole((80,), 60)
    assert ctx.window(80, 60) is ctx.window(80, 60)


def test_no_book_of_the_same_exposures_loses_more_than_the_reach_of_a_tail() -> None:
    """Long and short apart, filled or not, in returns with and without a spread; the reach is its formula's."""
    rng = np.random.default_rng(3)
    for k in range(200):
        returns = scenario_returns(rng, 3) if k % 2 else np.tile(rng.normal(0.0, 0.01, 3), (80, 1))
        scenarios, m = Scenarios(returns), int(rng.integers(1, 30))
        reach = reach_of(scenarios, m)
        spread = (np.sqrt((80 - m) / m) + 0.5) * returns.std(axis=0, ddof=1)
        assert reach == pytest.approx(np.abs(returns.mean(axis=0)) + spread, rel=1e-6, abs=1e-10)
        sides = rng.uniform(0.0, 1e5, 6) * (rng.random(6) < 0.5)
        losses = np.sort(losses_of(scenarios, sides[3:], sides[:3] + sides[3:]))
        assert losses[-m:].mean() <= float(reach @ (sides[:3] + sides[3:])), k


def test_what_never_moves_falls_by_no_more_than_the_reach_to_the_last_bit() -> None:
    for value in np.random.default_rng(4).uniform(-0.02, 0.02, 50):
        scenarios = Scenarios(np.full((80, 1), value))
        long = np.array([1e5 if value < 0.0 else 0.0])
        assert (losses_of(scenarios, long, np.array([1e5])) <= reach_of(scenarios, 4)[0] * 1e5).all()


def test_a_covariance_is_at_hand_for_few_symbols_and_for_more_once_it_is_made() -> None:
    for n, small in ((FEW - 1, True), (FEW, True), (FEW + 1, False)):
        spread = Scenarios(scenario_returns(np.random.default_rng(5), n)).sample
        assert spread.small() is small
        assert spread.cov.shape == (n, n)
        assert spread.small()


def test_sides_are_linked_by_a_correlation_above_the_threshold_and_never_with_themselves() -> None:
    returns = scenario_returns(np.random.default_rng(6), 5)
    returns[:, 4] = 0.0
    sample = Scenarios(returns).sample
    rho = np.zeros((5, 5))
    rho[:4, :4] = np.corrcoef(returns[:, :4].T)
    off_diagonal = ~np.eye(5, dtype=bool)
    for threshold in (0.0, 0.2, 0.5):
        links = sample.linked(threshold)
        assert links is not None
        assert (links[:5, :5] == ((rho > threshold) & off_diagonal)).all()
        assert (links[5:, 5:] == links[:5, :5]).all()
        assert (links[:5, 5:] == ((-rho > threshold) & off_diagonal)).all()
        assert (links[5:, :5] == links[:5, 5:]).all()
    assert sample.linked(0.999) is None
    # what never moves is linked to nothing, not even at a threshold of nothing
    assert Scenarios(np.zeros((80, 2))).sample.linked(0.0) is None


def test_a_correlation_of_exactly_the_threshold_is_no_link_in_either_direction() -> None:
    """Variances of 1 and a covariance of a half or its negative, to the bit."""
    for sign in (1.0, -1.0):
        cov = np.array([[1.0, sign * 0.5, 0.9], [sign * 0.5, 1.0, 0.0], [0.9, 0.0, 1.0]])
        links = Spread(Scenarios(np.zeros((2, 3))), lambda cov=cov: cov).linked(0.5)  # type: ignore[misc]
        assert links is not None
        assert np.argwhere(links).tolist() == [[0, 2], [2, 0], [3, 5], [5, 3]]
        alone = cov[:2, :2]
        assert Spread(Scenarios(np.zeros((2, 2))), lambda cov=alone: cov).linked(0.5) is None  # type: ignore[misc]


def test_a_window_without_gaps_and_with_just_enough_rows_is_taken_as_it_is() -> None:
    returns = scenario_returns(np.random.default_rng(7), 3, 60)
    window = Window(returns, 60)
    assert window.complete
    assert window.all.returns is returns
    assert window.short is None
    assert window.scenarios(np.array([True, False, False])) is window.all
    assert not Window(returns, 61).complete
    returns[3, 1] = np.nan
    gappy = Window(returns, 59)
    assert not gappy.complete
    assert gappy.short is None
    assert len(gappy.all) == 59
    short = Window(returns, 60).short
    assert short is not None
    assert short.tolist() == [False, True, False]


@pytest.mark.parametrize("symbols", [1, 2])
def test_returns_by_symbol_are_an_array_of_their_own(symbols: int) -> None:
    """A kernel is compiled once more for a read-only array, such as a view of the history of one symbol."""
    returns = np.arange(6.0 * symbols).reshape(6, symbols)
    returns.flags.writeable = False
    columns = Scenarios(returns).by_symbol
    assert columns.tolist() == returns.T.tolist()
    assert columns.flags.writeable
    assert columns.flags.c_contiguous
