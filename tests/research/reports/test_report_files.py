"""A report's file has the format of its suffix, and the formats agree."""

import csv
import json
import re
from pathlib import Path

import msgspec
import pytest

from quantd.research.reports.report_files import (
    WRITERS,
    NoReport,
    UnknownSuffix,
    read_backtest_report,
    write_backtest_report,
)
from quantd.research.reports.report_texts import CSV_HEAD, SERIES, leaves
from quantd.trading.display_text import instant_text
from tests.support.backtest_reports import CONFIG, Made
from tests.support.command_line import quantd, write


@pytest.mark.long
@pytest.mark.requirement("R-260")
def test_the_command_writes_each_format(tmp_path: Path) -> None:
    write(tmp_path, CONFIG)
    digests = set()
    for suffix in WRITERS:
        done = quantd(tmp_path, "backtest", "--json", "--report", f"r{suffix}")
        assert done.returncode == 0, done.stderr
        digests.add(json.loads(done.stdout)["digest"])
        assert (tmp_path / f"r{suffix}").stat().st_size > 1_000
    plain = json.loads(quantd(tmp_path, "backtest", "--json", "--no-compare").stdout)
    assert digests == {plain["digest"]}


@pytest.mark.requirement("R-260")
@pytest.mark.parametrize("suffix", list(WRITERS))
def test_each_format_names_dates_hashes_seed_costs_and_commit(suffix: str, tmp_path: Path, small: Made) -> None:
    header = msgspec.structs.replace(small.report.header, commit="0123456789abcdef" * 2 + "01234567+changes")
    report = msgspec.structs.replace(small.report, header=header)
    write_backtest_report(tmp_path / f"r{suffix}", report)
    text = (tmp_path / f"r{suffix}").read_text(encoding="utf-8")
    for entry in (header.first, header.last, header.config, header.market, header.digest, header.commit):
        assert entry in text, entry
    assert re.search(r"seed\W", text)
    assert re.search(rf"commission.bp\W{{1,4}}{header.costs['commission_bp']:g}", text)


def test_csv_has_every_single_figure_of_the_json(tmp_path: Path, small: Made) -> None:
    write_backtest_report(tmp_path / "r.csv", small.report)
    write_backtest_report(tmp_path / "r.json", small.report)
    head, *rows = csv.reader((tmp_path / "r.csv").open(encoding="utf-8"))
    assert tuple(head) == CSV_HEAD
    cells = {(path, account): value for path, account, value in rows}
    document = json.loads((tmp_path / "r.json").read_text())
    for row in document.pop("metrics"):
        for account, value in zip(document["accounts"], row["values"], strict=True):
            text = cells.pop((f"metrics.{row['name']}", account["name"]))
            assert text == ("" if value is None else str(value))
    expected = {path: value for path, value in leaves(document) if not path.startswith(tuple(f"{s}." for s in SERIES))}
    assert not [path for path in expected if path.rpartition(".")[2].isdecimal() and int(path.rpartition(".")[2]) > 50]
    assert {path for path, _ in cells} == set(expected)
    numbers = [path for path, value in expected.items() if isinstance(value, float)]
    assert len(numbers) > 200
    for path in numbers:
        assert float(cells[path, ""]) == expected[path]


def test_the_series_of_a_csv_report_are_columns_of_a_file_of_their_own(tmp_path: Path, small: Made) -> None:
    report = small.report
    write_backtest_report(tmp_path / "r.csv", report)
    rows = list(csv.DictReader((tmp_path / "r.series.csv").open(encoding="utf-8")))
    assert len(rows) == len(report.curves.ts)
    assert rows[0]["time"] == instant_text(report.curves.ts[0])
    for name, stamps, expected in (
        ("wealth house", report.curves.ts, report.curves.wealth[0]),
        (f"sharpe of {report.rolling.window} house", report.rolling.ts, report.rolling.sharpe[0]),
        (f"beta of {report.rolling.window}", report.rolling.ts, report.rolling.beta),
        ("gross exposure", report.exposures.ts, report.exposures.gross),
        ("net exposure", report.exposures.ts, report.exposures.net),
        ("equity", report.samples.ts, report.samples.equity),
    ):
        assert expected, name
        values = dict(zip(map(instant_text, stamps), expected, strict=True))
        for row in rows:
            value = values.get(row["time"])
            assert row[name] == ("" if value is None else str(value))
    assert sum(row[f"drawdown of {report.rolling.window} house"] != "" for row in rows) == len(report.rolling.ts)


def test_markdown_has_the_tables_of_the_page(tmp_path: Path, small: Made) -> None:
    write_backtest_report(tmp_path / "r.md", small.report)
    text = (tmp_path / "r.md").read_text()
    for title in ("Results", "Goals", "Drawdown, and", "Monthly and annual", "Trades", "Costs", "Contribution by"):
        assert f"## {title}" in text, title
    assert f"| Sharpe ratio | {small.report.statistics.sharpe:.2f} |" in text
    assert small.report.header.market in text


def test_another_suffix_and_another_file_are_refused(tmp_path: Path, small: Made) -> None:
    with pytest.raises(UnknownSuffix, match=r"\.html, \.json, \.md, \.csv"):
        write_backtest_report(tmp_path / "r.pdf", small.report)
    (tmp_path / "x.json").write_text("{}")
    for name in ("x.json", "none.json"):
        with pytest.raises(NoReport, match="quantd backtest --report"):
            read_backtest_report(tmp_path / name)
    (tmp_path / "y.json").write_text((WRITERS[".json"](small.report)).replace('"format": 1', '"format": 9'))
    with pytest.raises(NoReport, match="format 9"):
        read_backtest_report(tmp_path / "y.json")


def test_a_suffix_that_is_no_format_is_refused_before_the_run(tmp_path: Path) -> None:
    write(tmp_path, CONFIG)
    done = quantd(tmp_path, "backtest", "--report", "r.pdf")
    assert done.returncode == 2
    assert ".html" in done.stderr
