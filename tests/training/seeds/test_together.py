"""Seeds that are trained together come to the bits of each alone."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from quantd.training.plans.plan import Plan
from quantd.training.seeds import checkpoints, imitation
from quantd.training.seeds.markets import markets_of
from quantd.training.seeds.seed_run import Progress, SeedDiverged, fit, fit_all
from tests.support import training as world

SEEDS = [1, 2, 3]

WILD: dict[str, object] = {
    "market__episodes": {"length": 20, "block": 7, "stress": {"chance": 0.1}},
    "market__costs": {"commission_min_micro": 1_000_000},
    "market__reward": {"kind": "composite", "turnover_penalty": 0.01},
}
"""Everything in a market that draws numbers, or adds them up."""

CASES: dict[str, tuple[str, dict[str, object]]] = {
    "a2c": ("a2c", {}),
    "ppo": ("ppo", {}),
    "lstm": ("lstm", {}),
    "a wild market": ("a2c", WILD),
    "seven accounts": ("a2c", {**WILD, "market__batch": 7}),
    "short positions": ("ppo", {**WILD, "market__kind": "box"}),
    "allocations": ("a2c", {"market__kind": "discrete"}),
    "a moving ratio": ("a2c", {"market__reward": {"kind": "sharpe"}}),
    "imitation": ("ppo", {"clone": "inverse_volatility"}),
    "no normalisation": ("a2c", {"normalise": False}),
    "seeds that end early": ("ppo", {"steps": 1_500, "evaluate_every": 200, "patience": 2}),
}


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.bars(tmp_path_factory.mktemp("bars"))


def go_on(_: Progress) -> bool:
    return False


def kept(folder: Path, plan: Plan) -> tuple[dict[str, object], list[dict[str, str]]]:
    place, state = checkpoints.read(checkpoints.there(folder)[-1], plan)
    with (folder / "metrics.csv").open(newline="") as file:
        rows = [{k: v for k, v in row.items() if k != "steps_per_s"} for row in csv.DictReader(file)]
    return {"place": place, **state}, rows


def assert_as_alone(plan: Plan, folder_of: Callable[[int], Path], alone: Path) -> None:
    for seed in plan.seeds:
        fit(plan, markets_of(plan), seed, alone / str(seed), go_on)
        (state, rows), (expected, lines) = kept(folder_of(seed), plan), kept(alone / str(seed), plan)
        assert rows == lines
        assert state.keys() == expected.keys()
        for name, value in state.items():
            other = expected[name]
            same = torch.equal(value, other) if isinstance(value, Tensor) and isinstance(other, Tensor) else (
                value == other
            )  # fmt: skip
            assert same, name


@pytest.mark.one_of(2)
@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
def test_each_of_several_seeds_has_the_bits_of_its_training_alone(
    case: str, bars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imitation, "UPDATES", 60)  # bits need no good imitation
    which, changes = CASES[case]
    seeds = SEEDS if case in ("a2c", "seeds that end early") else SEEDS[:2]
    usual: dict[str, object] = {"seeds": seeds, "steps": 640, "evaluate_every": 320, "checkpoint_every": 320}
    plan = world.plan(bars, which, **{**usual, **changes})
    fitted = fit_all(plan, markets_of(plan), lambda seed: tmp_path / f"seed-{seed}", go_on)
    assert [outcome.seed for outcome in fitted] == list(plan.seeds)
    assert_as_alone(plan, lambda seed: tmp_path / f"seed-{seed}", tmp_path / "alone")
    if case == "seeds that end early":
        assert len({outcome.steps for outcome in fitted}) > 1


def test_a_seed_that_diverges_among_others_is_named(bars: Path, tmp_path: Path) -> None:
    plan = world.plan(bars, "a2c", seeds=SEEDS, learner__learning_rate=1e38)
    with pytest.raises(SeedDiverged, match=r"after \d+ steps") as caught:
        fit_all(plan, markets_of(plan), lambda seed: tmp_path / f"seed-{seed}", go_on)
    assert caught.value.seed in SEEDS
