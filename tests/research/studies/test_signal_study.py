"""`quantd study signal`: what it measures, what it refuses, and what it writes into the ledger."""

import csv
import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import pytest
from scipy.stats import spearmanr

import quantd as quantd_api
from quantd.research.runs.looks import read_looks
from quantd.research.studies.signal_study import COLUMNS, usual_quantiles
from tests.support.command_line import Done, one_agent, quantd
from tests.support.market_frames import random_frame

FILES = TemporaryDirectory()


@cache
def bars_file(symbols: int, count: int, seed: int) -> Path:
    """A file of bars for all tests: one that is new to quantd is read by a process of its own first."""
    path = Path(FILES.name).resolve() / f"{symbols}-{count}-{seed}.parquet"
    random_frame(seed, symbols, count).write_parquet(path)
    return path


def market(folder: Path, symbols: int = 12, count: int = 118, seed: int = 1) -> pl.DataFrame:
    (folder / "bars.parquet").unlink(missing_ok=True)
    (folder / "bars.parquet").symlink_to(bars_file(symbols, count, seed))
    frame = random_frame(seed, symbols, count)
    names = [f"S{k:02}" for k in range(symbols)]
    (folder / "config.toml").write_text(one_agent(names, feed="start = 2024-02-01\nwarmup = 20"))
    return frame


def study(folder: Path, *more: str) -> Done:
    return quantd(folder, "study", "signal", *more, "--horizons", "1,5", "--cuts", "4")


def results(done: Done):
    return json.loads(done.stdout)["studies"]


OWN = """
import numpy as np
LOOKBACK = 30
def signal(view):
    return {body}
"""


def write(folder: Path, body: str, above: str = "") -> str:
    (folder / "mine.py").write_text(above + OWN.format(body=body))
    return "mine.py:signal"


@pytest.mark.long
def test_a_coefficient_is_that_of_the_close_with_the_next_open_to_open_return(tmp_path: Path) -> None:
    frame = market(tmp_path)
    done = study(tmp_path, "momentum_5", "--json")
    factor, document = results(done)[0], json.loads(done.stdout)
    assert (document["trials"], document["withdrawn"], document["fault"]) == (1, 0, "")
    wide = {c: frame.pivot("symbol", index="ts", values=c).sort("ts") for c in ("open", "close")}
    dates = wide["open"]["ts"].to_list()
    first = next(k for k, day in enumerate(dates) if day.month == 2)
    opens, closes = (wide[c].drop("ts").to_numpy() for c in ("open", "close"))
    for h, given in zip((1, 5), factor["horizons"], strict=True):
        ics = [
            spearmanr(closes[t] / closes[t - 5] - 1, opens[t + 1 + h] / opens[t + 1] - 1)[0]
            for t in range(first, len(dates) - 1 - h)
        ]
        assert given["count"] == len(ics)
        assert given["rank_ic"] == pytest.approx(np.mean(ics), abs=1e-12)
        assert given["deviation"] == pytest.approx(np.std(ics, ddof=1), abs=1e-12)
        assert given["positive"] == pytest.approx(np.mean(np.array(ics) > 1e-12))
    assert factor["coverage"] == 1.0
    assert factor["mode"] == "cross-section"
    assert factor["cost_bp"] == 3.0


def with_series(folder: Path, frame: pl.DataFrame, more: str = "") -> None:
    """A series per symbol with the return of each bar, known at its close."""
    growth = (pl.col("close") / pl.col("close").shift(1) - 1.0).over("symbol")
    frame.sort("ts").select(pl.col("ts").dt.date(), "symbol", value=growth).drop_nulls().write_csv(folder / "own.csv")
    path = folder / "config.toml"
    series = f'series = [{{ name = "own", path = "own.csv", available = "close"{more} }}]\n'
    path.write_text(path.read_text().replace("[feed]\n", f"[feed]\n{series}"))


