"""The nearest ratio is the usual one near a measured one, in both directions and for large ratios too."""

import pytest

from quantd.adapters.feeds.bars.ratios import nearest_ratio


@pytest.mark.timeout(10)
@pytest.mark.parametrize("ratio", [10_000.0, 1e9, 1e-9, 1e15])
def test_a_change_of_unit_is_found_without_a_walk_over_every_whole_ratio(ratio: float) -> None:
    assert float(nearest_ratio(ratio * 1.004, 0.02)) == pytest.approx(ratio, rel=0.005)
