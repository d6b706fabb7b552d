"""Grids of a sweep are exact, ordered and bounded."""

from collections import Counter

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
    """And a range that does not meet its end is refused with the one that was meant."""
    text, values = f"{first}:{first + extent}:{step}", [str(k) for k in range(first, first + extent + 1, step)]
    if extent % step:
        with pytest.raises(GridError, match="; write ") as refused:
            values_of(text)
        text = str(refused.value).split("; write ")[1].split(",")[0]
    assert list(values_of(text)) == values


def test_points_are_the_product_and_repeated_values_count_once():
    grid = Grid(dict(map(axis_of, ("a.b=1:3:1", "c=x,y,x"))))
    assert grid.keys == ("a.b", "c")
    assert list(grid) == [(a, c) for a in "123" for c in "xy"]
    assert len(grid) == 6


@given(st.integers(1, 40), st.integers(0, 2**40))
def test_drawn_points_are_different_points_of_the_grid_in_its_order(points, seed):
    axes = {"a": tuple("12345"), "b": ("x", "y"), "c": tuple("678")}
    everything, drawn = list(Grid(axes)), Grid(axes, points, seed)
    assert list(drawn) == list(Grid(axes, points, seed)) == [point for point in everything if point in set(drawn)]
    assert len(drawn) == len(list(drawn)) == min(points, 30)
    if points < 30:
        assert drawn.drawing == f"These are {points} of 30 points of the grid, drawn with seed {seed}."
        other_seed, more = Grid(axes, points, seed + 1), Grid(axes, points + 1, seed)
        assert drawn.identity not in (Grid(axes).identity, other_seed.identity, more.identity)
    else:
        assert drawn.drawing == f"These are all 30 points of the grid, because {points} were to be drawn."
        assert drawn.identity == Grid(axes).identity


def test_every_point_of_a_grid_can_be_drawn_and_a_grid_too_large_to_run_too():
    axes = {"a": tuple("123"), "b": ("x", "y")}
    counts = Counter(point for seed in range(600) for point in Grid(axes, 2, seed))
    assert set(counts) == set(Grid(axes))
    assert all(150 < count < 250 for count in counts.values())  # 200 expected, with a deviation of 12
    huge = Grid({key: tuple(map(str, range(10_000))) for key in "abc"}, 200)
    assert (len(set(huge)), huge.size) == (200, 10**12)


@pytest.mark.parametrize(("points", "seed"), [(0, 0), (-1, 0), (3, -1), (None, 1)])
def test_a_draw_of_nothing_is_refused(points, seed):
    with pytest.raises(GridError, match=r"draw 1 point or more|give their number too, --points N"):
        Grid({"a": ("1", "2")}, points, seed)


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
    with pytest.raises(GridError, match="a=5 sets a key that --over varies"):
        axes_of(["a=1,2"], ["b=4", "a=5"])
