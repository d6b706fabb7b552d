"""What the gate knows of the market: which prices count, which grids hold a price, and the deviation of few returns."""

import numpy as np
import pytest

from risk.context import Scenarios
from tests.risk_cases import make_context
from trading.instruments import NANO

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
    found = ctx.off_grid(0.008, np.full(2, float(TICK)))
    assert (found is not None) is bad
    assert found is None or found.tolist() == [False, True]
    assert ctx.off_grid(0.008, np.full(2, float(TICK))) is found
