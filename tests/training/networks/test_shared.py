"""The shared network: it does not know the order of assets, reads each entry where a sight shows it, and its graph is
the same function."""

import msgspec
import pytest
import torch

from quantd.models.observation.sight import SightSpec
from quantd.training.learners.algorithms.proximal_policy import Ppo
from quantd.training.learners.distributions import family
from quantd.training.learners.network_plan import Simplex
from quantd.training.learners.ppo import PpoPlan
from quantd.training.market.terms import Kind
from quantd.training.networks.shared import INVESTED, Shared
from quantd.training.networks.sizes import Layout
from quantd.training.plans.plan import PlanError, default, replaced
from tests.support.artifacts import session_of
from tests.training.networks.asset_observations import (
    ASSETS,
    BARE,
    GAINS,
    LAYOUT,
    SIZE,
    check_gradient,
    check_graph,
    permuted,
    random_of,
)


def network_of(
    seed: int, kind: Kind = "simplex", simplex: Simplex = "softmax_gaussian", layout: Layout = LAYOUT, size: int = SIZE
) -> Shared:
    actions = family(kind, ASSETS + (kind == "simplex"), simplex)
    sizes = (size, actions.outputs, actions.spread, random_of(seed))
    network = Shared(*sizes, layout=layout, hidden=(8, 6), invested=0.0 if kind == "box" else INVESTED)
    network.vector.add_(torch.randn(network.vector.shape, generator=random_of(seed)) * 0.1)
    return network


