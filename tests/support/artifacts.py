"""Small learned policies for the tests of artifacts: networks of a few units that were never trained, or hardly."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import torch
from numpy.typing import NDArray

from quantd.models.artifacts.manifest import ActionSpec, AgentManifest, Probes, Seat, Shape, Training, Window
from quantd.models.observation.sight import SightSpec, sight_hash
from quantd.training.export.writer import parameters_of, plain, write
from quantd.training.learners.a2c import A2cPlan
from quantd.training.learners.algorithms.deep_q import Dqn
from quantd.training.learners.algorithms.proximal_policy import Ppo
from quantd.training.learners.algorithms.soft_actor_critic import Sac
from quantd.training.learners.algorithms.synchronous_actor_critic import A2c
from quantd.training.learners.dqn import DqnPlan
from quantd.training.learners.ppo import PpoPlan
from quantd.training.learners.record import Actor, Writes
from quantd.training.learners.sac import SacPlan
from quantd.training.market.normalisation import Scale
from quantd.training.market.tensors import grid
from quantd.training.market.terms import Kind
from quantd.training.networks.onnx_nodes import Graph, Readout

UNIVERSE = ("AAA", "BBB", "CCC")
SPEC = SightSpec(features=("momentum_21", "volatility", "drawdown"))
TRAINING = Training(
    command="quantd train --of a test",
    data={"bars.parquet": "00"},
    windows={"train": Window("2000-01-03", "2010-12-31")},
    until_ns=int(np.datetime64("2012-12-31", "ns").astype(np.int64)),
    seeds=(1,),
    chosen_seed=1,
    chosen_iteration=100,
)

LEARNERS = {
    "ppo simplex": ("ppo", "simplex", PpoPlan(hidden=(16, 16))),
    "ppo dirichlet": ("ppo", "simplex", PpoPlan(hidden=(16,), simplex="dirichlet")),
    "ppo discrete": ("ppo", "discrete", PpoPlan(hidden=(16, 16))),
    "ppo box": ("ppo", "box", PpoPlan(hidden=(16, 16))),
    "ppo lstm": ("ppo", "simplex", PpoPlan(network="lstm", hidden=(12,))),
    "ppo lstm discrete": ("ppo", "discrete", PpoPlan(network="lstm", hidden=(12,))),
    "ppo bfloat16": ("ppo", "simplex", PpoPlan(hidden=(16, 16), bfloat16=True)),
    "a2c simplex": ("a2c", "simplex", A2cPlan(hidden=(16,))),
    "dqn": ("dqn", "discrete", DqnPlan(hidden=(16, 8))),
    "dqn dueling noisy": ("dqn", "discrete", DqnPlan(hidden=(16,), streams=8, noisy=True, double=True)),
    "sac simplex": ("sac", "simplex", SacPlan(hidden=(16, 16))),
    "sac box": ("sac", "box", SacPlan(hidden=(16, 16), bfloat16=True)),
}
MAKE: dict[str, Any] = {"ppo": Ppo, "a2c": A2c, "dqn": Dqn, "sac": Sac}


def action_of(kind: Kind, universe: tuple[str, ...] = UNIVERSE) -> ActionSpec:
    if kind != "discrete":
        return ActionSpec(kind, gross=0.8 if kind == "box" else 1.0)
    return ActionSpec("discrete", grid(universe, 2, cash=True).names, parts=2, cash=True)


def learner_of(name: str, spec: SightSpec = SPEC, universe: tuple[str, ...] = UNIVERSE, seed: int = 3) -> Any:
    """One of LEARNERS, with outputs large enough to differ."""
    algorithm, kind, plan = LEARNERS[name]
    size = {"simplex": len(universe) + 1, "box": len(universe)}.get(kind) or len(action_of(kind, universe).allocations)
    learner = MAKE[algorithm](plan, spec.size(len(universe)), size, kind, seed)
    vector = getattr(learner, "actor", None) or learner.network
    with torch.no_grad():
        vector.vector.mul_(1.5).add_(
            torch.randn(len(vector.vector), generator=torch.Generator().manual_seed(seed)) * 0.2
        )
    return learner


def scaling_of(spec: SightSpec = SPEC, assets: int = len(UNIVERSE)) -> Scale:
    draw = np.random.default_rng(8)
    mean, deviation = draw.normal(0.0, 0.2, spec.size(assets)), draw.uniform(0.5, 2.0, spec.size(assets))
    return Scale(torch.from_numpy(mean), torch.from_numpy(deviation), 5.0)


def manifest_of(
    learner: Any,
    name: str = "ppo simplex",
    spec: SightSpec = SPEC,
    universe: tuple[str, ...] = UNIVERSE,
    seats: tuple[Seat, ...] = (),
) -> AgentManifest:
    algorithm, kind, plan = LEARNERS[name]
    return AgentManifest(
        schema=1,
        name=name,
        algorithm=algorithm,
        profile="",
        network=Shape(getattr(plan, "network", "mlp"), tuple(plan.hidden), parameters_of(learner)),
        sight=spec,
        sight_hash=sight_hash(spec),
        action=action_of(kind, universe),
        universe=universe,
        training=TRAINING,
        plan=plain(plan),
        results={},
        golden=Probes(0, 0, 0, 0.0),
        files={},
        seats=seats,
    )


def written(out: Path, name: str = "ppo simplex", *, scaling: bool = True, **options: Any) -> AgentManifest:
    """An artifact in `out`."""
    learner = learner_of(name, **options)
    spec, universe = options.get("spec", SPEC), options.get("universe", UNIVERSE)
    feature_scaling = scaling_of(spec, len(universe)) if scaling else None
    return write(out, manifest_of(learner, name, spec, universe), learner, feature_scaling, b"# a card\n")


class Line:
    """A learner whose positions are tanh of a linear function of the observation, as far as it acts."""

    def __init__(self, slopes: NDArray[Any]) -> None:
        self.layer = torch.nn.Linear(slopes.shape[1], slopes.shape[0], bias=False)
        with torch.no_grad():
            self.layer.weight.copy_(torch.from_numpy(slopes))

    def policy_networks(self) -> Actor:
        return Actor((self,), "tanh", 0, self.layer)

    def write(self, graph: Graph, given: str, prefix: str = "") -> str:
        return graph.node("MatMul", [given, graph.constant(f"{prefix}slopes", self.layer.weight.t())])

    def act(self, observation: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.layer(observation))


def written_line(
    out: Path, slopes: NDArray[Any], spec: SightSpec = SPEC, universe: tuple[str, ...] = UNIVERSE
) -> AgentManifest:
    """An artifact of the kind box in `out`, with slopes float[N, D]."""
    learner = Line(slopes)
    manifest = manifest_of(learner, "ppo box", spec, universe)
    return write(out, manifest, learner, scaling_of(spec, len(universe)), b"# a card\n")


class Several:
    """A learner of several seats, as far as it acts."""

    def __init__(self, seats: int) -> None:
        learners = [learner_of("ppo simplex", seed=seed) for seed in range(seats)]
        self.actors = [learner.network for learner in learners]
        self.readout = learners[0].family.readout
        self._family = learners[0].family

    def policy_networks(self) -> Actor:
        return Actor(tuple(self.actors), self.readout, 0, torch.nn.ModuleList(self.actors))

    def act(self, observation: torch.Tensor) -> torch.Tensor:
        outputs = [n.act(row[None], n.begin(1))[0] for n, row in zip(self.actors, observation, strict=True)]
        return self._family.mode(torch.cat(outputs))


SEATS = (Seat("careful", ("AAA", "BBB"), 0.4, 0.5), Seat("balanced", (), 0.8, 0.3), Seat("bold", ("CCC",), 1.0, 0.2))


def written_seats(out: Path) -> AgentManifest:
    """An artifact of three agents in `out`."""
    learner = Several(len(SEATS))
    manifest = manifest_of(learner_of("ppo simplex"), seats=SEATS)
    return write(out, manifest, learner, scaling_of(), b"# a card\n")


def session_of(network: Writes, readout: Readout, entries: int, actions: int, carry: int = 0) -> Any:
    """Return a session of an actor: observation float32[1, entries] -> weights float32[1, actions], and its carry."""
    graph = Graph()
    graph.readout(network.write(graph, "observation"), readout)
    inputs, outputs = {"observation": entries}, {"weights": actions}
    if carry:
        inputs["carry"] = outputs["carried"] = carry
    return onnxruntime.InferenceSession(graph.model("actor", inputs, outputs), providers=["CPUExecutionProvider"])
