"""Combinatorial cross-validation: no choice knows a bar on which it is tested, and each path has every bar once."""

from math import comb

import numpy as np
import polars as pl
import pytest

import quantd
from quantd.research.runs.looks import read_looks
from quantd.research.studies.combinatorial import Groups
from tests.support.checkout import DATA
from tests.support.command_line import one_agent
from tests.support.command_line import quantd as command

STEPS = {"refit": "1y", "first": "1y", "compare": False}


@pytest.fixture(scope="module")
def bars():
    frame = pl.read_parquet(DATA / "us_daily.parquet")
    return frame.filter(pl.col("symbol").is_in(["SPY", "IWM"]) & pl.col("ts").dt.year().is_between(2012, 2014))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tilted(view, lookback=5):
    """Weights that every return of the lookback moves."""
    strength = np.exp(20.0 * view.returns(lookback).mean(axis=0))
    return 0.9 * strength / strength.sum()


def walk(bars, folder, **changes):
    settings = {"feed.warmup": 10, "quantd.state": str(folder / "state")} | changes.pop("settings", {})
    given = {"what": tilted, "over": {"lookback": [5, 10]}, "combinatorial": (5, 2), **STEPS, **changes}
    return quantd.walk_forward(bars=bars, settings=settings, **given)


@pytest.fixture(scope="module")
def done(bars, tmp_path_factory):
    folder = tmp_path_factory.mktemp("combinatorial")
    return folder, walk(bars, folder)


@pytest.mark.parametrize(("count", "held_out"), [(6, 2), (10, 2), (8, 3), (5, 4), (2, 1)])
def test_n_groups_have_c_n_k_splits_and_each_group_is_held_out_once_a_path(count, held_out):
    groups = Groups(count, held_out)
    assert len(set(groups.splits)) == len(groups.splits) == comb(count, held_out)
    assert groups.paths == held_out * comb(count, held_out) / count
    for group in range(count):
        assert sum(group in split for split in groups.splits) == groups.paths


def days_of(folds, first, last):
    return [np.datetime64(int(ns), "ns").astype("datetime64[D]").item() for ns in folds.calendar.day_ns[first:last]]


def shaken(bars, days):
    """The bars with other prices on `days`; every bar stays valid."""
    factor = 1.0 + 0.03 * np.random.default_rng(7).uniform(-1.0, 1.0, len(bars))
    there = bars["ts"].dt.date().is_in(list(days)).to_numpy()
    factor = np.where(there, factor, 1.0)
    return bars.with_columns(pl.col("open", "high", "low", "close") * factor)


@pytest.mark.long
def test_the_choice_of_a_split_knows_no_bar_of_its_held_out_groups_and_their_embargo(done, bars, folder):
    _, walked = done
    result = walked.combinatorial
    edges, embargo = result.folds.edges, 5
    for split in ((1, 3), (0, 2), (3, 4)):
        unseen = [
            day for group in split
            for day in days_of(result.folds, max(0, edges[group] - embargo), edges[group + 1] + embargo)
        ]  # fmt: skip
        again = walk(shaken(bars, unseen), folder).combinatorial
        at = [choice.held_out for choice in result.choices].index(split)
        assert again.choices[at] == result.choices[at]
        changed = [a.sharpe != b.sharpe for a, b in zip(again.choices, result.choices, strict=True)]
        assert sum(changed) == len(changed) - 1  # every other split chooses on some of these bars


@pytest.mark.long
def test_the_bars_beside_the_embargo_and_the_warm_up_are_used(done, bars, folder):
    _, walked = done
    folds = walked.combinatorial.folds
    (first, last), *_ = folds.training[(0, 2)]
    assert (first, last) == (folds.edges[1] + 5 + folds.warmup, folds.edges[2] - 1 - 5)
    at = [choice.held_out for choice in walked.combinatorial.choices].index((0, 2))
    for row in (first - folds.warmup, last):
        again = walk(shaken(bars, days_of(folds, row, row + 1)), folder).combinatorial
        assert again.choices[at].sharpe != walked.combinatorial.choices[at].sharpe


@pytest.mark.long
def test_a_choice_is_the_best_of_a_sweep_over_the_training_groups(done, bars):
    _, walked = done
    folds = walked.combinatorial.folds
    choice = next(choice for choice in walked.combinatorial.choices if choice.held_out == (3, 4))
    (first, last), *others = folds.training[(3, 4)]
    assert not others
    begin, end = days_of(folds, first, first + 1)[0], days_of(folds, last, last + 1)[0]
    settings = {"feed.warmup": 10, "feed.start": str(begin), "feed.end": str(end)}
    swept = quantd.sweep(tilted, {"lookback": [5, 10]}, bars, settings=settings)
    assert (choice.values, choice.samples) == (swept.best.values, last - first)
    assert choice.sharpe == pytest.approx(swept.best.look.sharpe, rel=1e-12)


@pytest.mark.long
def test_each_path_has_every_bar_of_all_groups_once_as_traded_in_a_split_that_held_the_group_out(done, bars):
    _, walked = done
    result = walked.combinatorial
    folds = result.folds
    days = result.paths["ts"].dt.date().to_list()
    assert days == days_of(folds, folds.edges[0], folds.edges[-1])
    assert days == sorted(set(bars["ts"].dt.date()))[-len(days) :]
    assert result.returns.shape == (len(days), 4)
    for group in (0, 3):
        choices = [choice for choice in result.choices if group in choice.held_out]
        rows = folds.edges[group] - 1, folds.edges[group + 1] - 1
        begin, end = (days_of(folds, row, row + 1)[0].isoformat() for row in rows)
        for path, choice in enumerate(choices):
            settings = {"feed.warmup": 10, "feed.start": begin, "feed.end": end}
            lookback = int(choice.values[0])
            alone = quantd.backtest(tilted, bars, settings, params={"lookback": lookback}, compare=False)
            traded = result.returns[rows[0] + 1 - folds.edges[0] : rows[1] + 1 - folds.edges[0], path]
            np.testing.assert_array_equal(traded, alone.track.returns)


