"""Questions to an outside agent and its answers: JSON documents; an answer has the fields of a proposal."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from math import isfinite
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct

from quantd.strategies.policies import nearest
from quantd.trading.instruments import NANO
from quantd.trading.market import Floats
from quantd.trading.view import HOLD, Hold, View

MOST_BYTES: Final = 1_048_576
"""Longest answer: 1 MiB."""

MOST_SUM: Final = 1.0 + 1e-9
"""Largest sum of weights, as of a proposal."""

FIRST_PRICE: Final = 100.0
"""The first price of each symbol under another name."""

WEEK: Final = timedelta(weeks=1)


class WrongAnswer(ValueError):
    """An answer that cannot be used; the text names the field and the value."""


class Question(Struct, frozen=True):
    """The question to an outside agent at one sample.

    `returns` has a row for each sample, oldest first, and a column for each of `symbols`; None is a missing number.
    `weights` and `cash` are fractions of the agent's `equity`. `time` is UTC.
    """

    agent: str
    time: str
    symbols: tuple[str, ...]
    prices: dict[str, float | None]
    weights: dict[str, float]
    cash: float
    equity: float
    returns: list[list[float | None]]
    model: str
    id: str = ""


class Answer(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a proposal. Without weights the agent holds. `id` is that of the question."""

    id: str
    weights: dict[str, float] = {}
    reason: str = ""
    expires: str = ""
    plan: str = ""


@dataclass(slots=True)
class Names:
    """The names under which an agent sees the market: its symbols, its order of columns and its dates."""

    symbols: tuple[str, ...]
    order: tuple[int, ...]
    later: timedelta
    scales: Floats | None = None
    """Factors of the prices; None shows the prices as they are."""

    def of_time(self, ns: int) -> str:
        """An instant (ns UTC) as text."""
        moment = datetime.fromtimestamp(ns // NANO, UTC) + self.later
        return moment.isoformat().replace("+00:00", "Z")

    def of_prices(self, prices: Floats) -> Floats:
        """float64[N], the prices, each symbol's scaled to begin at FIRST_PRICE under other names."""
        if self.scales is None:
            return prices
        new = np.isnan(self.scales) & np.isfinite(prices) & (prices > 0.0)
        self.scales[new] = FIRST_PRICE / prices[new]
        return prices * self.scales


def true_names(symbols: tuple[str, ...]) -> Names:
    """The names of the configuration."""
    return Names(symbols, tuple(range(len(symbols))), timedelta(0))


def other_names(symbols: tuple[str, ...], seed: str) -> Names:
    """Other names in another order, drawn from the text `seed`; dates move by whole weeks, 40 to 80 years ahead."""
    draw = np.random.default_rng(int.from_bytes(blake2b(seed.encode(), digest_size=8).digest()))
    order = tuple(int(k) for k in draw.permutation(len(symbols)))
    digits = len(str(len(symbols)))
    given = [""] * len(symbols)
    for place, column in enumerate(order):
        given[column] = f"S{place + 1:0{digits}}"
    scales = np.full(len(symbols), np.nan)
    return Names(tuple(given), order, int(draw.integers(2_087, 4_174)) * WEEK, scales)


def question_of(agent: str, view: View, lookback: int, model: str, names: Names) -> Question:
    """The question at `view`, under `names`, without an id."""
    order = list(names.order)
    symbols = tuple(names.symbols[column] for column in order)
    prices = names.of_prices(view.prices)[order]
    return Question(
        agent=agent,
        time=names.of_time(view.time),
        symbols=symbols,
        prices=dict(zip(symbols, _numbers(prices), strict=True)),
        weights=dict(zip(symbols, view.weights[order].tolist(), strict=True)),
        cash=float(view.cash),
        equity=float(view.equity),
        returns=[_numbers(row) for row in view.returns(lookback)[:, order]],
        model=model,
    )


def _numbers(row: Floats) -> list[float | None]:
    return [number if isfinite(number) else None for number in row.tolist()]


def answer_of(text: bytes, id: str) -> Answer:
    """Return the answer in `text` to the question `id`.

    Raises WrongAnswer for more than MOST_BYTES bytes, JSON of another form, and the id of another question.
    """
    if len(text) > MOST_BYTES:
        raise WrongAnswer(f"the answer is longer than {MOST_BYTES:,} bytes")
    try:
        answer = msgspec.json.decode(text, type=Answer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        shown = text[:60].decode(errors="replace")
        raise WrongAnswer(f"the answer is not that of a proposal: {error}; it begins {shown!r}") from None
    if answer.id != id:
        raise WrongAnswer(f"the answer has the id {answer.id[:64]!r}, and the question has {id!r}")
    return answer


def weights_of(answer: Answer, names: Names, *, short: bool) -> Floats | Hold:
    """The weights of an answer, float64[N] by column. Raises WrongAnswer, as a proposal is refused."""
    if not answer.weights:
        return HOLD
    index = {symbol: column for column, symbol in enumerate(names.symbols)}
    row = np.zeros(len(index))
    for symbol, weight in answer.weights.items():
        if symbol not in index:
            raise WrongAnswer(f"weights name {symbol[:40]!r}, which is not traded; {nearest(symbol[:40], index)}")
        if not isfinite(weight):
            raise WrongAnswer(f"the weight of {symbol} is {weight}, not a finite number")
        if weight < 0.0 and not short:
            raise WrongAnswer(f"the weight of {symbol} is {weight:g}; the limits allow no short position")
        row[index[symbol]] = weight
    if float(row.sum()) > MOST_SUM:
        raise WrongAnswer(f"the weights add up to {row.sum():.6g}; they may add up to 1, the rest is cash")
    return row
