"""`.plot()` is the report's picture."""

import pytest

import quantd


def test_a_backtest_has_the_picture_of_its_report(bars, folder):
    result = quantd.backtest("equal_weight", bars, compare=False)
    figure = result.plot()
    assert figure._repr_html_() == result._repr_html_()
    figure.write_html("page.html")
    assert "<svg" in (folder / "page.html").read_text()


def test_a_sweep_has_the_picture_of_its_page(bars):
    swept = quantd.sweep("momentum", {"lookback": [20, 60, 120]}, bars)
    html = swept.plot()._repr_html_()
    assert "<svg" in html
    assert "120" in html
    with pytest.raises(quantd.Error, match=r"'sharp' is no metric of a sweep; choose one of .*sharpe"):
        swept.plot("sharp")
