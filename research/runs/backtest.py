"""Runs the recorded market through a new shell (engine and venue), and writes the journal into a backtest store."""

import inspect
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from quantd.daemon.assembly.first_session import longest_history, samples_before
from quantd.daemon.assembly.parts import Assembly
from quantd.daemon.config import Config
from quantd.daemon.recovery.start import begin
from quantd.daemon.runtime.garbage import growing
from quantd.daemon.runtime.journal import Journal
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.runtime.step_log import Log
from quantd.daemon.runtime.timeline import Item, time_of
from quantd.daemon.runtime.version import code_version
from quantd.engine_build.state import advice
from quantd.research.file_audit import watched
from quantd.research.runs.answer_blocks import in_blocks
from quantd.research.runs.failures import stop_at_failure
from quantd.research.runs.run_record import Record
from quantd.strategies.policies.holding import OutsidePolicy
from quantd.trading.display_text import instant_text
from quantd.trading.ports import Policy, leaves

Say = Callable[[str], object]

Progress = Callable[[float], object]
"""Receives the completed share of a run, from 0 to 1."""

CHUNK: Final = 512
"""Minimum number of items between two reports of progress."""

KEEP_STEPS: Final = 4_000
"""Number of journalled steps from which they are written in one transaction."""

KEEP_SNAPSHOTS: Final = 16
"""Number of snapshots that a stored backtest keeps. `quantd why` and `quantd report` begin to replay at a snapshot."""

POINT: Final = "point"
"""Name of a run that is not stored."""

FIRST_DECISIONS: Final = 64
"""Number of samples after which a trial run ends, even if a function has not been asked yet."""

ASKED_BEFORE: Final = (
    "The policy cannot be copied, so it was asked for its first decision once before the run, which may have changed "
    "its own state. Name a LOOKBACK (act.lookback = 20), or keep the state in memory: act(view, memory)."
)
"""Note about a function that was asked once before the run."""

FEWEST: Final = 10
"""A sample with fewer symbols takes as long as a sample with this many."""


class BacktestJournal:
    """The journal of a backtest in memory, and the store (database of stored runs) into which `commit` writes it."""

    def __init__(self, folder: Path, assembly: Assembly, run: str) -> None:
        """Opens a store of runs in `folder`, and begins the run named `run` in it."""
        # only journals that are kept need the database's libraries
        from quantd.adapters.store.handle import Store
        from quantd.adapters.store.upkeep.backup import before_upgrade

        agents = [agent.name for agent in assembly.rules.agents]
        self.journal = Journal()
        self.store = Store.open(folder, save=before_upgrade)
        self._run = run
        self._projection = self.store.begin(run, assembly.universe, agents=agents, mode="backtest", ts=time.time_ns())
        self._committed = 0
        self._ends: dict[int, int] = {}
        """Sequence number of the last step of a batch -> its instant (ns UTC)."""

    def commit(self, shell: Shell, *, least: int = 1) -> None:
        """Write the new steps and the engine's state after them to the store, if there are `least` steps or more."""
        from quantd.adapters.store.journal.writer import Batch, SnapshotOf

        if len(self.journal.entries) < least:
            return
        entries, steps = self.journal.taken()
        for seq, (event, effects) in enumerate(steps, self._committed + 1):
            self._projection.add(seq, event, effects)
        rows = self._projection.take()
        rows.pop("outbox", None)  # a backtest publishes nothing
        last = self._committed + len(entries)
        # `keep` encodes the state after the last step
        batch = Batch(
            run=self._run, first_seq=self._committed + 1, entries=entries, ts=shell.ts, rows=rows,
            snapshot=SnapshotOf(last, code_version(), shell.keep()), snapshots_kept=KEEP_SNAPSHOTS,
        )  # fmt: skip
        self._ends[last] = shell.ts
        self.store.commit(batch)
        self._committed = last

    def interrupted(self) -> str:
        """Close the store after a Ctrl-C. Return a clause with the time up to which the journal is stored.

        The time is read from the store, whose writer completes a batch even if Ctrl-C ended the wait for it.
        """
        self.store.close()
        stored = self.store.last_seq(self._run)
        if not stored:
            return f"no step of run {self._run} is stored"
        return f"the journal of run {self._run} is stored up to {instant_text(self._ends[stored])}"

    def close(self, shell: Shell) -> None:
        """Write the rest of the journal, mark the run as finished, and close the store."""
        self.commit(shell)
        self.store.finish(self._run, time.time_ns(), "backtest")
        self.store.close()


def symbol_bars(assembly: Assembly, runs: int) -> int:
    """Return the number of bars in `runs` runs over a market, summed over symbols, as a measure of the runs' time.

    A market with fewer symbols than FEWEST counts as a market with FEWEST, because its samples take as long.
    """
    return runs * assembly.feed.count * max(assembly.universe.size, FEWEST)


def explain_pace(assembly: Assembly, runs: int, say: Say) -> None:
    """Tell the user through `say` what makes `runs` runs over the market slower than they could be, if anything."""
    if text := advice(symbol_bars(assembly, runs)):
        say(text)


