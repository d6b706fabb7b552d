"""Dividends and splits in lines of their own, as on Yahoo's page and in copies of it."""

from pathlib import Path

import pytest

from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.table_files.reader import ReadOptions, read_tables

NAMES = ["Date", "Open", "High", "Low", "Close", "Adj Close", "Volume"]


def page(folder: Path, separator: str, action: str, place: int, *, padded: bool) -> Path:
    """A copy of the page, newest first, with the line of an action above the bar of its day."""
    lines = [
        separator.join([f"Mar {day}, 2024" if separator == "\t" else f"2024-03-{day:02}", "10", "12", "9", "11",
                        "10.9" if day < 15 else "11", f"{day}00"]) for day in range(28, 3, -1)
    ]  # fmt: skip
    day = lines[place].split(separator)[0]
    lines.insert(place, separator.join([day, action, *[""] * (5 if padded else 0)]))
    path = folder / "AAPL.txt"
    path.write_text("\n".join([separator.join(NAMES), *lines, ""]))
    return path


@pytest.mark.one_of(4)
@pytest.mark.parametrize("separator", ["\t", ",", ";"])
@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("action", ["0.25 Dividend", "$0.25 dividends", "0.25 Cash Dividend"])
@pytest.mark.parametrize("place", [0, 13, 24])
def test_a_dividend_in_a_line_of_its_own_is_an_action_of_its_day(
    tmp_path: Path, separator: str, padded: bool, action: str, place: int
) -> None:
    path = page(tmp_path, separator, action, place, padded=padded)
    table = read_tables(path)
    assert len(table.frame) == 25
    assert table.actions.select("ts", "kind", "cash").rows() == [(f"2024-03-{28 - place:02}", "dividend", "0.25")]


@pytest.mark.parametrize("action", ["4:1 Stock Splits", "4:1 Stock Split", "1:10 Stock Splits"])
def test_a_split_that_the_page_s_prices_hold_is_said_and_not_used(tmp_path: Path, action: str) -> None:
    table = read_tables(page(tmp_path, "\t", action, 10, padded=False))
    assert table.actions.is_empty()
    assert "splits: column Split, 1, not used: the prices are adjusted for them" in table.statements[0].text()


def test_an_action_on_a_day_without_a_bar_is_refused_with_its_line(tmp_path: Path) -> None:
    path = page(tmp_path, "\t", "0.25 Dividend", 10, padded=False)
    path.write_text(path.read_text().replace("Mar 18, 2024\t0.25", "Mar 31, 2024\t0.25"))
    with pytest.raises(FeedError, match=r"AAPL\.txt:12: an action of Mar 31, 2024"):
        read_tables(path)


@pytest.mark.parametrize("action", ["0.25 Dividend", "0.25 Cash Dividend"])
def test_a_page_without_adjusted_closes_does_not_say_whether_its_prices_hold_the_dividend(
    tmp_path: Path, action: str
) -> None:
    path = page(tmp_path, "\t", action, 10, padded=False)
    path.write_text("\n".join("\t".join(line.split("\t")[:5] + line.split("\t")[6:]) for line in path.open()))
    with pytest.raises(FeedError, match=r"Add --prices raw .* or --prices adjusted"):
        read_tables(path)
    assert read_tables(path, ReadOptions(prices="raw")).actions["cash"].to_list() == ["0.25"]
    assert read_tables(path, ReadOptions(prices="adjusted")).actions.is_empty()


@pytest.mark.parametrize("spelled", ["0,25 Dividende", "0,25 dividendo", "1.250,5 Dividende"])
def test_a_page_in_another_language_has_its_decimal_comma_in_dividends_too(tmp_path: Path, spelled: str) -> None:
    path = page(tmp_path, "\t", "0.25 Dividend", 10, padded=False)
    lines = path.read_text().replace("10.9", "10,9").replace("0.25 Dividend", spelled)
    path.write_text(lines)
    cash = spelled.split()[0].replace(".", "").replace(",", ".")
    assert read_tables(path).actions.select("kind", "cash").rows() == [("dividend", cash)]
