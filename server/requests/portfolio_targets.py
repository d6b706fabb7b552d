"""Target weights of a portfolio: sent with the request, from a shipped policy over some symbols, or from an agent.

What can go wrong: a policy is foreign code. It may raise any error, decide to hold, or return weights that no portfolio
may have. Then nothing is traded, and the text of the error names the field at fault with the remedy. The weights of
every source are checked last: they must be finite, negative only if limits allow it, and add up to at most 1.

Everything is computed on a copy of the state. Expected figures describe the history of the run and are no forecast.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from math import isfinite
from typing import Final

import numpy as np
from msgspec import Struct

from quantd.daemon.engine.rounds import view_of
from quantd.daemon.engine.state import State
from quantd.strategies.allocators.allocation import allocation
from quantd.strategies.policies import PASSIVE, POLICIES, ParamsError
from quantd.strategies.policies.members import unpacked
from quantd.strategies.policies.membership import part_of
from quantd.trading.market import Floats
from quantd.trading.statistics import RISK_FREE_ANNUAL
from quantd.trading.view import EMPTY_MEMORY, Hold, PartView

ROUNDING: Final = 1e-9
"""How much a sum of weights may exceed 1, because floats are rounded."""

AT_THE_COLLAR: Final = "orders are sent at the collar: there is no limit price, stop, side or order type; {}"
"""What a request with targets has in place of the fields that it does not know; {} is its dry run."""

RISK_CLASSES: Final = (0.005, 0.02, 0.05, 0.10, 0.15, 0.25)
"""Upper bounds of annual volatility of the classes 1 to 6 of the synthetic risk and reward indicator (CESR/10-673)."""


class TargetsWrong(ValueError):
    """Targets that cannot be used; `field` is the field of the request at fault, and the text has the remedy."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


class Expectation(Struct, frozen=True):
    """Expected annual figures of weights held through the last `samples` samples of the run; null where too few are
    known.

    `volatility` is the standard deviation. `sharpe` is (return - `risk_free`) / volatility. `probability_positive`
    is the probability that the mean return is above 0. `risk_score` is the class 1 to 7 of the volatility in the
    synthetic risk and reward indicator (CESR/10-673).
    """

    expected_return: float | None
    volatility: float | None
    sharpe: float | None
    risk_score: int | None
    probability_positive: float | None
    samples: int
    risk_free: float = RISK_FREE_ANNUAL


def expectation(state: State, book_index: int, weights: Floats, basis: str) -> Expectation:
    """The annual figures of weights float64[N], one per symbol, held through the newest samples (the run's lookback).

    `book_index` is the agent whose book the weights are for, and `basis` the name of their source. The Sharpe ratio is
    None without a return or risk. The risk score is the class of the annual volatility, from 1 (the lowest).
    """
    view, lookback = view_of(state, book_index, state.now), state.rules.lookback
    figures = allocation(view, weights, strategy=basis, method="as proposed", lookback=lookback)
    mean, risk = figures.expected_return, figures.expected_risk
    has_sharpe = mean is not None and risk is not None and risk > 0.0
    return Expectation(
        expected_return=mean,
        volatility=risk,
        sharpe=(mean - RISK_FREE_ANNUAL) / risk if has_sharpe and mean is not None and risk is not None else None,
        risk_score=None if risk is None else bisect_left(RISK_CLASSES, risk) + 1,
        probability_positive=figures.probability_positive,
        samples=figures.samples,
    )


def columns_of(state: State, symbols: Sequence[str], field: str) -> tuple[int, ...]:
    """Return the columns of symbols, ascending. Raises TargetsWrong for an empty list, and for an unknown symbol."""
    universe = state.universe
    if not symbols:
        raise TargetsWrong(field, f"{field} names no symbol; name some of {_list_text(universe.symbols)}")
    for symbol in symbols:
        if symbol not in universe.index:
            raise TargetsWrong(
                field,
                f"{symbol[:40]!r} is not in the universe of this run, {_list_text(universe.symbols)}. "
                f"{_remedy(symbol, state)}",
            )
    return tuple(sorted({universe.index[symbol] for symbol in symbols}))


def given_weights(state: State, book_index: int, weights: Mapping[str, float]) -> Floats:
    """Return weights by symbol as float64[N], 0 for the other symbols.

    Raises TargetsWrong for an unknown symbol, and for weights that no portfolio may have (`_permitted`).
    """
    columns_of(state, tuple(weights), "weights")
    targets = np.zeros(state.universe.size)
    for symbol, weight in weights.items():
        if not isfinite(weight):
            raise TargetsWrong("weights", f"the weight of {symbol} is not a finite number; correct it")
        targets[state.universe.index[symbol]] = weight
    return _permitted(state, book_index, targets, "weights")


