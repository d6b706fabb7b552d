"""The run that a store holds: checked, continued or refused."""

import secrets
import time
from pathlib import Path

import structlog

from quantd.adapters.store.handle import Store
from quantd.adapters.store.upkeep.verify import NEWEST
from quantd.daemon.assembly.parts import Assembly, Parts
from quantd.daemon.policies.deadline import Deadline
from quantd.daemon.recovery.continuation import (
    carried_into,
    carry_over,
    same_account,
)
from quantd.daemon.recovery.replay import NotKept, newest_snapshot, refold
from quantd.daemon.runtime.journal import Journal, RecordTooLong, ReplayDifference
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.runtime.outbound import Wire
from quantd.trading.codec import decode
from quantd.trading.events import Started
from quantd.trading.exit_codes import CHECK_FAILED, CONFIG, ExplainedError
from quantd.trading.orders import base36, quantity_text

log = structlog.get_logger("quantd")


class CannotStart(ExplainedError):
    """Why the daemon does not start, in words for its user, and the exit code that says so to systemd."""

    def __init__(self, text: str, exit_code: int = CONFIG) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def new_run() -> str:
    """Eight base-36 digits, drawn once in the life of a run."""
    return base36(secrets.randbits(64), 8)


def refuse_damaged(store: Store) -> None:
    """Raise CannotStart for a store with other rows than its journal made."""
    began = time.monotonic()
    found = store.verify(NEWEST)
    if found:
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        raise CannotStart(
            f"the store is damaged: {found[0]}{more}. Nothing was traded. `quantd doctor --store` shows all of it; restore a backup "
            "with `quantd restore`, or name another folder with --state to begin anew.",
            CHECK_FAILED,
        )
    log.info("verified", newest=NEWEST, seconds=round(time.monotonic() - began, 3))


def recover(parts: Parts, store: Store, run: str, folder: Path) -> tuple[Shell, Journal]:
    """The run as its journal says it stood; raises CannotStart when it cannot be this feed's, or differs."""
    seq, kept = newest_snapshot(store, run)
    began = time.monotonic()
    try:
        shell, journal = refold(parts, store, run, folder, seq=seq, kept=kept)
    except ReplayDifference as error:
        newest = store.latest_snapshot(run)
        remedy = f"`quantd replay {run}` shows it again; `--fresh` begins a new run."
        if newest is not None and newest[0] > seq:
            remedy = (
                "Another version of quantd made it and was not stopped in order: start that version, stop it in order, then "
                "start this one."
            )
        raise CannotStart(f"run {run}: {error}. Nothing was traded. {remedy}", CHECK_FAILED) from error
    except RecordTooLong as error:
        raise CannotStart(f"run {run}: {error}; give the feed it was made with, or begin anew with --fresh.") from error
    except NotKept as error:
        raise CannotStart(f"run {run}: {error}") from error
    shell.answer = shell.meanwhile = Deadline(parts.policies)
    if isinstance(shell.broker, Wire):
        shell.broker.taken()  # what was committed has left, or its outcome is unknown
    if journal.seq:
        log.info(
            "recovered",
            run=run,
            steps_folded=journal.compared,
            from_snapshot=seq,
            seconds=round(time.monotonic() - began, 3),
            open_orders=sum(work.live for work in shell.state.at_venue().values()),
        )
    if isinstance(parts, Assembly) and shell.ts >= parts.feed.last_ts:
        log.warning("this run has reached the end of its feed; `quantd run --fresh` begins a new one", run=run)
    return shell, journal


def same_run(parts: Parts, store: Store, run: str) -> None:
    """Raise CannotStart unless the journalled run is of this feed, universe, currency and set of agents."""
    started = next((decode(data).event for _, data in store.entries(run, 1)), None)
    if not isinstance(started, Started):
        return
    record = store.records.run(run)
    differs = ""
    if started.feed != parts.market:
        differs = "another feed file or selection"
    elif started.symbols != parts.universe.symbols:
        differs = f"another universe ({', '.join(started.symbols)})"
    elif resized := [
        f"{symbol} {quantity_text(1, before)}, now {quantity_text(1, now)}"
        for symbol, before, now in zip(started.symbols, record.universe.lot_nano, parts.universe.lot_nano, strict=True)
        if before != now
    ]:
        differs = f"lots of another size ({'; '.join(resized)}: [[universe.instruments]] lot sets it)"
    elif record.universe.currency != parts.universe.currency:
        differs = f"another currency ({record.universe.currency})"
    elif record.agents != tuple(a.name for a in parts.rules.agents):
        differs = f"other agents ({', '.join(record.agents)})"
    elif started.mode != parts.config.quantd.mode:
        differs = f'mode = "{started.mode}"'
    if differs:
        raise CannotStart(
            f"run {run} in this state folder was made with {differs}. "
            "Restore what it was made with, carry the account on with --carry, or begin a new one with --fresh."
        )


def this_run(parts: Parts, store: Store, *, fresh: bool = False, carry: bool = False) -> str:
    """The run to continue, or a new one: always with `fresh`. With `carry` a run of another universe or other agents is
    carried over. Raises CannotStart when the run that is there is of something else."""
    if (begun := carried_into(store)) and not fresh:
        return begun
    run = store.current_run()
    if run is not None and any(r.run == run and r.ended for r in store.runs()):
        run = None
    if run is not None and fresh:
        store.finish(run, time.time_ns(), "--fresh")
        run = None
    if run is None:
        return new_run()
    if carry and not same_account(parts, store, run):
        return carry_over(parts, store, run, new_run())
    same_run(parts, store, run)
    return run
