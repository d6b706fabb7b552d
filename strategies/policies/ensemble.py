"""An ensemble of policies: the mean or median of their weights, by past performance, or by agreement.

What can go wrong: a member that trades rarely and is asked as if it held the ensemble's book. So each member has a
hypothetical book in the memory, which drifts with the market. A member that answers "hold" votes for that book. The
cost of a member's last trades is subtracted from its first return after them, so that turnover counts against it.
"""

from dataclasses import dataclass
from typing import Annotated, Final, Literal

import numpy as np
from msgspec import Meta, Struct

from quantd.strategies.policies.members import (
    Load,
    Loaded,
    Member,
    Question,
    ask,
    load_members,
    none_answers,
    noted,
    words_of,
)
from quantd.strategies.policies.params import ParamsError, Share
from quantd.strategies.policies.record import composite
from quantd.strategies.weights.combination import agreed_of, drifted, mean_of, median_of, performance_shares
from quantd.trading.market import Floats
from quantd.trading.ports import Policy
from quantd.trading.view import HOLD, Hold, Memory, Noted, View, own_memory, under

MOST_STORED_RETURNS: Final = 4_000
"""Maximum number of returns in a performance record (members x window): half of a policy's memory."""


class EnsembleParams(Struct, frozen=True):
    """The member policies, and how their weights are combined.

    - "mean" or "median" of each symbol's weights.
    - "performance": by `measure` of each member's returns over the last `window` samples, after costs of `cost_bp` of
      the value traded. At least the share `shrink` of all votes is divided equally.
    - "agreement": a holding changes only if at least `quorum` of the members would change it in one direction by more
      than `tolerance` of the book.
    """

    members: list[Member] = []
    combine: Literal["mean", "median", "performance", "agreement"] = "mean"
    window: Annotated[int, Meta(ge=5, le=1000)] = 126
    measure: Literal["return", "sharpe"] = "sharpe"
    shrink: Share = 0.5
    cost_bp: Annotated[float, Meta(ge=0.0, le=1000.0)] = 10.0
    quorum: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.6
    tolerance: Annotated[float, Meta(ge=0.0, le=0.5)] = 0.005


@dataclass(frozen=True, slots=True)
class Ensemble:
    """A policy of member policies.

    Each member has a hypothetical book: its last weights, drifted with the market since.

    A member that holds votes for its book. Books and their returns are part of the memory.
    """

    params: EnsembleParams
    members: tuple[Loaded, ...]

    @property
    def inside(self) -> tuple[Policy, ...]:
        """The policies of the members, whose answers are combined."""
        return tuple(member.policy for member in self.members)

    @property
    def spaces(self) -> tuple[str, ...]:
        """The prefix of the keys of each member in the memory: its position among the members."""
        return tuple(map(str, range(len(self.members))))

    @property
    def lookback(self) -> int:
        """The longest of the members' lookbacks and of the window of their past performance."""
        return max(self.params.window, *(member.policy.lookback for member in self.members))

    def act(self, view: View, memory: Memory) -> tuple[Floats | Hold | Noted, Memory]:
        """Implements `Policy.act`: the answers of the members, combined as the parameter `combine` says.

        The ensemble holds only if every member that answers holds. Raises ValueError if no member answers. Each member
        has a hypothetical book, as if it traded alone; a member that holds keeps its book as its target.
        """
        books, earned = self._books_and_returns(view, memory)
        answers = [
            ask(member, asked.view, asked.memory)
            for member, asked in zip(self.members, self._questions(view, memory, books), strict=True)
        ]
        if all(answer.failed for answer in answers):
            raise none_answers(self.members, answers)
        targets = np.stack(
            [
                book if isinstance(answer.weights, Hold) else answer.weights
                for answer, book in zip(answers, books, strict=True)
            ]
        )
        new_memory: dict[str, Floats] = {}
        for space, answer in zip(self.spaces, answers, strict=True):
            new_memory |= under(space, answer.memory)
        new_memory |= {"books": targets, "at": np.array([float(view.sample)])}
        if self.params.combine == "performance":
            # "owed" are the costs of these trades, which the next decision takes from each member's returns
            new_memory |= {"earned": earned, "owed": np.abs(targets - books).sum(axis=1) * (self.params.cost_bp / 1e4)}
        words = [words_of(member, answer) for member, answer in zip(self.members, answers, strict=True)]
        votes = [k for k, answer in enumerate(answers) if not answer.failed]
        if all(isinstance(answers[k].weights, Hold) for k in votes):
            return noted(HOLD, words), new_memory
        return noted(self._combined(targets[votes], earned[:, votes], view), words), new_memory

    def questions(self, view: View, memory: Memory) -> list[Question]:
        """Return what each member sees: its own hypothetical book."""
        return self._questions(view, memory, self._books_and_returns(view, memory)[0])

    def _questions(self, view: View, memory: Memory, books: Floats) -> list[Question]:
        return [
            Question(space, policy, view.held_by(book), own_memory(memory, space))
            for policy, space, book in zip(self.inside, self.spaces, books, strict=True)
        ]

    def _combined(self, votes: Floats, earned: Floats, view: View) -> Floats:
        params = self.params
        if params.combine == "median":
            return median_of(votes)
        if params.combine == "performance":
            return mean_of(votes, performance_shares(earned, params.measure, params.shrink, params.window))
        if params.combine == "agreement":
            return agreed_of(votes, view.weights, params.quorum, params.tolerance)
        return mean_of(votes)

    def _books_and_returns(self, view: View, memory: Memory) -> tuple[Floats, Floats]:
        """Return the hypothetical books float64[M, N] of the M members now, and their returns float64[window, M].

        The returns are oldest first, and NaN before the first return. Where the memory has no books of this shape,
        each member begins with the agent's book.
        """
        count, window = len(self.members), self.params.window
        books, record = memory.get("books"), memory.get("earned")
        if books is None or books.shape != (count, len(view.prices)):
            return np.tile(view.weights, (count, 1)), np.full((window, count), np.nan)
        if record is None or record.shape != (window, count):
            record = np.full((window, count), np.nan)
        elapsed = min(view.sample - int(memory["at"][0]), self.lookback)
        if elapsed <= 0:
            return books, record
        earned, books = drifted(books, view.returns(elapsed))
        owed = memory.get("owed")
        if owed is not None and owed.shape == (count,):
            earned[0] -= owed  # the costs of the last trades precede their returns
        return books, np.concatenate([record, earned])[-window:]


def _ensemble_of(read: EnsembleParams, load: Load) -> Ensemble:
    """Load the members. Raises ParamsError unless there are 2 to 32, and for a window too long for the memory."""
    if not 2 <= len(read.members) <= 32:
        raise ParamsError(
            f"ensemble: params.members has {len(read.members)}; name 2 to 32 policies, such as "
            '[{ policy = "risk_parity" }, { policy = "momentum" }]'
        )
    if read.combine == "performance" and read.window * len(read.members) > MOST_STORED_RETURNS:
        most = MOST_STORED_RETURNS // len(read.members)
        raise ParamsError(
            f"ensemble: window = {read.window}: with {len(read.members)} members it may be {most} at most"
        )
    return Ensemble(read, load_members(read.members, load))


RECORDS: Final = (composite("ensemble", EnsembleParams, _ensemble_of),)
