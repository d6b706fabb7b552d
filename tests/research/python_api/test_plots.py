"""`.plot()` is a figure of plotly, or the report's picture where plotly is not installed."""

from importlib import util

import plotly.graph_objects as go
import pytest

import quantd
from quantd.research.python_api import plots


@pytest.fixture
def bare(monkeypatch):
    monkeypatch.setattr(plots, "find_spec", lambda name: None if name == "plotly" else util.find_spec(name))


def test_a_backtest_is_drawn_with_equal_weight_beside_it(bars):
    result = quantd.backtest("momentum", bars, params={"lookback": 60})
    figure = result.plot()
    assert isinstance(figure, go.Figure)
    assert [trace.name for trace in figure.data] == [
        "this run", "this run, drawdown", "equal weight", "equal weight, drawdown",
    ]  # fmt: skip
    assert list(figure.data[0].y) == result.equity["equity"].to_list()
    assert min(figure.data[1].y) == pytest.approx(-100.0 * result.metrics["max_drawdown"])


def test_without_plotly_it_is_the_picture_of_the_report(bars, bare, folder):
    result = quantd.backtest("equal_weight", bars, compare=False)
    figure = result.plot()
    assert figure._repr_html_() == result._repr_html_()
    figure.write_html("page.html")
    assert "<svg" in (folder / "page.html").read_text()


def test_a_sweep_is_a_line_or_a_map(bars):
    swept = quantd.sweep("momentum", {"lookback": [20, 60, 120]}, bars)
    figure = swept.plot()
    assert list(figure.data[0].x) == ["20", "60", "120"]
    assert list(figure.data[0].y) == swept.table["sharpe"].to_list()
    with pytest.raises(quantd.Error, match=r"'sharp' is no metric of a sweep; choose one of .*sharpe"):
        swept.plot("sharp")
    both = quantd.sweep("momentum", {"lookback": [20, 60], "agents.policy.min_trade": [0.0, 0.01]}, bars).plot()
    assert [len(row) for row in both.data[0].z] == [2, 2]


def test_a_sweep_without_plotly_has_the_picture_of_its_page(bars, bare):
    html = quantd.sweep("momentum", {"lookback": [20, 60, 120]}, bars).plot()._repr_html_()
    assert "<svg" in html
    assert "120" in html
