"""Detects the current regime from a market's past returns, by three models with one interface.

The state of a model is in a policy's memory. The states of a fitted model are named by their mean and volatility in the
fit; later data never rename them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal, NamedTuple

import numpy as np
from msgspec import Meta, Struct

from quantd.strategies.regimes.markov import Markov, filtered, fit_markov
from quantd.strategies.regimes.mixture import States, fit_mixture, responsibilities
from quantd.strategies.regimes.thresholds import direction_of, level_of, regime_of
from quantd.trading.market import Floats
from quantd.trading.statistics import PERIODS_PER_YEAR, momentum_of, sum_in_order, volatility
from quantd.trading.view import Memory, View

REGIMES: Final = ("bull", "bear", "volatile")

PATH: Final = 126
"""Number of newest returns that the filter of the Markov model reads: older regimes have no effect.

The filter begins in the stationary state of the chain. The length is half a year of daily samples.
"""

VOLATILE: Final = 1.5
"""A fitted state with at least this multiple of the overall volatility is called volatile, whatever its mean."""

FINE: Final = 1e-12
"""Variance per sample below which a market counts as constant, without a fit."""


class RegimeParams(Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of a regime model.

    `model` "thresholds" compares volatility over `volatility_lookback` samples with annual `levels`, and the trend over
    `trend_lookback` with `trend`. A level, once reached, ends only when the value is `margin` (a fraction) below it.
    "markov" is a hidden Markov model of `states` states. "mixture" is a Gaussian mixture of the mean and the volatility
    over `trend_lookback` samples. Markov model and mixture are fitted on the last `window` samples, every `refit`
    samples, with at most `iterations` rounds. `of` is the symbol that represents the market; if it is empty, the market
    is the equal-weighted mean of all symbols.
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
    """The current regime, the probability of each of REGIMES (float64[3]), and figures for the explanation `why`."""

    regime: str
    probabilities: Floats
    figures: tuple[float, ...]


def market_of(view: View, params: RegimeParams, lookback: int) -> Floats:
    """Return float64[k], k <= `lookback`: the newest returns of the market, from the first known sample.

    Without the parameter `of`, each return is the mean over the instruments known at that sample, by session date.
    Raises ValueError when `of` is not in the universe.
    """
    if params.of:
        if params.of not in view.universe.index:
            raise ValueError(f"regime: of = {params.of!r} is not traded")
        column = view.returns(lookback)[:, view.universe.index[params.of]]
        return np.ascontiguousarray(column[np.isfinite(column)])
    return view.shared_by_date(mean_of_known, lookback)


def mean_of_known(returns: Floats) -> Floats:
    """Return the mean of the known returns in each row of float64[k, N], without rows that have no known return."""
    finite = np.isfinite(returns)
    count = finite.sum(axis=1)
    total = np.where(finite, returns, 0.0).sum(axis=1)
    return total[count > 0] / count[count > 0]


@dataclass(frozen=True, slots=True)
class ByThresholds:
    """A regime model: levels of volatility and the direction of the trend, converted to regimes by TABLE."""

    params: RegimeParams

    @property
    def lookback(self) -> int:
        """The number of market returns from which the current regime is read."""
        return max(self.params.volatility_lookback, self.params.trend_lookback)

    def read(self, returns: Floats, samples: int, memory: Memory) -> tuple[Reading | None, Memory]:
        """Return the reading (the current regime) and the new memory.

        `returns` are market returns float64[k] without gaps, oldest first. The reading is None for too few returns.
        `samples` is the number of samples so far. The memory has the level of volatility, the direction of the trend
        and the regime of the last reading, because a level or direction changes only beyond a margin.
        """
        params = self.params
        if len(returns) < self.lookback:
            return None, {}
        stored_state = memory.get("state")
        level, direction, last = (0, 0, 0) if stored_state is None else stored_state.astype(int).tolist()
        annual_volatility = volatility(returns[-params.volatility_lookback :])
        trend = float(momentum_of(returns[-params.trend_lookback :, np.newaxis])[0])
        level = level_of(annual_volatility, params.levels, level, params.margin)
        direction = direction_of(trend, params.trend, direction, params.margin)
        regime = regime_of(level, direction, REGIMES[last])
        regime_index = REGIMES.index(regime)
        state = np.array([level, direction, regime_index], dtype=np.float64)
        # a probability of 1 for this regime, of 0 for the two others
        return Reading(regime, np.eye(3)[regime_index], (annual_volatility, trend)), {"state": state}

    def why(self, figures: Sequence[float]) -> str:
        return (
            f"volatility {figures[0]:.0%} a year over {self.params.volatility_lookback} samples, "
            f"trend {figures[1]:+.1%} over {self.params.trend_lookback}"
        )


def named(mean: float, volatility: float, overall: float) -> int:
    """Return the index in REGIMES of a fitted state from its mean and volatility, and the `overall` volatility."""
    return 2 if volatility >= VOLATILE * overall else 1 if mean < 0.0 else 0


def by_name(states: Floats, names: list[int]) -> Floats:
    """Return float64[3], the probabilities of fitted `states` summed by regime; `names` has each state's regime."""
    return np.array([sum_in_order(p for p, n in zip(states.tolist(), names, strict=True) if n == k) for k in range(3)])


