"""Crises: windows of a run, beside its benchmarks, and what each limit did there, in money that can be worked by
hand."""

import json
from datetime import date
from pathlib import Path

import pytest

from quantd.research.studies.crises import PERIODS
from tests.support.command_line import COSTS, ROOT, one_agent, quantd, write
from tests.support.market_frames import bars_of, sessions

PRICES = [99.0, 100.0] * 4 + [90.0, 80.0, 88.0, 96.0, 100.0, 104.0, 103.0, 104.0]
"""Closes, each also the next open: a fall of a fifth over two sessions, and the high again on the twelfth day."""

CONFIG = """
[quantd]
state = "state"
[universe]
symbols = ["FUND"]
[feed]
path = "bars.parquet"
adjusted = true
stamps = "session"
interval = "1d"
start = {start}
pace = "fast"
at_end = "stop"
[broker]
cash = "10000000.00"
{costs}[risk]
allow_short = true
{risk}
[[agents]]
name = "even"
policy = "equal_weight"
capital = 1.0
"""


def market(folder: Path, risk: str, first: date = date(2024, 1, 2)) -> list[date]:
    days = sessions(len(PRICES), first)
    opens = [PRICES[0], *PRICES[:-1]]
    rows = [
        (day, "FUND", start, max(start, end), min(start, end), end, 1e9)
        for day, start, end in zip(days, opens, PRICES, strict=True)
    ]
    frame = bars_of(rows)
    frame.write_parquet(folder / "bars.parquet")
    write(folder, CONFIG.format(start=days[0], costs=COSTS.replace("1.0", "0"), risk=risk))
    return days


