"""The two planted markets in which PPO of several libraries learns, and the curve of a training in one of them."""

from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from time import process_time
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.peers.ppo.cases import SCENES, Scene
from benchmarks.peers.ppo.peer_fits import Point
from quantd.models.history.panel_files import file_digest
from quantd.research.power.power_study import Field
from quantd.trading.statistics import PERIODS_PER_YEAR
from quantd.training.market.tensors import Market
from quantd.training.plans.plan import Plan, default, described, read
from quantd.training.power.plants import Plant, planted_plan
from quantd.training.seeds.learner import Policy
from quantd.training.seeds.markets import Markets, markets_of, window_market
from quantd.training.seeds.validation import evaluate


class Stage(NamedTuple):
    """A scene with its prices: where all sides learn, and where all are evaluated."""

    name: str
    plan: Plan
    markets: Markets
    test: Market
    equal_weight: float
    """Log growth a year on the test part, after costs, as that of the reference."""
    reference: float
    digest: str
    """Of data, plan, plant and cost."""

    def growth(self, policy: Policy) -> float:
        """Return the log growth a year of a policy on the test part, in whole lots and after costs."""
        equity = evaluate(policy, self.test, self.plan.market).equity
        return float(np.diff(np.log(equity)).mean()) * PERIODS_PER_YEAR


def staged(name: str, plan: Path, steps: int, every: int, folder: Path) -> Stage:
    """Read the data of a scene and plant its signal; the plant's file is written to `folder`.

    The choice of a policy by the validation part is no part of the comparison.
    """
    # further threads only wait for each other, and their waiting is CPU time
    torch.set_num_threads(1)
    scene = SCENES[name]
    unchosen = {"steps": steps, "evaluate_every": every, "patience": 0, "choose_by": "sharpe", "seeds": [1]}
    field = Field(read(plan, {**scene.changes, **unchosen}), {name: Plant(ic=scene.ic)})
    attainable = field.attainable(name, scene.cost_bp)
    seen = planted_plan(field.costing(scene.cost_bp), field.planted(name), field.panel, folder / name)
    part = seen.splits.test
    return Stage(
        name, seen, markets_of(seen), window_market(seen, part.first, part.last), attainable.equal_weight,
        attainable.reference, _digest(field.plan, scene),
    )  # fmt: skip


def _digest(plan: Plan, scene: Scene) -> str:
    """Return the hex BLAKE2b of data, plant, cost, and the settings that are not the learner's defaults.

    A later version's further key with its default is no other cell.
    """
    usual = described(default(plan.agent))
    settings = {key: value for key, value in described(plan).items() if key != "name" and usual.get(key) != value}
    data = [file_digest(path) for path in plan.data.files if path is not None]
    return blake2b(repr((sorted(settings.items()), data, scene.ic, scene.cost_bp)).encode(), digest_size=16).hexdigest()


class Curve:
    """The points of a training. Its clock is CPU time of this process, and stands still during an evaluation."""

    def __init__(self, every: int, growth: Callable[[Policy], float]) -> None:
        self.points: list[Point] = []
        self._every, self._growth = every, growth
        self._began = process_time()

    def start(self) -> None:
        """Start the clock: everything before it was preparation."""
        self._began = process_time()

    def due(self, steps: int) -> bool:
        """Return whether `steps` are in another interval than those of the last point."""
        last = self.points[-1].steps if self.points else 0
        return steps // self._every > last // self._every

    def add(self, steps: int, policy: Policy) -> None:
        """Evaluate the policy after `steps`."""
        now = process_time()
        self.points.append(Point(steps, round(now - self._began, 2), self._growth(policy)))
        self._began += process_time() - now
