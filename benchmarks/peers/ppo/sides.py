"""Trains PPO of quantd, Stable-Baselines3 and CleanRL in one market, and evaluates it on the way."""

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Final

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from torch import Tensor

from benchmarks.peers.ppo import cleanrl_script
from benchmarks.peers.ppo.cases import Side
from benchmarks.peers.ppo.peer_fits import Point
from benchmarks.peers.ppo.planted_market import Curve, Stage
from benchmarks.peers.ppo.shared_policy import SharedPolicy, network_of
from quantd.training.learners.ppo import PpoPlan
from quantd.training.learners.record import Diverged, Report
from quantd.training.market.normalisation import Scale
from quantd.training.plans.plan import Plan, replaced
from quantd.training.seeds.environment import Ground
from quantd.training.seeds.learner import Policy, learner_of, policy_of
from tests.training.learners.peer import BOUND, PeerEnv

ACCOUNTS: Final = 16
"""Accounts of the sides with the authors' values: 2,048 steps of one account would be slow to simulate."""

ROWS: Final = 2048
"""Rows of a rollout by the authors of both peers."""

CLEANRL_DEFAULTS: Final = {"num-steps": ROWS // ACCOUNTS, "num-minibatches": 32, "update-epochs": 10}
"""What the count of optimiser steps needs; the other values are the script's."""


def versions(side: Side, script: Path | None) -> dict[str, str]:
    """Return the versions of the libraries of a side; of CleanRL the SHA-256 of its script."""
    both = {"torch": version("torch")}
    if side.library == "sb3":
        both["stable-baselines3"] = version("stable-baselines3")
    if side.library == "cleanrl" and script is not None:
        both["ppo_continuous_action.py sha256"] = cleanrl_script.digest(script)
    return both


def curve_of(side: Side, stage: Stage, seed: int, script: Path | None = None) -> tuple[list[Point], bool]:
    """Train one seed of a side for the steps of the stage's plan.

    Returns its evaluations on the test part, and whether it diverged after at least one. `script` is CleanRL's, which
    its sides need. Raises ValueError.
    """
    torch.set_num_threads(1)
    plan = plan_of(side, stage.plan)
    curve = Curve(plan.evaluate_every, stage.growth)
    try:
        _train(side, plan, Ground(plan, stage.markets.train, seed), seed, curve, script)
    except (Diverged, FloatingPointError, ValueError) as error:
        # torch's distributions of the peers refuse what is not finite by a ValueError
        if not curve.points or (type(error) is ValueError and "nan" not in str(error)):
            raise
        return curve.points, True
    return curve.points, False


def _train(side: Side, plan: Plan, ground: Ground, seed: int, curve: Curve, script: Path | None) -> None:
    match side.library:
        case "quantd":
            _quantd(plan, ground, seed, curve)
        case "sb3":
            _sb3(side, plan, ground, seed, curve)
        case "cleanrl":
            if script is None:
                raise ValueError("CleanRL's script is missing")
            _cleanrl(side, plan, ground, seed, curve, script)


def plan_of(side: Side, plan: Plan) -> Plan:
    """Return the plan with which a side learns: its network and distribution, and its accounts in place of the plan's.

    The sides of the peers have their network and environment from it.
    """
    changes: dict[str, object] = {"learner.network": side.network, "learner.simplex": side.simplex}
    if side.network == "mlp":
        # gains are of a shared network alone
        changes["learner.gains"] = False
    plan = replaced(plan, changes)
    return replaced(plan, {"market.batch": ACCOUNTS}) if side.values == "defaults" else plan


def _settings(plan: Plan) -> PpoPlan:
    assert isinstance(plan.learner, PpoPlan)
    return plan.learner


def _scored(scores: Callable[[Tensor], Tensor], ground: Ground, scale: Scale | None) -> Policy:
    """Return the policy of mean scores: their softmax, with cash as the reference."""
    view = PeerEnv(ground)

    def acts(observation: Tensor, first: bool) -> Tensor:
        rows = observation.float()
        return view.executed(scores(rows if scale is None else scale.of(rows)).clamp(-BOUND, BOUND))

    return acts


def _quantd(plan: Plan, ground: Ground, seed: int, curve: Curve) -> None:
    learner = learner_of(plan.learner, ground, seed)

    def report(news: Report) -> bool:
        if curve.due(news.steps):
            curve.add(news.steps, policy_of(learner, ground.scale, plan.market, ground.simulator.market.symbols))
        return False

    curve.start()
    learner.learn(ground, plan.steps, report)


class _Evaluations(BaseCallback):
    """Evaluates the policy of Stable-Baselines3 after the updates."""

    def __init__(self, ground: Ground, curve: Curve) -> None:
        super().__init__()
        self._ground, self._curve = ground, curve

    def _scores(self, rows: Tensor) -> Tensor:
        return torch.from_numpy(self.model.predict(rows.numpy(), deterministic=True)[0])

    def _on_rollout_start(self) -> None:
        # the update of the rollout before is over
        if self._curve.due(self.num_timesteps):
            self._curve.add(self.num_timesteps, _scored(self._scores, self._ground, self._ground.scale))

    def _on_training_end(self) -> None:
        self._on_rollout_start()

    def _on_step(self) -> bool:
        return True


def _sb3(side: Side, plan: Plan, ground: Ground, seed: int, curve: Curve) -> None:
    env, of = PeerEnv(ground), _settings(plan)
    if side.values == "defaults":
        model = PPO("MlpPolicy", env, device="cpu", seed=seed, n_steps=ROWS // ACCOUNTS)
    else:
        shared = side.network == "shared"
        model = PPO(
            SharedPolicy if shared else "MlpPolicy", env, device="cpu", seed=seed, n_steps=of.horizon,
            batch_size=of.minibatch, n_epochs=of.epochs, gamma=of.gamma, gae_lambda=of.gae_lambda, clip_range=of.clip,
            learning_rate=of.learning_rate, ent_coef=of.entropy_weight, vf_coef=of.value_weight,
            max_grad_norm=of.max_grad_norm,
            policy_kwargs={"log_std_init": of.log_spread}
            | ({"network": network_of(of, ground, seed)} if shared else {}),
        )  # fmt: skip
    curve.start()
    model.learn(plan.steps, callback=_Evaluations(ground, curve))


def _cleanrl(side: Side, plan: Plan, ground: Ground, seed: int, curve: Curve, script: Path) -> None:
    of = _settings(plan)
    rows = of.horizon * plan.market.batch
    options: dict[str, object] = dict(CLEANRL_DEFAULTS)
    if side.values == "plan":
        options = {
            "num-steps": of.horizon, "num-minibatches": rows // of.minibatch, "update-epochs": of.epochs,
            "gamma": of.gamma, "gae-lambda": of.gae_lambda, "clip-coef": of.clip, "learning-rate": of.learning_rate,
            "ent-coef": of.entropy_weight, "max-grad-norm": of.max_grad_norm,
            # its loss of values has a half that the plan's has not
            "vf-coef": 2.0 * of.value_weight, "no-anneal-lr": None, "no-clip-vloss": None,
        }  # fmt: skip

    def report(steps: int, agent_of: Callable[[], torch.nn.Module]) -> None:
        if curve.due(steps):
            agent = agent_of()

            def scores(observed: Tensor) -> Tensor:
                with torch.no_grad():
                    return agent.actor_mean(observed)

            curve.add(steps, _scored(scores, ground, ground.scale))

    network = network_of(of, ground, seed) if side.network == "shared" else None
    cleanrl_script.run(script, ground, options, plan.steps, seed, network, curve.start, report)
