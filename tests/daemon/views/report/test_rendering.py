"""The one form of every report: text is escaped, a figure has its value, and a page loads nothing."""

import re
from html import unescape

import msgspec
import pytest

from quantd.daemon.views.report.rendering import POLICY, charts_of, document, formatted, html, markdown, table_lines
from quantd.daemon.views.report.section_parts import Cell, Chart, Grid, Heading, Note, Plot, Row, Series, Svg, Table

LINE = Chart((0.0, 1.0), (Series("a", (1.0, None), "--c0"),), "ratio")
PARTS = [
    Heading("A & B"),
    Grid([[Table(("", "value"), [Row("a|b", [Cell("x.0", 0.25, "fraction"), "two"])], "Inside")], []]),
    Plot("curve", LINE, "Curve"),
    Note("<not markup>"),
    Table((), [Row("drawn", [Svg("<svg/>")])]),
]


def test_a_page_forbids_itself_to_load_anything_and_shows_its_title_as_text() -> None:
    page = document("<i>5 & 6", "<p>body</p>")
    assert POLICY.startswith("default-src 'none';")
    assert f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">' in page
    assert "<title>&lt;i&gt;5 &amp; 6</title>" in page
    assert "</style></head><body><p>body</p></body></html>\n" in page


def test_parts_are_html_with_a_box_for_each_chart() -> None:
    page = html(PARTS)
    assert "<h2>A &amp; B</h2>" in page
    assert '<p class="">&lt;not markup&gt;</p>' in page
    assert '<h3>Curve</h3><div class="chart" data-chart="curve"></div>' in page
    assert "<tr><th>a|b</th>" in page
    assert "<td>two</td>" in page
    assert "<td><svg/></td>" in page
    assert [plot.name for plot in charts_of([Grid([PARTS])])] == ["curve"]
    assert '"charts"' in document("t", page, {"curve": LINE})


def test_parts_are_markdown_without_charts() -> None:
    assert markdown(PARTS) == [
        "### A & B", "", "### Inside", "", "|  | value |  |", "|---|---|---|", "| a\\|b | 25.00% | two |", "",
        "<not markup>", "", "|  |  |", "|---|---|", "| drawn |  |", "",
    ]  # fmt: skip
    assert markdown([Table(("a",), [])]) == ["None.", ""]
    assert table_lines(("a", "b"), [("1", "2")]) == ["| a | b |", "|---|---|", "| 1 | 2 |"]


def test_a_heading_and_its_tip_are_text() -> None:
    assert '<tr><th title="&quot;x&quot;">a&lt;b</th></tr>' in html([Table((), [Row("a<b", [], '"x"')])])


@pytest.mark.parametrize("value", [None, True, 0.25, 'a "quoted" <name>', "é"])
def test_a_cell_has_its_path_and_the_exact_value_of_the_json(value: float | str | bool | None) -> None:
    cell = html([Table((), [Row("", [Cell("house.<x>", value, kind="no", shown="<shown>", style="color:red")])])])
    parts = re.search(r'<td class="no" style="color:red" data-figure="([^"]*)" data-value="([^"]*)">([^<]*)</td>', cell)
    assert parts is not None
    assert [unescape(parts[1]), msgspec.json.decode(unescape(parts[2])), unescape(parts[3])] == [
        "house.<x>", value, "<shown>",
    ]  # fmt: skip


def test_an_undefined_figure_is_a_dash_and_a_small_one_keeps_its_digits() -> None:
    assert formatted(None, "ratio") == "–"
    assert formatted(0.0004, "fraction") == "0.040%"
    assert formatted(0.0004, "p") == "<0.001"
    assert (formatted(True, "text"), formatted(False, "text")) == ("yes", "no")
