"""The observation of a trained policy: declared once, computed by one function in training and in trading.

What can go wrong. Training and trading could compute an input in two ways, or put it at another position. No shape
would differ, no error would be raised, and the policy would answer to inputs unlike those of its training. The
declaration is therefore part of the artifact, its hash is compared at each load, and both sides call the same functions
with it.

What the order of the steps guarantees. The entries of an observation are asset after asset, then the shared columns
(one value for all assets), then the book (held weights, cash). The book, the only part that changes with the account,
is thus at the end, where a simulator fills it in at each step. All entries of an unknown asset are 0, including its
flag `known`, so that no old value stands for a missing one.
"""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, Literal

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from quantd.models.history.panel import Panel
from quantd.models.observation.feature_sets import macro_of, of_panel, of_view, series_of
from quantd.models.observation.return_features import FEATURES, LOOKBACK, columns_of, measure
from quantd.models.observation.table import Observed, sight
from quantd.trading.market import Bools, Floats
from quantd.trading.view import View

if TYPE_CHECKING:
    from quantd.strategies.features import FeatureSpec

SIGHT_VERSION: Final = 1
"""Raised when the meaning of an entry changes. It is part of the hash, so that an older artifact is refused."""

BOUND: Final = 8.0
"""Largest absolute value of the returns of a window, in standard deviations of their asset."""

Held = Literal["weights", "cash"]
"""Observable parts of a policy's own book; progress and drawdown exist only in episodes."""


class SightSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """Declaration (sight) of a policy's observation: asset after asset, then the shared columns, then the book.

    `book` names the entries about the account: held weights, cash, or both.

    Each asset has `features` of quantd.models.observation.return_features, its values of `columns` and its `known`
    flag. Its last `window` returns follow, oldest first, in standard deviations of the asset over LOOKBACK samples.
    `columns` are names of features in `quantd.strategies.features`. Columns with one value for all instruments
    (regimes, macro series, the season) are the shared columns. `benchmark` is the symbol of betas and regimes.
    """

    features: tuple[str, ...] = FEATURES
    window: int = 0
    book: tuple[Held, ...] = ("weights", "cash")
    version: int = SIGHT_VERSION
    columns: tuple[str, ...] = ()
    benchmark: str = ""

    @property
    def declared(self) -> "FeatureSpec":
        """Return the declaration of `columns`, at least one. Raises FeatureError for an unknown column."""
        return _declared(self.columns)

    @property
    def lookback(self) -> int:
        """Number of newest samples that the observation reads."""
        return max(LOOKBACK, self.declared.lookback) if self.columns else LOOKBACK

    @property
    def macro(self) -> tuple[str, ...]:
        return macro_of(self.declared) if self.columns else ()

    @property
    def series(self) -> tuple[str, ...]:
        return series_of(self.declared) if self.columns else ()

    @property
    def own(self) -> list[int]:
        """Indices in `columns` of the columns that have a value for each asset."""
        return (
            [k for k, feature in enumerate(self.declared.features) if not feature.about.shared] if self.columns else []
        )

    @property
    def shared(self) -> list[int]:
        """Indices in `columns` of the columns that have one value for all assets."""
        return [k for k, feature in enumerate(self.declared.features) if feature.about.shared] if self.columns else []

    @property
    def width(self) -> int:
        """Number of entries of the observation per asset, without the book."""
        return of_asset(self.features, self.columns) + self.window

    def market(self, assets: int) -> int:
        """Return the number of entries before the book, for `assets` assets."""
        return assets * self.width + len(self.shared)

    def size(self, assets: int) -> int:
        """Return D, the number of entries of an observation of `assets` assets."""
        return self.market(assets) + sum(assets if part == "weights" else 1 for part in self.book)

    def assets(self, size: int) -> int:
        """Return the number of assets of an observation with `size` entries."""
        return (size - len(self.shared) - ("cash" in self.book)) // (self.width + ("weights" in self.book))


@lru_cache(maxsize=16)
def _declared(columns: tuple[str, ...]) -> "FeatureSpec":
    # imported here, because the tables of features would take a tenth of every start
    from quantd.strategies.features import spec_of

    return spec_of(columns)


def of_asset(features: Sequence[str], columns: Sequence[str]) -> int:
    """Return the number of entries of each asset before its window of returns: features, columns and the flag
    `known`."""
    return len(features) + 1 + (len(SightSpec(columns=tuple(columns)).own) if columns else 0)


