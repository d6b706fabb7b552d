"""What is fitted on ends an embargo before what chooses, and the part that judges is not read until it is opened."""

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from quantd.training.plans.data_plan import PlanError
from quantd.training.seeds.learner import policy_of
from quantd.training.seeds.markets import Sealed, markets_of, window_market
from quantd.training.seeds.seed_run import fit
from quantd.training.seeds.validation import judge
from tests.support import training as world


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.bars(tmp_path_factory.mktemp("bars"))


@pytest.mark.requirement("R-028")
@pytest.mark.parametrize(("purge", "embargo"), [(1, 0), (1, 5), (3, 10)])
def test_the_last_outcome_of_a_part_lies_purge_and_embargo_before_the_next(
    bars: Path, purge: int, embargo: int
) -> None:
    plan = world.plan(bars, purge=purge, embargo=embargo)
    markets = markets_of(plan)
    train, validation = markets.train, markets.validation
    # the last decision is at last - 1; its outcome, `purge` sessions later, is more than `embargo` sessions before the
    # next decision
    assert validation.first - (train.last - 1 + purge) == embargo + 1
    last = np.datetime64(int(markets.panel.day_ns[train.last]), "ns").astype("datetime64[D]").item()
    assert last < world.SPLITS.validation.first
    test_begins = len(markets.panel.day_ns)
    assert test_begins - (validation.last - 1 + purge) == embargo + 1


@pytest.mark.long
@pytest.mark.requirement("R-086")
def test_nothing_of_the_test_part_is_read_before_it_is_opened(bars: Path, tmp_path: Path) -> None:
    """Bars after the validation part may say anything: neither data nor results of fitting change."""
    table = pl.read_parquet(bars)
    after = pl.col("ts").dt.date() > world.SPLITS.validation.last
    other = tmp_path / "bars.parquet"
    scaled = [pl.when(after).then(pl.col(c) * 7.0).otherwise(pl.col(c)).alias(c) for c in ("open", "close")]
    table.with_columns(scaled).write_parquet(other)
    results = []
    for path in (bars, other):
        plan = world.plan(path, steps=600, evaluate_every=300)
        markets = markets_of(plan)
        days = markets.panel.day_ns
        assert int(days[-1]) < int(np.datetime64(world.SPLITS.test.first, "ns").astype(np.int64))
        fitted = fit(plan, markets, 1, None, lambda _: False)
        policy = policy_of(fitted.learner, fitted.normaliser, plan.market, markets.symbols)
        results.append((fitted.score, judge(plan, markets, [policy], 0)))
    (score, judged), (other_score, other_judged) = results
    assert score == other_score
    assert judged["validation"] == other_judged["validation"]
    assert judged["test"] != other_judged["test"]


@pytest.mark.requirement("R-086")
def test_asking_for_the_test_part_while_fitting_raises(bars: Path) -> None:
    markets = markets_of(world.plan(bars))
    with pytest.raises(Sealed, match=r"2017-01-01 to 2017-06-30.* is sealed"):
        _ = markets.test


def test_a_training_part_shorter_than_an_episode_is_refused(bars: Path) -> None:
    with pytest.raises(PlanError, match=r"splits.train: .* fewer than an episode of 2000"):
        markets_of(world.plan(bars, market__episodes__length=2000))


def test_a_part_that_purge_and_embargo_leave_nothing_of_is_refused(bars: Path) -> None:
    with pytest.raises(PlanError, match=r"splits.train: .* embargo 400 leave 0"):
        markets_of(world.plan(bars, embargo=400))


def test_a_window_holds_every_session_of_its_days(bars: Path) -> None:
    market = window_market(world.plan(bars), date(2017, 1, 1), date(2017, 1, 31))
    assert market.last - market.first + 1 == 31


def test_a_plan_without_a_rate_of_its_first_day_is_refused_and_with_one_cash_earns_it(
    bars: Path, tmp_path: Path
) -> None:
    path = tmp_path / "bills.csv"
    path.write_text("date,rate\n2015-07-01,0.1\n2016-08-01,0.2\n")
    markets = markets_of(world.plan(bars, market__cash_rate=str(path)))
    validation = markets.validation
    assert validation.earned is not None
    days = markets.panel.day_ns
    first = int(np.searchsorted(days, np.datetime64("2016-08-01", "ns").astype(np.int64)))
    np.testing.assert_allclose(validation.earned[first : first + 2].numpy(), [0.1 / 365, 0.2 / 365])
    path.write_text("date,rate\n2015-07-02,0.1\n")
    with pytest.raises(PlanError, match=r"market.cash_rate: bills.csv:2: the first rate is of 2015-07-02"):
        markets_of(world.plan(bars, market__cash_rate=str(path)))
    with pytest.raises(PlanError, match=r"market.cash_rate: nowhere.csv: it cannot be read"):
        markets_of(world.plan(bars, market__cash_rate="nowhere.csv"))
    with pytest.raises(PlanError, match=r"cash_rate 2: the annual rate must be -0.05 to 0.5"):
        world.plan(bars, market__cash_rate=2.0)
