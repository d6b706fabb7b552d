"""Benchmarks run through the engine over the same market; symbols and mixes have no portfolio limits."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from quantd.daemon.assembly.parts import Assembly, assemble
from quantd.daemon.cli.configuration import read
from quantd.daemon.config import ConfigError
from quantd.research.runs.benchmark_runs import benchmark_of, benchmark_record, weights_of
from quantd.research.runs.comparison import Incomparable, equal_weight_of, recorded, settings_of
from quantd.research.runs.run_record import Record
from quantd.trading.execution import Costs
from tests.support.backtest_reports import CONFIG, Made, driven, made
from tests.support.checkout import DATA
from tests.support.command_line import write


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tmp_path_factory.mktemp("benchmarks"))


def record_of(run: Made, name: str) -> Record:
    return benchmark_record(benchmark_of(run.assembly, name), settings_of(run.assembly, run.record), driven())


@pytest.mark.long
@pytest.mark.requirement("R-027")
def test_a_symbol_is_bought_at_the_next_open_and_held(run: Made) -> None:
    """SPY paid dividends, and the fund's price alone grows a little less than the account."""
    record = record_of(run, "SPY")
    bars = pl.read_parquet(DATA / "us_daily.parquet").filter(
        (pl.col("symbol") == "SPY") & pl.col("ts").dt.date().is_between(pl.date(2019, 1, 3), pl.date(2020, 6, 30))
    ).sort("ts")  # fmt: skip
    price = bars["close"][-1] / bars["open"][0]
    capital = sum(agent.capital_micro for agent in run.assembly.rules.agents) / run.record.equity_micro[0]
    grown = (record.equity_micro[-1] / record.equity_micro[0] - 1.0) / capital + 1.0
    assert price < grown < price + 0.04
    assert sum(record.gross) / len(record.gross) == pytest.approx(capital, abs=0.02)


@pytest.mark.long
def test_the_house_limits_hold_for_a_policy_and_not_for_a_symbol(run: Made) -> None:
    tight = run.assembly.config.risk.max_position_weight
    assert max(record_of(run, "SPY").gross) > 2.0 * tight > 0.0
    symbol, policy = benchmark_of(run.assembly, "SPY"), benchmark_of(run.assembly, "equal_weight")
    assert symbol.assembly.rules.house.max_position_weight != policy.assembly.rules.house.max_position_weight
    assert (symbol.limits, policy.limits) == ("no portfolio limits", "house limits")


def test_equal_weight_is_that_of_the_verdict(run: Made) -> None:
    assert record_of(run, "equal_weight").equity_micro == recorded(equal_weight_of(run.assembly), driven()).equity_micro


def test_a_mix_names_its_parts(run: Made) -> None:
    config = run.assembly.config
    assert weights_of(config, "60/40") == {"SPY": 0.6, "IWM": 0.4}
    assert weights_of(config, "SPY:0.5,AAPL:0.25") == {"SPY": 0.5, "AAPL": 0.25}
    assert weights_of(config, "IWM") == {"IWM": 1.0}
    assert weights_of(config, "momentum") is None


def test_without_a_benchmark_the_first_symbol_is_the_equity_part(tmp_path: Path) -> None:
    text = CONFIG.replace('benchmark = "SPY"\n', "").replace('["SPY", "IWM", "AAPL"]', '["AAPL", "IWM", "SPY"]')
    assert weights_of(read(write(tmp_path, text)), "70/30") == {"AAPL": 0.7, "IWM": 0.3}


def test_a_benchmark_with_other_costs_is_refused(run: Made) -> None:
    benchmark = benchmark_of(run.assembly, "SPY")
    other = replace(benchmark, assembly=replace(benchmark.assembly, costs=Costs()))
    with pytest.raises(Incomparable, match="differ in costs;"):
        benchmark_record(other, settings_of(run.assembly, run.record), driven())


def test_a_benchmark_has_the_settings_of_a_house_with_a_profile(tmp_path: Path) -> None:
    """A profile brings its own defaults, which a benchmark without limits must not lose."""
    text = CONFIG.replace("max_position_weight = 0.4", 'profile = "conservative"').replace("2020-06-30", "2019-03-29")
    assembly: Assembly = assemble(read(write(tmp_path, text)))
    house_record = Record(assembly.universe)
    house_record.end(driven()(assembly, house_record).state)
    for name in ("SPY", "60/40", "equal_weight"):
        record = benchmark_record(benchmark_of(assembly, name), settings_of(assembly, house_record), driven())
        assert record.ts == house_record.ts


@pytest.mark.parametrize(
    ("benchmarks", "said"),
    [
        ('["SPYY"]', "neither a symbol of [universe] nor a registered policy"),
        ('["60/30"]', "two percentages must sum to 100"),
        ('["SPY:0.8,IWM:0.4"]', "the weights sum to 1.2"),
        ('["SPY:0.8,SPY:0.1"]', "each symbol once"),
        ('["SPY:0.8,TLT:0.1"]', '"TLT" is not a symbol of [universe]'),
        ('["SPY", "SPY"]', "names SPY twice"),
    ],
)
def test_a_benchmark_that_is_none_is_a_mistake(tmp_path: Path, benchmarks: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(write(tmp_path, CONFIG), [f"study.benchmarks={benchmarks}", "study.goals={}"])
    assert said in str(caught.value)


def test_sixty_forty_without_a_bond_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='write asset = "bond"'):
        read(write(tmp_path, CONFIG.replace('asset = "bond"', "")))


@pytest.mark.requirement("F-26")
def test_a_goal_for_a_ratio_to_no_benchmark_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='add "QQQ" to \\[study\\] benchmarks'):
        read(write(tmp_path, CONFIG), ['study.goals={ "cagr/QQQ" = 2.0 }'])