def names_in(columns: object, unused: Sequence[str] = ()) -> object:
    """Return the names of the feature columns for the setting `columns` of a training plan.

    The setting is the name of a set, or a list of names, from which features of `unused` series are omitted. Features
    of the book (held weights, cash) are omitted from a set, because the observation has the book anyway. Raises
    ValueError for unknown names.
    """
    if isinstance(columns, list | tuple) and columns and all(isinstance(name, str) for name in columns):
        return [feature.name for feature in _declared(tuple(columns)).features if feature.series not in unused]
    if not isinstance(columns, str):
        return columns
    from quantd.strategies.features import SETS

    if columns not in SETS:
        raise ValueError(f"{columns!r} is no list of features, and none of the sets {', '.join(SETS)}")
    features = _declared(SETS[columns]).features
    return [feature.name for feature in features if feature.about.group not in ("portfolio", "risk")]


def sight_hash(spec: SightSpec) -> str:
    """Return the hex BLAKE2b of an observation's declaration. A declaration without columns keeps the hash that it
    had before columns existed."""
    table = msgspec.to_builtins(spec)
    if not spec.columns:
        del table["columns"], table["benchmark"]
    return blake2b(msgspec.json.encode(table, order="sorted"), digest_size=16).hexdigest()


def fault(spec: SightSpec, symbols: Sequence[str]) -> str:
    """Return why this code cannot compute `spec` for the assets `symbols`; empty when it can."""
    if spec.version != SIGHT_VERSION:
        return f"a sight of version {spec.version}; this quantd shows version {SIGHT_VERSION}"
    unknown = [name for name in spec.features if name not in FEATURES]
    if unknown or len(set(spec.features)) != len(spec.features):
        return (
            f"features {', '.join(unknown) or 'twice'}; this quantd computes {', '.join(FEATURES)}; "
            "features of `quantd features list` are columns"
        )
    if not 0 <= spec.window <= LOOKBACK:
        return f"a window of {spec.window} samples; 0 to {LOOKBACK} can be shown"
    if not spec.features and not spec.window and not spec.columns:
        return "no features, no columns and no window: nothing would be shown"
    if len(set(spec.book)) != len(spec.book):
        return f"book {', '.join(spec.book)}: write each part once"
    return _columns_fault(spec, symbols) if spec.columns or spec.benchmark else ""


def _columns_fault(spec: SightSpec, symbols: Sequence[str]) -> str:
    """Return what is wrong with `columns` or `benchmark`, as a text that begins with the key; empty without a fault."""
    try:
        feature_set = spec.declared if spec.columns else None
    except ValueError as error:
        return f"columns: {error}"
    if repeated := [name for name in spec.columns if name in spec.features]:
        return (
            f"columns: {repeated[0]} is one of features, too, with another meaning (a sum of returns in deviations); "
            "write features = [], or name it once"
        )
    if feature_set and (
        of_book := [feature.name for feature in feature_set.features if feature.about.group in ("portfolio", "risk")]
    ):
        return f'columns: {of_book[0]} is of the book; write book = ["weights", "cash"]'
    needs = feature_set is not None and "benchmark" in feature_set.needs
    if needs and not spec.benchmark:
        return f'benchmark: the columns need one; write benchmark = "{symbols[0]}", or another symbol'
    if spec.benchmark and not needs:
        return f"benchmark: {spec.benchmark} is needed by no column; leave it out"
    if spec.benchmark and spec.benchmark not in symbols:
        return f"benchmark: {spec.benchmark} is not in the data; name one of {', '.join(symbols)}"
    return ""


def entry_names(spec: SightSpec, symbols: Sequence[str]) -> tuple[str, ...]:
    """Return the name of each of the D entries of an observation, in order.

    Examples: "momentum_5 SPY" for an asset's entry, "vix" for a shared column, "weight SPY" and "cash" for the book.
    """
    asset_names = (*spec.features, *(spec.columns[k] for k in spec.own), "known")
    lags = (f"return_{lag}" for lag in range(spec.window - 1, -1, -1))
    asset_entries = (*asset_names, *lags)
    names = [f"{name} {symbol}" for symbol in symbols for name in asset_entries]
    names += [spec.columns[k] for k in spec.shared]
    for part in spec.book:
        names += [f"weight {symbol}" for symbol in symbols] if part == "weights" else ["cash"]
    return tuple(names)


def shown(spec: SightSpec, returns: Floats, columns: Floats | None = None) -> NDArray[np.float32]:
    """Return the entries of N assets, float32[N, spec.width], without the shared columns and the book (account).

    `returns` float64[.., N] are total returns, oldest first, and `columns` float64[N, F] the values of the F feature
    columns. All entries of an unknown asset are 0.
    """
    features, mask = _measured(spec, returns)
    parts = [features[:, columns_of(spec.features)], mask[:, None]]
    if spec.columns:
        assert columns is not None
        parts, mask = _joined(spec, parts[0], mask, columns)
    if spec.window:
        parts.append(_window(returns[len(returns) - LOOKBACK :], mask, spec.window))
    return np.concatenate(parts, axis=1)


