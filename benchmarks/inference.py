"""Time from an observation to weights, batch 1: ONNX Runtime as in the daemon, compared with eager torch.

    OMP_NUM_THREADS=1 python benchmarks/inference.py [--calls 3000] [--block 50] [--json]

The two alternate in blocks of `--block` calls in one run. With blocks of 1 each finds the cache full of the other's
data.
"""

import argparse
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np
import torch

from quantd.models.artifacts.manifest import ActionSpec
from quantd.models.artifacts.runtime import open_session
from quantd.models.isolation.session import here
from quantd.models.observation.return_features import LOOKBACK, measure
from quantd.models.observation.sight import SightSpec, observation
from quantd.training.export.policy_graph import graph_of
from quantd.training.learners.algorithms.proximal_policy import Ppo
from quantd.training.learners.ppo import PpoPlan
from quantd.training.learners.record import Writes
from quantd.training.market.normalisation import Scale
from quantd.training.networks import scorer
from quantd.training.networks.mlp import Mlp
from quantd.training.networks.onnx_nodes import Graph, Readout
from quantd.training.networks.scorer import Scorer

WHERE = Path("benchmark")
SPEC, ASSETS = SightSpec(), 20
SIZE = SPEC.size(ASSETS)


def timed(calls: int, block: int, *functions: Callable[[], object]) -> list[tuple[float, float]]:
    """Return (p50, p99) in microseconds of each, in alternating blocks of `block` calls, so that load affects all
    equally.
    """
    times: list[list[int]] = [[] for _ in functions]
    for call in functions:
        for _ in range(100):
            call()
    for _ in range(-(-calls // block)):
        for call, durations in zip(functions, times, strict=True):
            for _ in range(block):
                began = perf_counter_ns()
                call()
                durations.append(perf_counter_ns() - began)
    return [tuple((np.percentile(durations, (50, 99)) / 1e3).tolist()) for durations in times]


def _graph(network: Writes, readout: Readout, entries: int, actions: int) -> bytes:
    graph = Graph()
    graph.readout(network.write(graph, "observation"), readout)
    return graph.model("actor", {"observation": entries}, {"weights": actions})


def plain_mlp() -> tuple[Callable[[], object], Callable[[], object]]:
    """Return runners of a bare 200-256-256-20 network: the row with measured limits."""
    network = Mlp(200, 20, 0, torch.Generator().manual_seed(1))
    run = open_session(_graph(network, "dirichlet", 200, 20), WHERE, ["observation"], ["weights"], opened=here).run
    row = np.random.default_rng(1).normal(size=(1, 200)).astype(np.float32)
    seen, carry = torch.from_numpy(row), network.begin(1)

    @torch.no_grad()
    def eager() -> object:
        excess = torch.nn.functional.softplus(network.act(seen, carry)[0])
        return (excess / excess.sum(-1, keepdim=True)).numpy()

    return (lambda: run(None, {"observation": row})), eager


def policy(plan: PpoPlan, spec: SightSpec = SPEC) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return runners of a complete policy of 20 assets: normalisation, network, softmax, removal of cash."""
    size = spec.size(ASSETS)
    learner = Ppo(plan, size, ASSETS + 1, "simplex", 1)
    scaling = Scale(torch.zeros(size), torch.ones(size))
    graph = graph_of(learner.policy_networks(), spec, ASSETS, scaling, ActionSpec("simplex"))
    network: Any = learner.network
    carry = network.begin(1)
    recurrent = carry.shape[1] > 0
    run = open_session(graph, WHERE, ["observation", *(["carry"] if recurrent else [])], opened=here).run
    row = np.random.default_rng(1).normal(size=(1, size)).astype(np.float32)
    given = {"observation": row} | ({"carry": np.zeros((1, carry.shape[1]), np.float32)} if recurrent else {})
    seen, mean, deviation = torch.from_numpy(row), torch.zeros(size), torch.ones(size)

    @torch.no_grad()
    def eager() -> object:
        scaled = ((seen - mean) / deviation).clamp(-10.0, 10.0)
        return learner.family.mode(network.act(scaled, carry)[0])[:, :ASSETS].numpy()

    return (lambda: run(None, given)), eager


def equivariant() -> tuple[Callable[[], object], Callable[[], object]]:
    """Return runners of the scorer over 20 assets."""
    torch.manual_seed(1)
    network = Scorer(9, 16)
    run = open_session(scorer.to_onnx(network), WHERE, ["features", "mask"], ["weights"], opened=here).run
    features, mask = measure(np.random.default_rng(1).normal(0.0, 0.01, (LOOKBACK, ASSETS)))
    rows, mask_rows = torch.from_numpy(features)[None], torch.from_numpy(mask)[None]

    @torch.no_grad()
    def eager() -> object:
        return network(rows, mask_rows).numpy()

    return (lambda: run(None, {"features": features[None], "mask": mask[None]})), eager


def transformer() -> tuple[Callable[[], object], Callable[[], object]]:
    """Return runners of a transformer with 4 layers, 8 heads and width 128, over 60 sessions."""
    from quantd.training.networks import transformer as network_of

    spec = SightSpec(window=60)
    layout = network_of.Layout(ASSETS, spec.width - spec.window, spec.window)
    size, generator = spec.size(ASSETS), torch.Generator().manual_seed(1)
    network = network_of.Transformer(size, ASSETS, ASSETS, generator, layout=layout, sizes=network_of.Sizes())
    run = open_session(
        _graph(network, "softmax_gaussian", size, ASSETS + 1), WHERE, ["observation"], ["weights"], opened=here
    ).run
    row = np.random.default_rng(1).normal(size=(1, size)).astype(np.float32)
    observed, carry = torch.from_numpy(row), network.begin(1)

    @torch.no_grad()
    def eager() -> object:
        actor = network.act(observed, carry)[0]
        return torch.softmax(torch.cat([actor, actor.new_zeros((1, 1))], -1), -1).numpy()

    return (lambda: run(None, {"observation": row})), eager


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--block", type=int, default=50, help="calls a turn")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cases: dict[str, tuple[int, Callable[[], tuple[Callable[[], object], Callable[[], object]]]]] = {
        "MLP 200-256-256-20": (given.calls, plain_mlp),
        f"policy, MLP {SIZE}-256-256-20": (given.calls, lambda: policy(PpoPlan())),
        "scorer of 20 assets": (given.calls, equivariant),
        "policy, LSTM 128": (given.calls, lambda: policy(PpoPlan(network="lstm", hidden=(128,)))),
    }
    if find_spec("quantd.training.networks.transformer") is not None:
        cases["transformer 4 x 8 x 128, 60 sessions"] = (max(200, given.calls // 10), transformer)
    rows = []
    for name, (calls, case) in cases.items():
        (p50, p99), (torch50, torch99) = timed(calls, given.block, *case())
        rows.append({"case": name, "p50_us": p50, "p99_us": p99, "torch_p50_us": torch50, "torch_p99_us": torch99})
    draw = np.random.default_rng(2)
    returns, weights = draw.normal(0.0, 0.01, (LOOKBACK, ASSETS)), np.full(ASSETS, 0.04)
    ((features50, features99),) = timed(given.calls, given.block, lambda: observation(SPEC, returns, weights, 0.2))
    if given.json:
        print(json.dumps({"cases": rows, "features_p50_us": features50, "features_p99_us": features99}, indent=1))
        return
    print(f"{'batch 1, one thread, µs':40}{'p50':>8}{'p99':>9}{'torch p50':>11}{'p99':>9}{'ratio':>7}")
    for row in rows:
        ratio = row["torch_p50_us"] / row["p50_us"]
        print(
            f"{row['case']:40}{row['p50_us']:8.1f}{row['p99_us']:9.1f}"
            f"{row['torch_p50_us']:11.1f}{row['torch_p99_us']:9.1f}{ratio:7.1f}"
        )
    print(f"{'measuring the observation, before each':40}{features50:8.1f}{features99:9.1f}")


if __name__ == "__main__":
    main()
