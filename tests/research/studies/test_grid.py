"""Grids of a sweep are exact, ordered and bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.research.studies.grid import Grid, GridError, axes_of, axis_of, values_of


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("21:252:21", [str(k) for k in range(21, 253, 21)]),
        ("0.1:0.3:0.1", ["0.1", "0.2", "0.3"]),
        ("5:1:-2", ["5", "3", "1"]),
        ("7:7:1", ["7"]),
        ("0.05, 0.1 ,0.2", ["0.05", "0.1", "0.2"]),
        ("momentum,equal_weight", ["momentum", "equal_weight"]),
    ],
)
def test_ranges_include_both_ends_and_lists_keep_their_order(text, values):
    assert list(values_of(text)) == values


@pytest.mark.parametrize("text", ["", ",", "1:2", "1:5:0", "5:1:1", "a:b:c", "1:2:3:4", "0:1:nan", "0:9999999:0.01"])
def test_a_range_without_values_is_refused_with_the_form(text):
    with pytest.raises(GridError):
        values_of(text)


@given(st.integers(-50, 50), st.integers(0, 60), st.integers(1, 9))
def test_a_range_counts_as_range_does(first, extent, step):
    assert list(values_of(f"{first}:{first + extent}:{step}")) == [
        str(k) for k in range(first, first + extent + 1, step)
    ]


def test_points_are_the_product_and_repeated_values_count_once():
    grid = Grid(dict(map(axis_of, ("a.b=1:3:1", "c=x,y,x"))))
    assert grid.keys == ("a.b", "c")
    assert list(grid) == [(a, c) for a in "123" for c in "xy"]
    assert len(grid) == 6


@pytest.mark.parametrize("axes", [{}, {"a": ()}, {"a": tuple(map(str, range(400))), "b": tuple(map(str, range(400)))}])
def test_empty_and_huge_grids_are_refused(axes):
    with pytest.raises(GridError):
        Grid(axes)
    with pytest.raises(GridError, match="names no key"):
        axis_of("21:252:21")


def test_values_of_one_key_in_two_options_are_refused_with_one_that_has_all():
    assert axes_of(["a=1,2", "b=3"], ["c=4"]) == {"a": ("1", "2"), "b": ("3",)}
    with pytest.raises(GridError, match="is there twice; write all its values once: --over a=1,2,3"):
        axes_of(["a=1,2", "a=3"])
    with pytest.raises(GridError, match="--set a=5 sets a key that --over varies"):
        axes_of(["a=1,2"], ["b=4", "a=5"])
