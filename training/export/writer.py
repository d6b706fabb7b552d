"""Writes a learner as an artifact, with probes (test inputs and answers) that every load checks. Needs torch.

What can go wrong. The artifact would answer otherwise than the learner: so every load checks probes that have the
learner's own answers. A discrete probe between two nearly equal allocations would fail by rounding: so a probe is drawn
again until one allocation leads. Products in bfloat16 differ from the graph's: so the learner answers the probes in
float32.

What the order guarantees. The artifact is loaded after it is written, so that a wrong artifact is found here and not at
a start.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor

from quantd.models.artifacts import folder as folders
from quantd.models.artifacts.agent_policy import Golden, load_agent
from quantd.models.artifacts.manifest import SCHEMA, TOLERANCES, AgentManifest, Probes, Seat, agent_fault
from quantd.models.artifacts.weights import MEAN
from quantd.models.observation.return_features import LOOKBACK
from quantd.models.observation.sight import fault, observation, sight_hash
from quantd.trading.market import Floats
from quantd.training.export.agreement import random_columns, random_market
from quantd.training.export.policy_graph import graph_of
from quantd.training.learners.record import Actor
from quantd.training.market.normalisation import Scale
from quantd.training.market.tensors import EQUAL_WEIGHT, Allocations, grid

PROBES: Final = 6
"""Probes of an artifact."""

TRIES: Final = 50
"""Maximum number of draws for a probe with a clear decision."""

CLEAR: Final = 1e-3
"""Minimum lead of the best discrete allocation in a probe, in standard deviations of the scores, against rounding."""


def write(
    out: Path,
    manifest: AgentManifest,
    learner: Any,
    normaliser: Scale | None,
    card: bytes,
    allocations: Floats | None = None,
    mean: Tensor | None = None,
) -> AgentManifest:
    """Write the artifact to `out`, then load it with all checks of trading. Returns the manifest as written.

    The function fills in these fields of `manifest`: golden, files, digest, the hashes of the sight (the policy's
    input), and the carry (the size of a recurrent network's state). `allocations` float64[A, N + 1] are the A choices
    of discrete actions; by default they are the grid of `manifest.action`. `mean` float[D] is the training mean of
    observations, for a learner without a normaliser. Raises ValueError where learner and manifest do not match,
    ArtifactError where graph and learner differ. Axes: N assets, D entries of an observation.
    """
    action, spec, assets = manifest.action, manifest.sight, len(manifest.universe)
    if action.kind == "discrete" and allocations is None:
        allocation_grid = grid_of(manifest)
        if allocation_grid.names != action.allocations:
            raise ValueError("the manifest's allocations are not the grid of its parts: pass allocations as weights")
        allocations = allocation_grid.weights
    if wrong := agent_fault(manifest) or fault(spec, manifest.universe):
        raise ValueError(f"{out}: {wrong}")
    actor: Actor = learner.policy_networks()
    seats = [(agent, own_of(agent, manifest.universe)) for agent in manifest.seats]
    golden = golden_of(learner, actor, manifest, normaliser, allocations)
    manifest = msgspec.structs.replace(
        manifest,
        schema=SCHEMA,
        sight_hash=sight_hash(spec),
        features_hash=spec.declared.digest if spec.columns else "",
        golden=Probes(PROBES, LOOKBACK, assets, TOLERANCES[manifest.precision], len(seats)),
        network=msgspec.structs.replace(manifest.network, carry=actor.carry),
        plan=plain(manifest.plan),
    )
    tensors = {f"policy.{name}": tensor.detach().clone() for name, tensor in actor.tensors.state_dict().items()}
    if normaliser is not None:
        tensors["normaliser.mean"], tensors["normaliser.deviation"] = (
            statistic.double() for statistic in normaliser[:2]
        )
        tensors["normaliser.clip"] = torch.tensor(normaliser.clip, dtype=torch.float64)
    elif mean is not None:
        tensors[MEAN] = mean.double()
    contents = {
        "card.md": card,
        "golden.bin": folders.numbers(*msgspec.structs.astuple(golden)),
        "policy.onnx": graph_of(actor, spec, assets, normaliser, action, allocations, seats),
        "weights.safetensors": save(tensors),
    }
    written = folders.write(out, manifest, contents)
    load_agent(out, {})  # raises ArtifactError for an artifact that fails a check
    return written


def parameters_of(learner: Any) -> int:
    return sum(parameter.numel() for parameter in learner.policy_networks().tensors.parameters())


def grid_of(manifest: AgentManifest) -> Allocations:
    """Return the grid of a policy with discrete actions, float64[A, N + 1] with cash last.

    Axes: A allocations, N assets.
    """
    action = manifest.action
    # a grid that is not distinct begins with the allocation that has all its parts in the first symbol
    distinct = f"{manifest.universe[0]} {1.0:.0%}" not in action.allocations
    return grid(manifest.universe, action.parts, action.cash, EQUAL_WEIGHT in action.allocations, distinct=distinct)


def own_of(agent: Seat, universe: tuple[str, ...]) -> Floats:
    """Return float64[N + 1]: 1 for the assets that the agent may hold and for cash, which is last; 0 for the rest.

    Axes: N assets.
    """
    return np.array([1.0 if not agent.symbols or symbol in agent.symbols else 0.0 for symbol in universe] + [1.0])


def golden_of(
    learner: Any, actor: Actor, manifest: AgentManifest, normaliser: Scale | None, allocations: Floats | None
) -> Golden:
    """Return PROBES test inputs with the learner's answers.

    The returns in the test inputs are random, so that no purchased data is published. In the second probe an asset has
    no known returns in the first third of the lookback.
    """
    draw = np.random.default_rng(0)
    spec, assets = manifest.sight, len(manifest.universe)
    probes: list[tuple[Floats, Floats, float, Floats, Floats, Floats]] = []
    columns = random_columns(spec, assets, PROBES * TRIES if spec.columns else PROBES)
    with unrounded(actor), torch.no_grad():
        for index in range(PROBES):
            for attempt in range(TRIES):
                returns, weights, cash = random_market(draw, assets)
                asset_columns = columns[index * TRIES + attempt if spec.columns else index]
                if index == 1 and assets > 1:  # so that loads also check the answer for missing returns
                    returns[: LOOKBACK // 3, assets // 2] = np.nan
                    asset_columns[assets // 2, spec.own] = np.nan
                visible_columns = asset_columns if spec.columns else None
                observation_row = torch.from_numpy(observation(spec, returns, weights, cash, visible_columns))[None]
                learner_input = observation_row if normaliser is None else normaliser.of(observation_row)
                # drawn again until one choice is clearly best: another processor could choose another one otherwise
                if (
                    actor.readout not in ("softmax", "values")
                    or actor.carry
                    or _has_clear_lead(learner, actor, learner_input)
                ):
                    break
            seats = np.zeros((0, assets))
            # all seats see the one book that is traded
            agent_inputs = learner_input.expand(max(len(manifest.seats), 1), -1)
            # a recurrent policy begins at the first probe, and carries its state through the further probes
            started = {"started": torch.tensor([not probes])} if actor.carry else {}
            action: Tensor = learner.act(agent_inputs, **started)
            if manifest.seats:
                seats = seats_of(action, manifest)
                answer = np.array([s.share for s in manifest.seats]) @ seats
            else:
                answer = weights_of(action, manifest, allocations)
            probes.append((returns, weights, cash, answer, seats, asset_columns))
    return Golden(*(np.stack([np.asarray(probe[k]) for probe in probes]) for k in range(6)))


def weights_of(action: Tensor, manifest: AgentManifest, allocations: Floats | None) -> Floats:
    """Return the weights float64[N] of one action: the weights of a discrete allocation, positions scaled down to the
    gross limit, or positive entries scaled so that they and cash add up to 1.

    Axes: N assets.
    """
    assets = len(manifest.universe)
    if allocations is not None and manifest.action.kind == "discrete":
        return np.asarray(allocations[int(action[0]), :assets], dtype=np.float64)
    weights: Floats = action[0].double().numpy()
    if manifest.action.kind == "box":
        gross = manifest.action.gross
        return np.clip(weights, -1.0, 1.0) * (gross / max(float(np.abs(weights).sum()), gross))
    weights = np.maximum(weights, 0.0)
    return weights[:assets] / max(float(weights.sum()), 1e-30)


def seats_of(action: Tensor, manifest: AgentManifest) -> Floats:
    """Return the weights float64[S, N] of the actions float[S, N + 1] of S agents.

    The entries of permitted assets are scaled so that they and cash add up to 1. Then they are scaled down to each
    agent's cap on investment. Axes: N assets.
    """
    permitted = np.stack([own_of(agent, manifest.universe) for agent in manifest.seats])
    positive = np.maximum(action.double().numpy(), 0.0) * permitted
    weights = positive[:, :-1] / np.maximum(positive.sum(axis=1, keepdims=True), 1e-30)
    caps = np.array([[agent.invested] for agent in manifest.seats])
    return weights * np.minimum(1.0, caps / np.maximum(weights.sum(axis=1, keepdims=True), 1e-12))


@contextmanager
def unrounded(actor: Actor) -> Iterator[None]:
    """Within the block, let the actor compute products in float32, as the graph does, whatever the precision of
    training."""
    changed: list[tuple[Any, str]] = []
    for network in actor.networks:
        for name in ("_rounded", "rounded"):
            if getattr(network, name, False):
                changed.append((network, name))
                setattr(network, name, False)
    try:
        yield
    finally:
        for network, name in changed:
            setattr(network, name, True)


def _has_clear_lead(learner: Any, actor: Actor, row: Tensor) -> bool:
    """Return True when one allocation has a clearly higher score than the others, for the observation `row` float[1,
    D].

    Axes: D entries of an observation.
    """
    output: Tensor = learner.q_values(row) if actor.readout == "values" else learner.probabilities(row).log()
    best_two: NDArray[Any] = output[0].topk(min(2, output.shape[1])).values.numpy()
    return len(best_two) < 2 or float(best_two[0] - best_two[1]) > CLEAR * max(float(output.std()), 1e-6)


def plain(plan: object) -> dict[str, object]:
    table: dict[str, object] = msgspec.json.decode(msgspec.json.encode(plan), type=dict[str, object])
    return table