@pytest.mark.long
@pytest.mark.parametrize("simplex", ["softmax_gaussian", "dirichlet"])
def test_a_permutation_of_the_assets_permutes_their_scores_and_leaves_the_value(simplex: Simplex) -> None:
    network, order = network_of(3, simplex=simplex), [2, 0, 1]
    seen = torch.randn((20, SIZE), generator=random_of(4))
    actor, value = network(seen)
    other_actor, other_value = network(permuted(seen, order))
    torch.testing.assert_close(other_actor[:, :ASSETS], actor[:, order], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(other_actor[:, ASSETS:], actor[:, ASSETS:], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(other_value, value, atol=1e-5, rtol=1e-5)
    assert (actor[:, 0] - actor[:, 1]).abs().max() > 0.1, "scores differ between assets"


@pytest.mark.parametrize("simplex", ["softmax_gaussian", "dirichlet"])
def test_an_untrained_policy_is_equal_weight_beside_a_few_percent_of_cash(simplex: Simplex) -> None:
    layout = Layout(assets=5, features=3, window=0, weights=15)
    plan = PpoPlan(network="shared", hidden=(16, 16), simplex=simplex, layout=layout)
    weights = Ppo(plan, 21, 6, "simplex", 1).act(torch.randn((50, 21), generator=random_of(2)))
    assert weights[:, -1].max() < 0.07
    assert (weights[:, :-1] - weights[:, :-1].mean(-1, keepdim=True)).abs().max() < 0.02


def test_each_asset_is_scored_by_its_own_entries_and_weight_most() -> None:
    network = network_of(3)
    seen = torch.randn((1, SIZE), generator=random_of(4)).requires_grad_()
    (slope,) = torch.autograd.grad(network(seen).actor[0, 1], seen)
    assert (slope != 0.0).all(), "it sees the others through their mean, and everything in common"
    by_weight = slope[0, 23:26].abs()
    assert by_weight.argmax() == 1


def test_the_plan_says_where_the_weights_are() -> None:
    columns, book = ("rsi_14", "regime_bull"), ("cash", "weights")
    spec = SightSpec(features=("momentum_5",), columns=columns, window=4, benchmark="A", book=book)  # type: ignore[arg-type]
    plan = replaced(
        default("ppo"), {"learner.network": "shared", "sight": msgspec.to_builtins(spec), "data.symbols": ["A", "B"]}
    )
    layout = plan.learner.layout  # type: ignore[attr-defined]
    assert layout.market == 2 * plan.sight.width
    assert layout.weights == layout.market + 2, "behind the shared column and cash"
    assert layout.weights + 2 == plan.sight.size(2)
    without = replaced(plan, {"sight.book": []}).learner.layout  # type: ignore[attr-defined]
    assert without.weights is None


@pytest.mark.parametrize("kind", ["simplex", "box"])
@pytest.mark.parametrize("layout", [LAYOUT, GAINS], ids=["one for all", "gains"])
def test_the_gradient_is_autograds_and_acting_gives_the_same(layout: Layout, kind: Kind) -> None:
    check_gradient(network_of(3, kind, layout=layout), SIZE)


@pytest.mark.parametrize(
    ("kind", "simplex"), [("simplex", "softmax_gaussian"), ("simplex", "dirichlet"), ("box", "softmax_gaussian")]
)
@pytest.mark.parametrize(
    ("layout", "size"), [(LAYOUT, SIZE), (BARE, 21), (GAINS, SIZE)], ids=["all entries", "window alone", "gains"]
)
def test_onnx_runtime_gives_the_same_weights(kind: Kind, simplex: Simplex, layout: Layout, size: int) -> None:
    actions = family(kind, ASSETS + (kind == "simplex"), simplex)
    network = network_of(3, kind, simplex, layout, size)
    session = session_of(network, actions.readout, size, ASSETS + (kind == "simplex"))
    check_graph(session, size, lambda row: actions.mode(network.act(row, network.begin(1))[0]))


def test_gains_begin_as_no_factors_and_then_tell_the_assets_apart() -> None:
    plain, gained = (
        Shared(SIZE, ASSETS + 1, 0, random_of(3), layout=layout, hidden=(8, 6)) for layout in (LAYOUT, GAINS)
    )
    seen, order = torch.randn((20, SIZE), generator=random_of(4)), [2, 0, 1]
    torch.testing.assert_close(gained(seen).actor, plain(seen).actor)
    assert gained.body.gains is not None
    with torch.no_grad():
        gained.body.gains[1:, 0] = 0.0
    first = seen.clone().requires_grad_()
    (slope,) = torch.autograd.grad(gained(first).actor.sum(), first)
    width = LAYOUT.features + LAYOUT.window
    assert (slope[:, width] == 0.0).all(), "the second asset's first entry is no longer read"
    assert (slope[:, 0] != 0.0).all(), "that of the first asset is"
    moved = gained(permuted(seen, order)).actor[:, :ASSETS]
    assert (moved - gained(seen).actor[:, order]).abs().max() > 1e-3


def test_gains_are_a_key_of_a_plan_and_need_a_shared_network() -> None:
    plan = replaced(default("ppo"), {"learner.network": "shared", "learner.gains": True})
    assert plan.learner.layout.gains  # type: ignore[attr-defined]
    assert not replaced(plan, {"learner.gains": False}).learner.layout.gains  # type: ignore[attr-defined]
    with pytest.raises(PlanError, match=r"learner.gains: network mlp has none; write learner.network = .shared."):
        replaced(default("sac"), {"learner.gains": True})


def test_a_grid_of_allocations_and_a_layout_that_does_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="10 actions are not one score for each of 3 assets"):
        Shared(SIZE, 10, 0, random_of(1), layout=LAYOUT)
    with pytest.raises(ValueError, match="longer than the 20 entries"):
        Shared(20, 3, 3, random_of(1), layout=LAYOUT)
    with pytest.raises(ValueError, match="network shared: layout is missing"):
        Ppo(PpoPlan(network="shared"), 5, 3, "simplex", 1)


def test_a_discrete_plan_of_a_shared_network_is_refused_with_the_remedy() -> None:
    with pytest.raises(PlanError, match=r"network shared scores assets, not allocations; write market.kind = simplex"):
        replaced(default("ppo"), {"learner.network": "shared", "market.kind": "discrete"})
