"""SAC's and DQN's networks that all assets share: no order of assets, gradients of autograd, and equal graphs."""

from itertools import combinations

import numpy as np
import onnxruntime
import pytest
import torch
from msgspec.structs import replace
from torch import Tensor

from quantd.training.learners.algorithms.deep_q import Dqn
from quantd.training.learners.algorithms.soft_actor_critic import Sac
from quantd.training.learners.dqn import DqnPlan
from quantd.training.learners.sac import SacPlan
from quantd.training.market.tensors import grid
from quantd.training.market.terms import Kind
from quantd.training.networks.gaussian import bounded
from quantd.training.networks.onnx_nodes import Graph
from quantd.training.networks.shared_critics import SharedActor, SharedCritics, SharedQ
from quantd.training.networks.sizes import Layout
from quantd.training.plans.plan import PlanError, default, replaced
from tests.support.artifacts import session_of
from tests.training.networks.asset_observations import (
    ASSETS,
    BARE,
    GAINS,
    LAYOUT,
    SIZE,
    check_graph,
    learned,
    near,
    permuted,
    random_of,
)

ORDER = [2, 0, 1]
PLACES = pytest.mark.parametrize(
    ("layout", "size"), [(LAYOUT, SIZE), (BARE, 21), (GAINS, SIZE)], ids=["all entries", "window alone", "gains"]
)


PAIRS = Layout(assets=4, features=1, window=0, held=2)
"""Four assets, of which an action holds two."""
VALUED = pytest.mark.parametrize(
    ("choices", "layout", "size"),
    [(choices, *place) for choices in (3, 4, 5) for place in ((LAYOUT, SIZE), (BARE, 21), (GAINS, SIZE))]
    + [(8, PAIRS, 4)],
)


def actor(layout: Layout = LAYOUT, size: int = SIZE) -> SharedActor:
    return learned(SharedActor(size, ASSETS, random_of(3), layout=layout, hidden=(8, 6)))


def critics(actions: int) -> SharedCritics:
    return learned(SharedCritics(SIZE, actions, random_of(3), layout=LAYOUT, hidden=(8, 6)))


def q_network(choices: int, layout: Layout = LAYOUT, size: int = SIZE) -> SharedQ:
    return learned(SharedQ(size, choices, random_of(3), layout=layout, hidden=(8, 6)))


