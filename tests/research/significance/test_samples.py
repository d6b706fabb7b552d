"""Return series that a test refuses, and series that count as constant."""

import numpy as np
import pytest

from quantd.research.significance.samples import is_constant, require_pair, require_returns, require_trials


def test_a_series_that_is_short_or_not_finite_is_refused() -> None:
    require_returns(np.ones(3), 3)
    with pytest.raises(ValueError, match="at least 4 returns, not 3"):
        require_returns(np.ones(3), 4)
    with pytest.raises(ValueError, match="finite"):
        require_returns(np.array([0.1, np.nan]), 2)
    with pytest.raises(ValueError, match="one dimension, not 2"):
        require_returns(np.ones((3, 1)), 2)


def test_a_pair_of_two_lengths_is_refused() -> None:
    with pytest.raises(ValueError, match="not 3 and 4"):
        require_pair(np.ones(3), np.ones(4), 2)


def test_trials_without_columns_or_rows_enough_are_refused() -> None:
    require_trials(np.ones((3, 2)), 3, 2)
    with pytest.raises(ValueError, match="at least 3 trials, not 2"):
        require_trials(np.ones((3, 2)), 3, 3)
    with pytest.raises(ValueError, match="at least 4 returns, not 3"):
        require_trials(np.ones((3, 2)), 4, 2)
    with pytest.raises(ValueError, match="two dimensions, not 1"):
        require_trials(np.ones(3), 3, 1)
    with pytest.raises(ValueError, match="finite"):
        require_trials(np.array([[0.1, np.inf]]), 1, 2)


def test_rounding_is_no_variation() -> None:
    assert is_constant(np.full(9, 0.1))
    assert is_constant(np.full(9, 1e6) + 1e-10 * np.arange(9))
    assert not is_constant(np.array([0.1, 0.1, 0.1 + 1e-9]))
