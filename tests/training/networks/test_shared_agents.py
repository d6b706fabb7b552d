"""MADDPG's networks that all assets share: no order of assets, separate agents, joint critics, and equal graphs."""

import onnxruntime
import pytest
import torch

from quantd.training.learners.algorithms.deterministic_agents import Maddpg
from quantd.training.learners.maddpg import MaddpgPlan
from quantd.training.market.terms import Kind
from quantd.training.networks.onnx_nodes import Graph
from quantd.training.networks.shared_agents import SharedActors, SharedCritics
from quantd.training.networks.sizes import Layout
from quantd.training.plans.data_plan import PlanError
from quantd.training.plans.plan import default, read, replaced
from tests.support.checkout import ROOT
from tests.training.learners.replay_problems import on
from tests.training.networks.asset_observations import (
    ASSETS,
    BARE,
    LAYOUT,
    SIZE,
    Signals,
    check_graph,
    learned,
    near,
    permuted,
    random_of,
)

ORDER = [2, 0, 1]
AGENTS = 2


def actors() -> SharedActors:
    return learned(SharedActors(AGENTS, SIZE, ASSETS, random_of(3), layout=LAYOUT, hidden=(8, 6)))


def critics() -> SharedCritics:
    return learned(SharedCritics(AGENTS, SIZE, ASSETS + 1, random_of(3), layout=LAYOUT, hidden=(8, 6)))


def test_a_permutation_of_the_assets_permutes_the_scores_and_leaves_the_critics_values() -> None:
    seen = torch.randn((20, SIZE), generator=random_of(4))
    action = torch.rand((20, AGENTS, ASSETS + 1), generator=random_of(5))
    other = permuted(seen, ORDER)
    network, judge = actors(), critics()
    scores = network(seen.expand(AGENTS, -1, -1))
    near(network(other.expand(AGENTS, -1, -1)), scores[..., ORDER])
    assert scores.std(-1).min() > 1e-3, "it differs between assets"
    values = judge.judge(judge.read(seen), action)
    near(judge.judge(judge.read(other), action[..., [*ORDER, ASSETS]]), values)
    moved = judge.judge(judge.read(other), action)
    assert (moved - values).abs().max() > 1e-3, "a weight belongs to its asset"


def test_agents_share_no_weights() -> None:
    seen = torch.randn((20, SIZE), generator=random_of(4)).expand(AGENTS, -1, -1)
    action = torch.rand((20, AGENTS, ASSETS + 1), generator=random_of(5))
    network, judge = actors(), critics()
    before, values = network(seen).detach(), judge.judge(judge.read(seen[0]), action).detach()
    assert (before[0] - before[1]).abs().max() > 1e-3
    assert (values[0] - values[1]).abs().max() > 1e-3
    with torch.no_grad():
        for leaf in (*network.leaves, *judge.leaves):
            leaf[1] += torch.randn(leaf[1].shape, generator=random_of(6))
    after, moved = network(seen), judge.judge(judge.read(seen[0]), action)
    assert torch.equal(after[0], before[0])
    assert torch.equal(moved[0], values[0])
    assert (after[1] - before[1]).abs().max() > 1e-3
    assert (moved[1] - values[1]).abs().max() > 1e-3


def test_a_critic_reads_what_every_agent_sees_and_does() -> None:
    judge = critics()
    state = torch.randn((1, SIZE), generator=random_of(4)).requires_grad_()
    action = torch.rand((1, AGENTS, ASSETS + 1), generator=random_of(5)).requires_grad_()
    for worth in judge.judge(judge.read(state), action)[:, 0]:
        by_state, by_action = torch.autograd.grad(worth, (state, action), retain_graph=True)
        assert (by_state != 0.0).all()
        assert (by_action[..., :ASSETS] != 0.0).all()
        assert (by_action[..., ASSETS] == 0.0).all(), "cash is what the weights leave"


def test_a_critics_value_of_one_joint_action_is_that_of_the_same_action_for_each_agent() -> None:
    judge, state = critics(), torch.randn((7, SIZE), generator=random_of(4))
    action = torch.rand((7, AGENTS, ASSETS + 1), generator=random_of(5))
    read_state = judge.read(state)
    near(judge.judge(read_state, action.expand(AGENTS, -1, -1, -1)), judge.judge(read_state, action))


