"""`python -m benchmarks.peers.ppo` trains PPO of several libraries in one market, and prints one table."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from benchmarks.peers.ppo.__main__ import PLAN, main
from benchmarks.peers.ppo.cases import SIDES
from benchmarks.peers.ppo.cleanrl_script import BatchedMarket, run, with_shared_agent
from benchmarks.peers.ppo.peer_fits import PeerFit, Point, head, newest, read_fits, rows
from benchmarks.peers.ppo.shared_policy import Agent, SharedPolicy, network_of
from benchmarks.peers.ppo.sides import plan_of
from quantd.training.learners.algorithms.proximal_policy import Ppo
from quantd.training.learners.ppo import PpoPlan
from quantd.training.networks.sizes import Layout
from quantd.training.plans.plan import read
from quantd.training.power.findings import append
from tests.support.problems import DriftingAsset
from tests.support.studies import text

SCRIPT = '''
"""A policy gradient with the surface of the script that the benchmark runs: its arguments, its agent, its loop."""
import argparse

import gymnasium as gym
import torch
from torch import nn


class Agent(nn.Module):
    def __init__(self, envs):
        super().__init__()
        self.actor_mean = nn.Linear(envs.single_observation_space.shape[0], envs.single_action_space.shape[0])
        nn.init.zeros_(self.actor_mean.weight)
        nn.init.zeros_(self.actor_mean.bias)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("num-envs", "num-steps", "num-minibatches", "update-epochs", "total-timesteps", "seed"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--no-cuda", action="store_true")
    given, _ = parser.parse_known_args()
    torch.manual_seed(given.seed)
    envs = gym.vector.SyncVectorEnv([None] * given.num_envs)
    agent = Agent(envs)
    optimiser = torch.optim.Adam(agent.parameters(), lr=1e-2)
    seen, _ = envs.reset(seed=given.seed)
    for _ in range(given.total_timesteps // (given.num_envs * given.num_steps)):
        rollout = []
        for _ in range(given.num_steps):
            with torch.no_grad():
                action = torch.distributions.Normal(agent.actor_mean(torch.Tensor(seen)), 1.0).sample()
            after, reward, _, _, _ = envs.step(action.numpy())
            rollout.append((torch.Tensor(seen), action, torch.Tensor(reward)))
            seen = after
        for _ in range(given.update_epochs * given.num_minibatches + EXTRA):
            loss = torch.tensor(0.0)
            for rows, action, reward in rollout:
                drawn = torch.distributions.Normal(agent.actor_mean(rows), 1.0)
                loss = loss - (drawn.log_prob(action).sum(1) * reward).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    print("SPS: 1")
'''


@pytest.mark.parametrize("name", SIDES)
def test_each_side_has_a_plan_of_its_network(name: str) -> None:
    side = SIDES[name]
    plan = plan_of(side, read(PLAN))
    assert (plan.learner.network, plan.learner.simplex) == (side.network, side.simplex)
    assert plan.learner.gains is (side.network == "shared")


def script(folder: Path, extra: int = 0) -> Path:
    file = folder / "a_script.py"
    file.write_text(SCRIPT.replace("EXTRA", str(extra)))
    return file


def fit(**changes: object) -> PeerFit:
    points = [Point(25_000, 3.0, 0.5), Point(50_000, 6.0, 1.0), Point(100_000, 12.0, 1.1)]
    base = {
        "cell": "a", "market": "five", "side": "quantd, its plan", "seed": 1, "points": msgspec.to_builtins(points),
        "equal_weight": 0.1, "reference": 2.1, "cpu_s": 12.0, "versions": {}, "commit": "c",
    }  # fmt: skip
    return msgspec.convert(base | changes, PeerFit)


@pytest.mark.long
def test_the_command_fits_each_side_once_and_prints_their_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plan.toml").write_text(text(**{"market.batch": 4, "learner.hidden": [8], "learner.horizon": 64}))
    names = ["quantd, its plan", "SB3, network and values of the plan", "SB3, its MLP and values"]
    options = ["--market", "five", "--seeds", "1", "--steps", "2048", "--every", "1024", "--plan"]
    command = [*options, str(tmp_path / "plan.toml"), "--out", str(tmp_path / "fits.jsonl"), "--side", *names]
    assert main(command) == 0
    printed = capsys.readouterr()
    assert [line.split("  ")[0] for line in printed.out.splitlines()[4:-1]] == names
    assert printed.out.splitlines()[-1].startswith("CleanRL was left out")
    fits = read_fits(tmp_path / "fits.jsonl")
    assert [fit.side for fit in fits] == names
    assert [point.steps for point in fits[0].points] == [1024, 2048]
    assert [point.steps for point in fits[1].points] == [1024, 2048]
    assert [point.steps for point in fits[2].points] == [2048]
    assert all(0.0 < point.cpu_s <= fit.cpu_s and np.isfinite(point.growth) for fit in fits for point in fit.points)
    assert len({fit.cell for fit in fits}) == 3
    assert main(command) == 0
    assert read_fits(tmp_path / "fits.jsonl") == fits
    assert capsys.readouterr().err == ""


def test_an_unknown_side_and_a_missing_script_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--side", "RLlib"]) == 2
    assert "--side RLlib: the sides are: quantd, its plan;" in capsys.readouterr().err
    assert main(["--table", "--cleanrl", str(tmp_path / "none.py")]) == 2
    assert "there is no such file" in capsys.readouterr().err


def test_the_script_learns_in_the_market_and_is_evaluated_after_its_rollouts(tmp_path: Path) -> None:
    env = DriftingAsset("simplex", 4, 3, 6)
    means: dict[int, list[float]] = {}

    def report(steps: int, agent_of) -> None:
        torch.manual_seed(99)  # an evaluation changes no draw of the script
        means[steps] = agent_of().actor_mean.bias.tolist()

    options = {"num-steps": 8, "num-minibatches": 2, "update-epochs": 3}
    began: list[int] = []
    run(script(tmp_path), env, options, 100, 5, None, lambda: began.append(len(means)), report)
    assert began == [0]
    assert list(means) == [32, 64, 96, 128]
    assert len({tuple(bias) for bias in means.values()}) == 4, "the copies are of different moments"
    again: dict[int, list[float]] = {}
    env = DriftingAsset("simplex", 4, 3, 6)
    run(script(tmp_path), env, options, 100, 5, None, lambda: None,
        lambda steps, agent_of: again.update({steps: agent_of().actor_mean.bias.tolist()}))  # fmt: skip
    assert again == means


def test_a_script_with_another_number_of_updates_is_refused(tmp_path: Path) -> None:
    options = {"num-steps": 8, "num-minibatches": 2, "update-epochs": 3}
    with pytest.raises(ValueError, match=r"a_script.py: 7 optimiser steps in 1 rollouts of 6"):
        run(script(tmp_path, 1), DriftingAsset("simplex", 4, 3, 6), options, 32, 5, None, lambda: None,
            lambda steps, agent_of: None)  # fmt: skip


def test_the_shared_agent_takes_the_place_of_the_scripts_class() -> None:
    changed = with_shared_agent(SCRIPT)
    assert "class Agent" not in changed
    assert "from benchmarks.peers.ppo.shared_policy import Agent" in changed
    assert changed.count("\n") == SCRIPT.count("\n") - 5
    with pytest.raises(ValueError, match="the script has no class Agent"):
        with_shared_agent("import os\n")


def test_the_peers_begin_with_the_network_of_quantd() -> None:
    env = DriftingAsset("simplex", 4, 3, 6)
    plan = PpoPlan(network="shared", hidden=(8, 8), layout=Layout(3, 2, 0, None))
    learner = Ppo(plan, env.observation_size, env.action_size, env.kind, 7)
    network = network_of(plan, env, 7)
    observations = torch.randn((5, env.observation_size), generator=torch.Generator().manual_seed(1))
    heads = learner.network(observations)
    market = BatchedMarket(env, network)
    agent = Agent(market)
    assert torch.equal(agent.actor_mean(observations), heads.actor)
    assert torch.equal(agent.get_value(observations)[:, 0], heads.value)
    policy = SharedPolicy(
        market.single_observation_space, market.single_action_space, lambda _: 1e-3, network=network
    )  # fmt: skip
    scores, values, log_prob = policy(observations, deterministic=True)
    assert torch.equal(scores, heads.actor)
    assert torch.equal(values[:, 0], heads.value)
    _, judged, entropy, _ = agent.get_action_and_value(observations, scores)
    assert torch.allclose(judged, log_prob)
    assert torch.allclose(entropy, policy.get_distribution(observations).entropy())
    learned = sum(parameter.numel() for group in policy.optimizer.param_groups for parameter in group["params"])
    assert learned == sum(parameter.numel() for parameter in agent.parameters()) == len(learner.network.vector)


def test_growth_by_steps_and_by_seconds_is_that_of_the_points() -> None:
    record = fit()
    assert [record.after_steps(steps) for steps in (25_000, 25_001, 100_000, 100_001)] == [0.5, 1.0, 1.1, None]
    assert [record.after_seconds(seconds) for seconds in (2.9, 3.0, 11.9, 99.0)] == [None, 0.5, 1.0, 1.1]
    assert record.share(1.1) == pytest.approx(0.5)


def test_a_seed_that_diverged_is_counted_in_its_row() -> None:
    assert rows([fit(), fit(seed=2, diverged=True), fit(seed=3)])[-1][-1] == "3, 1 diverged"


def test_the_table_has_the_median_of_the_newest_cell_of_a_side(tmp_path: Path) -> None:
    higher = [{"steps": 25_000, "cpu_s": 7.0, "growth": 2.1}]
    for added in (fit(cell="old"), fit(), fit(seed=2), fit(seed=3, points=higher), fit(seed=3, points=higher)):
        append(tmp_path / "fits.jsonl", added)
    fits = newest(read_fits(tmp_path / "fits.jsonl"))
    assert [(record.cell, record.seed) for record in fits] == [("a", 1), ("a", 2), ("a", 3)]
    equal, reference, row = rows(fits)
    assert [equal[0], equal[5]] == ["five stocks, 2017-18, IC 1, 15 bp: equal weight", "+0.10"]
    assert [reference[0], reference[5]] == ["five stocks, 2017-18, IC 1, 15 bp: reference rule", "+2.10"]
    assert len(equal) == len(row) == len(head())
    assert row == [
        "quantd, its plan", "+0.50", "", "", "", "", "", "+1.00", "+1.10", "+1.10", "+1.10", "50% (50% to 100%)", "12",
        "3",
    ]  # fmt: skip