def after_history(assemble_with: Callable[[int], Assembly], history: int = 0, say: Say = lambda text: None) -> Assembly:
    """Return `assemble_with(history)`, or an assembly with more samples of history if a user's function without
    LOOKBACK reads more samples.

    LOOKBACK declares the number of samples that a function reads. Without it, this number is known after the function's
    first decision. So the market is first run up to that decision, with a copy of the function, which leaves its state
    unchanged for the real run. Where a function cannot be copied, `say` receives the text ASKED_BEFORE, and a function
    from a file is loaded again.
    """
    assembly = assemble_with(history)
    if not _without_lookback(assembly.policies):
        return assembly
    copies = copied(assembly.policies)
    if copies is None:
        say(ASKED_BEFORE)
    trial = assembly if copies is None else replace(assembly, policies=copies)
    trial_functions = _without_lookback(trial.policies)
    shell = trial.shell(hashed=False)
    begin(shell, trial, trial.config, POINT, fresh=True)
    for item in trial.items():
        shell.take(item)
        # `asked` is the number of samples that a function has read, -1 before its first decision
        if shell.tally.samples >= FIRST_DECISIONS or all(getattr(leaf, "asked", 0) >= 0 for leaf in trial_functions):
            break
    needed = longest_history(trial.policies, trial.universe)
    calendar = trial.sessions[trial.universe.calendar]
    if needed <= samples_before(trial.feed, calendar, trial.start_ns):
        if copies is not None:
            return assembly
        needed = history  # assembled again, because the trial run may have changed the functions
    return assemble_with(needed)


def _without_lookback(policies: Sequence[Policy]) -> list[Policy]:
    """Return the policies that are users' functions and do not declare LOOKBACK (the samples that they need)."""
    return [leaf for policy in policies for leaf in leaves(policy) if getattr(leaf, "undeclared", False)]


def copied(policies: Sequence[Policy]) -> tuple[Policy, ...] | None:
    """Return deep copies of policies, with the variables of their functions; None where one cannot be copied.

    Modules of users' files are copied by value: a function may count in a variable of its module.
    """
    import cloudpickle

    owners = {inspect.getmodule(getattr(leaf, "source", None)) for leaf in _without_lookback(policies)}
    modules = [owner for owner in owners if owner is not None and owner.__name__ != "__main__"]
    modules = [owner for owner in modules if owner.__name__ not in cloudpickle.list_registry_pickle_by_value()]
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        copies: tuple[Policy, ...] = cloudpickle.loads(cloudpickle.dumps(tuple(policies)))
    except Exception:  # the objects that a function refers to can raise any exception
        return None
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)
    return copies


def _watch_files(shell: Shell, log: Log | None) -> None:
    """Let the record of a run note the files and hosts that its policies open. An outside agent has an address."""
    if isinstance(log, Record) and not any(isinstance(policy, OutsidePolicy) for policy in shell.seats.all()):
        shell.answer = watched(shell.answer, log.opened)


def drive_items(assembly: Assembly, log: Log, items: Sequence[Item], *, stop: bool = False) -> Shell:
    """Run the items of a market (bars, actions, ticks), all at once, through a new shell (engine and venue).

    The shell computes no digest of the engine's state.

    If `stop` is True, the first failed decision raises DecisionFailed.
    """
    shell = assembly.shell(log, hashed=False)
    if stop:
        stop_at_failure(shell, assembly.rules.names())
    _watch_files(shell, log)
    begin(shell, assembly, assembly.config, POINT, fresh=True)
    # policies with `act_rows` answer many samples in one call
    in_blocks(shell).expect(items)
    with growing():  # the garbage collector runs seldom
        shell.take_all(items)
    return shell


def drive(
    assembly: Assembly,
    config: Config,
    run: str,
    log: Log | None,
    recording: BacktestJournal | None,
    progress: Progress,
    *,
    stop: bool = False,
) -> tuple[Shell, float]:
    """Run the whole market through a new shell (engine and venue). Returns (shell, seconds that the run took).

    `log` records the steps, `recording` stores the journal, and `progress` receives the completed share. If `stop` is
    True, the first failed decision raises DecisionFailed.
    """
    shell = assembly.shell(log)
    # a run without the answers of an outside agent is no result of it
    if stop or any(isinstance(policy, OutsidePolicy) for policy in assembly.policies):
        stop_at_failure(shell, assembly.rules.names(), every=stop)
    _watch_files(shell, log)
    begin(shell, assembly, config, run, fresh=True)
    # policies with `act_rows` answer many samples in one call
    blocks = in_blocks(shell)
    first, last = assembly.feed.first_ts, assembly.feed.last_ts
    started = time.perf_counter()
    with growing():  # the garbage collector runs seldom
        for chunk in _chunks(assembly.items()):
            blocks.expect(chunk)
            shell.take_all(chunk)
            progress((shell.ts - first) / max(1, last - first))
            if recording is not None:
                recording.commit(shell, least=KEEP_STEPS)
    return shell, time.perf_counter() - started


def _chunks(items: Iterator[Item]) -> Iterator[list[Item]]:
    """Yield lists of about CHUNK items. Each has all items of its last instant, so that a snapshot can follow."""
    chunk: list[Item] = []
    for item in items:
        if len(chunk) >= CHUNK and time_of(item) != time_of(chunk[-1]):
            yield chunk
            chunk = []
        chunk.append(item)
    if chunk:
        yield chunk
