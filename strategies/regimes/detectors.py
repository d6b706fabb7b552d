"""Detects the current regime from a market's past returns, by three models with one interface.

Their state is in a policy's memory. Fitted states are named by their mean and volatility in the fit; later data never
rename them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, NamedTuple, Protocol

import numpy as np
from msgspec import Meta, Struct

from quantd.strategies.regimes.markov import Markov, filtered, fit_markov
from quantd.strategies.regimes.mixture import States, fit_mixture, responsibilities
from quantd.strategies.regimes.thresholds import YEAR, annual_volatility, direction_of, level_of, regime_of, trend_of
from quantd.trading.market import Floats
from quantd.trading.view import Memory, View

REGIMES: Final = ("bull", "bear", "volatile")

PATH: Final = 126
"""Length of the filter's path from its stationary state to now: regimes older than half a year have no effect."""

VOLATILE: Final = 1.5
"""A fitted state with at least this multiple of the overall volatility is called volatile, whatever its mean."""

FINE: Final = 1e-12
"""Variance per sample below which a market counts as constant, without a fit."""


class RegimeParams(Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of a regime model.

    `model` "thresholds" compares volatility over `volatility_lookback` samples with annual `levels`, and the trend over
    `trend_lookback` with `trend`. A reached level is left only `margin` below it. "markov" is a hidden Markov model of
    `states` states. "mixture" is a Gaussian mixture of mean and volatility over `trend_lookback` samples. Both are
    fitted on the last `window` samples, every `refit` samples. `of` is the symbol that represents the market; by
    default it is the equal-weighted mean of all.
    """

    model: Literal["thresholds", "markov", "mixture"] = "thresholds"
    of: str = ""
    volatility_lookback: Annotated[int, Meta(ge=5, le=1000)] = 60
    levels: tuple[float, float, float] = (0.15, 0.25, 0.35)
    trend_lookback: Annotated[int, Meta(ge=2, le=1000)] = 20
    trend: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.02
    margin: Annotated[float, Meta(ge=0.0, lt=1.0)] = 0.1
    states: Annotated[int, Meta(ge=2, le=4)] = 3
    window: Annotated[int, Meta(ge=120, le=5000)] = 504
    refit: Annotated[int, Meta(ge=1, le=1000)] = 63
    iterations: Annotated[int, Meta(ge=1, le=500)] = 60


class Reading(NamedTuple):
    """The current regime, the probability of each of REGIMES (float64[3]), and the underlying figures, for `why`."""

    regime: str
    probabilities: Floats
    figures: tuple[float, ...]


class RegimeModel(Protocol):
    """Detects the regime from market returns float64[k] without gaps, oldest first; None with too few returns."""

    @property
    def lookback(self) -> int: ...

    def read(self, returns: Floats, samples: int, memory: Memory) -> tuple[Reading | None, dict[str, Any]]:
        """Return the reading and the new memory. `samples` is the number of samples so far."""
        ...

    def why(self, figures: Sequence[float]) -> str:
        """Format the figures of a reading as text."""
        ...


def market_of(view: View, params: RegimeParams, lookback: int) -> Floats:
    """Return float64[k], k <= `lookback`: the newest returns of the market, from the first known sample.

    Each is the mean over the instruments known at that sample, by session date. Raises ValueError when `of` is not in
    the universe.
    """
    if params.of:
        if params.of not in view.universe.index:
            raise ValueError(f"regime: of = {params.of!r} is not traded")
        column = view.returns(lookback)[:, view.universe.index[params.of]]
        return np.ascontiguousarray(column[np.isfinite(column)])
    returns = view.synchronous(lookback)
    known = np.isfinite(returns)
    count = known.sum(axis=1)
    total = np.where(known, returns, 0.0).sum(axis=1)
    return total[count > 0] / count[count > 0]


def model_of(params: RegimeParams) -> RegimeModel:
    """Return the model that `params` name."""
    kinds: dict[str, Callable[[RegimeParams], RegimeModel]] = {
        "thresholds": ByThresholds,
        "markov": ByMarkov,
        "mixture": ByMixture,
    }
    return kinds[params.model](params)


@dataclass(frozen=True, slots=True)
class ByThresholds:
    """Regimes by levels of volatility and direction of trend, through TABLE."""

    params: RegimeParams

    @property
    def lookback(self) -> int:
        return max(self.params.volatility_lookback, self.params.trend_lookback)

    def read(self, returns: Floats, samples: int, memory: Memory) -> tuple[Reading | None, dict[str, Any]]:
        params = self.params
        if len(returns) < self.lookback:
            return None, {}
        before = memory.get("state")
        level, direction, last = (0, 0, 0) if before is None else before.astype(int).tolist()
        volatility = annual_volatility(returns[-params.volatility_lookback :])
        trend = trend_of(returns[-params.trend_lookback :])
        level = level_of(volatility, params.levels, level, params.margin)
        direction = direction_of(trend, params.trend, direction, params.margin)
        regime = regime_of(level, direction, REGIMES[last])
        now = REGIMES.index(regime)
        state = np.array([level, direction, now], dtype=np.float64)
        return Reading(regime, np.eye(3)[now], (volatility, trend)), {"state": state}

    def why(self, figures: Sequence[float]) -> str:
        return (
            f"volatility {figures[0]:.0%} a year over {self.params.volatility_lookback} samples, "
            f"trend {figures[1]:+.1%} over {self.params.trend_lookback}"
        )


def named(mean: float, volatility: float, overall: float) -> int:
    """Return the index in REGIMES of a state, by its mean and volatility per sample and the overall volatility."""
    return 2 if volatility >= VOLATILE * overall else 1 if mean < 0.0 else 0


def by_name(states: Floats, names: list[int]) -> Floats:
    """Return float64[3], the probabilities of states summed by regime."""
    return np.array([float(sum(p for p, n in zip(states.tolist(), names, strict=True) if n == k)) for k in range(3)])


def _reading(probabilities: Floats, names: list[int], means: Floats, deviations: Floats) -> Reading:
    by = by_name(probabilities, names)
    now = int(np.argmax(by))
    state = max((k for k, n in enumerate(names) if n == now), key=lambda k: probabilities[k])
    return Reading(REGIMES[now], by, (float(by[now]), float(means[state]) * YEAR, float(deviations[state]) * YEAR**0.5))


def _likely(model: str, figures: Sequence[float]) -> str:
    return f"{model}: {figures[0]:.0%} likely a state of {figures[1]:+.0%} a year at volatility {figures[2]:.0%}"


def _due(memory: Memory, samples: int, refit: int, states: int) -> bool:
    return "at" not in memory or len(memory["means"]) != states or samples - int(memory["at"][0]) >= refit


@dataclass(frozen=True, slots=True)
class ByMarkov:
    """A hidden Markov model of returns, filtered forward to the current sample."""

    params: RegimeParams

    @property
    def lookback(self) -> int:
        return self.params.window

    def read(self, returns: Floats, samples: int, memory: Memory) -> tuple[Reading | None, dict[str, Any]]:
        params = self.params
        if len(returns) < params.window // 2 or float(returns.var()) <= FINE:
            return None, {}
        kept: Mapping[str, Floats] = memory
        if _due(memory, samples, params.refit, params.states):
            kept = fitted_markov(returns, params.states, params.iterations) | {"at": np.array([float(samples)])}
        model = Markov(kept["initial"], kept["chain"], States(kept["means"], kept["covariances"]), 0.0)
        now = filtered(returns[-PATH:, None], model)[-1]
        means, deviations = model.states.means[:, 0], np.sqrt(model.states.covariances[:, 0, 0])
        names = [named(m, d, float(kept["overall"][0])) for m, d in zip(means, deviations, strict=True)]
        return _reading(now, names, means, deviations), dict(kept)

    def why(self, figures: Sequence[float]) -> str:
        return _likely("hidden Markov model", figures)


def fitted_markov(returns: Floats, states: int, iterations: int) -> dict[str, Floats]:
    """Fit a model in the form stored in memory.

    The filter begins in the chain's stationary state, because its path does not begin where the fit did.
    """
    model = fit_markov(returns[:, None], states, iterations)
    return {
        "initial": stationary(model.chain),
        "chain": model.chain,
        "means": model.states.means,
        "covariances": model.states.covariances,
        "overall": np.array([float(returns.std())]),
    }


def stationary(chain: Floats) -> Floats:
    """Return float64[K], the long-run share of time in each state, bounded away from 0."""
    share = np.full(len(chain), 1.0 / len(chain))
    for _ in range(12):  # 2^12 steps
        chain = chain @ chain
    share = share @ chain + 1e-9
    return share / share.sum()


@dataclass(frozen=True, slots=True)
class ByMixture:
    """A Gaussian mixture of the mean and the log of volatility over short windows."""

    params: RegimeParams

    @property
    def lookback(self) -> int:
        return self.params.window + self.params.trend_lookback

    def read(self, returns: Floats, samples: int, memory: Memory) -> tuple[Reading | None, dict[str, Any]]:
        params = self.params
        if len(returns) < params.window // 2 + params.trend_lookback or float(returns.var()) <= FINE:
            return None, {}
        kept: Mapping[str, Floats] = memory
        if _due(memory, samples, params.refit, params.states):
            traits = traits_of(returns, params.trend_lookback)
            fit = fit_mixture(traits, params.states, params.iterations)
            kept = {
                "shares": fit.shares,
                "means": fit.states.means,
                "covariances": fit.states.covariances,
                "overall": np.array([float(returns.std())]),
                "at": np.array([float(samples)]),
            }
        now = traits_of(returns[-params.trend_lookback :], params.trend_lookback)
        states = States(kept["means"], kept["covariances"])
        probabilities = responsibilities(now, kept["shares"], states)[0][-1]
        means, deviations = states.means[:, 0], np.exp(states.means[:, 1])
        names = [named(m, d, float(kept["overall"][0])) for m, d in zip(means, deviations, strict=True)]
        return _reading(probabilities, names, means, deviations), dict(kept)

    def why(self, figures: Sequence[float]) -> str:
        return _likely("Gaussian mixture", figures)


def traits_of(returns: Floats, span: int) -> Floats:
    """Return float64[k - span + 1, 2]: mean and log standard deviation of each `span` returns."""
    windows = np.lib.stride_tricks.sliding_window_view(returns, span)
    deviation = windows.std(axis=1, ddof=1)
    return np.column_stack([windows.mean(axis=1), np.log(np.maximum(deviation, FINE**0.5))])
