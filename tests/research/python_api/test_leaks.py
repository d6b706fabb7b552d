"""`quantd.lookahead` finds what `quantd study lookahead` finds."""

import numpy as np
import polars as pl
import pytest

import quantd
from tests.support.command_line import quantd as command
from tests.support.command_line import write

PEEKS = """
import polars as pl
best = {}
def act(view):
    if not best:
        last = pl.read_parquet("bars.parquet").filter(pl.col("symbol") == "SPY").sort("ts")["close"][-1]
        best["SPY"] = 0.5 if last > 300 else 0.4
    return best
"""


def rising(view):
    return np.where(view.returns(20).sum(axis=0) > 0, 0.5, 0.0)


def test_a_configuration_has_the_result_of_the_command(folder):
    import json

    write(folder)
    told = json.loads(command(folder, "study", "lookahead", "momentum", "--cuts", "3", "--json").stdout)
    found = quantd.lookahead("momentum", "config.toml", cuts=3)
    assert found.clean is told["clean"] is True
    assert {name: getattr(found, name) for name in ("answers", "cuts", "differences", "dated")} == {
        name: told["result"][name] for name in ("answers", "cuts", "differences", "dated")
    }
    assert str(found) == "looks only backwards: 3 cuts, 0 differences"


def test_a_function_over_a_frame_is_cleared_and_one_with_a_table_is_not_decided(bars):
    found = quantd.lookahead(rising, bars, cuts=3)
    assert (found.clean, found.decided, found.failed) == (True, True, 0)
    closes = bars.filter(pl.col("symbol") == "SPY")["close"].to_numpy()

    def scaled(view):
        return [0.5 * view.prices[0] / closes.max(), 0.1]

    found = quantd.lookahead(scaled, bars, cuts=3)
    assert not found.decided
    assert "closes (in memory)" in str(found)


def test_a_memo_of_a_class_is_found_by_the_cuts(bars):
    class Reached:
        """Weights by the last close of the whole market, which it finds through the stack."""

        def act(self, view):
            import sys

            frame = sys._getframe()
            while frame is not None:
                if (whole := frame.f_locals.get("assembly")) is not None:
                    return [0.5 if whole.feed.last_ts % 7 else 0.4, whole.feed.last_ts % 11 / 11.0 * 0.3]
                frame = frame.f_back
            return [0.1, 0.1]

    found = quantd.lookahead(Reached, bars, cuts=4)
    assert not found.clean
    assert str(found).startswith("looks ahead: 4 cuts, ")


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda bars: quantd.lookahead(rising, "config.toml"), "a function of the caller needs bars in a frame"),
        (lambda bars: quantd.lookahead("momentum", bars, cuts=0), "cuts=0 ends of the market; give 1 or more"),
        (lambda bars: quantd.lookahead("momentun", bars), "momentun"),
        (lambda bars: quantd.lookahead("momentum", 5), "int is not a frame of bars"),
    ],
)
def test_errors_name_what_is_missing(call, text, bars):
    with pytest.raises(quantd.Error, match=text):
        call(bars)
