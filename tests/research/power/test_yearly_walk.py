"""Each year is traded by a policy of the years before it, beside rules on the same days, and is recorded once."""

import json
from datetime import date
from pathlib import Path

import msgspec
import numpy as np
import pytest

from quantd.research.power.walk_records import (
    Growth,
    Walked,
    WalkedYear,
    looks_of,
    read_walks,
)
from quantd.research.power.yearly_walk import RULES, YearlyWalk, run
from quantd.training.plans.plan import replaced
from quantd.training.power.findings import FindingsError, append
from quantd.training.seeds.markets import window_market
from quantd.training.seeds.validation import equal_weight
from tests.support.command_line import quantd
from tests.support.studies import plan, text

SMALL = {
    "steps": 640, "evaluate_every": 320, "market.batch": 4, "learner.hidden": [8], "choose_by": "excess",
    "splits.train.first": "2003-01-02",
}  # fmt: skip


@pytest.fixture(scope="module")
def small() -> YearlyWalk:
    return YearlyWalk(plan(**SMALL), 5.0)


def year(**changes: object) -> WalkedYear:
    base = WalkedYear("w", "ppo", "ppo", 5.0, 2012, 1, 320, 9.0, 2.0, "commit", tuple(range(60)))
    return msgspec.convert(msgspec.structs.asdict(base) | changes, WalkedYear)


def test_a_year_is_fitted_on_the_years_up_to_two_before_and_chosen_by_the_year_before(small: YearlyWalk) -> None:
    splits = small.plan_of(2009).splits
    assert (splits.train.first, splits.train.last) == (date(2003, 1, 2), date(2007, 12, 31))
    assert (splits.validation.first, splits.validation.last) == (date(2008, 1, 1), date(2008, 12, 31))
    assert (splits.test.first, splits.test.last) == (date(2009, 1, 1), date(2009, 12, 31))
    with pytest.raises(ValueError, match="train ends on 2002-12-31"):
        small.plan_of(2004)


@pytest.mark.long
def test_a_policy_and_the_rules_trade_the_same_days_at_the_same_costs(small: YearlyWalk) -> None:
    records = {name: small.ruled(name, 2009) for name in ("equal_weight", "inverse_volatility")}
    learned = small.learned(2009, 1)
    assert len(learned.daily) == len(records["equal_weight"].daily) == len(records["inverse_volatility"].daily) == 251
    assert learned.seed == 1
    assert learned.cpu_s > 0.0
    of = small.plan_of(2009)
    market = window_market(of, of.splits.test.first, of.splits.test.last)
    same = np.diff(np.log(equal_weight(market, of.market).equity))
    assert np.abs(records["equal_weight"].returns - same).max() < 1e-6


@pytest.mark.long
def test_later_bars_do_not_change_an_earlier_year(small: YearlyWalk, tmp_path: Path) -> None:
    import polars as pl

    frame = pl.read_parquet(small.plan.data.bars)
    late = pl.col("ts").dt.year() > 2009
    scaled = [pl.when(late).then(pl.col(name) * 3.0).otherwise(pl.col(name)).alias(name) for name in ("open", "close")]
    frame.with_columns(scaled).write_parquet(tmp_path / "bars.parquet")
    other = YearlyWalk(replaced(small.plan, {"data.bars": str(tmp_path / "bars.parquet")}))
    assert other.learned(2009, 1).daily == small.learned(2009, 1).daily
    assert other.ruled("linear_ranker", 2009).daily == small.ruled("linear_ranker", 2009).daily


@pytest.mark.long
def test_the_costs_decide_what_a_rule_earns_and_which_walk_it_is(small: YearlyWalk) -> None:
    dear = YearlyWalk(small.plan, 50.0)
    assert dear.digest != small.digest
    assert dear.ruled("linear_ranker", 2009).growth < small.ruled("linear_ranker", 2009).growth - 0.01


@pytest.mark.long
def test_a_monthly_ranker_trades_less_than_a_daily_one(small: YearlyWalk) -> None:
    daily, monthly = (small.ruled(name, 2009).turnover_annual for name in ("linear_ranker", "linear_ranker_monthly"))
    assert monthly < 0.7 * daily


@pytest.mark.long
def test_what_is_recorded_is_left_out(small: YearlyWalk) -> None:
    records: list[WalkedYear] = []
    done = {(small.digest, name, 2009, 0) for name in RULES} - {(small.digest, "equal_weight", 2009, 0)}
    assert run(small, [2009], [1], done, records.append) == 2
    assert [(record.account, record.seed) for record in records] == [("equal_weight", 0), ("ppo", 1)]


def test_records_are_read_again_and_the_last_line_of_a_year_counts(tmp_path: Path) -> None:
    path = tmp_path / "walks.jsonl"
    for record in (year(), year(daily=(5,) * 60), year(walk="v", account="equal_weight", seed=0), year(walk="u")):
        append(path, record)
    walks = read_walks(path)
    assert [len(walk.records) for walk in walks] == [1, 1, 1]
    assert walks[0].first.daily == (5,) * 60
    assert looks_of(walks) == 2
    with path.open("a") as file:
        file.write("{}\n")
    with pytest.raises(FindingsError, match=r"walks.jsonl:5"):
        read_walks(path)


def test_daily_returns_are_kept_to_a_millionth() -> None:
    assert Growth.of(np.array([0.0123456, -1e-7]), 1.23456) == Growth((12346, 0), 1.235)
    assert year(daily=(1_000,) * 252).growth == pytest.approx(0.252)


def test_the_rows_of_a_walk_are_means_of_seeds_and_years() -> None:
    records = [year(account="equal_weight", seed=0, year=y, daily=(100,) * 60) for y in (2012, 2013)]
    records += [year(seed=1, year=2012, daily=(300,) * 60), year(seed=2, year=2012, daily=(200,) * 60, step=0)]
    equal, ppo = Walked(tuple(records)).rows()
    assert (equal.account, equal.seeds, equal.years, equal.excess) == ("equal_weight", 0, 2, 0.0)
    assert (ppo.seeds, ppo.years, ppo.above, ppo.untrained) == (2, 1, 1, 0.5)
    assert ppo.excess == pytest.approx(150e-6 * 252)


@pytest.mark.long
def test_the_command_records_each_year_goes_on_and_prints_the_verdict(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(text(**SMALL))
    arguments = ("study", "ship", "plan.toml", "--first", "2009", "--last", "2010", "--cost", "5", "--out", "w.jsonl")
    done = quantd(tmp_path, *arguments, "--seeds", "1")
    assert done.returncode == 0, done.stderr
    assert "The policy may not be shipped as better than equal weight." in done.stdout
    assert "no   at least 8 test years: 2" in done.stdout
    lines = (tmp_path / "w.jsonl").read_text().splitlines()
    assert len(lines) == 2 * (len(RULES) + 1)
    again = quantd(tmp_path, *arguments, "--seeds", "1")
    assert again.returncode == 2
    assert "--resume" in again.stderr
    resumed = quantd(tmp_path, *arguments, "--seeds", "1", "--resume", "--json")
    assert (tmp_path / "w.jsonl").read_text().splitlines() == lines
    answer = json.loads(resumed.stdout)
    assert answer["ships"] is False
    assert answer["verdict"]["looks"] == 1
    assert {row["account"] for row in answer["accounts"]} == {*RULES, "ppo"}
    assert quantd(tmp_path, "study", "ship", "plan.toml", "--first", "2010", "--last", "2009").returncode == 2
