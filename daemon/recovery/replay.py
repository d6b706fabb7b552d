"""Replays a run's journal.

A segment is a sequence of steps that were recorded under one configuration. It is replayed under this configuration:
later changes of costs or schedules must not change the past. A start therefore saves its configuration before it
journals anything. A segment whose configuration is lost stops the replay, because another configuration would give
other effects.

What can go wrong: code of another version replays steps that it did not record, and differs at the first change of the
engine. So a snapshot of another version is used only where nothing follows it, which is after a clean stop. Otherwise
the replay begins at a snapshot of this code, or at the beginning of the run.

One function, `refold`, is used by a restart, by `quantd replay`, and by explanations of past decisions. These uses
differ in the journal that compares the steps: it appends after the record, or stops after one step, or collects the
gate calls (checks of limits) of each step.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec import Struct

from quantd.adapters.feeds.feed_errors import FeedError
from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import Assembly, Parts, as_recorded, parts_of
from quantd.daemon.config import Agent, Config, ConfigError, digest, of_keys, read
from quantd.daemon.engine.agents.carry_over import loaded_of
from quantd.daemon.engine.agents.shadows import houses_of
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.verdict_log import Judged
from quantd.daemon.policies.isolation.worker import Apart
from quantd.daemon.policies.seats import configured_as
from quantd.daemon.runtime.journal import Journal, RecordTooLong, fold, fold_live
from quantd.daemon.runtime.loop import RunSnapshot, Shell
from quantd.daemon.runtime.timeline import Item, instants
from quantd.daemon.runtime.version import code_version
from quantd.regular_file import write_whole
from quantd.trading.codec import decode
from quantd.trading.display_text import instant_text
from quantd.trading.effects import Ask, Effect, Planned
from quantd.trading.events import Carried, Decided, Event, Started
from quantd.trading.exit_codes import CONFIG, ExplainedError
from quantd.trading.market import MarketSlice
from quantd.trading.model_events import ModelLoaded
from quantd.trading.ports import Policy


class ConfigLost(ExplainedError):
    """The saved configuration of an earlier start cannot be read."""

    exit_code = CONFIG


class SavedConfig(Struct, frozen=True):
    """A configuration file as text, with its overrides by --set (`sets`) and by environment variables (`environ`)."""

    file: str
    text: str
    sets: tuple[str, ...]
    environ: dict[str, str]


def _saved_path(folder: Path, name: str) -> Path:
    return folder / "configs" / f"{name[:16]}.json"


def save_config(folder: Path, config: Config, file: Path, sets: tuple[str, ...], environ: Mapping[str, str]) -> None:
    """Saves the configuration of a start before anything is journalled under it.

    The copy has no secrets: of the environment, only overrides of configuration keys are saved.
    """
    saved = SavedConfig(
        file=str(file.resolve()),
        text=file.read_text(),
        sets=sets,
        environ=of_keys(environ),
    )
    path = _saved_path(folder, digest(config))
    path.parent.mkdir(exist_ok=True, mode=0o700)
    write_whole(path, msgspec.json.encode(saved), durable=False)


def saved_sets(folder: Path, name: str) -> tuple[str, ...]:
    """The overrides by --set in the configuration of digest `name`; empty where it was not saved."""
    try:
        return msgspec.json.decode(_saved_path(folder, name).read_bytes(), type=SavedConfig).sets
    except (OSError, msgspec.MsgspecError):
        return ()


def saved_config(folder: Path, name: str, more: tuple[str, ...] = ()) -> Config:
    """Return the saved configuration of digest `name`, with the overrides `more` (KEY=VALUE).

    Raises ConfigLost where its copy cannot be read, and ConfigError for an override that it refuses.
    """
    path = _saved_path(folder, name)
    try:
        saved = msgspec.json.decode(path.read_bytes(), type=SavedConfig)
        return read(
            saved.text, known_names(), file=saved.file, folder=Path(saved.file).parent, environ=saved.environ,
            sets=(*saved.sets, *more), started=True,
        )  # fmt: skip
    except (OSError, msgspec.MsgspecError, ConfigError) as error:
        if more and isinstance(error, ConfigError):
            raise
        raise ConfigLost(
            f"the run was recorded under another configuration, whose copy {path} cannot be read ({error}); "
            "give that configuration with --config, or start a new run with --fresh"
        ) from error


def slices_of(records: "Records", run: str, folder: Path) -> Callable[[int], MarketSlice] | None:
    """Return a function that gives a slice (the bars of one instant) of a run's recorded market by its number.

    The result is None when the market is unavailable, or when the journal has the bars itself.

    `folder` has the saved configurations of the run's starts.
    """
    parts = recorded_parts(records, run, folder)
    return parts.slices if parts is not None else None


def recorded_parts(records: "Records", run: str, folder: Path) -> Assembly | None:
    """The parts of a run's first start over its recorded market; None when the market is unavailable or not recorded.

    `folder` has the saved configurations of the run's starts.
    """
    first = first_start(records, run)
    if first is None:
        return None
    try:
        parts = parts_of(saved_config(folder, first.config), first.ts, cache=folder / "cache", isolation=Apart(folder))
    except (ConfigLost, FeedError, ConfigError, ValueError, OSError):
        return None
    parts = as_recorded(parts, first.feed)
    return parts if isinstance(parts, Assembly) and parts.market == first.feed else None


def loaded_in(records: "Records", run: str) -> Iterator[ModelLoaded]:
    """The artifacts that operators loaded during a run, or that it took over from an earlier run."""
    for _, data in records.entries(run, 1):
        yield from loads_of(data)


def loads_of(data: bytes) -> Iterator[ModelLoaded]:
    """The artifacts that an entry of the journal loaded."""
    if b"ModelLoaded" not in data and b"Carried" not in data:
        return
    event = decode(data).event
    if isinstance(event, ModelLoaded):
        yield event
    elif isinstance(event, Carried):
        loaded = loaded_of(event.account)
        yield from (loaded[name] for name in event.loaded)


def policies_between(loads: Iterable[ModelLoaded], agents: Iterable[Agent], since: int, until: int) -> dict[str, str]:
    """Agent -> the policies that decided for it in (since, until], ns UTC, as text.

    The policies are the configured one, then each artifact of `loads` from its load on. A load after which config.toml
    named another policy is left out.
    """
    agents_by_name = {agent.name: agent for agent in agents}
    policy_texts = {name: agent.policy for name, agent in agents_by_name.items()}
    for load in loads:
        agent = agents_by_name.get(load.agent)
        if agent is None or load.ts > until or load.configured != configured_as(agent):
            continue
        before = "" if load.ts <= since else f"{policy_texts[load.agent]}, then "
        policy_texts[load.agent] = f"{before}{load.path} from {instant_text(load.ts)}"
    return policy_texts


class Records(Protocol):
    """Read access to a store, by the daemon that owns it or by another process."""

    def entries(self, run: str, from_seq: int = 0) -> Iterator[tuple[int, bytes]]:
        """(number, entry) of the steps of a run from number `from_seq` on, in order."""
        ...

    def last_seq(self, run: str) -> int:
        """The number of the last step of a run; 0 without any."""
        ...

    def latest_snapshot(
        self, run: str, version: str | None = None, before: int | None = None
    ) -> tuple[int, bytes] | None:
        """Return (number of its last step, snapshot) of the newest snapshot; None if there is no snapshot.

        With `version` only snapshots of this version of the code count, with `before` only those whose last step is
        lower than `before`.
        """
        ...


def first_start(records: Records, run: str) -> Started | None:
    """The first event of a run; None for an empty run, and where the first event is no `Started`."""
    first = next((decode(data).event for _, data in records.entries(run, 1)), None)
    return first if isinstance(first, Started) else None


def newest_snapshot(records: Records, run: str) -> tuple[int, bytes]:
    """(number of the last step in the snapshot, snapshot); (0, empty) when replay starts at the beginning.

    A snapshot of another version of the code counts only when nothing was journalled after it. The run was then stopped
    cleanly, and no step is replayed by code that did not record it.
    """
    snapshot = records.latest_snapshot(run, code_version())
    if snapshot is None:
        newest = records.latest_snapshot(run)
        snapshot = newest if newest is not None and newest[0] == records.last_seq(run) else None
    return snapshot or (0, b"")


def snapshot_before(records: Records, run: str, ts: int) -> tuple[int, bytes]:
    """(number of its last step, snapshot) of the newest snapshot of this code not later than `ts` (ns UTC).

    (0, empty) if there is none.
    """
    before = None
    while (candidate := records.latest_snapshot(run, code_version(), before)) is not None:
        if msgspec.msgpack.decode(candidate[1], type=RunSnapshot).ts <= ts:
            return candidate
        before = candidate[0]
    return 0, b""


class Segment(Struct):
    """Consecutive steps recorded under one configuration.

    `config` is the configuration's digest, `first` the number of the first step, `entries` the encoded steps.
    """

    config: str
    first: int
    entries: list[bytes]


def segments(records: Records, run: str, after: int, config: str, until: int | None = None) -> list[Segment]:
    """The steps after step `after`, up to `until` if set, split where a start changed the configuration.

    `config` is the digest of the first segment's configuration.
    """
    configured_segments: list[Segment] = []
    for seq, data in records.entries(run, after + 1):
        if until is not None and seq > until:
            break
        if b"Started" in data and isinstance(event := decode(data).event, Started):
            config = event.config
        if not configured_segments or configured_segments[-1].config != config:
            configured_segments.append(Segment(config, seq, []))
        configured_segments[-1].entries.append(data)
    return configured_segments


ReadPlans = Callable[[int, list[Planned], list[Judged]], None]
"""Receives a step, its plans and its gate calls."""
JournalOf = Callable[[Iterable[bytes], int, Parts], Journal]
"""Makes the journal of a segment from its entries, the number of the step before it, and its parts."""
Overheard = Callable[[Ask, State, Policy, Decided | None], None]
"""Receives an Ask of a replayed round, the state at that moment, the asked policy, and the recorded answer."""
Watched = Callable[[Iterator[list[Item]]], Iterator[list[Item]]]
"""Wraps the iterator over the market, for example to pause or to show progress."""


def plain_journal(entries: Iterable[bytes], seq: int, parts: Parts) -> Journal:
    """A journal that compares replayed steps with the recorded `entries`, which follow step number `seq`, and appends
    further steps."""
    return Journal(entries, seq, parts.live)


def refold(
    parts: Parts,
    records: Records,
    run: str,
    folder: Path,
    *,
    seq: int = 0,
    snapshot: bytes = b"",
    journal_of: JournalOf = plain_journal,
    watched: Watched = iter,
    until: int | None = None,
    judged: list[Judged] | None = None,
    overheard: Overheard | None = None,
    shadow: str = "",
    hashed: bool = True,
) -> tuple[Shell, Journal]:
    """Replays the journal from `snapshot`, which follows step `seq`, or from its beginning; returns the shell (runner
    of an engine) and the journal.

    Each segment is replayed under the configuration that was active when it was recorded: later changes of costs or
    schedules must not change the past. The returned shell and journal continue under `parts`. Steps after `until` are
    not read. Gate calls (checks of orders against limits) of the whole account, or of `shadow`, are
    appended to `judged`; each Ask is passed to `overheard`. With `hashed` False the shell has no digest. Raises
    ReplayDifference, RecordTooLong and ConfigLost.
    """
    present = digest(parts.config)
    shell, shell_config, journal = parts.shell(hashed=hashed), present, journal_of((), seq, parts)
    shell.guarded = True
    if snapshot:
        shell.restore(parts.rules, snapshot)
    compared = 0  # steps of all segments that equal their record
    for segment in segments(records, run, seq, shell.config, until):
        segment_parts = parts
        if segment.config != present:
            segment_parts = parts_of(saved_config(folder, segment.config), parts.start_ns, isolation=parts.isolation)
        if segment.config != shell_config:
            shell, shell_config = continued(shell, segment_parts, hashed=hashed), segment.config
        journal = journal_of(segment.entries, segment.first - 1, segment_parts)
        shell.log = journal if overheard is None else Listening(journal, overheard, shell)
        for house in houses_of(shell.state, shadow):
            house.judged = judged
        if isinstance(segment_parts, Assembly):
            fold(shell, journal, watched(instants(segment_parts.items(), shell.ts)))
        else:
            fold_live(shell, journal)
        compared += journal.compared
    if shell_config != present:
        shell = continued(shell, parts, hashed=hashed)
        shell.snapshot_wanted = True  # so that the next start need not replay under the earlier configuration
    shell.log = journal
    journal.compared = compared
    return shell, journal


class Listening:
    """A journal in replay that passes each question (Ask) to `overheard` before the recorded answer is used."""

    rows_only = False

    def __init__(self, journal: Journal, overheard: Overheard, shell: Shell) -> None:
        self._journal, self._overheard = journal, overheard
        self._shell = shell

    def answer(self, ask: Ask) -> Decided | None:
        """The recorded answer to `ask`; the function `overheard` first gets the question, the state, the policy and the
        answer."""
        recorded = self._journal.answer(ask)
        self._overheard(ask, self._shell.state, self._shell.seats(ask.policy), recorded)
        return recorded

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        self._journal.add(event, effects)


class Reached(Exception):
    """The replay has reached the requested step."""


class UpTo(Journal):
    """A journal that compares replayed steps with the record, up to and including one step, and then raises Reached.

    `judged` then has the gate calls (checks of orders against limits) of that step.
    """

    def __init__(self, entries: Iterable[bytes], seq: int, live: bool, until: int, judged: list[Judged]) -> None:
        super().__init__(entries, seq, live)
        self._until, self._judged = until, judged

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        """Compare the step with its record.

        Raises Reached after the requested step, RecordTooLong where the journal ends earlier.
        """
        super().add(event, effects)
        if self.entries:
            raise RecordTooLong(f"the journal has no step {self.seq}")
        if self.seq >= self._until:
            raise Reached
        self._judged.clear()  # the gate calls of an earlier step


class Every(Journal):
    """A journal that compares replayed steps with the record, and passes (step number, its plans, its gate calls) of
    each to `read`. A gate call is a check of orders against limits."""

    def __init__(self, entries: Iterable[bytes], seq: int, live: bool, judged: list[Judged], read: ReadPlans) -> None:
        super().__init__(entries, seq, live)
        self._judged, self._read = judged, read

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        """Compare the step with its record, and pass its plans and gate calls (checks of orders) to the function `read`
        if it has gate calls."""
        super().add(event, effects)
        if self._judged:
            self._read(self.seq, [effect for effect in effects if isinstance(effect, Planned)], self._judged)
            self._judged.clear()


def judged_from(
    parts: Parts, records: Records, run: str, folder: Path, read: ReadPlans, *, seq: int = 0, snapshot: bytes = b""
) -> None:
    """Passes the plans and gate calls (checks of orders) of each step after `snapshot` to `read`, in a replay.

    `snapshot` follows step `seq`. Raises ReplayDifference, RecordTooLong and ConfigLost.
    """
    judged: list[Judged] = []
    refold(
        parts, records, run, folder, seq=seq, snapshot=snapshot, judged=judged, hashed=False,
        journal_of=lambda entries, first, segment_parts: Every(entries, first, segment_parts.live, judged, read),
    )  # fmt: skip


def judged_at(
    parts: Parts,
    records: Records,
    run: str,
    folder: Path,
    step: int,
    *,
    seq: int = 0,
    snapshot: bytes = b"",
    watched: Watched = iter,
    overheard: Overheard | None = None,
    shadow: str = "",
) -> list[Judged]:
    """The gate calls (checks of orders against limits) in one step of a run, from a replay of its journal.

    The replay starts at `snapshot`, which follows step `seq`, and compares every step with its record. `overheard`
    receives each Ask (question to a policy) on the way, while its view is current. Raises ReplayDifference,
    RecordTooLong and ConfigLost.
    """
    judged: list[Judged] = []
    try:
        refold(
            parts, records, run, folder, seq=seq, snapshot=snapshot, watched=watched, until=step, judged=judged,
            overheard=overheard, shadow=shadow, hashed=False,
            journal_of=lambda entries, first, segment_parts: UpTo(entries, first, segment_parts.live, step, judged),
        )  # fmt: skip
    except Reached:
        return judged
    raise RecordTooLong(f"the journal of run {run} has no step {step}")


def continued(shell: Shell, parts: Parts, *, hashed: bool = True) -> Shell:
    """A new shell (runner of one engine) of the configuration `parts` that continues the state of `shell`.

    The new shell begins empty where `shell` has taken no step.
    """
    new = parts.shell(hashed=hashed)
    new.guarded = shell.guarded
    if shell.config:
        new.restore(parts.rules, shell.keep())
    return new
