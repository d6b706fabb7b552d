"""Sign changes: exact for few samples, calibrated for several correlated means, and stronger than Holm on them."""

from itertools import product

import numpy as np
import pytest

from quantd.research.significance.multiple_tests import holm
from quantd.research.significance.sign_changes import sign_changes


def test_the_p_value_is_the_share_of_all_changes_of_sign_that_reach_the_sum() -> None:
    values = np.array([0.3, -0.1, 0.8, 0.4, 0.6, -0.2, 0.5])
    exact = np.mean([float(np.dot(signs, values)) >= values.sum() - 1e-12 for signs in product((-1, 1), repeat=7)])
    assert sign_changes(values[:, None]).p[0] == pytest.approx(exact, abs=0.01)


def test_of_correlated_means_without_any_the_largest_is_below_five_percent_about_as_often() -> None:
    draw, below = np.random.default_rng(1), 0
    for _ in range(300):
        common = draw.normal(size=(80, 1))
        tested = sign_changes(common + 0.5 * draw.normal(size=(80, 5)), changes=499)
        assert all(one <= other for one, other in zip(tested.p, tested.adjusted, strict=True))
        below += min(tested.adjusted) < 0.05
    assert 5 <= below <= 26


def test_a_correlated_mean_is_corrected_less_than_by_holm() -> None:
    draw = np.random.default_rng(2)
    values = 0.25 + draw.normal(size=(80, 1)) + 0.1 * draw.normal(size=(80, 5))
    tested = sign_changes(values)
    assert max(tested.adjusted) < float(holm(np.array(tested.p)).min())


def test_zeros_have_no_evidence_and_the_scale_and_the_order_of_columns_do_not_matter() -> None:
    values = np.random.default_rng(3).normal(0.2, 1.0, (60, 3))
    values[:, 1] = 0.0
    tested = sign_changes(values)
    assert (tested.p[1], tested.adjusted[1]) == (1.0, 1.0)
    assert sign_changes(values * 1e-6) == tested
    turned = sign_changes(values[:, ::-1])
    assert (turned.p[::-1], turned.adjusted[::-1]) == (tested.p, tested.adjusted)
    with pytest.raises(ValueError, match="finite"):
        sign_changes(np.array([[np.nan]]))
