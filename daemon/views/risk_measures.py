"""Present risk measures of the whole account and of each agent, for reports, the API and metrics.

The measures are computed from copies of their inputs, so that a thread can compute them, and are never part of a
decision.
"""

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Final

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from quantd.daemon.engine.planning.gate_account import limits_in_force, market_context
from quantd.daemon.engine.state import HOUSE, State
from quantd.risk.assessment import Assessment, Book, Settings, assess_all
from quantd.risk.limits.catalogue import Limits
from quantd.risk.limits.settings import Correlation
from quantd.risk.measures.liquidity import PARTICIPATION
from quantd.risk.measures.portfolio import correlation
from quantd.risk.measures.stress import SHIPPED
from quantd.risk.monitor.equity_series import KEPT
from quantd.strategies.allocators.hierarchy import correlated
from quantd.trading.covariance import covariance
from quantd.trading.market import Bools, Floats, Ints

METRICS: Final = {
    "volatility": "volatility_annual",
    "var": "historical",
    "cvar": "historical",
    "max_drawdown": "max_drawdown",
    "sharpe": "sharpe",
    "sortino": "sortino",
    "calmar": "calmar",
    "beta": "beta",
    "correlation": "benchmark_correlation",
    "diversification": "diversification",
}
"""Name of a metric -> field of `Assessment`."""


class Metrics(Struct, frozen=True):
    """One book's metrics, as fractions and ratios; where a metric is None, `missing` has the reason.

    `correlation` and `beta` are to the benchmark. `var` and `cvar` are historical, at `confidence`. Drawdown and ratios
    cover the last year of samples.
    """

    confidence: float
    volatility: float | None
    var: float | None
    cvar: float | None
    max_drawdown: float | None
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    beta: float | None
    correlation: float | None
    diversification: float | None
    missing: dict[str, str]


class Assessed(Struct, frozen=True):
    """The measures of the whole account and of each agent at `ts` (market time).

    `groups`: symbol -> its correlation group, if it has one. `windows`: agent, or "" for the house -> the number of
    returns of equity from which drawdown and ratios are computed. The other measures use `samples` of the assessment.
    """

    ts: int
    house: Assessment
    agents: dict[str, Assessment]
    groups: dict[str, str] = {}
    windows: dict[str, int] = {}


def assessed(state: State) -> Assessed:
    """The measures of all books of a state. Call it between two steps of the engine.

    With 500 symbols and 20 agents the measures take some tenths of a second.
    """
    return measures(state)()


def house_assessed(state: State) -> Assessed:
    """The measures of the whole account alone. Call it between two steps of the engine."""
    return house_measures(state)()


def measures(state: State) -> Callable[[], Assessed]:
    """Return a function that computes the measures of all books of a state, in any thread, from copies of its inputs.

    Call `measures` between two steps of the engine.
    """
    return _measures(state, {state.rules.agents[number].name: number for number in state.in_use()})


def house_measures(state: State) -> Callable[[], Assessed]:
    """Return a function that computes the measures of the whole account alone, in any thread.

    The function uses copies of its inputs. Call `house_measures` between two steps of the engine.
    """
    return _measures(state, {})


def _measures(state: State, agents: dict[str, int]) -> Callable[[], Assessed]:
    """Copy what the measures of house and `agents` need, and return the function that computes them from the copies.

    The function may run in another thread. `agents` are name -> index; "" is the whole account.
    """
    state.revalue()
    now, books = state.now, {"": HOUSE} | agents
    returns = state.history.synchronous.returns(KEPT).copy()
    inputs = [_inputs(state, number, returns) for number in books.values()]
    windows = {name: max(0, len(book.history) - 1) for name, (book, _) in zip(books, inputs, strict=True)}
    columns, common_returns = _known_returns(state, _held(state))
    rule, symbols = limits_in_force(state, HOUSE).correlation or Correlation(), state.universe.symbols

    def measured() -> Assessed:
        house, *agent_assessments = assess_all(inputs)
        groups = _grouped(symbols, columns, _correlation(common_returns), rule.threshold)
        return Assessed(now, house, dict(zip(agents, agent_assessments, strict=True)), groups, windows)

    return measured


def _held(state: State) -> Bools:
    """bool[N]: the instruments that the whole account or an agent holds."""
    held: Bools = np.logical_or.reduce([state.lots(number) != 0 for number in (HOUSE, *state.in_use())])
    return held


