"""Headlines belong to the first session that closes when they were public; nothing is dated earlier."""

from datetime import date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.adapters.calendars import instant_ns, sessions
from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.recorded.headlines import Headlines, by_session, published_ns, read_headlines, session_days

YORK = sessions("XNYS", date(2024, 1, 1), date(2024, 12, 31))
ALWAYS = sessions("24/7", date(2024, 1, 1), date(2024, 12, 31))


def headlines(*stamps: str) -> Headlines:
    ts = np.array([instant_ns(text if "T" in text else f"{text}T00:00:00Z") for text in stamps], dtype=np.int64)
    return Headlines("news.csv", ts, pl.Series(["SPY"] * len(ts)), pl.Series(["words"] * len(ts)))


@pytest.mark.parametrize(
    ("stamp", "day"),
    [
        ("2024-07-02T19:59:59Z", "2024-07-02"),  # a second before 16:00 in New York
        ("2024-07-02T20:00:00Z", "2024-07-02"),  # at the close
        ("2024-07-02T20:00:01Z", "2024-07-03"),  # after the close
        ("2024-07-02T23:30:00-04:00", "2024-07-03"),  # the same evening in New York, the next date in UTC
        ("2024-07-03T17:00:00Z", "2024-07-03"),  # a half day closes at 13:00
        ("2024-07-03T17:00:01Z", "2024-07-05"),  # after it, before a holiday
        ("2024-07-05T21:00:00Z", "2024-07-08"),  # Friday evening
        ("2024-07-06T12:00:00Z", "2024-07-08"),  # Saturday
        ("2024-12-02T20:59:59Z", "2024-12-02"),  # winter: the close is at 21:00 UTC
        ("2024-07-02", "2024-07-03"),  # a date without an hour: public at its end, after the close
        ("2024-07-05", "2024-07-08"),
    ],
)
def test_a_headline_after_the_close_belongs_to_the_next_session(stamp: str, day: str) -> None:
    (session_day,) = session_days(headlines(stamp), YORK)
    assert str(np.datetime64(int(session_day), "ns").astype("datetime64[D]")) == day


def test_a_market_that_never_closes_dates_a_headline_by_its_day() -> None:
    days = session_days(headlines("2024-07-06T12:00:00Z", "2024-07-06", "2024-07-06T23:59:59Z"), ALWAYS)
    assert set(days.tolist()) == {instant_ns("2024-07-06T00:00:00Z")}


def test_a_date_ends_when_the_next_one_begins_in_its_zone() -> None:
    ts = headlines("2024-03-09", "2024-11-02", "2018-11-03").ts
    assert published_ns(ts[:2], "America/New_York").tolist() == [
        instant_ns("2024-03-10T00:00:00-05:00"), instant_ns("2024-11-03T00:00:00-04:00"),
    ]  # fmt: skip
    # in Sao Paulo clocks went from 00:00 to 01:00 on 2018-11-04
    assert published_ns(ts[2:], "America/Sao_Paulo").tolist() == [instant_ns("2018-11-04T01:00:00-02:00")]


@given(st.datetimes(datetime(2024, 1, 3), datetime(2024, 12, 20)))
def test_no_session_closes_before_its_headlines_are_public(moment: datetime) -> None:
    news = headlines(moment.replace(microsecond=0).isoformat() + "Z")
    row = YORK.row_of_day[int(session_days(news, YORK)[0])]
    public = int(published_ns(news.ts, YORK.zone)[0])
    assert YORK.close_ns[row - 1] < public <= YORK.close_ns[row]


def test_a_headline_outside_the_calendar_is_refused_with_its_line() -> None:
    for late in ("2024-12-31T22:00:00Z", "2023-11-01T12:00:00Z"):
        with pytest.raises(FeedError, match=r"news\.csv:3: no session of XNYS closes within 14 days after 202"):
            session_days(headlines("2024-07-02T12:00:00Z", late), YORK)


def test_the_value_is_the_mean_of_the_symbol_and_session() -> None:
    news = headlines("2024-07-02T12:00:00Z", "2024-07-02T13:00:00Z", "2024-07-02T14:00:00Z", "2024-07-02T21:00:00Z")
    news = Headlines(news.name, news.ts, pl.Series(["SPY", "SPY", "AAPL", "SPY"]), news.texts)
    table = by_session(news, session_days(news, YORK), np.array([0.5, -0.1, 0.3, -0.9]))
    assert table.columns == ["ts", "symbol", "value", "headlines", "available"]
    second, third = date(2024, 7, 2), date(2024, 7, 3)
    assert table.drop("value").rows() == [
        (second, "AAPL", 1, second), (second, "SPY", 2, second), (third, "SPY", 1, third),
    ]  # fmt: skip
    np.testing.assert_allclose(table["value"].to_numpy(), [0.3, 0.2, -0.9])


@pytest.mark.long
def test_csv_and_parquet_with_dates_or_instants_are_read_alike(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        'ts,symbol,headline,source\n2024-07-02, SPY ,Profit beats,x\n2024-07-02T20:00:01Z,SPY,"Loss, again",x\n'
    )
    news = read_headlines(tmp_path / "a.csv")
    assert news.symbols.to_list() == ["SPY", "SPY"]
    assert news.texts.to_list() == ["Profit beats", "Loss, again"]
    pl.DataFrame({"ts": [date(2024, 7, 2)], "symbol": ["SPY"], "headline": ["Profit beats"]}).write_parquet(
        tmp_path / "b.parquet"
    )
    assert read_headlines(tmp_path / "b.parquet").ts.tolist() == news.ts.tolist()[:1]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ts,symbol,headline\n", "it has no headline"),
        ("ts,symbol,title\n2024-07-02,SPY,x\n", "column headline is missing"),
        ("ts,symbol,headline\n2024-07-02,SPY,x\nyesterday,SPY,x\n", r"news\.csv:3: ts cannot be read"),
        ("ts,symbol,headline\n2024-07-02,,x\n", r"news\.csv:2: it names no symbol"),
        ("ts,symbol,headline\n2024-07-02,SPY, \n", r"news\.csv:2: the headline is empty"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "news.csv").write_text(text)
    with pytest.raises(FeedError, match=reason):
        read_headlines(tmp_path / "news.csv")
