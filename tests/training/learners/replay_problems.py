"""A problem that only looking ahead solves, and what tests of learners have in common."""

import hashlib

import torch
from msgspec.structs import replace
from torch import Tensor

from quantd.training.learners.algorithms.deep_q import Dqn
from quantd.training.learners.algorithms.soft_actor_critic import Sac
from quantd.training.learners.dqn import DqnPlan
from quantd.training.learners.record import Report, State
from quantd.training.learners.sac import SacPlan
from quantd.training.market.terms import Kind
from quantd.training.market.vector_env import Step
from quantd.training.networks.sizes import Layout
from tests.support.problems import RegimeBandit


class SwitchingFee:
    """One of `choices` earns 1 a step, the others nothing, and to switch costs `fee`, more than is earned at once; what
    is held is seen. Who looks ahead pays once and stays."""

    kind: Kind = "discrete"
    device = torch.device("cpu")
    best = 2

    def __init__(self, batch: int = 32, choices: int = 3, fee: float = 2.0, length: int = 20) -> None:
        self.batch, self.action_size, self.observation_size = batch, choices, choices
        self.fee, self.length = fee, length
        self._random = torch.Generator().manual_seed(0)
        self._held = torch.zeros(batch, dtype=torch.int64)
        self._age = torch.zeros(batch, dtype=torch.int64)

    def reset(self, seed: int | None = None) -> Tensor:
        if seed is not None:
            self._random.manual_seed(seed)
        self._held = torch.randint(self.action_size, (self.batch,), generator=self._random)
        self._age = torch.arange(self.batch) % self.length
        return self._seen(self._held)

    def step(self, action: Tensor) -> Step:
        reward = (action == self.best).float() - self.fee * (action != self._held)
        self._age += 1
        ended = self._age >= self.length
        self._age[ended] = 0
        self._held = torch.randint(self.action_size, (self.batch,), generator=self._random).where(ended, action)
        return Step(self._seen(self._held), reward, torch.zeros_like(ended), ended, self._seen(action))

    def _seen(self, held: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(held, self.action_size).float()


def on(_: Report) -> bool:
    return False


def digest(state: State) -> str:
    hasher = hashlib.sha256()
    for name in sorted(state):
        kept = state[name]
        hasher.update(name.encode())
        hasher.update(kept.numpy().tobytes() if isinstance(kept, Tensor) else repr(kept).encode())
    return hasher.hexdigest()


SHORT_DQN = DqnPlan(
    hidden=(16,),
    streams=16,
    double=True,
    noisy=True,
    n_step=3,
    alpha=0.6,
    buffer=400,
    batch=16,
    warmup=50,
    train_every=4,
)
SHORT_SAC = SacPlan(hidden=(16, 16), buffer=400, batch=16, warmup=50, train_every=4, n_step=2)
SHARED = Layout(assets=2, features=1, window=0)
"""Two assets and cash, and an entry that both have in common."""

PLANS: dict[str, DqnPlan | SacPlan] = {
    "dqn": SHORT_DQN,
    "sac": SHORT_SAC,
    "shared dqn": replace(SHORT_DQN, network="shared", layout=SHARED, streams=0, noisy=False),
    "shared sac": replace(SHORT_SAC, network="shared", layout=SHARED),
}


def short(learner: str, seed: int) -> tuple[Dqn | Sac, RegimeBandit]:
    """A small learner and its environment."""
    plan = PLANS[learner]
    if isinstance(plan, DqnPlan):
        return Dqn(plan, 3, 3, "discrete", seed), RegimeBandit("discrete", batch=4)
    return Sac(plan, 3, 3, "simplex", seed), RegimeBandit("simplex", batch=4)


def trained(learner: str, seed: int) -> str:
    """Digest of a short training, which is longer than what the memory holds."""
    agent, env = short(learner, seed)
    agent.learn(env, 450, on)
    return digest(agent.state())


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(*(trained(learner, 3) for learner in PLANS))  # noqa: T201
