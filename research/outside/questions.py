"""Questions to an outside agent and its answers, as JSON documents; an answer has the fields of a proposal."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from math import isfinite
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct

from quantd.adapters.json_text import decoded, fault_of
from quantd.strategies.policies import nearest
from quantd.trading.instruments import NANO
from quantd.trading.market import Floats
from quantd.trading.view import HOLD, Hold, View

MOST_BYTES: Final = 1_048_576
"""Largest size of an answer: 1 MiB."""

MOST_SUM: Final = 1.0 + 1e-9
"""Largest sum of the weights of an answer, the same as for a proposal; 1e-9 is for rounding."""

FIRST_PRICE: Final = 100.0
"""Under other names the prices of each symbol are scaled to begin at this price."""

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
    """The answer of an outside agent, with the fields of a proposal. `id` repeats the question's id.

    Without weights the agent keeps its positions.
    """

    id: str
    weights: dict[str, float] = {}
    reason: str = ""
    expires: str = ""
    plan: str = ""


@dataclass(slots=True)
class Names:
    """The names and dates under which an outside agent sees the market.

    `symbols` has the shown name of each symbol of the market, by index. `order` lists these indices in the order of a
    question. `later` is added to every time shown.
    """

    symbols: tuple[str, ...]
    order: tuple[int, ...]
    later: timedelta
    scales: Floats | None = None
    """float64[N], the factors of the prices, NaN before the first price; None shows the prices as they are."""

    def of_time(self, ns: int) -> str:
        """An instant (ns UTC) as text, moved by `later`."""
        moment = datetime.fromtimestamp(ns // NANO, UTC) + self.later
        return moment.isoformat().replace("+00:00", "Z")

    def of_prices(self, prices: Floats) -> Floats:
        """Return prices float64[N] as the agent sees them; under invented names each symbol begins at FIRST_PRICE."""
        if self.scales is None:
            return prices
        first_seen = np.isnan(self.scales) & np.isfinite(prices) & (prices > 0.0)
        self.scales[first_seen] = FIRST_PRICE / prices[first_seen]
        return prices * self.scales


def true_names(symbols: tuple[str, ...]) -> Names:
    """Return `Names` that change nothing: the symbols of the configuration, their order, and the true dates."""
    return Names(symbols, tuple(range(len(symbols))), timedelta(0))


def other_names(symbols: tuple[str, ...], seed: str) -> Names:
    """Return invented symbols in another order, drawn from `seed`; dates move by whole weeks, 40 to 80 years ahead."""
    draw = np.random.default_rng(int.from_bytes(blake2b(seed.encode(), digest_size=8).digest()))
    order = tuple(int(k) for k in draw.permutation(len(symbols)))
    digits = len(str(len(symbols)))
    new_symbols = [""] * len(symbols)
    for position, column in enumerate(order):
        new_symbols[column] = f"S{position + 1:0{digits}}"
    scales = np.full(len(symbols), np.nan)  # set by the first prices
    return Names(tuple(new_symbols), order, int(draw.integers(2_087, 4_174)) * WEEK, scales)


def question_of(agent: str, view: View, lookback: int, model: str, names: Names) -> Question:
    """Return the question to an outside agent at `view`, under `names`, without an id.

    `names` has the symbols as they are shown, their order, and what is added to each time. `lookback` is the number of
    samples with returns. `model` is the configured name of a model, copied into the question.
    """
    order = list(names.order)
    symbols = tuple(names.symbols[column] for column in order)
    prices = names.of_prices(view.prices)[order]
    return Question(
        agent=agent,
        time=names.of_time(view.time),
        symbols=symbols,
        prices=dict(zip(symbols, _json_numbers(prices), strict=True)),
        weights=dict(zip(symbols, view.weights[order].tolist(), strict=True)),
        cash=float(view.cash),
        equity=float(view.equity),
        returns=[_json_numbers(row) for row in view.returns(lookback)[:, order]],
        model=model,
    )


def _json_numbers(row: Floats) -> list[float | None]:
    """Return numbers for JSON; None in place of NaN and infinity."""
    return [number if isfinite(number) else None for number in row.tolist()]


def answer_of(text: bytes, id: str) -> Answer:
    """Return the answer in `text` to the question `id`.

    Raises WrongAnswer for more than MOST_BYTES bytes, JSON of another form, and the id of another question.
    """
    if len(text) > MOST_BYTES:
        raise WrongAnswer(f"the answer is longer than {MOST_BYTES:,} bytes")
    try:
        answer: Answer = decoded(text, Answer)
    except msgspec.ValidationError as error:
        raise WrongAnswer(f"the answer is not a proposal: {fault_of(error, text, Answer)[1]}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        shown = text[:60].decode(errors="replace")
        raise WrongAnswer(f"the answer is not a proposal: {error}; it begins {shown!r}") from None
    if answer.id != id:
        raise WrongAnswer(f"the answer has the id {answer.id[:64]!r}, but its question has the id {id!r}")
    return answer


def weights_of(answer: Answer, names: Names, *, short: bool) -> Floats | Hold:
    """Return an answer's weights, float64[N] by symbol index, or HOLD. Raises WrongAnswer for weights not allowed.

    An answer without weights is HOLD. `short` is True where weights may be negative.
    """
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
        raise WrongAnswer(f"the weights add up to {row.sum():.6g}; give weights that add up to 1 or less")
    return row
