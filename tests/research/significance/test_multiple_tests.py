"""Adjusted p-values against statsmodels and scipy, and against numbers worked by hand."""

import gc
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from quantd.research.significance.multiple_tests import benjamini_hochberg, holm
from tests.support.examples import examples

REFERENCES = [(holm, "holm"), (benjamini_hochberg, "fdr_bh")]

PAPER = np.array(
    [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1]
)
"""The 15 p-values of the example of Benjamini & Hochberg 1995 (thrombolysis, Neuhaus et al.)."""


@pytest.fixture(scope="module", autouse=True)
def frozen() -> Iterator[None]:
    """The objects of the worker are no garbage: statsmodels collects all of it in each call."""
    gc.freeze()
    yield
    gc.unfreeze()


def test_the_example_of_benjamini_and_hochberg() -> None:
    """At 5 %, their procedure rejects the four smallest; Bonferroni's rejects three, and Holm's does too."""
    assert int((benjamini_hochberg(PAPER) <= 0.05).sum()) == 4
    assert int((holm(PAPER) <= 0.05).sum()) == 3


def test_four_p_values_by_hand() -> None:
    p = np.array([0.04, 0.01, 0.03, 0.5])
    assert holm(p) == pytest.approx([0.09, 0.04, 0.09, 0.5])
    assert benjamini_hochberg(p) == pytest.approx([0.16 / 3, 0.04, 0.16 / 3, 0.5])


@pytest.mark.requirement("R-244")
@pytest.mark.parametrize(("adjust", "method"), REFERENCES)
@settings(max_examples=examples(100), deadline=None)
@given(p=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=40))
def test_adjusted_p_values_are_those_of_statsmodels(adjust, method, p) -> None:  # type: ignore[no-untyped-def]
    got = adjust(np.array(p))
    assert got == pytest.approx(multipletests(p, method=method)[1], abs=1e-12)
    if method != "holm":
        assert got == pytest.approx(stats.false_discovery_control(p, method=method[4:]), abs=1e-12)


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
def test_p_values_out_of_range_are_refused(adjust) -> None:  # type: ignore[no-untyped-def]
    for wrong in ([-0.1], [1.1], [float("nan")]):
        with pytest.raises(ValueError, match="between 0 and 1"):
            adjust(np.array(wrong))
    with pytest.raises(ValueError, match="at least one"):
        adjust(np.array([]))
