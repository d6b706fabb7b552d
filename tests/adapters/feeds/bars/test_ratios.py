"""The nearest ratio is the usual one near a measured one, in both directions and for large ratios too."""

from fractions import Fraction

import numpy as np
import pytest

from quantd.adapters.feeds.bars.ratios import nearest_ratio

RATIOS = [Fraction(3, 2), Fraction(5, 2), Fraction(7, 2), Fraction(5, 4), *map(Fraction, (
    2, 3, 4, 5, 7, 9, 11, 13, 17, 22, 35, 45, 60, 75, 90, 120, 150, 190, 200, 250, 300, 400, 500, 750, 1000,
))]  # fmt: skip


@pytest.mark.parametrize("ratio", RATIOS, ids=str)
def test_a_ratio_is_found_from_prices_that_moved_overnight(ratio: Fraction) -> None:
    draw = np.random.default_rng(ratio.numerator)
    for night in (0.001, 0.004):
        for move in draw.normal(0.0, night, 20).clip(-1.5 * night, 1.5 * night):
            assert nearest_ratio(float(ratio) * np.exp(move), night) == ratio
            assert nearest_ratio(1 / float(ratio) * np.exp(move), night) == 1 / ratio


def test_an_unusual_ratio_stands_where_no_usual_one_is_near() -> None:
    assert nearest_ratio(13.02, 0.003) == 13
    assert nearest_ratio(37.0, 0.003) == 37
    assert nearest_ratio(333.0, 0.001) == 333


def test_without_a_usual_move_the_ratio_is_still_a_usual_one() -> None:
    assert nearest_ratio(35.3, float("nan")) == 35
    assert nearest_ratio(1 / 190.9, float("nan")) == Fraction(1, 190)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("ratio", [10_000.0, 1e9, 1e-9, 1e15])
def test_a_change_of_unit_is_found_without_a_walk_over_every_whole_ratio(ratio: float) -> None:
    assert float(nearest_ratio(ratio * 1.004, 0.02)) == pytest.approx(ratio, rel=0.005)
