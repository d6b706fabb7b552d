"""Parts of a history refuse to overlap, whatever the dates."""

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.splits import Split, Splits

DAY = date(2020, 1, 1)
DAYS = np.arange("2020-01-01", "2020-05-01", dtype="datetime64[D]").astype("datetime64[ns]").astype(np.int64)


def part(name: str, first: int, last: int) -> Split:
    return Split(name, DAY + timedelta(days=first), DAY + timedelta(days=last))


@given(st.lists(st.integers(0, 100), min_size=6, max_size=6))
def test_splits_are_made_exactly_when_no_day_is_in_two_of_them(at: list[int]) -> None:
    if any(b <= a for a, b in zip(at[::2], at[1::2], strict=True)):
        with pytest.raises(ValueError, match="not after it begins"):
            [part("x", a, b) for a, b in zip(at[::2], at[1::2], strict=True)]
        return
    parts = [part(n, a, b) for n, a, b in zip(("train", "validation", "test"), at[::2], at[1::2], strict=True)]
    if at == sorted(set(at)):
        splits = Splits(*parts)
        rows = [p.rows(DAYS) for p in (splits.train, splits.validation, splits.test)]
        assert rows[0].stop <= rows[1].start
        assert rows[1].stop <= rows[2].start
        assert splits.validation.end_ns <= DAYS[rows[2].start]
    else:
        with pytest.raises(ValueError, match="may not overlap"):
            Splits(*parts)


def test_rows_are_the_sessions_inside_both_dates_included() -> None:
    assert part("x", 3, 5).rows(DAYS) == range(3, 6)
    with pytest.raises(ValueError, match="fewer than two sessions"):
        part("x", 500, 600).rows(DAYS)
