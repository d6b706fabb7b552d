"""The weights of an allocation method for a table of closes, of any symbols, without an account."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from quantd.daemon.policies.deadline import Deadline
from quantd.daemon.policies.isolation.worker import LIMIT_S
from quantd.strategies.allocators.allocation import Allocation, allocation
from quantd.trading.effects import Ask
from quantd.trading.history import Ring
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.market import Floats
from quantd.trading.ports import Policy, leaves
from quantd.trading.view import View

YEAR: Final = 252
"""Maximum number of samples for the expected return and risk."""

MOST_SYMBOLS: Final = 100
MOST_CLOSES: Final = 5_000
MOST_PRICE: Final = 1e15
"""Largest price that is accepted."""


class BadPrices(ValueError):
    """A value in the given prices or weights cannot be used; `field` is its path in the request."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(f"{field}: {text}")
        self.field = field


class Refusing(ValueError):
    """An allocation method gives no weights for these prices; the text has the reason."""


def table_of(prices: Mapping[str, Sequence[float]]) -> tuple[tuple[str, ...], Floats]:
    """Return (symbols in order of their names, closes float64[T, N], oldest first).

    Raises BadPrices for too few or too many symbols or closes, columns of unequal length, and a price out of bounds.
    """
    if not 1 <= len(prices) <= MOST_SYMBOLS:
        raise BadPrices("prices", f"{len(prices)} symbols; 1 to {MOST_SYMBOLS} are expected")
    symbols = tuple(sorted(prices))
    count = len(prices[symbols[0]])
    for symbol in symbols:
        closes, field = prices[symbol], f"prices.{symbol}"
        if not symbol.isprintable() or not 0 < len(symbol) <= 32:
            raise BadPrices("prices", f"{symbol[:40]!r} is no symbol; use 1 to 32 printable characters")
        if not 2 <= len(closes) <= MOST_CLOSES:
            raise BadPrices(field, f"{len(closes)} closes; 2 to {MOST_CLOSES} are expected")
        if len(closes) != count:
            raise BadPrices(field, f"{len(closes)} closes, but {symbols[0]} has {count}; send the same dates for all")
        wrong_row = next((k for k, close in enumerate(closes) if not 0.0 < close <= MOST_PRICE), None)
        if wrong_row is not None:
            raise BadPrices(
                f"{field}[{wrong_row}]", f"{closes[wrong_row]:g} is no price above 0 and up to {MOST_PRICE:g}"
            )
    return symbols, np.array([prices[symbol] for symbol in symbols], dtype=np.float64).T.copy()


def held_of(held: Mapping[str, float], symbols: tuple[str, ...]) -> Floats:
    """Return held weights float64[N], 0 for a symbol that `held` lacks. Raises BadPrices for another symbol or |weight|
    > 10."""
    for symbol, weight in held.items():
        if symbol not in symbols:
            raise BadPrices(f"held.{symbol}", "prices do not have this symbol")
        if not abs(weight) <= 10.0:
            raise BadPrices(f"held.{symbol}", f"{weight:g} is no fraction of the book")
    return np.array([held.get(symbol, 0.0) for symbol in symbols])


def allocated(
    policy: Policy, method: str, symbols: tuple[str, ...], closes: Floats, held: Floats, time: int, *, keep: bool
) -> tuple[Floats, Allocation, str, bool]:
    """(weights float64[N], their figures, note, whether the policy leaves the weights as they are) of `policy` for
    `closes`.

    `closes` float64[T, N] are T samples, oldest first; `held` float64[N] are the weights before the answer. `method` is
    the name of the policy for messages, `time` the instant of the answer in ns UTC. With `keep`, the processes of the
    policy stay alive for a further question. Raises Refusing (the policy cannot answer) and BadPrices.
    """
    for leaf in leaves(policy):
        for name, missing_input in (
            ("uses_bars", "whole bars"),
            ("uses_macro", "macro series"),
            ("uses_series", "series"),
        ):
            if getattr(leaf, name, ()):
                raise Refusing(f"{method} reads {missing_input}, which closes do not have")
    universe = Universe(tuple(Instrument(symbol) for symbol in symbols))
    for leaf in leaves(policy):
        try:
            getattr(leaf, "fit", lambda universe: None)(universe)
        except ValueError as error:
            raise Refusing(str(error)) from None
    if len(closes) <= policy.lookback:
        raise BadPrices("prices", f"{len(closes)} closes; {method} needs {policy.lookback + 1}")
    span = max(policy.lookback, min(len(closes) - 1, YEAR))
    ring = Ring(len(symbols), span + 1)
    for row in closes[-(span + 1) :]:
        ring.append(row)
    view = View(
        universe=universe, ring=ring, prices=closes[-1], weights=held, cash=1.0 - float(held.sum()), equity=1.0,
        time=time, sample_time=time,
    )  # fmt: skip
    deadline = Deadline((policy,), LIMIT_S)
    try:
        decided = deadline(Ask(0, 0, view, {}))  # the only policy, with an empty memory
    finally:
        deadline.close(keep=keep)
    if decided.failed:
        raise Refusing(f"{method}: {decided.failed}")
    weights = held if decided.weights is None else np.frombuffer(decided.weights)
    figures = allocation(view, weights, strategy=method, method=method, lookback=min(span, YEAR))
    return weights, figures, decided.note, decided.weights is None