def _grouped(symbols: Sequence[str], columns: Ints, correlations: Floats, threshold: float) -> dict[str, str]:
    """Symbol -> its group, from the `correlations` float64[K, K] of the K symbols in `columns`.

    A group is a cluster of single linkage, named by its alphabetically first member: each member has, with another
    member, a correlation of at least `threshold`. An instrument without such a partner is in no group.
    """
    if not len(correlations):
        return {}
    names = [sorted(symbols[columns[k]] for k in cluster) for cluster in correlated(correlations, threshold)]
    return {symbol: members[0] for members in names if len(members) > 1 for symbol in members}


def _correlations(state: State, held: Bools) -> tuple[Ints, Floats]:
    """(columns of the K instruments among `held` with enough returns, their correlations float64[K, K]).

    The correlations cover the samples of the lookback of [risk] correlation in which all K have a return; they are
    empty for too few.
    """
    columns, returns = _known_returns(state, held)
    return columns, _correlation(returns)


def _correlation(returns: Floats) -> Floats:
    """The correlations float64[K, K] of K columns of returns; empty for no returns."""
    return correlation(covariance(returns)) if len(returns) else returns


def _known_returns(state: State, held: Bools) -> tuple[Ints, Floats]:
    """(columns of the K instruments among `held` with enough returns, a copy of their returns float64[T, K]).

    `held` bool[N] selects instruments. The returns cover the samples in which all K have one; they are float64[0, 0]
    for too few samples, and for fewer than two instruments.
    """
    limits = limits_in_force(state, HOUSE)
    rule = limits.correlation or Correlation()
    returns = state.history.synchronous.returns(min(rule.lookback, state.history.synchronous.lookback))
    columns = np.flatnonzero(held & (np.isfinite(returns).sum(axis=0) >= limits.min_history))
    complete_returns = returns[:, columns]
    complete_returns = complete_returns[np.isfinite(complete_returns).all(axis=1)]
    if len(columns) < 2 or len(complete_returns) < limits.min_history:
        return columns, np.zeros((0, 0))
    return columns, complete_returns


def largest_correlations(state: State, most: int) -> tuple[list[str], list[list[float | None]]]:
    """(symbols of the `most` largest positions of the whole account, their correlations).

    A correlation is None for an instrument whose price did not move.
    """
    state.revalue()
    worth = np.abs(np.nan_to_num(state.lots(HOUSE) * state.marks * state.universe.lot_size))
    is_largest = np.zeros(len(worth), dtype=np.bool_)
    is_largest[np.argsort(-worth, kind="stable")[:most]] = True
    columns, correlations = _correlations(state, is_largest & (worth > 0.0))
    if not len(correlations):
        return [], []
    order = np.argsort(-worth[columns], kind="stable")
    rows = correlations[np.ix_(order, order)].tolist()
    shown_rows = [[value if isfinite(value) else None for value in row] for row in rows]
    return [state.universe.symbols[k] for k in columns[order]], shown_rows


def _inputs(state: State, book: int, returns: Floats) -> tuple[Book, Settings]:
    """The inputs of the measures of a book; all are copies but the `returns`, which the books share."""
    ctx, limits = market_context(state), limits_in_force(state, book)
    return (
        Book(
            universe=state.universe,
            lots=state.lots(book).copy(),
            px=np.where(ctx.priced, ctx.px, np.nan),
            equity=state.equity_of(book) / 1e6,
            returns=returns,
            history=state.watch.realised[book + 1].wealth(),
            volume_lots=ctx.volume_lots.copy(),
        ),
        replace(settings_of(limits), risk_free_annual=state.watch.realised[book + 1].risk_free_annual()),
    )


AS_SHIPPED: Final = tuple(SHIPPED.values())
"""The stress scenarios that come with quantd."""


def settings_of(limits: Limits) -> Settings:
    """The assessment parameters of a book: confidence and horizon of its VaR limit, and its stress scenarios.

    A book without configured scenarios gets those that come with quantd.
    """
    tail = limits.var or limits.cvar
    return Settings(
        confidence=tail.confidence if tail is not None else 0.95,
        horizon=tail.horizon if tail is not None else 1,
        min_history=limits.min_history,
        participation=limits.liquidity.participation if limits.liquidity is not None else PARTICIPATION,
        shocks=limits.stress.shocks if limits.stress is not None else AS_SHIPPED,
    )


def metrics_of(assessment: Assessment) -> Metrics:
    """The metrics of an assessment, with a reason for each missing one."""
    values: dict[str, float | None] = {}
    missing: dict[str, str] = {}
    for name, field in METRICS.items():
        value = getattr(assessment, field)
        if value is None:
            missing[name] = assessment.missing.get(field, "not available")
        values[name] = None if value is None else getattr(value, name) if field == "historical" else value
    return Metrics(confidence=assessment.confidence, missing=missing, **values)
