"""Presets: each seed of a plan is trained once and traded from the first sample beside equal weight."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import msgspec
import polars as pl
import pytest

from quantd.research.cli.trade.preset_output import NAMES
from quantd.research.studies.preset import PRESETS, PresetResult, window_of
from quantd.training.plans.plan import Plan, read
from quantd.training.runs import training_run
from tests.support.checkout import ROOT
from tests.support.command_line import Done, answer, quantd

SMALL = ("steps=400", "evaluate_every=400", "seeds=[1, 2]", "learner.hidden=[8]", "learner.warmup=100",
         "learner.buffer=400", "choose_by=sharpe")  # fmt: skip
OPTIONS = [part for setting in SMALL for part in ("--set", setting)]


@dataclass(frozen=True)
class Run:
    """The result of a preset, and its text when it ran again."""

    result: PresetResult
    again: Done


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The reference test, and again as text, with two seeds and little training; and how often a seed was trained."""
    folder = tmp_path_factory.mktemp("preset")
    arguments = ("backtest", "--preset", "reference", "--state", "state", *OPTIONS)
    seeds: list[tuple[int, ...]] = []
    train = training_run.train

    def counted(plan: Plan, *given: object, **named: object) -> object:
        seeds.append(plan.seeds)
        return train(plan, *given, **named)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_run, "train", counted)
        document = answer(quantd(folder, *arguments, "--json"))
        again = quantd(folder, *arguments)
    assert seeds == [(1,), (2,)]
    return Run(msgspec.convert(document, PresetResult), again)


@pytest.mark.long
@pytest.mark.requirement("R-247")
def test_each_seed_and_equal_weight_trade_the_514_sessions_from_the_first_on(run: Run) -> None:
    standings = run.result.standings
    assert (standings.first, standings.last, standings.every) == ("2022-12-14", "2024-12-31", "day")
    assert {row.policy for row in standings.rows} == {"dqn seed 1", "dqn seed 2", "equal_weight"}
    assert {row.figures.samples for row in standings.rows} == {514}
    assert not any(row.trained or row.failures for row in standings.rows)
    equal = next(row for row in standings.rows if row.policy == "equal_weight")
    assert equal.figures.invested > 0.98
    assert equal.figures.costs > 0.0


@pytest.mark.long
@pytest.mark.requirement("R-247", "F-14", "F-15", "F-16", "F-17", "F-37", "F-38")
def test_the_spread_is_that_of_the_rows_of_the_seeds(run: Run) -> None:
    seeds = [row.figures for row in run.result.standings.rows if row.policy != "equal_weight"]
    equal = next(row.figures for row in run.result.standings.rows if row.policy == "equal_weight")
    for key in ("sharpe", "total_return", "max_drawdown", "sortino"):
        values = [getattr(figures, key) for figures in seeds]
        spread = run.result.spread[key]
        assert spread.mean == pytest.approx(sum(values) / 2)
        assert (spread.least, spread.largest, spread.equal_weight) == (min(values), max(values), getattr(equal, key))
    calmar = run.result.spread["calmar"]
    assert calmar.equal_weight == pytest.approx(equal.annual_return / equal.max_drawdown)
    assert equal.sharpe is not None
    assert run.result.ahead == sum(figures.sharpe is not None and figures.sharpe > equal.sharpe for figures in seeds)


def test_each_seed_is_a_trial_and_is_trained_once(run: Run) -> None:
    # equal weight, and the one checkpoint that each seed chose from
    assert run.result.standings.trials == 3
    assert run.again.returncode == 0, run.again.stderr
    assert "dqn seed 2" in run.again.stdout
    assert run.again.stdout.startswith(f"power: {run.result.power}")
    assert run.result.power.startswith(
        "2022-12-14 to 2024-12-31, 4 symbols, 10 bp a side: with a daily signal of IC 1 a rule beats"
    )
    assert "400 steps a seed: trained on 2015-10-01 to 2020-12-31" in run.again.stdout
    assert "2 seeds above equal weight" in run.again.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ("--preset", "referense"),
            "--preset 'referense': there are reference, reference-tuned, reference-ppo, reference-ppo-tuned",
        ),
        (("--preset", "reference", "--from", "2023-01-01", "--journal"), "--from and --journal: a preset has its own"),
        (("--preset", "reference", "--set", "broker.cash=5"), "broker is not a key of a plan"),
        (("--preset", "reference", "--set", "market.costs.commission_bp=1.0"), "commission_bp 1.0 and 10.0"),
        (("--preset", "reference", "--set", 'data.symbols=["SPY", "TLT"]'), "symbols"),
    ],
)
def test_a_preset_that_cannot_run_names_the_cause(tmp_path, arguments, text) -> None:  # type: ignore[no-untyped-def]
    done = quantd(tmp_path, "backtest", "--state", "state", *arguments)
    assert done.returncode != 0
    assert text in done.stderr
    assert "fault of quantd" not in done.stderr


def test_without_the_bars_of_the_repository_a_preset_says_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quantd.bundled.FOLDER", tmp_path)
    done = quantd(tmp_path, "backtest", "--preset", "reference")
    assert done.returncode == 2
    assert "data/seed4_daily.parquet is in the source repository only" in done.stderr
    assert "run the preset in a clone" in done.stderr


@pytest.mark.requirement("F-34")
def test_the_presets_share_data_parts_costs_and_seeds() -> None:
    assert list(NAMES) == list(PRESETS)
    one, other = (read(ROOT / PRESETS[name].plan) for name in ("reference", "reference-ppo"))
    assert (one.agent, other.agent) == ("dqn", "ppo")
    for name in ("data", "splits", "seeds"):
        assert getattr(one, name) == getattr(other, name)
    assert one.market.costs == other.market.costs
    assert one.market.capital == other.market.capital
    assert len(one.seeds) == 5
    assert window_of(one) == {"feed.start": "2022-12-14", "feed.end": "2024-12-31"}
    bars = pl.read_parquet(ROOT / one.data.bars)
    dates = bars.filter(pl.col("symbol") == "SPY")["ts"].dt.date()
    assert dates.is_between(date(2022, 12, 14), date(2024, 12, 31)).sum() == 514


@pytest.mark.requirement("F-37", "F-38")
@pytest.mark.parametrize("name", ["reference", "reference-ppo"])
def test_a_tuned_preset_has_the_data_parts_and_costs_of_its_own_and_counts_the_scores_of_its_search(name: str) -> None:
    plain, tuned = (read(ROOT / PRESETS[preset].plan) for preset in (name, f"{name}-tuned"))
    assert tuned.learner != plain.learner
    assert tuned.tuning_trials > 50
    searched = msgspec.structs.replace(tuned, name=plain.name, learner=plain.learner, tuning_trials=0)
    assert searched == plain
