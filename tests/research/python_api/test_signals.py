"""`quantd.study_signal`: a factor of a notebook has the figures of the command, and none if it sees the future."""

import numpy as np
import polars as pl
import pytest

import quantd
from quantd.research.python_api.signals import captured_tables
from quantd.research.studies.factor_figures import cross_buckets, leg_weights
from quantd.research.studies.signal_study import COLUMNS
from tests.support.market_frames import random_frame

SETTINGS = {"feed.start": "2024-02-01"}
FRAME = random_frame(3, 8, 110)
SHORT = {"horizons": (1, 5), "cuts": 4}


def reversal(view):
    return -view.returns(1)[-1]


@pytest.mark.long
def test_a_function_a_feature_and_a_file_give_one_table(folder):
    (folder / "mine.py").write_text("def signal(view):\n    return -view.returns(1)[-1]\n")
    study = quantd.study_signal([reversal, "daily_return_1", "mine.py:signal"], FRAME, SETTINGS, **SHORT)
    table = study.table
    assert table.columns == list(COLUMNS)
    assert table.height == 6
    by_name = {name: part.sort("horizon")["rank_ic"].to_numpy() for (name,), part in table.group_by("factor")}
    assert by_name["reversal"] == pytest.approx(by_name["mine.py:signal"], abs=1e-12)
    assert by_name["reversal"] == pytest.approx(-by_name["daily_return_1"], abs=1e-12)
    assert study.quantiles.filter(pl.col("factor") == "reversal").height == 2 * 4
    assert study.trials == 3


def test_a_planted_factor_is_found_and_a_notebook_shows_its_tables():
    frame = random_frame(4, 10, 110)
    # the volume of a day tells the move from the next open to the one after it
    opened = pl.col("open").shift(-1).over("symbol")
    frame = frame.with_columns(
        (pl.col("volume") * (1.0 + 20.0 * (opened.shift(-1).over("symbol") / opened - 1.0))).fill_null(1e6)
    )

    def planted(view):
        return view.bars(1).volume[-1]

    study = quantd.study_signal(planted, frame, SETTINGS, **SHORT)
    row = study.table.row(0, named=True)
    assert row["rank_ic"] > 0.9
    assert row["net_sharpe"] > 10
    html = study._repr_html_()
    assert "<table" in html
    assert "planted: cross-section, 10 symbols" in html
    assert "looks only backwards" in str(study)


@pytest.mark.long
def test_a_function_that_holds_the_frame_is_refused():
    table = FRAME

    def seer(view):
        last = table.group_by("symbol").agg(pl.col("close").last()).sort("symbol")
        return last["close"].to_numpy() / view.prices

    with pytest.raises(quantd.Error, match="table \\(in memory\\)"):
        quantd.study_signal(seer, FRAME, SETTINGS, **SHORT)


def test_a_function_that_remembers_its_calls_is_refused():
    seen = []

    def counted(view):
        seen.append(1)
        return view.prices * len(seen)

    with pytest.raises(quantd.Error, match="two runs over the same market differ"):
        quantd.study_signal(counted, FRAME, SETTINGS, **SHORT)


def test_tables_are_found_where_functions_objects_and_containers_hold_them():
    array = np.zeros(100)

    def inner():
        return array

    class Holder:
        def __init__(self, held):
            self.held = held

        def act(self, view):
            return self.held

    def outer(view, frame=FRAME):
        return inner()

    assert captured_tables(outer) == ("array (in memory)", "default 1 (in memory)")
    assert captured_tables(Holder({"a": FRAME})) != ()
    assert captured_tables(Holder(np.zeros(5))) == ()
    assert captured_tables(reversal) == ()
    assert captured_tables(lambda view: FRAME.lazy()) != ()
    assert captured_tables(lambda view: [row for row in FRAME.rows() if row]) != ()


@pytest.mark.long
def test_settings_beside_a_loaded_configuration_are_a_mistake(folder):
    FRAME.write_parquet(folder / "bars.parquet")
    text = '[universe]\nsymbols = ["S00", "S01"]\n[feed]\npath = "bars.parquet"\nstamps = "session"\n'
    (folder / "config.toml").write_text(
        text + '[broker]\ncash = "100000"\n[[agents]]\nname = "a"\npolicy = "equal_weight"\ncapital = 1.0\n'
    )
    config = quantd.load(folder / "config.toml")
    with pytest.raises(quantd.Error, match="settings cannot change a loaded configuration"):
        quantd.study_signal("rsi_14", config, SETTINGS)
    by_file = quantd.study_signal("momentum_5", folder / "config.toml", **SHORT)
    assert by_file.studies == quantd.study_signal("momentum_5", config, **SHORT).studies
    assert by_file.studies[0].mode == "time series"


@pytest.mark.long
def test_the_spread_is_what_a_backtest_of_its_legs_earns_pays_and_trades():
    """Each open is the close before it, so that the study's returns are those of the engine's valuations. No symbol
    moves from one side to the other in a day, which the engine does in two orders on two days."""
    frame = random_frame(5, 10, 118).with_columns(pl.col("open", "high", "low", "close").round(2))  # whole ticks
    frame = frame.with_columns(pl.col("close").shift(1).over("symbol").fill_null(50.0).alias("open"))
    high, low = pl.max_horizontal("open", "high"), pl.min_horizontal("open", "low")
    frame = frame.with_columns(high.alias("high"), low.alias("low"))

    def signal(view):
        return view.returns(15).sum(axis=0)

    def act(view):
        legs = leg_weights(cross_buckets(signal(view)[None], 5), 5, over_time=False)[0]
        return legs / 2.0

    free = {"spread_bp": 0, "slippage_bp": 0, "participation": 0, "borrow_bp_annual": 0, "cash": "1000000000"}
    for commission in (0, 5):
        settings = {"feed.start": "2024-02-01", "feed.warmup": 20, "broker.commission_bp": commission}
        settings |= {"agents.policy.min_trade": 0.0}
        settings |= {f"broker.{key}": value for key, value in free.items()}
        run = quantd.backtest(act, frame, settings, compare=False)
        equity = run.equity["equity"].to_numpy()
        returns = 2.0 * (equity[1:-1] / equity[:-2] - 1.0)  # the study has no open after the last row
        traded = (run.fills["quantity"].cast(pl.Float64) * run.fills["price"].cast(pl.Float64)).abs().sum()
        spread = quantd.study_signal(signal, frame, settings, horizons=(1,), cuts=3).studies[0].horizons[0].spread
        assert returns.mean() * 252 == pytest.approx(spread.net_annual, abs=0.003)
        sharpe = returns.mean() / returns.std(ddof=1) * np.sqrt(252)
        assert sharpe == pytest.approx(spread.net_sharpe, abs=0.03)
        assert 2.0 * traded / equity.mean() / len(returns) * 252 == pytest.approx(spread.turnover_annual, rel=0.02)
