"""A stored run over a recorded market: its journal is replayed, and every step is compared with the record."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from quantd.daemon.assembly.parts import Assembly, Parts, as_recorded, parts_of
from quantd.daemon.policies.isolation.worker import Apart
from quantd.daemon.recovery.replay import ConfigLost, Records, Watched, first_start, refold, saved_config
from quantd.daemon.runtime.journal import Journal
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.runtime.step_log import Log
from quantd.trading.effects import Ask, Effect
from quantd.trading.events import Decided, Event, Flow, Reloaded, Started
from quantd.trading.exit_codes import CHECK_FAILED, ExplainedError


class RunUnusable(ExplainedError, ValueError):
    """A stored run without comparable figures, because of several configurations, deposits or live bars.

    The text says which of these.
    """

    exit_code = CHECK_FAILED


def stored_market(records: Records, run: str, folder: Path, cache: Path) -> Assembly:
    """Return configuration, market and policies of a stored run. `folder` has its saved configurations.

    Raises RunUnusable for a run over live bars, and where its configuration or bars are lost, and FeedError for
    unreadable bars.
    """
    first = first_start(records, run)
    if first is None:
        raise RunUnusable("the journal of the run does not begin with a start")
    try:
        # Apart: files of the user run in separate processes
        parts = parts_of(saved_config(folder, first.config), first.ts, cache=cache, isolation=Apart(folder))
    except ConfigLost as why:
        raise RunUnusable(str(why)) from None
    parts = as_recorded(parts, first.feed)
    if not isinstance(parts, Assembly):
        raise RunUnusable("the run traded live bars; only runs over a recorded market have comparable figures")
    if parts.market != first.feed:
        raise RunUnusable(f"{parts.config.feed.path} has other bars than the run had; restore the file of the run")
    return parts


class _CheckedJournal(Journal):
    """A journal that passes each compared step to `log` and to `reasons`, which collects reasons to refuse a run."""

    def __init__(self, entries: Iterable[bytes], seq: int, live: bool, log: Log, reasons: "_UnusableReasons") -> None:
        super().__init__(entries, seq, live)
        self._log, self._reasons = log, reasons

    def answer(self, ask: Ask) -> Decided | None:
        self._log.answer(ask)  # counts the questions; the record has the answers
        return super().answer(ask)

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        super().add(event, effects)
        if self.entries:
            return  # beyond the record: the rest of the instant at which the run ended
        self._reasons.look(event)
        self._log.add(event, effects)


class _UnusableReasons:
    """Collects a run's configurations and counts its deposits. Two configurations or a deposit make it unusable."""

    def __init__(self) -> None:
        self._configs: set[str] = set()
        self._deposits = 0

    def look(self, event: Event) -> None:
        if isinstance(event, Started | Reloaded):
            self._configs.add(event.config)
        elif isinstance(event, Flow) and event.kind == "flow":
            self._deposits += 1

    def check(self) -> None:
        """Raise RunUnusable for a run of several configurations, or with deposits or withdrawals."""
        if len(self._configs) > 1:
            raise RunUnusable(
                f"the run traded under {len(self._configs)} configurations; its figures belong to none of them"
            )
        if self._deposits:
            raise RunUnusable(
                f"the run has {self._deposits} deposits or withdrawals, which its equity contains; its returns are "
                "not those of a strategy"
            )


def replay_into(log: Log, parts: Parts, records: Records, run: str, folder: Path, watched: Watched = iter) -> Shell:
    """Replay a stored run with each step passed to `log`, and return its shell (engine and simulated venue).

    Raises RunUnusable for a run of two configurations or with deposits, ReplayDifference where a step differs from its
    record, RecordTooLong where the journal belongs to another feed, and ConfigLost for an unreadable saved
    configuration.
    """
    reasons = _UnusableReasons()

    def journal_of(entries: Iterable[bytes], seq: int, under: Parts) -> Journal:
        return _CheckedJournal(entries, seq, under.live, log, reasons)

    shell, _ = refold(parts, records, run, folder, journal_of=journal_of, watched=watched)
    reasons.check()
    return shell