def _measured(spec: SightSpec, returns: Floats) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the features float32[N, F] of the returns and the flags `known` float32[N], which are all 1 where no
    returns are used."""
    if spec.features or spec.window or not spec.columns:
        return measure(returns[len(returns) - LOOKBACK :])
    size = returns.shape[1]
    return np.zeros((size, len(FEATURES)), dtype=np.float32), np.ones(size, dtype=np.float32)


def _joined(
    spec: SightSpec, features: NDArray[np.float32], mask: NDArray[np.float32], columns: Floats
) -> tuple[list[NDArray[np.float32]], NDArray[np.float32]]:
    """Combine features, columns and flags into entries [.., N, k] per asset, and return them with the flags `known`.

    `mask` [.., N] is 1 for an asset with features. `columns` are the values of all feature columns, of which `spec.own`
    are those with a value for each asset. An asset is known where both its features and its columns are known.
    """
    values = columns[..., spec.own]
    is_complete: Bools = np.asarray(np.isfinite(values).all(axis=-1) & (mask > 0.0))
    flags = is_complete.astype(np.float32)
    filled = np.where(is_complete[..., None], values, 0.0).astype(np.float32)
    return [features * flags[..., None], filled, flags[..., None]], flags


def columns_of_view(spec: SightSpec, view: View) -> Floats | None:
    """Return the feature columns float64[N, F] at the newest sample, with assets in the order of the view; None where
    `spec` declares no columns."""
    return of_view(view, spec.declared, spec.benchmark) if spec.columns else None


def lacking(spec: SightSpec, observed: NDArray[np.float32]) -> str:
    """Return the name of a shared column that is not finite in an observation float32[D]; empty for none."""
    shared = spec.shared
    if not shared:
        return ""
    end = spec.market(spec.assets(len(observed)))
    values = observed[end - len(shared) : end]
    return next((spec.columns[k] for k, value in zip(shared, values, strict=True) if not np.isfinite(value)), "")


def observation(
    spec: SightSpec, returns: Floats, weights: Floats, cash: float, columns: Floats | None = None
) -> NDArray[np.float32]:
    """Return the observation float32[D] of a policy.

    `returns` float64[.., N] has LOOKBACK samples or more of N assets. `weights` float64[N] and `cash` are the
    positions and cash of the book, as fractions of equity. `columns` float64[N, F] are the values of the F feature
    columns.
    """
    parts = [shown(spec, returns, columns).reshape(-1)]
    if columns is not None and spec.shared:
        parts.append(columns[0, spec.shared].astype(np.float32))
    for part in spec.book:
        parts.append(weights.astype(np.float32) if part == "weights" else np.array([cash], dtype=np.float32))
    return np.concatenate(parts)


def observed_by(spec: SightSpec, panel: Panel) -> Observed:
    """Build the table of observations of a whole panel: the entries that `observation` returns, without the book.

    There is a row at each close; rows without enough history are NaN. Raises ValueError where the panel lacks an input
    of the columns.
    """
    rows, size = panel.close.shape
    uses_returns = bool(spec.features or spec.window or not spec.columns)
    first_complete = LOOKBACK + panel.behind if uses_returns else 0
    mask = np.ones((rows, size), dtype=np.float32)
    features = np.zeros((rows, size, len(FEATURES)), dtype=np.float32)
    if uses_returns:
        features, mask = sight(panel)
    parts = [features[:, :, columns_of(spec.features)], mask[:, :, None]]
    shared: list[NDArray[np.float32]] = []
    if spec.columns:
        columns = of_panel(panel, spec.declared, spec.benchmark)
        parts, mask = _joined(spec, parts[0], mask, columns)
        shared = [columns[:, 0, spec.shared].astype(np.float32)]
        first_complete = max(first_complete, int(np.argmax(mask.any(axis=1))) if mask.any() else rows)
    if spec.window:
        returns = panel.synchronous()
        windows = np.zeros((rows, size, spec.window), dtype=np.float32)
        for row in range(LOOKBACK + panel.behind, rows):
            windows[row] = _window(returns[row - LOOKBACK + 1 : row + 1], mask[row], spec.window)
        parts.append(windows)
    flat = np.concatenate(parts, axis=2, dtype=np.float32).reshape(rows, -1)
    table = np.ascontiguousarray(np.concatenate([flat, *shared], axis=1))
    table[:first_complete] = np.nan
    return Observed.of(table, entry_names(spec, panel.symbols)[: table.shape[1]], spec.book)


def _window(returns: Floats, mask: NDArray[np.float32], window: int) -> NDArray[np.float32]:
    """Return the last `window` returns float32[N, window] in standard deviations of each asset; 0 where an asset is
    unknown."""
    last = returns[len(returns) - window :]
    deviation = np.where(mask > 0.0, returns.std(axis=0, ddof=1), 1.0)
    scaled = np.where(mask > 0.0, last / deviation, 0.0)
    return np.ascontiguousarray(np.clip(scaled, -BOUND, BOUND).T, dtype=np.float32)
