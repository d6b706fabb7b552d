"""A file of exceptions is read with its line numbers; each mistake names the file, the line, the value and a remedy."""

from datetime import date
from pathlib import Path

import pytest

from quantd.adapters.calendars import day_ns
from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.recorded.exception_files import read_exceptions
from quantd.trading.instruments import Instrument, Universe

UNIVERSE = Universe((Instrument("SPY"), Instrument("PG")))


def read(folder: Path, text: str) -> dict[tuple[int, int], str]:
    (folder / "answers.csv").write_text(text)
    return dict(read_exceptions(folder / "answers.csv", UNIVERSE))


def test_answers_are_by_symbol_and_date_and_comments_sources_and_other_symbols_are_left_out(tmp_path: Path) -> None:
    text = """# answers, by Ann
date,symbol,answer,source
2010-05-06,PG,real,"the crash, of that afternoon"

2008-09-19,IWM,reject,
2008-09-19, SPY ,reject
2008-09-19,SPY,reject,again
"""
    assert read(tmp_path, text) == {
        (1, day_ns(date(2010, 5, 6))): "real",
        (0, day_ns(date(2008, 9, 19))): "reject",
    }
    assert read_exceptions(None, UNIVERSE) == {}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("", "answers.csv: it has no header"),
        ("date,symbol\n", "answers.csv:1: column answer is missing"),
        ("date,symbol,answer\n2010-05-06,PG,yes\n", 'answers.csv:2: answer "yes" is not known. Write real or reject'),
        ("date,symbol,answer\n\n06.05.2010,PG,real\n", 'answers.csv:3: date "06.05.2010" cannot be read'),
        ("date,symbol,answer\n2010-05-06,PG\n", "answers.csv:2: 2 fields under a header of 3"),
        ("date,symbol,answer\n2010-05-06,PG,real,why, so\n", "answers.csv:2: 5 fields under a header of 3"),
        (
            "date,symbol,answer\n2010-05-06,PG,real\n2010-05-06,PG,reject\n",
            "answers.csv:3: PG on 2010-05-06 has another answer in line 2. Keep one of the two lines",
        ),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, lines: str, words: str) -> None:
    with pytest.raises(FeedError) as refused:
        read(tmp_path, lines)
    assert words in str(refused.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="there is no such file"):
        read_exceptions(tmp_path / "none.csv", UNIVERSE)