def studied(folder: Path, *arguments: str) -> dict:
    done = quantd(folder, "study", "crises", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def named(document: dict, name: str) -> dict:
    return next(crisis for crisis in document["crises"] if crisis["name"] == name)


def effect(limits: list[dict], name: str) -> dict:
    return next(row for row in limits if row["limit"] == name)


@pytest.mark.requirement("R-243")
def test_the_periods_are_those_of_the_requirement_and_a_window_without_bars_says_so(tmp_path: Path) -> None:
    market(tmp_path, "max_position_weight = 0.5\ncollar = 0.01")
    document = studied(tmp_path)
    assert [(crisis["name"], *crisis["period"]) for crisis in document["crises"]] == [
        ("dot-com", "2000-03-01", "2002-10-31"),
        ("2008", "2008-01-01", "2009-03-31"),
        ("euro debt", "2011-08-01", "2012-06-30"),
        ("2015-16", "2015-08-01", "2016-02-29"),
        ("end of 2018", "2018-10-01", "2018-12-31"),
        ("COVID", "2020-02-01", "2020-04-30"),
        ("2022 rates", "2022-01-01", "2022-10-31"),
    ]
    missing = "no bars: the samples of this run are 2024-01-02 to 2024-01-24"
    assert {crisis["missing"] for crisis in document["crises"]} == {missing}
    assert all(not crisis["rows"] and not crisis["limits"] for crisis in document["crises"])
    done = quantd(tmp_path, "study", "crises")
    assert done.stdout.count(missing) == len(PERIODS)


@pytest.fixture(scope="module")
def fallen(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, list[date]]:
    folder = tmp_path_factory.mktemp("fallen")
    days = market(folder, "max_position_weight = 0.5\nmax_daily_loss = 0.9\ncollar = 0.01")
    fall, one = f"fall={days[5]}:{days[13]}", f"one day={days[8]}:{days[8]}"
    # the benchmark holds the fund without portfolio limits
    more = ("--window", fall, "--window", one, "--window", f"end={days[10]}:2024-06-30")
    return studied(folder, *more, "--set", 'study.benchmarks=["FUND"]'), days


@pytest.mark.requirement("R-243")
def test_total_drawdown_and_days_to_recover_are_those_of_the_prices(fallen: tuple[dict, list[date]]) -> None:
    document, days = fallen
    crisis = named(document, "fall")
    assert (crisis["first"], crisis["last"], crisis["samples"]) == (str(days[5]), str(days[13]), 9)
    fund = next(row for row in crisis["rows"] if row["policy"] == "FUND")
    assert fund["total_return"] == pytest.approx(104 / 99 - 1, abs=1e-4)
    assert fund["max_drawdown"] == pytest.approx(0.20, abs=1e-4)
    assert fund["low"] == str(days[9])
    # it is at least as high as before the fall on the day of 104, as whole lots leave a little cash
    assert fund["recovered"] in (str(days[12]), str(days[13]))
    assert fund["recovery_days"] == (date.fromisoformat(fund["recovered"]) - days[9]).days
    assert document["benchmark_limits"] == {"FUND": "no portfolio limits"}


@pytest.mark.requirement("R-243")
def test_a_limit_is_worth_the_money_that_the_run_without_it_lost(fallen: tuple[dict, list[date]]) -> None:
    document, _ = fallen
    crisis = named(document, "one day")
    this_run = next(row for row in crisis["rows"] if row["policy"] == "this run")
    # the price falls by a tenth: half of the account is in it, or all. Cash buys at once what it pays at a price higher
    # by the collar, a hundredth, and the rest after these fills
    assert this_run["total_return"] == pytest.approx(-0.05, abs=5e-4)
    limit = effect(crisis["limits"], "max_position_weight")
    other = this_run["gain"] / this_run["total_return"] - limit["before"]
    assert limit["gain"] == pytest.approx(this_run["gain"] + 0.1 * other, rel=1e-3)
    assert limit["total_return"] == pytest.approx(0.1 - 0.05, abs=5e-4)
    assert limit["max_drawdown"] == pytest.approx(0.05 - 0.1, abs=5e-4)
    assert (limit["where"], limit["same"]) == (["house"], False)


@pytest.mark.requirement("R-243")
def test_a_limit_that_never_bound_says_so_and_one_that_is_off_is_absent(fallen: tuple[dict, list[date]]) -> None:
    document, _ = fallen
    idle = effect(document["limits"], "max_daily_loss")
    assert (idle["same"], idle["cuts"], idle["gain"], idle["max_drawdown"]) == (True, 0, 0.0, 0.0)
    assert [row["limit"] for row in document["limits"]] == ["max_position_weight", "max_daily_loss", "all of these"]
    both = [effect(document["limits"], name) for name in ("max_position_weight", "all of these")]
    assert both[0]["gain"] == both[1]["gain"]
    assert both[0]["cuts"] == both[1]["cuts"] > 0
    assert "collar" in document["always"]


def test_a_period_that_the_bars_cover_in_part_names_its_end(fallen: tuple[dict, list[date]]) -> None:
    document, days = fallen
    assert named(document, "end")["partial"] == f"until {days[15]}: the last sample"
    assert named(document, "fall")["partial"] == ""


def test_every_row_is_measured_after_the_last_first_fill(fallen: tuple[dict, list[date]], tmp_path: Path) -> None:
    days = market(tmp_path, "collar = 0.01")
    text = (tmp_path / "config.toml").read_text()
    # the run itself first decides on the Friday of the second week, and the fund is held from the second day on
    late = '[[schedules]]\nname = "late"\ndo = "rebalance"\ncron = "0 16 12 * *"\ntimezone = "America/New_York"\n'
    write(tmp_path, text + late + 'agents = ["even"]\n')
    document = studied(tmp_path, "--window", f"all={days[0]}:{days[-1]}", "--set", 'study.benchmarks=["FUND"]')
    crisis = named(document, "all")
    assert document["first_fill"] == crisis["first"] == str(days[9])
    assert "the first fill" in crisis["partial"]
    assert document["limits"] == []


@pytest.mark.long
def test_each_run_without_a_limit_is_a_trial_once(tmp_path: Path) -> None:
    market(tmp_path, "max_position_weight = 0.5\nmax_daily_loss = 0.9\ncollar = 0.01")
    assert [studied(tmp_path)["trials"] for _ in range(2)] == [4, 4]
    looks = json.loads(quantd(tmp_path, "report", "--looks", "--json").stdout)["looks"]
    assert [look.get("values", {}).get("without", "") for look in looks] == [
        "", "max_position_weight", "max_daily_loss", "all of these",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("2020", "write NAME=2015-08-01:2016-02-29"),
        ("a=2020-01-01:soon", "'soon' is not a date"),
        ("a=2020-02-01:2020-01-01", "ends before it begins"),
        ("2008=2012-01-01:2012-02-01", "--window 2008: the name of another period"),
    ],
)
def test_a_window_that_is_none_is_refused_with_its_text(tmp_path: Path, given: str, message: str) -> None:
    market(tmp_path, "")
    done = quantd(tmp_path, "study", "crises", "--window", given)
    assert done.returncode == 64 or done.returncode == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.requirement("R-243")
def test_bundled_bars_show_a_crisis_and_mark_one_inside_the_training_window(tmp_path: Path) -> None:
    feed = f'actions = "{ROOT}/data/us_actions.csv"\nstart = 2015-12-21\nend = 2016-02-29\nwarmup = 252'
    symbols, policy = ["SPY", "QQQ", "IWM", "AAPL", "BAC"], str(ROOT / "models/shipped/scorer")
    text = one_agent(symbols, policy, feed, path=f"{ROOT}/data/us_daily.parquet")
    write(tmp_path, text)
    document = studied(tmp_path)
    crisis = named(document, "2015-16")
    assert crisis["in_sample"]
    marks = {row["policy"]: row["trained"] for row in crisis["rows"]}
    assert marks == {"this run": crisis["samples"], "equal_weight": 0}
    assert all(row["max_drawdown"] > 0.05 for row in crisis["rows"])
    done = quantd(tmp_path, "study", "crises")
    assert "inside the training window of the policy, so that its figures are no result" in done.stdout
    assert crisis["partial"].startswith("from 2015-12-22 on")
