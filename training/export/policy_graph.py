"""Builds one ONNX graph from observation to weights: normalisation, network, conversion of actions. Needs torch.

What can go wrong. The graph trades otherwise than the learner. Normalisation, network and conversion of actions are one
graph, and the writer compares it with the learner's answers. A graph that mixes rows gives other answers for several
observations; it is tried, and declared for one row where it does.

What the order guarantees. Forbidden assets are removed before weights are scaled, so that their weights go to permitted
ones. The output "seats" is taken before the caps.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from quantd.models.artifacts.manifest import ActionSpec, Seat
from quantd.models.artifacts.runtime import open_session
from quantd.models.observation.sight import SightSpec
from quantd.trading.market import Floats
from quantd.training.learners.record import Actor
from quantd.training.market.normalisation import Scale
from quantd.training.networks.onnx_nodes import Graph, Readout, Width


def graph_of(
    actor: Actor,
    spec: SightSpec,
    assets: int,
    normaliser: Scale | None,
    action: ActionSpec,
    allocations: Floats | None = None,
    seats: Sequence[tuple[Seat, Floats]] = (),
) -> bytes:
    """Return the graph observation float32[B, D], carry float32[B, C] -> weights float32[B, N] without cash.

    Further outputs are scores float32[1, A] of discrete `allocations` float64[A, N + 1], carried float32[1, C], and
    seats float32[1, S, N]. `seats` pairs each seat with its permitted assets, float64[N + 1] of 1 and 0, cash last. As
    in `quantd.training.market.desks`, weights of forbidden assets are redistributed. The output "seats" is before the
    caps, "weights" is after them, weighted by capital. Raises ValueError where actor and action do not match.
    """
    if len(actor.networks) != max(len(seats), 1):
        raise ValueError(f"{len(actor.networks)} actors for {len(seats)} seats; each seat needs one actor")
    graph = Graph()
    seen = _scaled(graph, normaliser, spec.size(assets))
    heads = [n.write(graph, seen, f"seat{k}." if seats else "") for k, n in enumerate(actor.networks)]
    outputs: dict[str, Width] = {"weights": assets}
    if seats:
        _seated(graph, [graph.readout(head, _simplex(actor), f"all{k}") for k, head in enumerate(heads)], seats)
        outputs["seats"] = (len(seats), assets)
    elif action.kind == "discrete":
        if allocations is None or actor.readout not in ("softmax", "values"):
            raise ValueError(
                f"discrete actions need a grid and a learner that chooses; this learner reads {actor.readout}"
            )
        if actor.readout == "softmax":
            graph.readout(heads[0], "softmax", "scores")
        else:
            graph.node("Identity", [heads[0]], "scores")
        graph.chosen("scores", allocations[:, :assets])
        outputs["scores"] = len(allocations)
    elif action.kind == "box":
        if actor.readout != "tanh":
            raise ValueError(f"box actions need another learner; this one reads {actor.readout}")
        _within(graph, graph.readout(heads[0], "tanh", "positions"), action.gross)
    else:
        graph.columns(graph.readout(heads[0], _simplex(actor), "all"), 0, assets, "weights")
    if actor.carry:
        outputs["carried"] = actor.carry
    sizes = {"observation": spec.size(assets)} | ({"carry": actor.carry} if actor.carry else {})
    inputs: dict[str, Width] = {**sizes}
    model = graph.model("policy", inputs, outputs, "rows")
    return model if _by_rows(model, sizes) else graph.model("policy", inputs, outputs)


def _by_rows(model: bytes, inputs: Mapping[str, int]) -> bool:
    """Return whether a graph answers several observations in one run as it answers each alone."""
    draw = np.random.default_rng(0)
    given = {name: draw.normal(size=(3, width)).astype(np.float32) for name, width in inputs.items()}
    try:
        run = open_session(model, Path("policy.onnx"), list(inputs)).run
        together = run(["weights"], given)[0]
        alone = [run(["weights"], {name: rows[k : k + 1] for name, rows in given.items()})[0] for k in range(3)]
    except Exception:  # a graph for one row fails here for three: the answer is no, and not an error
        return False
    return together.shape == (3, alone[0].shape[1]) and bool(np.abs(together - np.concatenate(alone)).max() < 1e-5)


def _simplex(actor: Actor) -> Readout:
    if actor.readout in ("softmax_gaussian", "dirichlet"):
        return actor.readout
    raise ValueError(f"weights need another learner; this one reads {actor.readout}")


def _scaled(graph: Graph, normaliser: Scale | None, size: int) -> str:
    if normaliser is None:
        return "observation"
    mean, deviation, clip = normaliser
    if mean.shape != (size,) or deviation.shape != (size,):
        raise ValueError(
            f"the normaliser has {len(mean)} means and {len(deviation)} deviations, and an observation {size} entries"
        )
    centred = graph.node("Sub", ["observation", graph.constant("observed.mean", mean)])
    divided = graph.node("Div", [centred, graph.constant("observed.deviation", deviation)])
    bounds = [graph.scalar("observed.least", -clip), graph.scalar("observed.most", clip)]
    return graph.node("Clip", [divided, *bounds])


def _within(graph: Graph, positions: str, gross: float) -> None:
    most = graph.constant("gross", np.array([[gross]], dtype=np.float32))
    held = graph.node("ReduceSum", [graph.node("Abs", [positions]), graph.integers("last", -1)], keepdims=1)
    scale = graph.node("Div", [most, graph.node("Max", [held, most])])
    graph.node("Mul", [positions, scale], "weights")


def _seated(graph: Graph, readouts: Sequence[str], seats: Sequence[tuple[Seat, Floats]]) -> None:
    assets = len(seats[0][1]) - 1
    last, middle, least = graph.integers("last", -1), graph.integers("middle", 1), graph.scalar("least", 1e-30)
    nodes = []
    for k, (readout, (_, mask)) in enumerate(zip(readouts, seats, strict=True)):
        permitted = graph.node("Mul", [readout, graph.constant(f"own{k}", mask[None].astype(np.float32))])
        total = graph.node("Max", [graph.node("ReduceSum", [permitted, last], keepdims=1), least])
        held = graph.columns(graph.node("Div", [permitted, total]), 0, assets, f"held{k}")
        nodes.append(graph.node("Unsqueeze", [held, middle]))
    graph.node("Concat", nodes, "seats", axis=1)
    column = {
        name: np.array([[[getattr(s, name)] for s, _ in seats]], dtype=np.float32) for name in ("invested", "share")
    }
    total = graph.node("ReduceSum", ["seats", last], keepdims=1)
    total = graph.node("Max", [total, graph.scalar("little", 1e-12)])
    cap = graph.node("Div", [graph.constant("invested", column["invested"]), total])
    cap = graph.node("Min", [cap, graph.scalar("one", 1.0)])
    shares = graph.node("Mul", [cap, graph.constant("share", column["share"])])
    graph.node("ReduceSum", [graph.node("Mul", ["seats", shares]), middle], "weights", keepdims=0)
