"""Builds one ONNX graph from observation to weights: normalisation, network, conversion of actions. Needs torch.

What can go wrong. The graph would answer otherwise than the learner: so normalisation, network and conversion of
actions are one graph, and the writer compares it with the learner's answers. A graph that mixes the rows of its input
would answer several observations otherwise than each alone: so the graph is run with three rows, and declared for one
row if the answers differ.

What the order guarantees. The weights of forbidden assets are set to 0 first and the rest is scaled to 1 after that, so
that the permitted assets get those weights. The output "seats" has the weights of each agent that trades the book,
without the caps on its investment.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from quantd.models.artifacts.manifest import ActionSpec, Seat
from quantd.models.artifacts.runtime import open_session
from quantd.models.isolation.session import OpenGraph, here
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
    """Return the serialized ONNX graph of a policy for `assets` = N assets, for a batch of B observations.

    Inputs are observation float32[B, D] and, for a recurrent policy, carry float32[B, C]: its state of C numbers. The
    output weights float32[B, N] has no cash. Further outputs are scores float32[1, A] of the A discrete `allocations`
    float64[A, N + 1], the next state carried float32[1, C], and seats float32[1, S, N] of S agents that trade one book.

    `seats` pairs each agent with the assets that it may hold, float64[N + 1] of 1 and 0, cash last. The
    weights of forbidden assets are set to 0, and the rest is scaled to add up to 1. The output "seats" has the weights
    without the cap on each agent's investment; "weights" is their sum with the caps, by each agent's share of the
    capital. Raises ValueError where actor and action do not match. Axes: D entries of an observation.
    """
    if len(actor.networks) != max(len(seats), 1):
        raise ValueError(f"{len(actor.networks)} actors for {len(seats)} seats; each seat needs one actor")
    graph = Graph()
    scaled = _scaled(graph, normaliser, spec.size(assets))
    heads = [network.write(graph, scaled, f"seat{k}." if seats else "") for k, network in enumerate(actor.networks)]
    outputs: dict[str, Width] = {"weights": assets}
    if seats:
        _add_seats(
            graph, [graph.readout(head, _weights_readout(actor), f"all{k}") for k, head in enumerate(heads)], seats
        )
        outputs["seats"] = (len(seats), assets)
    elif action.kind == "discrete":
        if allocations is None or actor.readout not in ("softmax", "values"):
            raise ValueError(
                f"discrete actions need allocations and a readout softmax or values; the learner's is {actor.readout}"
            )
        if actor.readout == "softmax":
            graph.readout(heads[0], "softmax", "scores")
        else:
            graph.node("Identity", [heads[0]], "scores")
        graph.chosen("scores", allocations[:, :assets])
        outputs["scores"] = len(allocations)
    elif action.kind == "box":
        if actor.readout not in ("tanh", "bounded"):
            raise ValueError(f"box actions need a learner with the readout tanh; this learner's is {actor.readout}")
        _add_positions(graph, graph.readout(heads[0], actor.readout, "positions"), action.gross)
    else:
        graph.columns(graph.readout(heads[0], _weights_readout(actor), "all"), 0, assets, "weights")
    if actor.carry:
        outputs["carried"] = actor.carry
    sizes = {"observation": spec.size(assets)} | ({"carry": actor.carry} if actor.carry else {})
    inputs: dict[str, Width] = {**sizes}
    model = graph.model("policy", inputs, outputs, "rows")
    return (
        model
        if _rows_are_independent(model, sizes, None if graph.foreign else here)
        else graph.model("policy", inputs, outputs)
    )


def _rows_are_independent(model: bytes, inputs: Mapping[str, int], opened: OpenGraph | None) -> bool:
    """Return True when a graph answers several observations in one run as it answers each of them alone."""
    draw = np.random.default_rng(0)
    batch = {name: draw.normal(size=(3, width)).astype(np.float32) for name, width in inputs.items()}
    try:
        run = open_session(model, Path("policy.onnx"), list(inputs), opened=opened).run
        together = run(["weights"], batch)[0]
        alone = [run(["weights"], {name: rows[k : k + 1] for name, rows in batch.items()})[0] for k in range(3)]
    except Exception:  # a graph for one row fails here for three: the answer is no, and not an error
        return False
    return together.shape == (3, alone[0].shape[1]) and bool(np.abs(together - np.concatenate(alone)).max() < 1e-5)


def _weights_readout(actor: Actor) -> Readout:
    """The readout (output layer) of an actor whose answers are weights that add up to 1.

    Raises ValueError for an actor with another readout.
    """
    if actor.readout in ("softmax_gaussian", "dirichlet", "shares"):
        return actor.readout
    raise ValueError(
        f"weights need a learner with the readout softmax_gaussian or dirichlet; this learner's is {actor.readout}"
    )


def _scaled(graph: Graph, normaliser: Scale | None, size: int) -> str:
    """Add the normalisation of the observation (`size` numbers) to the graph. Return the name of the output."""
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


def _add_positions(graph: Graph, positions: str, gross: float) -> None:
    """Add the output "weights": positions scaled down where the sum of their absolute values exceeds `gross`."""
    limit = graph.constant("gross", np.array([[gross]], dtype=np.float32))
    present_gross = graph.node("ReduceSum", [graph.node("Abs", [positions]), graph.integers("last", -1)], keepdims=1)
    scale = graph.node("Div", [limit, graph.node("Max", [present_gross, limit])])
    graph.node("Mul", [positions, scale], "weights")


def _add_seats(graph: Graph, readouts: Sequence[str], seats: Sequence[tuple[Seat, Floats]]) -> None:
    """Add the outputs "seats" and "weights" of agents that trade one account, from the names of each agent's readout
    (output layer).

    "seats" has the weights of each agent; "weights" is their sum by share of the capital, with the caps on investment.
    """
    assets = len(seats[0][1]) - 1
    asset_axis, seat_axis, smallest = (
        graph.integers("last", -1),
        graph.integers("middle", 1),
        graph.scalar("least", 1e-30),
    )
    nodes = []
    for k, (readout, (_, mask)) in enumerate(zip(readouts, seats, strict=True)):
        permitted = graph.node("Mul", [readout, graph.constant(f"own{k}", mask[None].astype(np.float32))])
        total = graph.node("Max", [graph.node("ReduceSum", [permitted, asset_axis], keepdims=1), smallest])
        weights = graph.columns(graph.node("Div", [permitted, total]), 0, assets, f"held{k}")
        nodes.append(graph.node("Unsqueeze", [weights, seat_axis]))
    graph.node("Concat", nodes, "seats", axis=1)
    settings = {
        name: np.array([[[getattr(s, name)] for s, _ in seats]], dtype=np.float32) for name in ("invested", "share")
    }
    invested = graph.node("ReduceSum", ["seats", asset_axis], keepdims=1)
    invested = graph.node("Max", [invested, graph.scalar("little", 1e-12)])
    factor = graph.node("Div", [graph.constant("invested", settings["invested"]), invested])
    factor = graph.node("Min", [factor, graph.scalar("one", 1.0)])
    shares = graph.node("Mul", [factor, graph.constant("share", settings["share"])])
    graph.node("ReduceSum", [graph.node("Mul", ["seats", shares]), seat_axis], "weights", keepdims=0)
