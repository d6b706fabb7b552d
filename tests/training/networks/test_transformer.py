"""The transformer: it is the one of the paper, reads sessions where they are, learns, and its graph is the same
function."""

import msgspec
import numpy as np
import pytest
import torch
from torch import Tensor

from quantd.models.observation.sight import SightSpec, observation
from quantd.training.learners.a2c import A2cPlan
from quantd.training.learners.algorithms.proximal_policy import Ppo
from quantd.training.learners.algorithms.synchronous_actor_critic import A2c
from quantd.training.learners.distributions import family
from quantd.training.learners.ppo import PpoPlan
from quantd.training.market.terms import Kind
from quantd.training.market.vector_env import Step
from quantd.training.networks.sizes import Layout, Sizes
from quantd.training.networks.transformer import Block, Encoder, Transformer
from tests.support.artifacts import session_of
from tests.training.learners.replay_problems import digest, on
from tests.training.networks.asset_observations import check_gradient, check_graph, random_of

LAYOUT = Layout(assets=3, features=2, window=5)
SIZES = Sizes(width=8, heads=2, layers=3, widening=2)
SIZE = LAYOUT.market + 4


def network_of(seed: int, kind: Kind = "simplex", layout: Layout = LAYOUT, size: int = SIZE) -> Transformer:
    actions = family(kind, 4)
    network = Transformer(size, actions.outputs, actions.spread, random_of(seed), layout=layout, sizes=SIZES)
    network.vector.add_(torch.randn(network.vector.shape, generator=random_of(seed)) * 0.1)
    return network


