"""Parts of a history refuse to overlap, whatever the dates."""

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.models.history.splits import Fold, Split, Splits, walk_forward

DAY = date(2020, 1, 1)
DAYS = np.arange("2020-01-01", "2020-05-01", dtype="datetime64[D]").astype("datetime64[ns]").astype(np.int64)


def part(name: str, first: int, last: int) -> Split:
    return Split(name, DAY + timedelta(days=first), DAY + timedelta(days=last))


@pytest.mark.requirement("R-028")
@given(st.lists(st.integers(0, 100), min_size=6, max_size=6))
def test_splits_are_made_exactly_when_no_day_is_in_two_of_them(at: list[int]) -> None:
    if any(b <= a for a, b in zip(at[::2], at[1::2], strict=True)):
        with pytest.raises(ValueError, match="which is not after its begin"):
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


@pytest.mark.requirement("R-098")
@given(first=st.integers(0, 300), size=st.integers(0, 600), folds=st.integers(1, 8), horizon=st.integers(1, 63),
    embargo=st.integers(0, 30))  # fmt: skip
def test_walking_forward_every_outcome_fitted_on_is_older_than_what_is_judged(
    first: int, size: int, folds: int, horizon: int, embargo: int
) -> None:
    try:
        splits = walk_forward(first, first + size, folds, horizon, embargo)
    except ValueError:
        assert size < (folds + 1) * (horizon + embargo + 2)
        return
    assert len(splits) == folds
    for fold in splits:
        last_outcome = fold.train[1] - 1 + horizon
        assert fold.train[0] == first
        assert last_outcome + embargo < fold.test[0]
    assert [fold.test[0] for fold in splits[1:]] == [fold.test[1] for fold in splits[:-1]]
    assert splits[-1].test[1] == first + size


@pytest.mark.parametrize(
    ("train", "test", "reason"),
    [
        ((0, 75), (100, 120), None),
        ((0, 76), (100, 120), "is known 4 rows before the first judged one; the embargo is 4 rows"),
        ((0, 101), (100, 120), "known -21 rows"),
        ((100, 200), (10, 50), "known -210 rows"),
        ((5, 5), (100, 120), "has no rows"),
        ((0, 50), (100, 100), "has no rows"),
    ],
)
def test_a_fold_refuses_outcomes_that_reach_into_what_is_judged(
    train: tuple[int, int], test: tuple[int, int], reason: str | None
) -> None:
    if reason is None:
        Fold(train, test, 21, 4)
        return
    with pytest.raises(ValueError, match=reason):
        Fold(train, test, 21, 4)


def test_a_fold_that_separates_nothing_is_refused() -> None:
    for horizon, embargo in ((0, 5), (5, -1)):
        with pytest.raises(ValueError, match="must be 1 row or more"):
            Fold((0, 10), (100, 120), horizon, embargo)
