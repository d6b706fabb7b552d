"""Dividends and splits in lines of their own, as on Yahoo's page and in copies of it."""

import random
from datetime import date, timedelta
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


def adjusted_table(paid: dict[int, float], *, places: int = 6, count: int = 400, decimal: str = ".") -> str:
    """A CSV of closes with the adjusted closes of dividends `paid` (by row), which the closes fall by."""
    draw, closes = random.Random(3), [80.0]
    for row in range(1, count):
        closes.append(round((closes[-1] - paid.get(row, 0.0)) * draw.uniform(0.97, 1.031), 2))
    adjusted, factor = list(closes), 1.0
    for row in range(count - 1, -1, -1):
        adjusted[row] = closes[row] * factor
        if row in paid:
            factor *= 1.0 - paid[row] / closes[row - 1]
    lines = [
        f"{date(2021, 1, 4) + timedelta(days=row)};{close:.2f};{close + 1:.2f};{close - 1:.2f};{close:.2f};"
        f"{adjusted[row]:.{places}f};1000"
        for row, close in enumerate(closes)
    ]
    return "\n".join([";".join(NAMES), *(line.replace(".", decimal) for line in lines), ""])


@pytest.mark.parametrize(
    ("paid", "places", "decimal", "most"),
    [
        ({row: 0.3 + row / 1000 for row in range(5, 400, 21)}, 6, ".", 2e-4),
        (dict.fromkeys(range(40, 400, 63), 0.6), 6, ",", 2e-4),
        (dict.fromkeys(range(40, 400, 63), 0.6), 2, ".", 0.03),
        ({200: 11.5}, 4, ".", 1e-3),
    ],
)
def test_adjusted_closes_without_a_column_of_dividends_show_each_dividend(
    paid: dict[int, float], places: int, decimal: str, most: float, tmp_path: Path
) -> None:
    path = tmp_path / "AAPL.csv"
    path.write_text(adjusted_table(paid, places=places, decimal=decimal))
    table = read_tables(path)
    days = [str(date(2021, 1, 4) + timedelta(days=row)) for row in paid]
    assert table.actions.select("ts", "kind").rows() == [(day, "dividend") for day in days]
    assert [float(cash) for cash in table.actions["cash"]] == pytest.approx(list(paid.values()), abs=most)
    assert f"dividends: column Adj Close, {len(paid)}, by its distance to the close" in table.statements[0].text()
    assert read_tables(path, ReadOptions(prices="adjusted")).actions.is_empty()


def test_adjusted_closes_that_show_no_dividends_are_said_and_not_used(tmp_path: Path) -> None:
    path, draw = tmp_path / "AAPL.csv", random.Random(4)
    path.write_text(adjusted_table({}))
    assert read_tables(path).actions.is_empty()
    assert "Adj Close is not used" not in read_tables(path).statements[0].text()
    lines = path.read_text().splitlines()
    cells = [line.split(";") for line in lines[1:]]
    noisy = [[*row[:5], f"{float(row[5]) * draw.uniform(0.99, 1.01):.6f}", row[6]] for row in cells]
    path.write_text("\n".join([lines[0], *map(";".join, noisy), ""]))
    assert read_tables(path).actions.is_empty()
    assert "Adj Close is not used: its distance" in read_tables(path).statements[0].text()
    halved = [[*row[:5], f"{float(row[5]) / (2 if k < 200 else 1):.6f}", row[6]] for k, row in enumerate(cells)]
    path.write_text("\n".join([lines[0], *map(";".join, halved), ""]))
    assert read_tables(path).actions.is_empty()
    assert "1 larger steps are not used" in read_tables(path).statements[0].text()
