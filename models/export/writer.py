"""Writes what a learner learned as an artifact that trades, with the probes that prove it wherever it is loaded. Needs
torch."""

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
from quantd.models.export.agreement import random_market
from quantd.models.export.policy_graph import graph_of
from quantd.models.learners.record import Actor
from quantd.models.market.normalisation import Scale
from quantd.models.market.tensors import grid
from quantd.models.observation.return_features import spec_hash
from quantd.models.observation.sight import fault, observation
from quantd.trading.market import Floats

PROBES: Final = 6

TRIES: Final = 50
"""Probes that are drawn for one that decides clearly."""

CLEAR: Final = 1e-3
"""Least lead of the best of discrete allocations in a probe, in deviations of all scores: closer ones may be told
otherwise by another machine's last bit."""


def write(
    out: Path,
    manifest: AgentManifest,
    learner: Any,
    normaliser: Scale | None,
    card: bytes,
    allocations: Floats | None = None,
) -> AgentManifest:
    """Writes policy.onnx, weights.safetensors, golden.bin, card.md and the manifest to `out`, then loads them with
    every check that trading makes. `manifest` need not know golden, files, digest, sight_hash and tolerance: they are
    filled in.

    `allocations` float64[A, N + 1] for discrete actions; by default the grid of `manifest.action`. Raises ValueError
    where learner and manifest do not fit, ArtifactError where graph and learner differ.
    """
    action, spec, assets = manifest.action, manifest.sight, len(manifest.universe)
    if action.kind == "discrete" and allocations is None:
        made = grid(manifest.universe, action.parts, action.cash)
        if made.names != action.allocations:
            raise ValueError("the allocations are not the grid of their parts: give them as weights")
        allocations = made.weights
    if wrong := fault(spec) or agent_fault(manifest):
        raise ValueError(f"{out}: {wrong}")
    actor: Actor = learner.policy_networks()
    seats = [(seat, own_of(seat, manifest.universe)) for seat in manifest.seats]
    golden = golden_of(learner, actor, manifest, normaliser, allocations)
    manifest = msgspec.structs.replace(
        manifest,
        schema=SCHEMA,
        sight_hash=spec_hash(spec),
        golden=Probes(PROBES, spec.lookback, assets, TOLERANCES[manifest.precision], len(seats)),
        network=msgspec.structs.replace(manifest.network, carry=actor.carry),
        plan=plain(manifest.plan),
    )
    tensors = {f"policy.{name}": kept.detach().clone() for name, kept in actor.tensors.state_dict().items()}
    if normaliser is not None:
        tensors["normaliser.mean"], tensors["normaliser.deviation"] = (each.double() for each in normaliser[:2])
        tensors["normaliser.clip"] = torch.tensor(normaliser.clip, dtype=torch.float64)
    contents = {
        "card.md": card,
        "golden.bin": golden.content(),
        "policy.onnx": graph_of(actor, spec, assets, normaliser, action, allocations, seats),
        "weights.safetensors": save(tensors),
    }
    written = folders.write(out, manifest, contents)
    load_agent(out, {})
    return written


def parameters_of(learner: Any) -> int:
    """Numbers that act: what a manifest's shape counts."""
    return sum(each.numel() for each in learner.policy_networks().tensors.parameters())


def own_of(seat: Seat, universe: tuple[str, ...]) -> Floats:
    """float64[N + 1]: 1 where a seat may hold, cash last."""
    return np.array([1.0 if not seat.symbols or symbol in seat.symbols else 0.0 for symbol in universe] + [1.0])


def golden_of(
    learner: Any, actor: Actor, manifest: AgentManifest, normaliser: Scale | None, allocations: Floats | None
) -> Golden:
    """Probes of plain random returns, so that they hold no bought data, some asset unknown in one of them; answered by
    the learner."""
    draw = np.random.default_rng(0)
    spec, assets = manifest.sight, len(manifest.universe)
    kept: list[tuple[Floats, Floats, float, Floats, Floats]] = []
    with unrounded(actor), torch.no_grad():
        for number in range(PROBES):
            for _ in range(TRIES):
                returns, weights, cash = random_market(draw, spec, assets)
                if number == 1 and assets > 1:
                    returns[: spec.lookback // 3, assets // 2] = np.nan
                seen = torch.from_numpy(observation(spec, returns, weights, cash))[None]
                row = seen if normaliser is None else normaliser.of(seen)
                if actor.readout not in ("softmax", "values") or actor.carry or _clear(learner, actor, row):
                    break
            seats = np.zeros((0, assets))
            # all seats see the one book that is traded
            rows = row.expand(max(len(manifest.seats), 1), -1)
            action = asked(learner, actor, rows, first=not kept)
            if manifest.seats:
                seats = seats_of(action, manifest)
                answer = np.array([s.share for s in manifest.seats]) @ seats
            else:
                answer = weights_of(action, manifest, allocations)
            kept.append((returns, weights, cash, answer, seats))
    return Golden(*(np.stack([np.asarray(each[k]) for each in kept]) for k in range(5)))


def asked(learner: Any, actor: Actor, row: Tensor, *, first: bool) -> Tensor:
    """What the learner does when nothing is drawn, row float[1, D], or float[S, D]; one that remembers forgets when
    `first`."""
    said: Tensor = learner.act(row, started=torch.tensor([first])) if actor.carry else learner.act(row)
    return said


def weights_of(action: Tensor, manifest: AgentManifest, allocations: Floats | None) -> Floats:
    """float64[N] of what a learner did: as `quantd.models.market.simulator` understands it, all assets having
    a price."""
    assets = len(manifest.universe)
    if allocations is not None and manifest.action.kind == "discrete":
        return np.asarray(allocations[int(action[0]), :assets], dtype=np.float64)
    said: Floats = action[0].double().numpy()
    if manifest.action.kind == "box":
        gross = manifest.action.gross
        return np.clip(said, -1.0, 1.0) * (gross / max(float(np.abs(said).sum()), gross))
    said = np.maximum(said, 0.0)
    return said[:assets] / max(float(said.sum()), 1e-30)


def seats_of(action: Tensor, manifest: AgentManifest) -> Floats:
    """float64[S, N] of float[S, N + 1]: as `quantd.models.market.desks` understands it, all assets having a price."""
    own = np.stack([own_of(seat, manifest.universe) for seat in manifest.seats])
    said = np.maximum(action.double().numpy(), 0.0) * own
    held = said[:, :-1] / np.maximum(said.sum(axis=1, keepdims=True), 1e-30)
    most = np.array([[seat.invested] for seat in manifest.seats])
    return held * np.minimum(1.0, most / np.maximum(held.sum(axis=1, keepdims=True), 1e-12))


@contextmanager
def unrounded(actor: Actor) -> Iterator[None]:
    """Products in float32, as the graph has them, whatever they were rounded to in training."""
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


def _clear(learner: Any, actor: Actor, row: Tensor) -> bool:
    said: Tensor = learner.q_values(row) if actor.readout == "values" else learner.probabilities(row).log()
    two: NDArray[Any] = said[0].topk(min(2, said.shape[1])).values.numpy()
    return len(two) < 2 or float(two[0] - two[1]) > CLEAR * max(float(said.std()), 1e-6)


def plain(plan: object) -> dict[str, object]:
    """A plan as a manifest keeps it."""
    kept: dict[str, object] = msgspec.json.decode(msgspec.json.encode(plan), type=dict[str, object])
    return kept