def policy_weights(state: State, book_index: int, policy: str, symbols: Sequence[str]) -> Floats:
    """Return the weights float64[N] of a registered policy for these symbols over the run's history.

    Raises TargetsWrong for an unknown policy or symbol, a policy that needs parameters or more history, a policy that
    raises an error or answers "hold", and weights that no portfolio may have (`_permitted`).
    """
    names = sorted(name for name in POLICIES if name not in PASSIVE)
    if policy in PASSIVE or policy not in POLICIES:
        raise TargetsWrong(
            "policy", f"{policy[:40]!r} is no policy that computes weights; write one of {_list_text(names)}"
        )
    columns = columns_of(state, symbols, "symbols")
    try:
        instance = POLICIES[policy]({})
    except ParamsError as why:
        raise TargetsWrong("policy", f"{policy} needs parameters: {why}. Name an agent that runs it instead") from None
    if instance.lookback > state.rules.lookback:
        raise TargetsWrong(
            "policy",
            f"{policy} reads {instance.lookback} samples of history, and the run stores only {state.rules.lookback}. "
            "Choose a policy that reads fewer",
        )
    view = PartView(view_of(state, book_index, state.now), part_of(state.universe, columns), columns)
    try:
        # `act` returns (answer, memory), and the memory is dropped
        answer, _, _ = unpacked(instance.act(view, EMPTY_MEMORY)[0])
    except Exception as error:
        # a policy is foreign code: whatever it raises, nothing is traded
        failure = f"{policy} failed on {_list_text(symbols)}: {type(error).__name__}: {error}"
        raise TargetsWrong("policy", failure[:400]) from None
    if isinstance(answer, Hold):
        raise TargetsWrong("policy", f"{policy} returned no weights now; it may need more history, or other symbols")
    targets = np.zeros(state.universe.size)
    targets[list(columns)] = answer
    return _permitted(state, book_index, targets, "policy")


def agent_weights(state: State, book_index: int, answer: Mapping[str, float], symbols: Sequence[str]) -> Floats:
    """Return an agent's weights float64[N]: of `symbols` only, 0 for the others; of all where `symbols` is empty.

    `answer` maps symbols to the agent's weights. Raises TargetsWrong for an unknown symbol in `symbols`, and for
    weights that no portfolio may have (`_permitted`).
    """
    chosen_columns = set(columns_of(state, symbols, "symbols")) if symbols else set(range(state.universe.size))
    targets = np.zeros(state.universe.size)
    for symbol, weight in answer.items():
        if state.universe.index[symbol] in chosen_columns:
            targets[state.universe.index[symbol]] = weight
    return _permitted(state, book_index, targets, "agent")


def _permitted(state: State, book_index: int, weights: Floats, field: str) -> Floats:
    """Return the weights if a portfolio may have them; `field` is the field of the request that they came from.

    Raises TargetsWrong unless all weights are finite, add up to at most 1, and are negative only where limits permit
    it.
    """
    if not np.isfinite(weights).all():
        raise TargetsWrong(field, "a weight is not a finite number")
    may_short = state.rules.agents[book_index].limits.allow_short and state.rules.house.allow_short
    if not may_short and (weights < 0.0).any():
        symbol = state.universe.symbols[int(weights.argmin())]
        raise TargetsWrong(
            field,
            f"the weight of {symbol} is {weights.min():g}; the limits allow no short position, so it must be 0 or more",
        )
    if float(weights.sum()) > 1.0 + ROUNDING:
        raise TargetsWrong(
            field, f"the weights add up to {weights.sum():.6g}; lower them to a sum of at most 1 (the rest is cash)"
        )
    return weights


def _remedy(symbol: str, state: State) -> str:
    """The remedy for an unknown symbol: the nearest one of the universe, else how to add it."""
    near = get_close_matches(symbol.upper(), state.universe.symbols, n=1)
    if near:
        return f"Did you mean {near[0]}?"
    return "Add it to [universe] symbols, with bars in the feed, and restart with --carry; or leave it out"


def _list_text(names: Sequence[str]) -> str:
    """The first 24 names as text, with the number of further ones."""
    omitted = f" and {len(names) - 24} more" if len(names) > 24 else ""
    return ", ".join(names[:24]) + omitted
