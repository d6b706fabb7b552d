"""The file of a universe by date, and its mistakes."""

import numpy as np
import pytest

from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.recorded.membership import read_membership
from quantd.trading.instruments import Instrument, Universe

UNIVERSE = Universe((Instrument("A"), Instrument("B")))


def day(text):
    return int(np.datetime64(text, "ns").astype("int64"))


def read(folder, *rows):
    path = folder / "members.csv"
    path.write_text("\n".join(("symbol,joined,left", *rows)) + "\n")
    return read_membership(path, UNIVERSE)


def test_a_member_joins_on_a_date_and_is_none_from_the_date_it_leaves(tmp_path):
    membership = read(tmp_path, "A,2020-01-02,2020-03-02", "B,2020-02-03,", "A,2020-06-01,", "OTHER,2019-01-01,")
    dates = {
        "2019-12-31": (), "2020-01-02": (0,), "2020-02-02": (0,), "2020-02-03": (0, 1), "2020-03-01": (0, 1),
        "2020-03-02": (1,), "2020-05-31": (1,), "2020-06-01": (0, 1), "2050-01-01": (0, 1),
    }  # fmt: skip
    assert {text: membership.at(day(text)) for text in dates} == dates


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        (("A,2020-01-02,",), "no row of B"),
        (("A,2020-01-02,2020-01-02", "B,2020-01-01,"), "members.csv:2: the symbol leaves before it joins"),
        (("A,soon,", "B,2020-01-01,"), "members.csv:2: a date cannot be read"),
        (("B,2020-01-01,", "A,2020-01-01,later"), "members.csv:3: a date cannot be read"),
        (("A,2020-01-02,2021-01-01", "A,2020-06-01,", "B,2020-01-01,"), "A has two rows that overlap"),
    ],
)
def test_a_mistake_names_its_line(tmp_path, rows, text):
    with pytest.raises(FeedError, match=text):
        read(tmp_path, *rows)


def test_a_file_without_the_columns_is_refused(tmp_path):
    path = tmp_path / "members.csv"
    path.write_text("symbol,from,to\nA,2020-01-01,\n")
    with pytest.raises(FeedError, match="column joined, left is missing"):
        read_membership(path, UNIVERSE)