@pytest.mark.long
def test_a_series_of_a_file_is_a_factor_like_the_feature_that_it_contains(tmp_path: Path) -> None:
    with_series(tmp_path, market(tmp_path))
    series, feature = (results(study(tmp_path, factor, "--json"))[0] for factor in ("series_own", "momentum_1"))
    for one, other in zip(series["horizons"], feature["horizons"], strict=True):
        assert one["rank_ic"] == pytest.approx(other["rank_ic"], abs=1e-12)
        assert one["count"] == other["count"]
    change = results(study(tmp_path, "series_own_change_1.rank", "--json"))[0]
    assert change["horizons"][0]["rank_ic"] != pytest.approx(series["horizons"][0]["rank_ic"], abs=1e-6)
    signals = quantd_api.study_signal("series_own", tmp_path / "config.toml", horizons=(1, 5), cuts=4)
    assert signals.studies[0].horizons[0].rank_ic == pytest.approx(series["horizons"][0]["rank_ic"], abs=1e-12)


def test_a_series_that_is_switched_off_or_absent_is_no_factor(tmp_path: Path) -> None:
    with_series(tmp_path, market(tmp_path), ", use = false")
    for name in ("own", "mood"):
        done = study(tmp_path, f"series_{name}")
        assert done.returncode == 2
        said = f'needs the series per symbol \'{name}\'; write [feed] series = [{{ name = "{name}", path = "FILE" }}]'
        assert said in done.stderr


@pytest.mark.long
def test_names_of_symbols_address_the_values_and_none_is_no_value(tmp_path: Path) -> None:
    market(tmp_path)
    above = 'MISSING = {"S03", "S04"}\n'
    body = (
        "{s: (None if s in MISSING else view.prices[k]) for k, s in reversed(list(enumerate(view.universe.symbols)))}"
    )
    factor = results(study(tmp_path, write(tmp_path, body, above), "--json"))[0]
    assert factor["coverage"] == pytest.approx(10 / 12)
    wrong = study(tmp_path, write(tmp_path, '{"XYZ": 1.0}'))
    assert wrong.returncode == 1
    assert "the signal has a value for 'XYZ', which is not in the universe" in wrong.stdout


@pytest.mark.parametrize(("symbols", "quantiles"), [(5, 2), (6, 3), (9, 4), (10, 5), (500, 5)])
def test_a_small_universe_has_fewer_quantiles(symbols: int, quantiles: int) -> None:
    many = np.arange(100.0)
    assert usual_quantiles(symbols, 5, many, over_time=False) == quantiles
    assert usual_quantiles(symbols, 5, many, over_time=True) == 5
    assert usual_quantiles(symbols, 5, np.array([0.0, 1.0, np.nan, 1.0]), over_time=True) == 2


