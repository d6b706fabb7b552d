"""The page has every section and the figures of the JSON, and asks for nothing outside itself."""

import json
import re
from html import unescape

import msgspec
import pytest

from quantd.daemon.views.report.rendering import charts_of
from quantd.research.reports.page_sections import SECTIONS, page
from tests.support.backtest_reports import Made

FIGURE = re.compile(r'data-figure="([^"]*)" data-value="([^"]*)">([^<]*)<')
CHARTS = re.compile(r'<script type="application/json" id="charts">(.*?)</script>', re.DOTALL)


@pytest.fixture(scope="module")
def text(small: Made) -> str:
    return page(small.report)


def at(document: object, path: str) -> object:
    """The value at a path; a name may have dots in it."""
    if not path:
        return document
    if isinstance(document, list):
        head, _, tail = path.partition(".")
        return at(document[int(head)], tail)
    name = next(name for name in document if path == name or path.startswith(f"{name}."))
    return at(document[name], path[len(name) + 1 :])


def test_each_figure_of_the_page_is_that_of_the_json(small: Made, text: str) -> None:
    document = json.loads(msgspec.json.encode(small.report))
    figures = FIGURE.findall(text)
    assert len(figures) > 800
    for path, value, _ in figures:
        assert json.loads(unescape(value)) == at(document, unescape(path)), path
    shown = {path: unescape(cell) for path, _, cell in figures}
    row = next(k for k, metric in enumerate(small.report.metrics) if metric.name == "sharpe")
    assert shown[f"metrics.{row}.values.0"] == f"{small.report.metrics[row].values[0]:.2f}"


@pytest.mark.requirement("R-241")
def test_every_metric_of_every_account_is_on_the_page(small: Made, text: str) -> None:
    paths = {path for path, _, _ in FIGURE.findall(text)}
    accounts = range(len(small.report.accounts))
    assert {f"metrics.{k}.values.{n}" for k in range(len(small.report.metrics)) for n in accounts} <= paths


def test_the_sections_stand_in_the_order_of_their_places(text: str) -> None:
    names = [section.name for section in SECTIONS]
    assert re.findall(r'<section id="(\w+)">', text) == re.findall(r'href="#(\w+)"', text) == names
    assert [section.place for section in SECTIONS] == sorted({section.place for section in SECTIONS})


def test_a_section_whose_part_is_empty_has_its_text_for_that(small: Made) -> None:
    bare = page(msgspec.structs.replace(small.report, goals=(), attribution=None))
    assert "The configuration has no [study.goals]." in bare
    assert "Attribution is missing; see the notes." in bare
    assert set(re.findall(r'<section id="(\w+)">', bare)) == {section.name for section in SECTIONS}


def test_metrics_name_the_benchmark_that_they_are_relative_to(small: Made) -> None:
    """One whose account has no figures is first in the list, and is no benchmark of any metric."""
    accounts = small.report.accounts
    benchmarks = [k for k, account in enumerate(accounts) if account.kind == "benchmark"]
    names = [accounts[k].name for k in benchmarks]
    assert f"Metrics relative to a benchmark use {names[0]}." in page(small.report)
    without = list(accounts)
    without[benchmarks[0]] = msgspec.structs.replace(accounts[benchmarks[0]], missing="it has no prices in the period")
    text = page(msgspec.structs.replace(small.report, accounts=tuple(without)))
    assert f"Metrics relative to a benchmark use {names[1] if names[1:] else 'a benchmark'}." in text


def test_the_charts_have_the_values_of_the_json(small: Made, text: str) -> None:
    charts = json.loads(CHARTS.search(text)[1].replace("<\\/", "</"))
    report = small.report
    assert charts["equity"]["x"] == [ts / 1e9 for ts in report.curves.ts]
    for series in charts["equity"]["series"]:
        k = [account.name for account in report.accounts].index(series["name"])
        assert series["values"] == pytest.approx(report.curves.wealth[k], abs=1e-6)
    assert charts["drawdown"]["series"][0]["values"] == pytest.approx([-v for v in report.curves.drawdown[0]], abs=1e-6)
    plots = {plot.name for section in SECTIONS for plot in charts_of(section.content(report))}
    assert set(charts) == set(re.findall(r'data-chart="([^"]*)"', text)) == plots


def test_the_page_asks_for_nothing_outside_itself(text: str) -> None:
    assert "default-src 'none'" in text
    assert text.count("var uPlot=") == 1
    assert "Copyright (c) 2022 Leon Sorokin" in text
    for call in ("http:", "https:", "src=", "@import", "url(", "<link", "<iframe"):
        assert call not in text, call


def test_names_cannot_become_markup(small: Made) -> None:
    header = msgspec.structs.replace(small.report.header, name="<script>alert(1)</script>")
    account = msgspec.structs.replace(small.report.accounts[-1], name="</script><b>")
    accounts = (*small.report.accounts[:-1], account)
    text = page(msgspec.structs.replace(small.report, header=header, accounts=accounts))
    assert "<script>alert" not in text
    assert "</script><b>" not in text


def test_an_undefined_figure_is_a_dash_and_null(small: Made, text: str) -> None:
    assert 'data-value="null">–<' in text
    assert "nan" not in "".join(shown for _, _, shown in FIGURE.findall(text)).lower()
