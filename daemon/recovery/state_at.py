"""Rebuilds the state of a past decision by a replay of the run's journal up to its step.

The gate calls (checks of limits) of that step can then be repeated. So a figure that was not recorded is computed by
the code, and on the state, that made the decision.

What can go wrong: the state is not the one of the decision. So every step of the replay is compared with its record,
and the configuration is the one whose digest the snapshot has.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from quantd.adapters.calendars import CalendarError
from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.store.journal.records import Records
from quantd.adapters.store.read_models import Decision
from quantd.adapters.store.store_errors import StoreError
from quantd.daemon.assembly.parts import Parts, parts_of
from quantd.daemon.config import Config, ConfigError, digest
from quantd.daemon.engine.state import HOUSE
from quantd.daemon.engine.state.verdict_log import Judged
from quantd.daemon.policies.isolation.worker import Apart
from quantd.daemon.policies.loading import PolicyError
from quantd.daemon.recovery.learned_parts import LearnedPart, Measured
from quantd.daemon.recovery.replay import (
    ConfigLost,
    Overheard,
    Watched,
    first_start,
    judged_at,
    judged_from,
    saved_config,
)
from quantd.daemon.runtime.journal import RecordTooLong, ReplayDifference
from quantd.daemon.runtime.loop import RunSnapshot
from quantd.daemon.runtime.timeline import next_sample
from quantd.daemon.runtime.version import code_version
from quantd.risk.limits.values import Values
from quantd.trading.effects import Planned


class Unavailable(Exception):
    """The state of a past decision cannot be rebuilt; the text is the reason, as one clause."""


class PlanValues(NamedTuple):
    """The values of all limits after a plan: of the whole account, and by index of the requested agents."""

    house: Values
    agents: dict[int, Values]


class Cooldown(NamedTuple):
    """A cooldown after a protective exit: the number of this sample in it, its length, and the first sample after it.

    `over` is that sample's instant in ns UTC, 0 beyond the calendar.
    """

    sample: int
    length: int
    over: int


class Redecided(NamedTuple):
    """A plan computed again; `judged` are its gate calls (checks of orders).

    The calls of the agents come in order, then the call of the whole account. `learned` has the
    learned parts of each agent's policy, by the agent's index, and `cooldowns` those after its protective exits, by
    agent and symbol.
    """

    judged: list[Judged]
    learned: dict[int, list[LearnedPart]]
    cooldowns: Mapping[tuple[int, int], Cooldown] = {}


@contextmanager
def _as_unavailable() -> Iterator[None]:
    """A context in which the errors of a replay are raised as Unavailable."""
    try:
        yield
    except ConfigLost as why:
        raise Unavailable(f"the configuration of the decision cannot be read: {why}") from None
    except (FeedError, OSError) as why:
        raise Unavailable(f"the recorded market cannot be read: {why}") from None
    except (PolicyError, CalendarError, ConfigError) as why:
        raise Unavailable(f"the run cannot be rebuilt: {why}") from None
    except ReplayDifference as why:
        raise Unavailable(
            f"the replay differs from the journal, because this version of quantd or the market data differ: {why}"
        ) from None
    except (RecordTooLong, StoreError) as why:
        raise Unavailable(str(why)) from None


@dataclass(slots=True)
class Refolder:
    """Replays the journal of one run up to a decision, and computes its plan again.

    `folder` is the state folder. `configured` returns the present configuration, for a run whose configuration was not
    saved. `parts` are the parts of the last replay, used again under the same configuration. `watched` wraps the
    iterator over the market.
    """

    records: Records
    run: str
    folder: Path
    configured: Callable[[], Config] | None = None
    parts: Parts | None = field(default=None, kw_only=True)
    watched: Watched = field(default=iter, kw_only=True)

    def __call__(self, decision: Decision) -> Redecided:
        """Replay the journal up to a decision, and compute its plan again.

        Raises Unavailable where the journal cannot be replayed, and where the step has no plan with the decision's
        ordinal.
        """
        learned = Measured(decision.plan, decision.shadow)
        with _as_unavailable():
            judged = self._gate_calls(decision.seq, learned, decision.shadow)
        plans = by_plan(judged)
        if not 1 <= decision.ordinal <= len(plans):
            raise Unavailable(f"step {decision.seq} has no gate call")
        parts = self.parts
        assert parts is not None
        measured = learned.whole(parts.policies, parts.rules.seats, parts.universe.symbols)
        cooldowns = {key: _cooldown(parts, decision.plan.sample, *left) for key, left in learned.cooling.items()}
        return Redecided(plans[decision.ordinal - 1], measured, cooldowns)

    def values(self, step: int, agents_of: Mapping[tuple[int, int], Set[int]]) -> dict[tuple[int, int], PlanValues]:
        """Return (step, ordinal of the plan in it) -> values of all limits, for all plans from `step` on.

        The values are of the whole account and of the agents that `agents_of` lists for the plan. The plan
        of a group of gate calls (checks of orders) is recognised by the lots that the house's call let pass. Raises
        Unavailable where the journal cannot be replayed.
        """
        values: dict[tuple[int, int], PlanValues] = {}

        def read(seq: int, plans: list[Planned], judged: list[Judged]) -> None:
            """Add the values of the plans of step `seq`, from its gate calls `judged` (checks of orders)."""
            # the calls of one plan end with that of the house, whose verdict is in the plan
            call_groups = by_plan(judged)
            for ordinal, plan in enumerate(plans, 1):
                calls_of_plan = next(
                    (
                        call_group
                        for call_group in call_groups
                        if call_group[-1].verdict.lots.astype(np.int64).tobytes() == plan.allowed
                    ),
                    None,
                )
                if calls_of_plan is not None and seq >= step:
                    call_groups.remove(calls_of_plan)
                    asked = agents_of.get((seq, ordinal), frozenset())
                    agents = {call.book: call.verdict.values for call in calls_of_plan[:-1] if call.book in asked}
                    values[seq, ordinal] = PlanValues(calls_of_plan[-1].verdict.values, agents)

        with _as_unavailable():
            seq, snapshot = self.records.latest_snapshot(self.run, code_version(), step) or (0, b"")
            parts = self._parts_under(self._config_at(snapshot))
            judged_from(parts, self.records, self.run, self.folder, read, seq=seq, snapshot=snapshot)
        return values

    def _gate_calls(self, step: int, overheard: Overheard, shadow: str) -> list[Judged]:
        seq, snapshot = self.records.latest_snapshot(self.run, code_version(), step) or (0, b"")
        parts = self._parts_under(self._config_at(snapshot))
        return judged_at(
            parts, self.records, self.run, self.folder, step, seq=seq, snapshot=snapshot, watched=self.watched,
            overheard=overheard, shadow=shadow,
        )  # fmt: skip

    def _config_at(self, snapshot: bytes) -> str:
        """Digest of the configuration of a snapshot, or of the run's first start."""
        if snapshot:
            return msgspec.msgpack.decode(snapshot, type=RunSnapshot).config
        first = first_start(self.records, self.run)
        if first is None:
            raise Unavailable(f"the journal of run {self.run} does not begin with a start")
        return first.config

    def _parts_under(self, name: str) -> Parts:
        """The parts under the configuration with the digest `name`: the parts of the last replay, or parts made from
        the saved copy or from the present configuration.

        Raises ConfigLost where none of these configurations has this digest.
        """
        if self.parts is not None and digest(self.parts.config) == name:
            return self.parts
        try:
            config = saved_config(self.folder, name)
        except ConfigLost:
            if self.configured is None:
                raise
            config = self.configured()
            if digest(config) != name:
                raise
        isolation = Apart(self.folder) if self.parts is None else self.parts.isolation
        self.parts = parts_of(config, time.time_ns(), cache=self.folder / "cache", isolation=isolation)
        return self.parts


def _cooldown(parts: Parts, sample: int, left: int, length: int) -> Cooldown:
    """The cooldown that ends `left` samples after `sample`."""
    over: int | None = sample
    for _ in range(left):
        over = next_sample(parts.sessions[parts.universe.calendar], parts.interval_ns, over) if over else None
    return Cooldown(length - left + 1, length, over or 0)


def by_plan(judged: Sequence[Judged]) -> list[list[Judged]]:
    """The gate calls (checks of orders) of one step, grouped by plan: agents in order, the whole account last."""
    plans: list[list[Judged]] = [[]]
    for call in judged:
        plans[-1].append(call)
        if call.book == HOUSE:
            plans.append([])
    return plans[:-1]