@pytest.mark.long
def test_several_factors_are_ranked_by_adjusted_p_values_and_each_is_one_look(tmp_path: Path) -> None:
    market(tmp_path)
    names = ["rsi_14", "momentum_5", "volatility_5"]
    done = study(tmp_path, *names, "--json", "--out", "table.csv")
    factors = results(done)
    least = [min(factor["p_adjusted"]) for factor in factors]
    assert least == sorted(least)
    for factor in factors:
        assert all(adjusted >= h["p"] for adjusted, h in zip(factor["p_adjusted"], factor["horizons"], strict=True))
    with (tmp_path / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(COLUMNS)
    assert [row["horizon"] for row in rows] == ["1", "5"] * 3
    looks = read_looks(tmp_path / "state").looks
    assert [(look.kind, look.name) for look in looks] == [("study", name) for name in names]
    for look in looks:
        entry = next(candidate for candidate in factors if candidate["factor"] == look.name)
        assert look.sharpe == max(h["spread"]["net_sharpe"] for h in entry["horizons"])
    study(tmp_path, *names)
    assert len(read_looks(tmp_path / "state").looks) == 3
    done = quantd(tmp_path, "study", "signal", "rsi_14", "--horizons", "2", "--cuts", "4", "--quantiles", "10")
    assert "each of 6 quantiles (the most that " in done.stdout
    assert len(read_looks(tmp_path / "state").looks) == 4


@pytest.mark.long
def test_costs_of_the_broker_lower_the_net_figure_and_a_ranking_is_printed(tmp_path: Path) -> None:
    market(tmp_path)
    done = study(tmp_path, "rsi_14", "momentum_5")
    assert "rank  factor" in done.stdout
    assert "Costs: 3 bp of traded value" in done.stdout
    free, dear = (
        results(study(tmp_path, "rsi_14", "--json", "--set", f"broker.commission_bp={bp}"))[0]["horizons"][0]["spread"]
        for bp in (0, 50)
    )
    assert free["annual"] == dear["annual"]
    assert free["net_annual"] - dear["net_annual"] == pytest.approx(0.005 * free["turnover_annual"])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["no_such_feature"], "there is no feature 'no_such_feature'"),
        (["vix"], "needs the macro series 'vix'"),
        (["weight"], "needs a portfolio, which a study does not have"),
        (["absent.py:signal"], "absent.py"),
    ],
)
def test_a_factor_that_cannot_be_studied_is_a_mistake_of_the_command(tmp_path: Path, arguments, text: str) -> None:
    market(tmp_path)
    done = study(tmp_path, *arguments)
    assert done.returncode == 2
    assert text in done.stderr


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("horizons", ["0", "1000", "a", "1,,2"])
def test_horizons_that_the_market_does_not_have_are_refused(tmp_path: Path, horizons: str) -> None:
    market(tmp_path)
    done = quantd(tmp_path, "study", "signal", "rsi_14", "--horizons", horizons)
    assert done.returncode == 2
    assert "horizons" in done.stderr


def test_a_function_with_a_memory_is_no_factor(tmp_path: Path) -> None:
    market(tmp_path)
    (tmp_path / "mine.py").write_text("def signal(view, memory):\n    return view.prices, memory\n")
    done = study(tmp_path, "mine.py")
    assert done.returncode == 2
    assert "takes a memory, which a factor has not" in done.stderr


@pytest.mark.long
def test_no_figure_is_given_and_no_look_noted_for_a_factor_that_opens_the_market(tmp_path: Path) -> None:
    market(tmp_path)
    body = "pl.read_parquet('bars.parquet').group_by('symbol').agg(pl.col('close').last()).sort('symbol')"
    done = study(tmp_path, write(tmp_path, f"{body}['close'].to_list()", "import polars as pl\n"))
    assert done.returncode == 1
    assert "no result: the factor holds data of the market's future" in done.stdout
    assert "refused: no figure is given for this factor" in done.stdout
    assert "Pearson" not in done.stdout.partition("IC: rank")[0]
    assert read_looks(tmp_path / "state").looks == ()


@pytest.mark.long
def test_a_factor_of_absolute_dates_has_figures_beside_the_words_that_nothing_is_decided(tmp_path: Path) -> None:
    market(tmp_path)
    done = study(tmp_path, write(tmp_path, "view.prices * (view.time > 1710000000000000000)"), "--json")
    assert done.returncode == 0
    factor = results(done)[0]
    assert factor["horizons"]
    assert factor["guard"]["dated"] > 0
    text = study(tmp_path, "mine.py:signal").stdout
    assert "not decided: decides by absolute dates" in text
    assert "looks only backwards" not in text


@pytest.mark.long
def test_a_factor_that_always_fails_is_refused_with_the_reason(tmp_path: Path) -> None:
    market(tmp_path)
    done = study(tmp_path, write(tmp_path, "1 / 0"))
    assert done.returncode == 1
    assert "every decision failed" in done.stdout
    assert "ZeroDivisionError" in done.stdout