@pytest.mark.long
def test_each_split_and_each_path_is_a_trial(done):
    folder, walked = done
    looks = read_looks(folder / "state").looks
    values = [look.values for look in looks]
    assert sum("split" in value for value in values) == 10
    assert sum("path" in value for value in values) == 4
    assert walked.backtest.verdict.trials == len(looks) == 10 + 4 + len(walked.table) + 1
    assert pl.read_parquet(walked.folder / "paths.parquet").equals(walked.combinatorial.paths)
    assert walked.combinatorial.sentences()[0] in str(walked)


@pytest.mark.long
def test_a_path_has_every_hour_once_and_none_of_the_session_before_a_group(folder):
    hours = pl.datetime_range(pl.datetime(2024, 1, 1), pl.datetime(2024, 2, 29), "1h", time_zone="UTC", eager=True)
    close = 100.0 * np.exp(np.cumsum(0.003 * np.random.default_rng(1).standard_normal((2, len(hours))), axis=1))
    bars = pl.concat(
        pl.DataFrame(
            {"ts": hours, "symbol": name, "volume": 1e6, **dict.fromkeys(("open", "high", "low", "close"), row)}
        )
        for name, row in zip(("AAA", "BBB"), close, strict=True)
    )
    hourly = {"universe.calendar": "24/7", "feed.interval": "1h"}
    given = {"what": "momentum", "refit": "20d", "first": "20d", "combinatorial": (3, 1), "adjusted": True}
    result = walk(bars, folder, settings=hourly, **given).combinatorial
    assert len(result.ts) == 24 * (result.folds.edges[-1] - result.folds.edges[0])
    assert set(np.diff(result.ts).tolist()) == {3600 * 10**9}


def steps_of(bars, persistence):
    """The bars of SPY with simulated returns: an autoregression of order 1."""
    spy = bars.filter(pl.col("symbol") == "SPY")
    random, returns = np.random.default_rng(3), np.zeros(len(spy))
    for t in range(1, len(spy)):
        returns[t] = persistence * returns[t - 1] + 0.01 * random.standard_normal()
    close = 100.0 * np.exp(np.cumsum(returns))
    # each session opens at the close before it, so that a decision on a close is filled there
    opened = np.concatenate([[100.0], close[:-1]])
    prices = {
        "open": opened, "high": np.maximum(opened, close), "low": np.minimum(opened, close), "close": close
    }  # fmt: skip
    return spy.with_columns(pl.Series(name, column) for name, column in prices.items())


def follow(view, sign=1):
    return [0.5 * sign * np.sign(view.returns(1)[-1, 0])]


follow.lookback = 2


@pytest.mark.long
@pytest.mark.parametrize(("persistence", "low", "high"), [(0.0, -0.9, 0.9), (0.4, 2.0, 9.0)])
def test_the_median_of_noise_is_near_0_and_a_planted_edge_is_found(bars, folder, persistence, low, high):
    free = {f"broker.{key}": 0 for key in ("commission_bp", "slippage_bp", "spread_bp")}
    result = walk(
        steps_of(bars, persistence),
        folder,
        what=follow,
        over={"sign": [-1, 1]},
        settings=free,
        adjusted=True,
    ).combinatorial
    assert low < result.document["median"] < high, result.document
    if persistence:
        assert {choice.values for choice in result.choices} == {("1",)}
        assert (result.document["below_0"], result.overfitting.probability) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"combinatorial": (5, 5)}, "combinatorial 5,5: hold out at least 1 group and fewer than all 5; write 6,2"),
        ({"combinatorial": (5, 0)}, "combinatorial 5,0: hold out at least 1 group"),
        ({"combinatorial": "six"}, "combinatorial = 'six' is not tuple[int, int] or None"),
        ({"combinatorial": (40, 20)}, "splits, above the maximum of 1,000; write 6,2"),
        ({"combinatorial": (600, 1)}, "sessions after the first decision are too few; write fewer groups"),
        (
            {"settings": {"feed.warmup": 400}},
            "where groups 1, 3 are held out, a warm-up of 400 samples and an embargo of 5 sessions leave no bars to "
            "choose on; hold out fewer groups, give more bars, or shorten the lookbacks and feed.warmup",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_a_sentence_with_a_remedy(bars, folder, changes, text):
    with pytest.raises(quantd.Error) as refused:
        walk(bars, folder, **changes)
    assert text in str(refused.value)


def test_the_command_refuses_a_training_plan_and_groups_that_cannot_be(folder):
    (folder / "config.toml").write_text(one_agent(["SPY", "IWM"], "momentum"))
    (folder / "plan.toml").write_text('agent = "ppo"\n')
    over = ("--over", "agents.even.params.lookback=10,30")
    for words, text in (
        (("config.toml", *over, "--combinatorial", "3,3"), "hold out at least 1 group and fewer than all 3"),
        (("config.toml", *over, "--combinatorial", "six"), "combinatorial 'six' is no pair of numbers"),
        (("plan.toml", "--combinatorial", "6,2"), "plan.toml is a training plan, which trains on one period of time"),
    ):
        process = command(folder, "walk", *words)
        assert (process.returncode, text in process.stderr) == (2, True), process.stderr
