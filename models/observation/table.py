"""Observations of a training environment at each close, computed once for a whole panel as a named table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from quantd.models.history.panel import Panel
from quantd.models.observation.return_features import FEATURES, LOOKBACK, measure

Part = Literal["weights", "cash", "drawdown", "progress", "value"]
"""Parts of an account's state, as fractions: weights, cash and drawdown; progress is the elapsed fraction of an
episode, value the equity over the capital."""

ACCOUNT: Final[tuple[Part, ...]] = ("weights", "cash", "drawdown", "progress")
"""The parts that environments append by default."""


class Sight(NamedTuple):
    """Features float32[T, N, F] at each close of a panel. The mask float32[T, N] is 1 where an asset has features."""

    features: NDArray[np.float32]
    mask: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Observed:
    """Observations at T closes as a table float32[T, M] with the `names` of its M columns, and the parts of the account
    that an environment appends. Rows before `warm` lack history.

    Raises ValueError for a name that occurs twice, a number of names other than M, and a value that is not finite.
    """

    table: NDArray[np.float32]
    names: tuple[str, ...]
    warm: int
    account: tuple[Part, ...] = ACCOUNT

    def __post_init__(self) -> None:
        if self.table.shape[1] != len(self.names) or len(set(self.names)) != len(self.names):
            raise ValueError(
                f"{self.table.shape[1]} columns, {len(self.names)} names: each column needs a different name"
            )
        if not np.isfinite(self.table[self.warm :]).all():
            row, column = (int(v[0]) for v in np.nonzero(~np.isfinite(self.table[self.warm :])))
            raise ValueError(f"{self.names[column]} is NaN or infinite in row {row + self.warm} of the panel")

    @classmethod
    def of(cls, table: NDArray[np.float32], names: Sequence[str], account: tuple[Part, ...]) -> Self:
        """Return the observations with `warm` set to the first row without a missing number."""
        complete = np.isfinite(table).all(axis=1)
        return cls(table, tuple(names), int(np.argmax(complete)) if complete.any() else len(table), account)


Features = Callable[[Panel], tuple[NDArray[np.float32], Sequence[str]]]
"""A function from a panel to (float32[T, N, F], names of the F features); row t uses data known at close t.

NaN marks a row without enough history, and 0 an asset without any yet.
"""


def sight(panel: Panel) -> Sight:
    """Compute the features that a policy sees in trading at every row of a panel, from the same rows that trading
    reads; 0 with too little history."""
    returns = panel.synchronous()
    rows, size = returns.shape
    empty = measure(np.full((LOOKBACK, size), np.nan))
    seen = [measure(returns[t - LOOKBACK + 1 : t + 1]) if t >= LOOKBACK + panel.behind else empty for t in range(rows)]
    return Sight(np.stack([f for f, _ in seen]), np.stack([m for _, m in seen]))


def price_features(panel: Panel) -> tuple[NDArray[np.float32], Sequence[str]]:
    """Return the features of trading (`quantd.models.observation.return_features`) and each asset's flag `known`,
    with their names."""
    observed = sight(panel)
    features = np.concatenate([observed.features, observed.mask[:, :, None]], axis=2)
    features[: LOOKBACK + panel.behind] = np.nan
    return features, (*FEATURES, "known")


def observe(panel: Panel, features: Features = price_features, account: tuple[Part, ...] = ACCOUNT) -> Observed:
    """Build the table float32[T, N F] of the features of N assets, asset after asset, with names such as
    "SPY.momentum_5".

    `account` names the parts of the account that an environment appends at each step. Raises ValueError if `features`
    returns another shape than float[T, N, F] for F names.
    """
    table, names = features(panel)
    rows, size, count = table.shape
    if (rows, size, count) != (*panel.close.shape, len(names)):
        raise ValueError(f"features of shape {table.shape} for {len(names)} names and a panel of {panel.close.shape}")
    flat = np.ascontiguousarray(table.reshape(rows, size * count), dtype=np.float32)
    return Observed.of(flat, [f"{s}.{n}" for s in panel.symbols for n in names], account)
