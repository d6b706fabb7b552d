"""`quantd.lookahead` finds what `quantd study lookahead` finds."""

import json

import numpy as np
import polars as pl
import pytest

import quantd
from tests.support.command_line import quantd as command
from tests.support.command_line import write


def rising(view):
    return np.where(view.returns(20).sum(axis=0) > 0, 0.5, 0.0)


@pytest.mark.long
def test_a_configuration_has_the_result_of_the_command(folder):
    write(folder)
    document = json.loads(command(folder, "study", "lookahead", "momentum", "--cuts", "3", "--json").stdout)
    lookahead = quantd.lookahead("momentum", "config.toml", cuts=3)
    assert lookahead.clean is document["clean"] is True
    assert {name: getattr(lookahead, name) for name in ("answers", "cuts", "differences", "dated")} == {
        name: document["result"][name] for name in ("answers", "cuts", "differences", "dated")
    }
    assert str(lookahead) == "looks only backwards: 3 cuts, 0 differences"


@pytest.mark.long
def test_a_function_over_a_frame_is_cleared_and_one_with_a_table_is_not_decided(bars):
    lookahead = quantd.lookahead(rising, bars, cuts=3)
    assert (lookahead.clean, lookahead.decided, lookahead.failed) == (True, True, 0)
    closes = bars.filter(pl.col("symbol") == "SPY")["close"].to_numpy()

    def scaled(view):
        return [0.5 * view.prices[0] / closes.max(), 0.1]

    lookahead = quantd.lookahead(scaled, bars, cuts=3)
    assert (lookahead.clean, lookahead.decided) == (None, False)
    assert str(lookahead).startswith("not decided: 3 cuts, 0 differences")
    assert "closes (in memory)" in str(lookahead)


WEEKLY: dict[str, object] = {}


@pytest.mark.long
def test_nothing_is_called_clean_that_the_study_did_not_decide(bars, folder):
    """A copy of the bars, a table of pandas in the module, a file of its own, and a market with one decision."""
    import pandas as pd

    copied = bars.clone()
    WEEKLY["closes"] = pd.DataFrame({"close": bars["close"].to_numpy()})

    def copies(view):
        return [0.4 if float(copied["close"][0]) > 1.0 else 0.1, 0.1]

    def weekly(view):
        return [0.4 if float(WEEKLY["closes"]["close"].iloc[0]) > 1.0 else 0.1, 0.1]

    for policy in (copies, weekly):
        lookahead = quantd.lookahead(policy, bars, cuts=3)
        assert lookahead.clean is None, str(lookahead)
        assert str(lookahead).startswith("not decided")
    write(folder)
    (folder / "own.csv").write_text("a\n1\n")
    (folder / "reads.py").write_text("def act(view):\n    return [float(open('own.csv').read()[2]) / 4, 0.1, 0.1]\n")
    process = command(folder, "study", "lookahead", "reads.py:act", "--cuts", "3", "--json")
    assert json.loads(process.stdout)["clean"] is None
    assert process.returncode == 2
    short = bars.group_by("symbol", maintain_order=True).head(1)
    lookahead = quantd.lookahead(rising, short, cuts=3)
    assert (lookahead.clean, lookahead.cuts) == (None, 0)
    assert str(lookahead).startswith("not decided")


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda bars: quantd.lookahead(rising, "config.toml"), "a function of the caller needs bars in a frame"),
        (
            lambda bars: quantd.lookahead("momentum", bars, cuts=0),
            "cuts=0: no earlier end of the market to compare; give 1 or more",
        ),
        (lambda bars: quantd.lookahead("momentun", bars), "momentun"),
        (lambda bars: quantd.lookahead("momentum", 5), "int is not a frame of bars"),
    ],
)
def test_errors_name_what_is_missing(call, text, bars):
    with pytest.raises(quantd.Error, match=text):
        call(bars)
