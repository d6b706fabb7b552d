"""Adjusted p-values against statsmodels and scipy."""

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


@pytest.fixture(scope="module", autouse=True)
def frozen() -> Iterator[None]:
    """The objects of the worker are no garbage: statsmodels collects all of it in each call."""
    gc.freeze()
    yield
    gc.unfreeze()


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