def flat(slopes: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([slope.reshape(-1) for slope in slopes])


def test_a_permutation_of_the_assets_permutes_coordinates_and_scores_and_leaves_the_critics_values() -> None:
    seen, action = torch.randn((20, SIZE), generator=random_of(4)), torch.rand((20, 4), generator=random_of(5))
    other = permuted(seen, ORDER)
    for output, moved in zip(actor()(seen), actor()(other), strict=True):
        near(moved, output[:, ORDER])
        assert output.std(1).min() > 1e-3, "it differs between assets"
    values = q_network(4)(seen)
    near(q_network(4)(other), values[:, [*ORDER, 3]])
    judge = critics(4)
    near(judge(other, action[:, [*ORDER, 3]]), judge(seen, action))
    assert (judge(other, action) - judge(seen, action)).abs().max() > 1e-3, "a weight belongs to its asset"


def test_the_actors_gradient_is_autograds() -> None:
    network, seen = actor(), torch.randn((40, SIZE), generator=random_of(4))
    d_mean, d_spread = torch.randn((2, 40, ASSETS), generator=random_of(5))
    mean, spread, kept = network.run(seen)
    by_forward = network(seen)
    near(mean, by_forward[0])
    near(bounded(spread), by_forward[1])
    slope = spread.clone().requires_grad_()
    (through,) = torch.autograd.grad(bounded(slope), slope, d_spread)
    network.gradient.fill_(7.0)
    network.pull(d_mean, through, kept)
    near(network.gradient, flat(torch.autograd.grad(by_forward, list(network.parameters()), (d_mean, d_spread))))


@pytest.mark.parametrize("actions", [ASSETS, ASSETS + 1], ids=["box", "simplex"])
def test_the_critics_gradients_are_autograds_and_the_one_by_actions_leaves_the_stored_one(actions: int) -> None:
    network, seen = critics(actions), torch.randn((40, SIZE), generator=random_of(4))
    action, d = torch.rand((40, actions), generator=random_of(5)), torch.randn((2, 40), generator=random_of(6))
    asked = action.clone().requires_grad_()
    expected = network(seen, asked)
    *by_leaf, by_action = torch.autograd.grad(expected, [*network.parameters(), asked], d)
    values, kept = network.run(seen, action)
    near(values, expected)
    network.gradient.fill_(7.0)
    near(network.by_action(d, kept, actions), by_action)
    assert bool((network.gradient == 7.0).all())
    assert (by_action[:, :ASSETS].abs() > 0.0).all()
    values, kept = network.run(seen, action)
    network.pull(d, kept)
    near(network.gradient, flat(tuple(by_leaf)))
    frozen = critics(actions).requires_grad_(False)
    near(frozen.run(seen, action)[0], expected)


@VALUED
def test_the_gradient_of_values_of_allocations_is_autograds(choices: int, layout: Layout, size: int) -> None:
    network, seen = q_network(choices, layout, size), torch.randn((40, size), generator=random_of(4))
    slope = torch.randn((40, choices), generator=random_of(5))
    by_autograd = flat(torch.autograd.grad(network(seen), list(network.parameters()), slope))
    network.gradient.fill_(7.0)
    near(network.run(seen), network.values(seen))
    network.pull(slope)
    near(network.gradient, by_autograd)


def test_the_value_of_a_set_of_assets_is_the_mean_of_theirs() -> None:
    network = SharedQ(4, 6 + 2, random_of(3), layout=PAIRS)
    single = SharedQ(4, 4 + 2, random_of(3), layout=replace(PAIRS, held=1))
    single.vector.copy_(network.vector)
    seen = torch.randn((50, 4), generator=random_of(4))
    by_asset, values = single.values(seen), network.values(seen)
    assert values.shape == (50, 8)
    for number, (first, second) in enumerate(combinations(range(4), 2)):
        near(values[:, number], (by_asset[:, first] + by_asset[:, second]) / 2.0)
    near(values[:, 6:], by_asset[:, 4:])
    assert (values.argmax(1) == 7).all(), "untrained, it rests in equal weight"
    with pytest.raises(ValueError, match="9 allocations are not one for each 2 of 4 assets"):
        SharedQ(4, 9, random_of(3), layout=PAIRS)
    with pytest.raises(ValueError, match="held must be 1 to 4, the number of assets"):
        replace(PAIRS, held=5)


def test_values_are_in_the_order_of_the_grid_of_allocations() -> None:
    allocations = grid(("A", "B", "C", "D"), PAIRS.held, cash=True, equal_weight=True, distinct=True)
    network = SharedQ(4, len(allocations.names), random_of(3), layout=PAIRS)
    assert network.parts is not None
    members = network.parts[: PAIRS.assets, : network.sets].T.numpy()
    np.testing.assert_array_equal(members, allocations.weights[: network.sets, : PAIRS.assets])


@PLACES
@pytest.mark.parametrize("kind", ["simplex", "box"])
def test_onnx_runtime_gives_the_actors_weights(kind: Kind, layout: Layout, size: int) -> None:
    learner = Sac(SacPlan(network="shared", layout=layout, hidden=(8, 6)), size, ASSETS + (kind == "simplex"), kind, 1)
    learner.actor.vector.add_(torch.randn(learner.actor.vector.shape, generator=random_of(9)) * 0.2)
    session = session_of(learner.actor, learner.squash.family.readout, size, learner.squash.action_size)
    check_graph(session, size, learner.act)


@VALUED
def test_onnx_runtime_gives_the_values_of_allocations(choices: int, layout: Layout, size: int) -> None:
    network, graph = q_network(choices, layout, size), Graph()
    graph.node("Identity", [network.write(graph, "observation")], "q_values")
    model = graph.model("q_network", {"observation": size}, {"q_values": choices})
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    for row in torch.randn((20, 1, size), generator=random_of(4)) * 2.0:
        (values,) = session.run(None, {"observation": row.numpy()})
        np.testing.assert_allclose(values, network.values(row).numpy(), atol=1e-5)
        assert np.ptp(values) > 1e-3


def test_actions_that_are_no_weights_of_single_assets_and_a_missing_layout_are_refused() -> None:
    with pytest.raises(ValueError, match="10 allocations are not one for each of 3 assets"):
        SharedQ(SIZE, 10, random_of(1), layout=LAYOUT)
    with pytest.raises(ValueError, match="actions of 7 entries are not the weights of 3 assets"):
        SharedCritics(SIZE, 7, random_of(1), layout=LAYOUT)
    with pytest.raises(ValueError, match="6 coordinates are not one for each of 3 assets"):
        SharedActor(SIZE, 6, random_of(1), layout=LAYOUT)
    with pytest.raises(ValueError, match="network shared: layout is missing"):
        Sac(SacPlan(network="shared"), 5, 3, "simplex", 1)
    with pytest.raises(ValueError, match="network shared: layout is missing"):
        Dqn(DqnPlan(network="shared"), 5, 3, "discrete", 1)
    for wrong in ({"streams": 8}, {"noisy": True}):
        with pytest.raises(ValueError, match="neither dueling nor noisy; write streams = 0 and noisy = false"):
            replace(DqnPlan(network="shared"), **wrong)  # type: ignore[arg-type]


def test_a_plan_says_where_the_weights_are_and_refuses_what_cannot_be_shared() -> None:
    for agent, changes in (("sac", {}), ("dqn", {"market.parts": 1})):
        plan = replaced(default(agent), {"learner.network": "shared", **changes})
        layout = plan.learner.layout  # type: ignore[attr-defined]
        assert layout.assets == len(plan.data.symbols)
        assert layout.weights is not None
        assert default(agent).learner.layout is None  # type: ignore[attr-defined]
    with pytest.raises(PlanError, match=r"values single assets, not allocations of 2 parts; write market.parts = 1"):
        replaced(default("dqn"), {"learner.network": "shared"})
    changes = {"learner.network": "shared", "market.parts": 1}
    with pytest.raises(PlanError, match="neither dueling nor noisy; write streams = 0 and noisy = false"):
        replaced(default("dqn", "prioritized"), changes)
    with pytest.raises(PlanError, match=r"values equal weight beside cash; write market.cash = true"):
        replaced(default("dqn"), {**changes, "market.equal_weight": True, "market.cash": False})
    broad = replaced(default("dqn"), {"learner.network": "shared", "market.breadth": 0.5})
    assert broad.learner.layout.held == broad.market.held(len(broad.data.symbols)) == 2  # type: ignore[attr-defined]
    assert [broad.market.held(symbols) for symbols in (1, 3, 20, 60, 200)] == [1, 2, 4, 2, 1], "at most 5,000 sets"
    with pytest.raises(PlanError, match=r"breadth 1.5: it must be a fraction of the symbols, from 0 to 1"):
        replaced(default("dqn"), {"market.breadth": 1.5})
    with pytest.raises(PlanError, match="sac takes simplex or box"):
        replaced(default("sac"), {"learner.network": "shared", "market.kind": "discrete"})
