"""Named settings of several agents, as plain data laid over the defaults of `maddpg`, and how Lite's features were chosen.

python -m benchmarks.multi_agent prints the sizes of all three and the ranking of features.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from quantd.models.history.panel import Panel
from quantd.models.market.desks import PROFILES
from quantd.models.observation.return_features import FEATURES
from quantd.models.observation.table import sight
from quantd.trading.market import Floats

UNDONE: Final = ("ESG scores", "sentiment")
"""Of the full profile as it was asked for: no such data is bundled, and none is invented."""

LITE_FEATURES: Final = ("momentum_21", "momentum_63", "momentum_126", "volatility", "volatility_change")
"""What `chosen` of `ranked` gives over the training part of the default data."""

TOP: Final = 5

AHEAD: Final = 5
"""Sessions over which a feature is to say something."""

FEWEST: Final = 3
"""Assets with a feature that a session needs to be counted."""

DESKS: Final = 8
"""That learn side by side."""

SESSIONS: Final = 252
"""Of an episode."""


def _steps(episodes: int, agents: int) -> int:
    """Env-steps: each agent's are counted."""
    return episodes * SESSIONS * agents


def _risk_profiles(count: int) -> list[dict[str, Any]]:
    seats: list[dict[str, Any]] = msgspec.to_builtins(PROFILES[:count])
    return seats


def _profile(
    agents: int,
    episodes: int,
    updates: int,
    looks: int,
    learner: dict[str, Any],
    shown: dict[str, Any],
    *,
    dynamic: bool,
) -> dict[str, Any]:
    """`updates` of an episode of one desk, `looks` at the validation part."""
    steps = _steps(episodes, agents)
    return {
        "learner": {
            "agents": agents,
            "train_every": SESSIONS * agents // updates,
            "warmup": _steps(DESKS, agents),
            "noise_steps": steps // 2,
            "buffer": _steps(80, agents),
            **learner,
        },
        "sight": {"book": [], **shown},
        "market": {
            "batch": DESKS * agents,
            "seats": _risk_profiles(agents),
            "diversity": {"dynamic": dynamic},
            # a day counts about one, so that 0.1 for moving alike is a part of it; of a log return it would be all
            "reward": {"kind": "sharpe"},
            "episodes": {"length": SESSIONS},
        },
        "steps": steps,
        "evaluate_every": steps // looks,
        "checkpoint_every": steps // 4,
        "patience": 0,
    }


MARL: Final[dict[str, dict[str, Any]]] = {
    "full": _profile(
        agents=5,
        episodes=300,
        updates=4,
        looks=6,
        learner={
            "network": "transformer",
            "transformer": {"width": 64, "heads": 8, "layers": 4, "widening": 2},
            "batch": 8,
        },
        shown={"features": list(FEATURES), "window": 60},
        dynamic=True,
    ),
    "lite": _profile(
        agents=4,
        episodes=200,
        updates=16,
        looks=20,
        learner={"network": "mlp", "hidden": [128, 64], "batch": 64},
        shown={"features": list(LITE_FEATURES), "window": 0},
        dynamic=False,
    ),
    "transformer": _profile(
        agents=5,
        episodes=60,
        updates=8,
        looks=6,
        learner={
            "network": "transformer",
            "transformer": {"width": 256, "heads": 8, "layers": 4, "widening": 2},
            "batch": 8,
        },
        shown={"features": list(FEATURES), "window": 20},
        dynamic=True,
    ),
}
"""Profile -> what it changes. Transformers learn in batches of 8, and the wide one reads 20 sessions for 60 episodes: a seed is then a
matter of minutes on one core."""


class Rank(NamedTuple):
    """What a feature said of coming returns."""

    feature: str
    correlation: float
    """Mean over sessions of the rank correlation, across assets, with the returns of the next AHEAD sessions."""
    t: float
    """That mean over its standard error; AHEAD sessions that overlap count as one."""


def ranked(panel: Panel, rows: range) -> list[Rank]:
    """Features by |t|, the highest first (C. Spearman 1904; the information coefficient of R. Grinold and R. Kahn). Reads outcomes in
    `rows` alone."""
    seen, returns = sight(panel), panel.returns()
    found = np.full((len(rows), len(FEATURES)), np.nan)
    for k, row in enumerate(rows[:-AHEAD]):
        following = returns[row + 1 : row + 1 + AHEAD].sum(axis=0)
        known = (seen.mask[row] > 0.0) & np.isfinite(following)
        if known.sum() >= FEWEST:
            wanted = _ranks(following[known, None])
            found[k] = (_ranks(seen.features[row][known].astype(np.float64)) * wanted).mean(axis=0)
    found = found[np.isfinite(found).all(axis=1)]
    mean = found.mean(axis=0)
    t = mean / (found.std(axis=0, ddof=1) / (len(found) / AHEAD) ** 0.5)
    made = [Rank(name, float(m), float(score)) for name, m, score in zip(FEATURES, mean, t, strict=True)]
    return sorted(made, key=lambda each: -abs(each.t))


def chosen(ranks: Sequence[Rank]) -> tuple[str, ...]:
    """The first TOP, in the order of FEATURES. One that puts the assets in the same order as one before it is passed over."""
    kept: list[Rank] = []
    for rank in ranks:
        if len(kept) < TOP and not any(np.isclose(rank.t, other.t, rtol=1e-9) for other in kept):
            kept.append(rank)
    return tuple(name for name in FEATURES if name in {rank.feature for rank in kept})


def _ranks(values: Floats) -> Floats:
    """float64[N, F] ranks of each column, of mean 0 and deviation 1; equal values in their order."""
    ranks = values.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable").astype(np.float64)
    ranks -= ranks.mean(axis=0)
    return ranks / ranks.std(axis=0)


def sizes() -> Mapping[str, tuple[int, int]]:
    """Profile -> numbers that act (of all agents), and of their critics."""
    from quantd.models.learners.maddpg import Maddpg, MaddpgPlan
    from quantd.models.training.plans.plan import default

    found = {}
    for name in MARL:
        plan = default("maddpg", name)
        learner, assets = plan.learner, len(plan.data.symbols)
        assert isinstance(learner, MaddpgPlan)
        made = Maddpg(learner, plan.sight.size(assets), assets + 1, "simplex", 0)
        found[name] = (made.network.vector.numel(), made.critics.vector.numel())
    return found