def test_an_untrained_team_is_equal_weight_beside_a_few_percent_of_cash() -> None:
    layout = Layout(assets=5, features=3, window=0)
    team = Maddpg(MaddpgPlan(network="shared", layout=layout, hidden=(16, 16)), 15, 6, "simplex", 1)
    weights = team.act(torch.randn((40, 15), generator=random_of(2)))
    assert weights[:, -1].max() < 0.07
    assert (weights[:, :-1] - weights[:, :-1].mean(-1, keepdim=True)).abs().max() < 0.02
    box = Maddpg(MaddpgPlan(network="shared", layout=layout, hidden=(16, 16)), 15, 5, "box", 1)
    assert box.act(torch.randn((40, 15), generator=random_of(2))).abs().max() < 0.1


@pytest.mark.parametrize("kind", ["simplex", "box"])
@pytest.mark.parametrize(("layout", "size"), [(LAYOUT, SIZE), (BARE, 21)], ids=["all entries", "window alone"])
def test_onnx_runtime_gives_every_agents_action(kind: Kind, layout: Layout, size: int) -> None:
    plan = MaddpgPlan(agents=AGENTS, network="shared", layout=layout, hidden=(8, 6))
    team = Maddpg(plan, size, ASSETS + (kind == "simplex"), kind, 1)
    team.network.vector.add_(torch.randn(team.network.vector.shape, generator=random_of(9)) * 0.2)
    for number, actor in enumerate(team.policy_networks().networks):
        graph = Graph()
        graph.readout(actor.write(graph, "observation", f"seat{number}."), team.family.readout)
        model = graph.model("seat", {"observation": size}, {"weights": team.action_size})
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        check_graph(session, size, lambda row, k=number: team.act(row.expand(AGENTS, -1))[k][None])


def signal_plan(**changes: object) -> MaddpgPlan:
    values: dict[str, object] = {
        "agents": AGENTS, "network": "shared", "layout": Layout(assets=ASSETS, features=1, window=0),
        "hidden": (16, 16), "gamma": 0.0, "warmup": 1000, "batch": 128, "train_every": 32, "buffer": 16_000,
        "actor_rate": 3e-3, "critic_rate": 3e-3, "noise": 0.5, "least_noise": 0.5,
    }  # fmt: skip
    return MaddpgPlan(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.long
def test_every_agent_finds_what_each_asset_shows_of_itself() -> None:
    team = Maddpg(signal_plan(), ASSETS, ASSETS + 1, "simplex", 1)
    team.learn(Signals("simplex", AGENTS), 16_000, on)
    seen = torch.randn((500, ASSETS), generator=random_of(7))
    weights = team.act(seen.repeat_interleave(AGENTS, 0)).view(500, AGENTS, -1)[..., :ASSETS]
    # cash is better where all returns are below 0
    best = seen.amax(1).clamp(min=0.0).mean()
    assert ((weights * seen.unsqueeze(1)).sum(-1).mean(0) > 0.8 * best).all()


def test_what_cannot_be_shared_is_refused() -> None:
    with pytest.raises(ValueError, match="actions of 7 entries are not the weights of 3 assets"):
        SharedCritics(AGENTS, SIZE, 7, random_of(1), layout=LAYOUT, hidden=(8,))
    with pytest.raises(ValueError, match="6 coordinates for 3 assets"):
        SharedActors(AGENTS, SIZE, 6, random_of(1), layout=LAYOUT, hidden=(8,))
    with pytest.raises(ValueError, match="network shared: layout is missing"):
        Maddpg(MaddpgPlan(network="shared"), 5, 3, "simplex", 1)
    with pytest.raises(PlanError, match="maddpg takes simplex"):
        replaced(default("maddpg"), {"learner.network": "shared", "market.kind": "discrete"})


def test_the_example_plan_says_where_the_market_is() -> None:
    plan = read(ROOT / "examples" / "train" / "maddpg.toml")
    layout = plan.learner.layout  # type: ignore[attr-defined]
    assert layout.assets == len(plan.data.symbols)
    assert layout.weights is None, "agents trade one book together, which none of them sees"
