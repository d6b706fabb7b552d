"""Replay memory of off-policy learners: a preallocated ring buffer, n-step returns, and prioritised sampling.

What can go wrong. A return of n steps would lead past the end of an episode, past a restart, or past the newest step.
So rewards count until the first row that is marked as ended, `cut` sets this mark at a restart, and a step can be drawn
only when its n rewards are stored.

Priorities are the leaves of a tree of sums. The sums would drift by rounding: so the sums above a changed leaf are
computed anew. A new step might never be drawn: so it gets the highest priority. A rounded random number might select an
empty leaf: so `find` never enters a branch whose sum is zero.

What the order guarantees. The priority of a row becomes 0 when the row is overwritten. Only then does the step whose n
rewards are now complete get its priority, since it may be in the same row.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quantd.training.market.arrays import view
from quantd.training.market.vector_env import Step, VectorEnv

Floats = NDArray[np.float64]


Places = NDArray[np.int64]


class SumTree:
    """A binary tree over `size` non-negative leaves. Node i is the sum of nodes 2i and 2i + 1; node 1 is the total.

    Raises ValueError for a `size` below 1.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"a tree of {size} leaves: it must have 1 or more")
        self.levels: Final = (size - 1).bit_length()
        self.size: Final = size
        self.nodes: Floats = np.zeros(2 << self.levels)

    @property
    def total(self) -> float:
        return float(self.nodes[1])

    def leaves(self, places: Places) -> Floats:
        """Return the values float64[K] of the K leaves with the indices `places` int64[K]."""
        return self.nodes[places + (1 << self.levels)]

    def write(self, places: Places, values: Floats | float) -> None:
        """Set the K leaves with the indices `places` int64[K]; of a repeated leaf the last value wins.

        The sums above the leaves are computed anew rather than corrected by a difference, so that rounding errors do
        not accumulate.
        """
        node = places + (1 << self.levels)
        self.nodes[node] = values
        for _ in range(self.levels):
            node = node >> 1
            left_child = node << 1
            self.nodes[node] = self.nodes[left_child] + self.nodes[left_child + 1]

    def find(self, heights: Floats) -> Places:
        """Return the leaves int64[K] at K cumulative sums `heights` in [0, total); each leaf covers a range as wide as
        its value.
        """
        node = np.ones(len(heights), dtype=np.int64)
        height = heights.copy()
        for _ in range(self.levels):
            node <<= 1
            left_sum = self.nodes[node]
            # a height rounded beyond the last positive leaf must not select a zero leaf
            to_right = (height >= left_sum) & (self.nodes[node + 1] > 0.0)
            height -= left_sum * to_right
            node += to_right
        return node - (1 << self.levels)


LEAST_PRIORITY = 1e-6
"""Added to every error, so that steps without error are still drawn occasionally."""

TAIL = 3
"""Columns after the action: reward, terminated, ended."""


class Batch(NamedTuple):
    """A sample of R steps."""

    observation: Tensor
    """float32[R, D]."""
    action: Tensor
    """int64[R], or float32[R, A] as executed."""
    reward: Tensor
    """float32[R]: discounted sum of the next n rewards, fewer where the episode ended."""
    discount: Tensor
    """float32[R]: factor of the value of `following`: gamma to the number of rewards, 0 after a terminal step."""
    following: Tensor
    """float32[R, D]: the observation after the last of these rewards."""
    place: Tensor
    """int64[R]: indices of the steps in the memory, for the update of priorities."""
    weight: Tensor
    """float32[R]: importance weights, at most 1; without priorities all 1."""


