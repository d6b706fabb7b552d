"""Several policies vote, and their weights become one: mean, median, by past performance, or where enough agree."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import numpy as np
from msgspec import Meta, Struct

from quantd.strategies.policies.members import (
    Load,
    Loaded,
    Member,
    Said,
    ask,
    load_members,
    none_answers,
    noted,
    own_memory,
    params_of,
    under,
    words_of,
)
from quantd.strategies.policies.params import ParamsError
from quantd.strategies.policies.record import CompositeRecord
from quantd.strategies.weights.combination import agreed_of, drifted, mean_of, median_of, performance_shares
from quantd.trading.market import Floats
from quantd.trading.ports import Policy
from quantd.trading.view import HOLD, Hold, Memory, Noted, View

TRACK: Final = 4_000
"""Most numbers of a record of performance: half of what a policy may remember."""


class EnsembleParams(Struct, frozen=True):
    """`members` are policies with params of their own.

    `combine`: "mean"; "median" of each symbol's weights; "performance": by what each member earned over the last
    `window` samples, net of `cost_bp` of what it traded, by `measure`, with at least `shrink` of the weight left equal;
    "agreement": a holding is changed only where at least `quorum` of the members would change it in one direction by
    more than `tolerance` of the book.
    """

    members: list[Member] = []
    combine: Literal["mean", "median", "performance", "agreement"] = "mean"
    window: Annotated[int, Meta(ge=5, le=1000)] = 126
    measure: Literal["return", "sharpe"] = "sharpe"
    shrink: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.5
    cost_bp: Annotated[float, Meta(ge=0.0, le=1000.0)] = 10.0
    quorum: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.6
    tolerance: Annotated[float, Meta(ge=0.0, le=0.5)] = 0.005


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Each member sees a book of its own: what it last asked for, drifted with the market since; a member that holds
    votes for that. Books and records are in memory, so what a member earned is what it would have, asked as it was."""

    params: EnsembleParams
    members: tuple[Loaded, ...]

    @property
    def inside(self) -> tuple[Policy, ...]:
        return tuple(each.policy for each in self.members)

    @property
    def spaces(self) -> tuple[str, ...]:
        return tuple(map(str, range(len(self.members))))

    @property
    def lookback(self) -> int:
        return max(self.params.window, *(each.policy.lookback for each in self.members))

    def act(self, view: View, memory: Memory) -> tuple[Floats | Hold | Noted, Memory]:
        books, earned = self._since(view, memory)
        said: list[Said] = []
        new: dict[str, Floats] = {}
        for k, (member, space) in enumerate(zip(self.members, self.spaces, strict=True)):
            answer = ask(member, view.held_by(books[k]), own_memory(memory, space))
            said.append(answer)
            new |= under(space, answer.memory)
        if all(each.failed for each in said):
            raise none_answers(self.members, said)
        targets = np.stack(
            [book if isinstance(s.weights, Hold) else s.weights for s, book in zip(said, books, strict=True)]
        )
        new |= {"books": targets, "at": np.array([float(view.samples)])}
        if self.params.combine == "performance":
            new |= {"earned": earned, "owed": np.abs(targets - books).sum(axis=1) * (self.params.cost_bp / 1e4)}
        words = [words_of(member, each) for member, each in zip(self.members, said, strict=True)]
        votes = [k for k, each in enumerate(said) if not each.failed]
        if all(isinstance(said[k].weights, Hold) for k in votes):
            return noted(HOLD, words), new
        return noted(self._combined(targets[votes], earned[:, votes], view), words), new

    def _combined(self, votes: Floats, earned: Floats, view: View) -> Floats:
        params = self.params
        if params.combine == "median":
            return median_of(votes)
        if params.combine == "performance":
            return mean_of(votes, performance_shares(earned, params.measure, params.shrink, params.window))
        if params.combine == "agreement":
            return agreed_of(votes, view.weights, params.quorum, params.tolerance)
        return mean_of(votes)

    def _since(self, view: View, memory: Memory) -> tuple[Floats, Floats]:
        """The members' books now, float64[M, N], and their records, float64[window, M], NaN before the first."""
        count, window = len(self.members), self.params.window
        books, record = memory.get("books"), memory.get("earned")
        if books is None or books.shape != (count, len(view.prices)):
            return np.tile(view.weights, (count, 1)), np.full((window, count), np.nan)
        if record is None or record.shape != (window, count):
            record = np.full((window, count), np.nan)
        elapsed = min(view.samples - int(memory["at"][0]), self.lookback)
        if elapsed <= 0:
            return books, record
        earned, books = drifted(books, view.returns(elapsed))
        owed = memory.get("owed")
        if owed is not None and owed.shape == (count,):
            earned[0] -= owed  # what was traded at the last answer is paid for before anything is earned on it
        return books, np.concatenate([record, earned])[-window:]


def make_ensemble(params: Mapping[str, object], load: Load) -> Ensemble:
    read = params_of("ensemble", params, EnsembleParams)
    if not 2 <= len(read.members) <= 32:
        raise ParamsError(
            f"ensemble: params.members has {len(read.members)}; name 2 to 32 policies, such as "
            '[{ policy = "risk_parity" }, { policy = "momentum" }]'
        )
    if read.combine == "performance" and read.window * len(read.members) > TRACK:
        most = TRACK // len(read.members)
        raise ParamsError(
            f"ensemble: window = {read.window}: with {len(read.members)} members it may be {most} at most"
        )
    return Ensemble(read, load_members(read.members, load))


RECORDS: Final = (CompositeRecord("ensemble", make_ensemble, EnsembleParams),)
