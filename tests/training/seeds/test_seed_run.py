"""A seed that is broken off goes on to the same bits; it stops early, and stops when it diverges."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from torch import Tensor

from quantd.models.history.panel import Panel
from quantd.models.observation.table import Observed
from quantd.trading.execution import Costs
from quantd.training.learners.record import Diverged
from quantd.training.market.tensors import market_of
from quantd.training.plans.data_plan import PlanError
from quantd.training.plans.plan import MarketPlan, Plan, replaced
from quantd.training.seeds import checkpoints, seed_run
from quantd.training.seeds.learner import policy_of
from quantd.training.seeds.markets import markets_of
from quantd.training.seeds.seed_run import Fitted, Progress, SeedDiverged, fit, fit_all
from quantd.training.seeds.validation import equal_weight, evaluate, excess
from tests.support import training as world
from tests.support.checkout import ROOT

WHICH = sorted(world.SMALL)


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.bars(tmp_path_factory.mktemp("bars"))


def go_on(_: Progress) -> bool:
    return False


def run(plan: Plan, folder: Path | None, seed: int = 1, until: int | None = None, resume: bool = False) -> Fitted:
    def told(at: Progress) -> bool:
        return until is not None and at.steps >= until

    return fit(plan, markets_of(plan), seed, folder, told, resume=resume)


def figures(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "steps_per_s"} for row in csv.DictReader(file)]


def newest(folder: Path, plan: Plan) -> dict[str, object]:
    return dict(checkpoints.read(checkpoints.there(folder)[-1], plan)[1])


def assert_same(state: dict[str, object], other_state: dict[str, object]) -> None:
    assert state.keys() == other_state.keys()
    for name, value in state.items():
        same = torch.equal(value, other_state[name]) if isinstance(value, Tensor) else value == other_state[name]
        assert same, name


@pytest.mark.one_of(2)
@pytest.mark.requirement("R-084")
@pytest.mark.long
@pytest.mark.parametrize("which", WHICH)
def test_a_seed_that_was_stopped_goes_on_to_the_same_bits(which: str, bars: Path, tmp_path: Path) -> None:
    # longer than what a memory holds
    plan = world.plan(bars, which, steps=1_800, evaluate_every=900, checkpoint_every=450)
    reference = run(plan, tmp_path / "whole")
    stopped = run(plan, tmp_path / "broken", until=1_000)
    assert stopped.ended == "stopped"
    assert stopped.steps < reference.steps
    resumed = run(plan, tmp_path / "broken", resume=True)
    assert_same(newest(tmp_path / "broken", plan), newest(tmp_path / "whole", plan))
    assert figures(tmp_path / "broken") == figures(tmp_path / "whole")
    assert (resumed.score, resumed.step, resumed.ended) == (reference.score, reference.step, "end")
    for vector, expected_vector in zip(resumed.learner.vectors(), reference.learner.vectors(), strict=True):
        assert torch.equal(vector, expected_vector)


PROGRAM = """
import sys
from pathlib import Path
import msgspec
from quantd.training.seeds.seed_run import fit
from quantd.training.seeds.markets import markets_of
from quantd.training.plans.plan import parsed, restored
plan = restored(msgspec.json.decode(Path(sys.argv[1]).read_bytes()))
fit(plan, markets_of(plan), 1, Path(sys.argv[2]), lambda at: print(at.steps, flush=True) is not None, resume=True)
"""


def spawn(plan: Plan, folder: Path, tmp_path: Path) -> subprocess.Popen[bytes]:
    import msgspec

    (tmp_path / "plan.json").write_bytes(msgspec.json.encode(plan))
    words = [sys.executable, "-c", PROGRAM, str(tmp_path / "plan.json"), str(folder)]
    return subprocess.Popen(words, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE)


KILLED = [pytest.param("ppo", 4_000, {"evaluate_every": 2_000, "checkpoint_every": 250})]
KILLED += [pytest.param(which, 30_000, {}, marks=pytest.mark.slow) for which in WHICH]


@pytest.mark.requirement("R-084")
@pytest.mark.long
@pytest.mark.parametrize(("which", "steps", "every"), KILLED)
def test_a_process_that_was_killed_goes_on_to_the_same_bits_in_another(
    which: str, steps: int, every: dict[str, int], bars: Path, tmp_path: Path
) -> None:
    """A process that is killed after its second checkpoint, then one that goes on; against one that was left alone."""
    plan, broken = world.plan(bars, which, steps=steps, keep=50, **every), tmp_path / "broken"
    process = spawn(plan, broken, tmp_path)
    deadline = time.monotonic() + 120
    while len(checkpoints.there(broken)) < 2:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    place = checkpoints.place_of(checkpoints.there(broken)[-1])
    assert place.ended == ""
    run(plan, broken, resume=True)
    run(plan, tmp_path / "whole")
    assert_same(newest(broken, plan), newest(tmp_path / "whole", plan))
    assert figures(broken) == figures(tmp_path / "whole")


@pytest.mark.requirement("R-070", "R-086")
def test_a_flat_market_stops_early(tmp_path: Path) -> None:
    flat = world.bars(tmp_path, flat=True)
    plan = world.plan(
        flat,
        "ppo",
        steps=100_000,
        evaluate_every=100,
        patience=2,
        market__costs={"commission_bp": 0.0, "slippage_bp": 0.0},
    )
    fitted = run(plan, tmp_path / "run")
    assert fitted.ended == "patience"
    assert fitted.steps <= 500
    assert fitted.score != fitted.score, "an account that never moves has no Sharpe ratio"
    assert run(plan, tmp_path / "run", resume=True).ended == "patience"


@pytest.mark.requirement("R-103")
def test_a_seed_that_diverges_says_so_and_keeps_its_last_good_checkpoint(bars: Path, tmp_path: Path) -> None:
    plan = world.plan(bars, "ppo", checkpoint_every=64)
    course = seed_run._Course(plan, markets_of(plan), 1, tmp_path / "run", go_on)
    course.begin(fresh=True)
    count = 0

    def poison(report: object) -> bool:
        nonlocal count
        count += 1
        if count == 4:
            with torch.no_grad():
                course.learner.vectors()[0][3] = float("nan")
        return course.told(report)  # type: ignore[arg-type]

    with pytest.raises(Diverged, match="weights are not finite"):
        course.learner.learn(course.ground, plan.steps, poison)
    place, state = checkpoints.read(checkpoints.there(tmp_path / "run")[-1], plan)
    assert place.step == 3 * 64
    assert all(bool(torch.isfinite(v).all()) for v in state.values() if isinstance(v, Tensor) and v.is_floating_point())


@pytest.mark.parametrize("which", ["ppo", "sac"])
def test_a_rate_that_is_far_too_high_ends_in_a_clear_word(which: str, bars: Path) -> None:
    plan = world.plan(bars, which, learner__learning_rate=1e38)
    with pytest.raises(Diverged, match=r"after \d+ steps"):
        run(plan, None)


@pytest.mark.long
@pytest.mark.requirement("R-059")
def test_every_figure_that_is_promised_is_in_the_records(bars: Path, tmp_path: Path) -> None:
    expected = {
        "ppo": {"loss_policy", "loss_value", "entropy", "term_log"},
        "dqn": {"loss_value", "td_error", "epsilon", "q_value"},
        "sac": {"loss_critic", "loss_actor", "temperature", "entropy"},
        "maddpg": {"likeness", "likeness_weight"},
    }
    common = {
        "step",
        "steps_per_s",
        "mean_return",
        "episodes",
        "turnover",
        "drawdown",
        "cost_bp",
        "validation_score",
        "best_score",
    }
    for which, more in expected.items():
        run(world.plan(bars, which, steps=800, evaluate_every=400), tmp_path / which)
        rows = figures(tmp_path / which)
        assert common - {"steps_per_s"} | more <= set(rows[0])
        assert any(row["validation_score"] for row in rows)
        lines = [json.loads(line) for line in (tmp_path / which / "metrics.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines] == [int(row["step"]) for row in rows]
        params = json.loads((tmp_path / which / "params.json").read_text())
        assert params["market.batch"] == 8


@pytest.mark.long
@pytest.mark.requirement("R-058")
def test_a_higher_price_of_turnover_lowers_the_turnover_of_the_policy(tmp_path: Path) -> None:
    flat, turned = world.bars(tmp_path, flat=True), []
    for price in (0.0, 1.0):
        plan = world.plan(
            flat, "ppo", steps=4_000, evaluate_every=4_000, learner__learning_rate=3e-3,
            market__costs={"commission_bp": 0.0, "slippage_bp": 0.0},
            market__reward={"kind": "simple", "turnover_penalty": price},
        )  # fmt: skip
        run(plan, tmp_path / str(price))
        turned.append(np.mean([float(row["turnover"]) for row in figures(tmp_path / str(price))[-20:]]))
    assert turned[1] < turned[0] / 2


@pytest.mark.long
def test_a_policy_that_loses_to_equal_weight_at_each_evaluation_stays_untrained(bars: Path, tmp_path: Path) -> None:
    costs = {"commission_bp": 200.0, "slippage_bp": 0.0}
    plan = world.plan(
        bars, "ppo", steps=1_200, evaluate_every=300, checkpoint_every=300, choose_by="excess", market__costs=costs
    )
    scores = []

    def told(at: Progress) -> bool:
        scores.append(at.score)
        return False

    markets = markets_of(plan)
    fitted = fit(plan, markets, 1, tmp_path / "run", told)
    evaluated = [score for score in scores if score is not None]
    assert len(evaluated) >= 3
    assert all(score < 0.0 for score in evaluated)
    assert (fitted.step, fitted.score) == (0, 0.0)
    untrained = seed_run.learner_of(plan.learner, seed_run.Ground(plan, markets.train, 1), 1)
    for vector, expected_vector in zip(fitted.learner.vectors(), untrained.vectors(), strict=True):
        assert torch.equal(vector, expected_vector)
    place, _ = checkpoints.read(tmp_path / "run" / seed_run.BEST, plan)
    assert (place.best_step, place.best_score) == (0, 0.0)


@pytest.mark.long
def test_the_standard_errors_of_a_plan_lower_the_score_of_each_evaluation(bars: Path, tmp_path: Path) -> None:
    plan = world.plan(bars, "ppo", steps=1_200, evaluate_every=300, checkpoint_every=300, choose_by="excess")
    scores = {}
    for errors in (0.0, 3.0):
        folder = tmp_path / str(errors)
        run(replaced(plan, {"errors_above": errors}), folder)
        text = [row["validation_score"] for row in figures(folder)]
        scores[errors] = [float(score) for score in text if score not in ("", "nan")]
    validation = markets_of(plan).validation
    error = (252 / (validation.last - validation.first)) ** 0.5
    assert len(scores[0.0]) >= 3
    np.testing.assert_allclose(np.subtract(scores[0.0], scores[3.0]), 3.0 * error, rtol=1e-9)
    with pytest.raises(PlanError, match="errors_above -1: it must be 0 or more"):
        replaced(plan, {"errors_above": -1.0})


@pytest.mark.long
def test_a_value_learner_that_loses_to_equal_weight_holds_equal_weight(bars: Path, tmp_path: Path) -> None:
    plan = world.plan(
        bars, "dqn", steps=1_200, evaluate_every=300, checkpoint_every=300, choose_by="excess",
        learner__network="shared", learner__streams=0, learner__noisy=False, market__parts=1, market__equal_weight=True,
        market__costs={"commission_bp": 200.0, "slippage_bp": 0.0},
    )  # fmt: skip
    markets = markets_of(plan)
    fitted = fit(plan, markets, 1, tmp_path / "run", lambda _: False)
    assert (fitted.step, fitted.score) == (0, 0.0)
    policy = policy_of(fitted.learner, fitted.normaliser, plan.market, markets.symbols)
    walked = evaluate(policy, markets.validation, plan.market)
    np.testing.assert_allclose(walked.equity, equal_weight(markets.validation, plan.market).equity)


def test_the_excess_is_the_information_ratio_of_daily_log_returns_less_one_standard_error(bars: Path) -> None:
    plan = world.plan(bars, "ppo")
    market = markets_of(plan).validation
    equal = equal_weight(market, plan.market)
    wave = np.sin(np.arange(len(equal.equity)))
    other = equal._replace(equity=equal.equity * np.exp(wave))
    daily = np.diff(wave)
    years = len(daily) / 252
    ratio = daily.mean() / daily.std() * 252**0.5 - 1.0 / years**0.5
    assert excess(other, equal) == pytest.approx(ratio)
    assert excess(other, equal, errors=3.0) == pytest.approx(ratio - 2.0 / years**0.5)
    growth = daily.mean() * 252 - daily.std() / len(daily) ** 0.5 * 252
    assert excess(other, equal, "growth") == pytest.approx(growth) == pytest.approx(ratio * daily.std() * 252**0.5)


def test_only_actor_critics_imitate(bars: Path) -> None:
    with pytest.raises(PlanError, match="clone = 'equal_weight': dqn cannot imitate; these can: a2c, ppo"):
        run(world.plan(bars, "dqn", clone="equal_weight"), None)
    with pytest.raises(PlanError, match="inverse_volatility"):
        run(world.plan(bars, "ppo", clone="inverse_volatillity"), None)


def test_equal_weight_beside_a_policy_holds_a_coin_that_costs_more_than_its_part() -> None:
    price = np.array([[100.0, 60_000.0], [100.0, 60_000.0], [100.0, 120_000.0]])
    days = np.arange(3, dtype=np.int64) * 86_400_000_000_000
    ones = np.ones((3, 2))
    panel = Panel(("A", "BTC-USD"), days, price, price, ones, 0.0 * ones)
    observed = Observed(np.zeros((3, 0), dtype=np.float32), (), 0, ())
    market = market_of(panel, observed, dtype=torch.float64)
    free = MarketPlan(costs=Costs())
    assert equal_weight(market, free).equity[-1] == pytest.approx(150_000.0, rel=1e-6)
    whole_lots = msgspec.structs.replace(free, lot=1.0)  # a plan may still say so: then it holds none of it
    assert equal_weight(market, whole_lots).equity[-1] == 100_000.0


def test_a_seed_that_diverges_among_others_is_named(bars: Path, tmp_path: Path) -> None:
    plan = world.plan(bars, "a2c", seeds=[1, 2, 3], learner__learning_rate=1e38)
    with pytest.raises(SeedDiverged, match=r"after \d+ steps") as caught:
        fit_all(plan, markets_of(plan), lambda seed: tmp_path / f"seed-{seed}", go_on)
    assert caught.value.seed == 1