@pytest.mark.requirement("R-076")
def test_a_block_is_torchs_own_encoder_layer_with_norms_first() -> None:
    block = Block(1, SIZES, random_of(1))
    peer = torch.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, norm_first=True, batch_first=True)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=random_of(2)) * 0.1)
        peer.self_attn.in_proj_weight.copy_(torch.cat((block.asked.weight[0].t(), block.offered.weight[0].t())))
        peer.self_attn.in_proj_bias.copy_(torch.cat((block.asked.bias[0, 0], block.offered.bias[0, 0])))
        pairs = ((peer.self_attn.out_proj, block.gathered), (peer.linear1, block.up), (peer.linear2, block.down))
        for peer_layer, layer in pairs:
            peer_layer.weight.copy_(layer.weight[0].t())
            peer_layer.bias.copy_(layer.bias[0, 0])
    x = torch.randn((1, 6, 5, 8), generator=random_of(3))
    expected = peer(x[0])
    torch.testing.assert_close(block(x, read_last=False)[0], expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(block(x, read_last=True)[0], expected[:, -1:], atol=1e-5, rtol=1e-4)


def test_it_reads_the_sessions_and_features_where_a_sight_shows_them() -> None:
    spec = SightSpec(features=("momentum_5",), window=4, book=("weights", "cash"))
    layout = Layout(3, 2, 4)
    returns = np.random.default_rng(1).normal(0.0, 0.01, (spec.lookback, 3))
    observations = torch.from_numpy(observation(spec, returns, np.array([0.1, 0.2, 0.3]), 0.4))
    encoder = Encoder(1, spec.size(3), layout, SIZES, random_of(1))
    encoding = encoder(observations.view(1, 1, -1))[0, 0]
    torch.testing.assert_close(encoding[-4:], torch.tensor([0.1, 0.2, 0.3, 0.4]))
    assert encoding[8:14:2].tolist() == observations[[0, 6, 12]].tolist()
    assert encoding[9:14:2].tolist() == [1.0] * 3
    # what one asset did in one session moves the token of that session, and through it the outcome
    x = observations.view(1, 1, -1).clone().requires_grad_()
    (slope,) = torch.autograd.grad(encoder(x)[0, 0, :8].square().sum(), x)
    assert (slope[0, 0].view(-1)[[0, 1, 6, 7, 12, 13]] == 0.0).all()
    assert (slope[0, 0, : layout.market].view(3, 6)[:, 2:] != 0.0).all()


@pytest.mark.parametrize("kind", ["discrete", "simplex", "box"])
def test_the_gradient_is_autograds_and_rows_in_parts_say_the_same(kind: Kind) -> None:
    check_gradient(network_of(3, kind), SIZE)


@pytest.mark.quick_cases(3)
@pytest.mark.parametrize("kind", ["discrete", "simplex", "box"])
@pytest.mark.parametrize(("layout", "size"), [(LAYOUT, SIZE), (Layout(3, 0, 7), 21)], ids=["whole", "window alone"])
def test_onnx_runtime_gives_the_same_weights(kind: Kind, layout: Layout, size: int) -> None:
    network, actions = network_of(3, kind, layout, size), family(kind, 4)
    session = session_of(network, actions.readout, size, 4)

    def expected(row: Tensor) -> Tensor:
        actor, _ = network.act(row, network.begin(1))
        return actor.softmax(-1) if kind == "discrete" else actions.mode(actor)

    check_graph(session, size, expected)


class LastRise:
    """Three assets; the one that rose most a session ago (not in the newest) will earn 1, the others nothing. Only who
    reads the window in its order earns more than a third."""

    batch, action_size = 16, 3
    kind: Kind = "discrete"
    observation_size = LAYOUT.market
    device = torch.device("cpu")

    def __init__(self) -> None:
        self._random = random_of(0)
        self._seen = torch.zeros(self.batch, self.observation_size)
        self._age = torch.arange(self.batch)

    def reset(self, seed: int | None = None) -> Tensor:
        self._random.manual_seed(seed or 0)
        return self._next()

    def step(self, action: Tensor) -> Step:
        reward = (action == self.right(self._seen)).float()
        self._age = (self._age + 1) % 20
        observations = self._next()
        ended = self._age == 0
        return Step(observations, reward, torch.zeros_like(ended), ended, observations)

    def right(self, observations: Tensor) -> Tensor:
        return observations.view(-1, 3, LAYOUT.features + LAYOUT.window)[:, :, -2].argmax(1)

    def _next(self) -> Tensor:
        self._seen = torch.randn((self.batch, self.observation_size), generator=self._random)
        return self._seen


SHAPE = {"network": "transformer", "layout": LAYOUT, "transformer": Sizes(16, 2, 2, 2)}


@pytest.mark.one_of(2)
@pytest.mark.long
@pytest.mark.parametrize("agent", ["ppo", "a2c"])
def test_actor_critics_learn_with_it_and_resume_to_the_same_bits(agent: str) -> None:
    env = LastRise()

    def made(seed: int) -> Ppo | A2c:
        sizes = (env.observation_size, 3, "discrete", seed)
        if agent == "ppo":
            plan = PpoPlan(horizon=32, minibatch=64, epochs=4, learning_rate=2e-3, gamma=0.3, **SHAPE)
            return Ppo(plan, *sizes)  # type: ignore[arg-type]
        return A2c(A2cPlan(gamma=0.3, **SHAPE), *sizes)  # type: ignore[arg-type]

    if agent == "ppo":
        learner = made(1)
        learner.learn(env, 7_000, on)
        observations = torch.randn((500, env.observation_size), generator=random_of(9))
        assert float((learner.act(observations) == env.right(observations)).float().mean()) > 0.8
    reference, half, resumed = made(3), made(3), made(9)
    reference.learn(LastRise(), 1024, on)
    half.learn(LastRise(), 512, on)
    again = made(3)
    again.learn(LastRise(), 1024, on)
    assert digest(again.state()) == digest(reference.state())
    resumed.load(half.state())
    assert digest(resumed.state()) == digest(half.state()) != digest(reference.state())


def test_impossible_sizes_and_layouts_are_refused() -> None:
    for wrong in ({"width": 10, "heads": 4}, {"layers": 0}, {"widening": 0}):
        with pytest.raises(ValueError, match="sizes must be 1 or more"):
            Sizes(**wrong)
    with pytest.raises(ValueError, match="layout is missing"):
        Ppo(PpoPlan(network="transformer"), 5, 3, "discrete", 1)
    with pytest.raises(ValueError, match="has window 0, or more than"):
        Encoder(1, SIZE, msgspec.structs.replace(LAYOUT, window=0), SIZES, random_of(1))
    with pytest.raises(ValueError, match="has window 0, or more than"):
        Encoder(1, 5, LAYOUT, SIZES, random_of(1))