@dataclass(frozen=True, slots=True)
class ByFit:
    """Regimes by the fitted states of a model, which is fitted again every `params.refit` samples.

    `words` names the model. `span` is the number of returns before the fitting window that the window's first sample
    also needs. `fit` returns the model in the form stored in memory. `now` returns the current probabilities of its K
    states and the standard deviations of the states, both float64[K].
    """

    params: RegimeParams
    words: str
    span: int
    fit: Callable[[Floats, RegimeParams], dict[str, Floats]]
    now: Callable[[Floats, RegimeParams, Memory], tuple[Floats, Floats]]

    @property
    def lookback(self) -> int:
        """The number of market returns that a fit reads: its window, and the `span` of one sample of the model."""
        return self.params.window + self.span

    def read(self, returns: Floats, samples: int, memory: Memory) -> tuple[Reading | None, Memory]:
        """Return (reading, new memory); the reading (current regime) is None for too few or constant returns.

        The states are fitted again every `params.refit` samples, and kept in the memory. Each state has the name of a
        regime, and several states may have the same. The reading has the annual figures of the likeliest state of its
        regime.
        """
        params = self.params
        # too few returns for a fit (half a window suffices), or constant ones
        if len(returns) < params.window // 2 + self.span or float(returns.var()) <= FINE:
            return None, {}
        due = "at" not in memory or samples - int(memory["at"][0]) >= params.refit
        if due or len(memory["means"]) != params.states:
            overall = np.array([float(returns.std())])
            memory = self.fit(returns, params) | {"overall": overall, "at": np.array([float(samples)])}
        probabilities, deviations = self.now(returns, params, memory)
        means = memory["means"][:, 0]
        names = [
            named(mean, deviation, float(memory["overall"][0]))
            for mean, deviation in zip(means, deviations, strict=True)
        ]
        by_regime = by_name(probabilities, names)
        regime_index = int(np.argmax(by_regime))
        likeliest_state = max(
            (state for state, regime in enumerate(names) if regime == regime_index),
            key=lambda state: probabilities[state],
        )
        annual = (
            float(means[likeliest_state]) * PERIODS_PER_YEAR,
            float(deviations[likeliest_state]) * PERIODS_PER_YEAR**0.5,
        )
        return Reading(REGIMES[regime_index], by_regime, (float(by_regime[regime_index]), *annual)), memory

    def why(self, figures: Sequence[float]) -> str:
        """Return the figures of a reading in words: probability, annual mean and annual volatility of the state."""
        likely, mean, spread = figures
        return f"{self.words}: {likely:.0%} likely a state of {mean:+.0%} a year at volatility {spread:.0%}"


def _fit_markov(returns: Floats, params: RegimeParams) -> dict[str, Floats]:
    model = fit_markov(returns[:, None], params.states, params.iterations)
    # the filter begins in the stationary state of the chain, because it begins later than the samples of the fit
    return {"initial": stationary(model.chain), "chain": model.chain, **model.states._asdict()}


def _read_markov(returns: Floats, params: RegimeParams, memory: Memory) -> tuple[Floats, Floats]:
    states = States(memory["means"], memory["covariances"])
    state_probabilities = filtered(returns[-PATH:, None], Markov(memory["initial"], memory["chain"], states, 0.0))[-1]
    return state_probabilities, np.sqrt(states.covariances[:, 0, 0])


def stationary(chain: Floats) -> Floats:
    """Return float64[K], the long-run share of time in each of K states of a Markov `chain`, bounded away from 0."""
    share = np.full(len(chain), 1.0 / len(chain))
    for _ in range(12):  # squared 12 times: 2^12 steps of the chain
        chain = chain @ chain
    share = share @ chain + 1e-9
    return share / share.sum()


def _fit_mixture(returns: Floats, params: RegimeParams) -> dict[str, Floats]:
    fit = fit_mixture(_mean_and_log_deviation(returns, params.trend_lookback), params.states, params.iterations)
    return {"shares": fit.shares, **fit.states._asdict()}


def _read_mixture(returns: Floats, params: RegimeParams, memory: Memory) -> tuple[Floats, Floats]:
    states = States(memory["means"], memory["covariances"])
    newest_traits = _mean_and_log_deviation(returns[-params.trend_lookback :], params.trend_lookback)
    return responsibilities(newest_traits, memory["shares"], states)[0][-1], np.exp(states.means[:, 1])


def _mean_and_log_deviation(returns: Floats, span: int) -> Floats:
    """Return float64[k - span + 1, 2]: mean and log standard deviation of each `span` consecutive returns."""
    windows = np.lib.stride_tricks.sliding_window_view(returns, span)
    return np.column_stack([windows.mean(axis=1), np.log(np.maximum(windows.std(axis=1, ddof=1), FINE**0.5))])


RegimeModel = ByThresholds | ByFit


def model_of(params: RegimeParams) -> RegimeModel:
    """Return the regime model that `params.model` names."""
    match params.model:
        case "thresholds":
            return ByThresholds(params)
        case "markov":
            return ByFit(params, "hidden Markov model", 0, _fit_markov, _read_markov)
        case "mixture":
            return ByFit(params, "Gaussian mixture", params.trend_lookback, _fit_mixture, _read_mixture)
