"""The one form of every report: text is escaped, a figure has its value, and a page loads nothing."""

from quantd.daemon.views.report.rendering import charts_of, document, html, markdown, table_lines
from quantd.daemon.views.report.section_parts import Cell, Chart, Grid, Heading, Note, Plot, Row, Series, Svg, Table

LINE = Chart((0.0, 1.0), (Series("a", (1.0, None), "--c0"),), "ratio")
PARTS = [
    Heading("A & B"),
    Grid([[Table(("", "value"), [Row("a|b", [Cell("x.0", 0.25, "fraction"), "two"])], "Inside")], []]),
    Plot("curve", LINE, "Curve"),
    Note("<not markup>"),
    Table((), [Row("drawn", [Svg("<svg/>")])]),
]


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
