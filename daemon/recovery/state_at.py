"""The state a decision was made on, had again: the run's journal folded up to the step that made it.

What the gates were asked then can be asked again, so that a figure which was not recorded is computed by the code
that decided, on the state it decided on.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from quantd.adapters.calendars import UnknownCalendar
from quantd.adapters.feeds.errors import FeedError
from quantd.adapters.store.errors import StoreError
from quantd.adapters.store.journal.records import Records
from quantd.adapters.store.queries import Decision
from quantd.daemon.assembly.parts import Parts, parts_of
from quantd.daemon.config import Config, ConfigError, digest
from quantd.daemon.engine.planning.verdict_log import Judged
from quantd.daemon.engine.state import HOUSE
from quantd.daemon.policies.loading import PolicyError
from quantd.daemon.policies.worker import Apart
from quantd.daemon.recovery.replay import NotKept, Watched, judged_at, saved_config
from quantd.daemon.runtime.journal import RecordTooLong, ReplayDifference
from quantd.daemon.runtime.loop import Kept
from quantd.daemon.runtime.version import code_version
from quantd.trading.codec import decode
from quantd.trading.events import Started


class Unavailable(Exception):
    """The state cannot be had again; the text is one clause that says why."""


class Refolder:
    """Folds one run up to its decisions. `configured` gives the present configuration, for a run whose own was not kept;
    `watched` looks at the market as it goes by."""

    def __init__(
        self,
        records: Records,
        run: str,
        folder: Path,
        configured: Callable[[], Config] | None = None,
        *,
        parts: Parts | None = None,
        watched: Watched = iter,
    ) -> None:
        self._records = records
        self._run = run
        self._folder = folder
        self._configured = configured
        self._parts = parts
        self._watched = watched

    def __call__(self, decision: Decision) -> list[Judged]:
        """What the gates were asked for one plan: the agents' baskets in order, then the house's. Raises Unavailable."""
        try:
            found = self._judged(decision.seq)
        except NotKept as why:
            raise Unavailable(f"the configuration of that time cannot be read: {why}") from None
        except (FeedError, OSError) as why:
            raise Unavailable(f"the recorded market cannot be read: {why}") from None
        except (PolicyError, UnknownCalendar, ConfigError) as why:
            raise Unavailable(f"the run cannot be put together again: {why}") from None
        except ReplayDifference as why:
            raise Unavailable(f"this version of quantd, or this market, gives another past: {why}") from None
        except (RecordTooLong, StoreError) as why:
            raise Unavailable(str(why)) from None
        plans = by_plan(found)
        if not 1 <= decision.ordinal <= len(plans):
            raise Unavailable(f"step {decision.seq} asked no gate")
        return plans[decision.ordinal - 1]

    def _judged(self, step: int) -> list[Judged]:
        seq, kept = self._records.latest_snapshot(self._run, code_version(), step) or (0, b"")
        parts = self._put_together(self._config_at(kept))
        return judged_at(parts, self._records, self._run, self._folder, step, seq=seq, kept=kept, watched=self._watched)

    def _config_at(self, kept: bytes) -> str:
        """Digest of the configuration that a snapshot, or the beginning of the run, was made under."""
        if kept:
            return msgspec.msgpack.decode(kept, type=Kept).config
        first = next((decode(data).event for _, data in self._records.entries(self._run, 1)), None)
        if not isinstance(first, Started):
            raise Unavailable(f"run {self._run} has no journal that begins with a start")
        return first.config

    def _put_together(self, name: str) -> Parts:
        if self._parts is not None and digest(self._parts.config) == name:
            return self._parts
        try:
            config = saved_config(self._folder, name)
        except NotKept:
            if self._configured is None:
                raise
            config = self._configured()
            if digest(config) != name:
                raise
        apart = Apart(self._folder) if self._parts is None else self._parts.apart
        self._parts = parts_of(config, time.time_ns(), cache=self._folder / "cache", apart=apart)
        return self._parts


def by_plan(judged: Sequence[Judged]) -> list[list[Judged]]:
    """The baskets of one step, those of each of its plans together: agents in order, the house last."""
    plans: list[list[Judged]] = [[]]
    for one in judged:
        plans[-1].append(one)
        if one.book == HOUSE:
            plans.append([])
    return plans[:-1]
