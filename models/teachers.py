"""Classical policies as teachers: what one does over a training window, in the layout that a learner's policy is shown, for
`quantd.models.learners.cloning.clone`."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from quantd.models.market import grid
from quantd.models.observations import observe
from quantd.models.panel import Panel
from quantd.models.sights import SightSpec, features_of
from quantd.models.simulator import USUAL_COSTS
from quantd.models.vector_env import Kind
from quantd.models.walks import walk
from quantd.strategies.policies import POLICIES, nearest
from quantd.trading.execution import Costs
from quantd.trading.market import Floats
from quantd.trading.ports import Policy


class Acts(Protocol):
    """What a learner may do: the part of an action's description that a teacher's answers are written in."""

    @property
    def kind(self) -> Kind: ...

    @property
    def parts(self) -> int:
        """Of a discrete grid."""
        ...

    @property
    def cash(self) -> bool:
        """Whether a discrete grid has cash."""
        ...

    @property
    def gross(self) -> float:
        """What positions of a box add up to at most."""
        ...


def teacher(name: str, params: Mapping[str, object]) -> Policy:
    """A registered policy. ValueError for none of that name, or parameters that are not its own."""
    if name not in POLICIES:
        raise ValueError(f"there is no policy {name!r} to learn from; {nearest(name, list(POLICIES))}")
    return POLICIES[name](params)


def demonstrations(
    policy_name: str,
    params: Mapping[str, object],
    panel: Panel,
    sight: SightSpec,
    rows: range,
    action: Acts,
    *,
    costs: Costs = USUAL_COSTS,
    capital: float = 100_000.0,
    lot: float | Sequence[float] | None = None,
) -> tuple[Tensor, Tensor]:
    """(float32[T, D] observations as they come from the simulator, before any normaliser; what the teacher did there).

    It decides at each close of `rows` that has the sight's history before it, but the last, and holds what it bought: the book
    that is shown is its own. Its answers are float32[T, N + 1] weights with cash last ("simplex"), float32[T, N] positions in
    [-1, 1] ("box"), or int64[T], the nearest of `grid(symbols, parts, cash)` ("discrete"). ValueError where they cannot be:
    short positions on a simplex, rows without history.
    """
    observed = observe(panel, features_of(sight), sight.book)
    start = max(rows.start, observed.warm)
    if rows.stop - start < 2:
        raise ValueError(
            f"{len(rows)} sessions to learn from, and the first {observed.warm} of the panel only fill what is seen: give more"
        )
    done = walk(
        teacher(policy_name, params),
        panel,
        range(start, rows.stop),
        costs=costs,
        capital=capital,
        lot=lot,
        observed=observed,
    )
    return torch.from_numpy(done.seen), targets(done.weights, panel.symbols, action)


def targets(weights: Floats, symbols: tuple[str, ...], action: Acts) -> Tensor:
    """float64[T, N] weights of a teacher as what a learner of this kind does instead. ValueError as in `demonstrations`."""
    if action.kind == "box":
        return torch.from_numpy(np.clip(_within(weights, action.gross), -1.0, 1.0).astype(np.float32))
    if (weights < -1e-9).any():
        row, column = (int(v[0]) for v in np.nonzero(weights < -1e-9))
        raise ValueError(
            f"the teacher is short of {symbols[column]} ({weights[row, column]:.2f}): only a policy with actions of kind box can be"
        )
    long = _within(np.maximum(weights, 0.0), 1.0)
    with_cash = np.append(long, np.maximum(0.0, 1.0 - long.sum(axis=1, keepdims=True)), axis=1)
    if action.kind == "simplex":
        return torch.from_numpy((with_cash / with_cash.sum(axis=1, keepdims=True)).astype(np.float32))
    choices = grid(symbols, action.parts, action.cash).weights
    apart = np.square(with_cash[:, None, :] - choices[None]).sum(axis=2)
    return torch.from_numpy(apart.argmin(axis=1).astype(np.int64))


def _within(weights: Floats, gross: float) -> Floats:
    """Rows that add up to more than `gross`, in absolute value, scaled down to it."""
    total = np.abs(weights).sum(axis=1, keepdims=True)
    return weights * (gross / np.maximum(total, gross))