class Replay:
    """The last `capacity` steps of B environments; a step is available once its n rewards are known."""

    def __init__(self, env: VectorEnv, capacity: int, n_step: int, gamma: float, alpha: float = 0.0) -> None:
        """Make room for `capacity` steps. `n_step` is the number of rewards in a return, `gamma` the discount factor.
        `alpha` is the exponent of priorities; 0 draws uniformly.

        A row of the memory has an observation, the observation that follows, the action, and a tail of three columns:
        reward, terminated, ended. `_added` is the number of rows ever added; when the memory is full, a new row
        replaces the oldest one.
        """
        self.batch: Final = env.batch
        self.length: Final = max(capacity // env.batch, n_step + 1)
        self.n_step: Final = n_step
        self.alpha: Final = alpha
        self.integral: Final = env.kind == "discrete"
        self._seen, self._acts = env.observation_size, 1 if self.integral else env.action_size
        width = 2 * self._seen + self._acts + TAIL
        # One row has all data of a step: one copy stores it and one gather reads it.
        self._rows = torch.zeros((self.length, self.batch, width), device=env.device)
        self._flat = self._rows.view(-1, width)
        self._table: Final = view(self._rows)
        self._powers = gamma ** torch.arange(n_step + 1, dtype=torch.float32, device=env.device)
        self._ahead = torch.arange(n_step, device=env.device) * self.batch
        self._columns = np.arange(self.batch)
        self._tree: Final = SumTree(self.length * self.batch) if alpha else None
        self._highest = 1.0
        self._added = 0

    def __len__(self) -> int:
        """Return the number of steps available for sampling."""
        return max(min(self._added, self.length) - self.n_step + 1, 0) * self.batch

    def add(self, observation: Tensor, action: Tensor, step: Step) -> None:
        """Store one step: the observation float[B, D] that was acted on, the action, and its outcome.

        The last three columns of a row are the reward, terminated (1 where the episode terminated) and ended (1 where
        it terminated or was truncated). Axes: B environments, D entries of an observation.
        """
        row = self._added % self.length
        stored, size, terminated = self._table[row], self._seen, view(step.terminated)
        stored[:, :size] = view(observation)
        stored[:, size : 2 * size] = view(step.final)
        stored[:, 2 * size : -TAIL] = view(action)[:, None] if self.integral else view(action)
        stored[:, -3] = view(step.reward)
        stored[:, -2] = terminated
        stored[:, -1] = terminated | view(step.truncated)
        self._added += 1
        if self._tree is not None:
            # first: with one reward a step, the row that becomes complete below is this one
            self._tree.write(row * self.batch + self._columns, 0.0)
            if self._added >= self.n_step:
                completed = (self._added - self.n_step) % self.length
                # new steps have no error yet: they get the highest priority
                self._tree.write(completed * self.batch + self._columns, self._highest)

    def cut(self) -> None:
        """Mark that the environments restart: the next added steps do not follow the last ones."""
        if self._added:
            self._rows[(self._added - 1) % self.length, :, -1] = 1.0

    def sample(self, rows: int, random: torch.Generator, beta: float = 1.0) -> Batch:
        """Draw `rows` steps, with replacement. Raises ValueError before the first step with all its n rewards.

        `beta` is the fraction of the bias from priorities that the importance weights correct (Schaul et al. 2016,
        section 3.4).
        """
        if not len(self):
            raise ValueError("nothing to draw yet: no step in the replay memory has all its rewards")
        if self._tree is None:
            oldest = max(self._added - self.length, 0) * self.batch
            # without priorities: any complete step, counted from the oldest one
            place = torch.randint(len(self), (rows,), generator=random, device=self._rows.device)
            if oldest:
                place = place.add_(oldest).remainder_(len(self._flat))
            return self._read(place, torch.ones(rows, device=place.device))
        tree = self._tree
        # one height from each of `rows` equal parts of the sum
        heights = torch.rand(rows, generator=random, device=random.device, dtype=torch.float64).cpu().numpy()
        parts = np.arange(rows, dtype=np.float64)
        places = tree.find((heights + parts) * (tree.total / rows))
        priority = tree.leaves(places)
        weight = (priority / priority.min()) ** -beta
        device = self._rows.device
        return self._read(torch.from_numpy(places).to(device), torch.from_numpy(weight).to(device, torch.float32))

    def tell(self, place: Tensor, error: Tensor) -> None:
        """Set the priorities of drawn steps at indices int64[R] from their errors float[R].

        A priority is (|error| + LEAST_PRIORITY) ** alpha.
        """
        if self._tree is None:
            return
        priority = (error.abs().double().cpu().numpy() + LEAST_PRIORITY) ** self.alpha
        self._highest = max(self._highest, float(priority.max()))
        self._tree.write(place.cpu().numpy(), priority)

    def state(self) -> dict[str, Tensor]:
        """Return the stored rows, the counters and the priorities, for `load` into a memory of the same shape."""
        tensors = {
            "rows": self._rows[: min(self._added, self.length)].clone(),
            "counts": torch.tensor([self._added, self._highest], dtype=torch.float64),
        }
        if self._tree is not None:
            tensors["tree"] = torch.from_numpy(self._tree.nodes.copy())
        return tensors

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore a `state` that `state()` returned. Raises ValueError for a different shape."""
        rows = state["rows"]
        if rows.shape[1:] != self._rows.shape[1:] or len(rows) > self.length:
            raise ValueError(
                f"saved steps of shape {list(rows.shape)} do not fit this memory of shape {list(self._rows.shape)}"
            )
        self._rows[: len(rows)] = rows
        added, self._highest = state["counts"].tolist()
        self._added = int(added)
        if self._tree is not None:
            self._tree.nodes[:] = state["tree"].numpy()

    def _read(self, place: Tensor, weight: Tensor) -> Batch:
        """Return the steps at indices int64[R] of the memory, with their returns of n steps.

        The last three columns of a row (its tail) are reward, terminated and ended (0 or 1).
        """
        steps = self._flat.index_select(0, place)
        outcomes = steps[:, -TAIL:]
        reward, terminated, following = outcomes[:, 0], outcomes[:, 1], steps[:, self._seen : 2 * self._seen]
        discount = self._powers[1] * (1.0 - terminated)
        if self.n_step > 1:
            window = (place.unsqueeze(1) + self._ahead) % len(self._flat)
            tails = self._flat[:, -TAIL:][window]
            # a reward counts until the episode ends within the window
            counts_reward = torch.ones_like(tails[:, :, 2])
            counts_reward[:, 1:] = (1.0 - tails[:, :-1, 2]).cumprod(1)
            reward_count = counts_reward.sum(1).long()
            last_place = window.gather(1, reward_count.unsqueeze(1) - 1).squeeze(1)
            reward = (tails[:, :, 0] * counts_reward * self._powers[:-1]).sum(1)
            discount = self._powers[reward_count] * (1.0 - self._flat[last_place, -2])
            following = self._flat[last_place, self._seen : 2 * self._seen]
        action = steps[:, 2 * self._seen : -TAIL]
        return Batch(
            steps[:, : self._seen],
            action[:, 0].long() if self.integral else action,
            reward,
            discount,
            following,
            place,
            weight,
        )
