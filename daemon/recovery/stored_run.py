"""The run in a store: verified, then continued or refused.

What can go wrong: a store that was damaged, or a journal of another feed, universe or version, is continued with real
orders. Nothing is traded before three checks: the newest rows agree with the journal; the run has this feed,
universe, currency and agents; each step since the snapshot has its recorded effects. Every refusal names the remedy.

Orders that the replay made again are dropped: they were sent, or their state at the venue is unknown and queried.
"""

import secrets
import time
from dataclasses import replace
from pathlib import Path

import structlog

from quantd.adapters.feeds.recorded.soundness import UnsoundPrices, require_sound
from quantd.adapters.store.handle import Store
from quantd.adapters.store.upkeep.verify import NEWEST, verify
from quantd.daemon.assembly.parts import Assembly, Parts, as_recorded
from quantd.daemon.policies.deadline import Deadline
from quantd.daemon.recovery.continuation import carried_into, carry_over, same_account
from quantd.daemon.recovery.replay import ConfigLost, first_start, newest_snapshot, refold
from quantd.daemon.runtime.journal import Journal, RecordTooLong, ReplayDifference
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.runtime.outbound import Wire
from quantd.trading.exit_codes import CHECK_FAILED, CONFIG, ExplainedError
from quantd.trading.orders import base36, quantity_text

log = structlog.get_logger("quantd")


class CannotStart(ExplainedError):
    """The daemon does not start: the reason for the user, and the exit code for systemd."""

    def __init__(self, text: str, exit_code: int = CONFIG) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def new_run() -> str:
    """The name of a new run: eight random base-36 digits."""
    return base36(secrets.randbits(64), 8)


def refuse_damaged(store: Store) -> None:
    """Raises CannotStart for a store whose rows differ from its journal."""
    began = time.monotonic()
    damage = verify(store.where, store.folder, NEWEST)
    if damage:
        more = f", and {len(damage) - 1} more" if len(damage) > 1 else ""
        raise CannotStart(
            f"the store is damaged: {damage[0]}{more}. Nothing was traded. `quantd doctor --store` lists the damage. "
            "Restore a backup with `quantd restore`, or start a new run in another folder with --state.",
            CHECK_FAILED,
        )
    log.info("verified", newest=NEWEST, seconds=round(time.monotonic() - began, 3))


def recover(parts: Parts, store: Store, run: str, folder: Path) -> tuple[Shell, Journal]:
    """Rebuilds the run from its journal. Raises CannotStart when the replay differs or the feed is another one."""
    seq, snapshot = newest_snapshot(store, run)
    began = time.monotonic()
    try:
        shell, journal = refold(parts, store, run, folder, seq=seq, snapshot=snapshot)
    except ReplayDifference as error:
        newest = store.latest_snapshot(run)
        remedy = f"`quantd replay {run}` shows the difference; `quantd run --fresh` starts a new run."
        if newest is not None and newest[0] > seq:
            remedy = (
                "Another version of quantd recorded the run and was not stopped cleanly: start that version, "
                "stop it with Ctrl-C, then start this one."
            )
        raise CannotStart(f"run {run}: {error}. Nothing was traded. {remedy}", CHECK_FAILED) from error
    except RecordTooLong as error:
        raise CannotStart(
            f"run {run}: {error}; configure the feed it was recorded with, or start a new run with --fresh."
        ) from error
    except ConfigLost as error:
        raise CannotStart(f"run {run}: {error}") from error
    most = parts.rules.max_failures
    deadline = Deadline(parts.policies, max_failures=most, seated=shell.seats, method=shell.seats.method)
    shell.answer = shell.meanwhile = deadline
    if isinstance(shell.broker, Wire):
        shell.broker.taken()  # drops orders of the replay: they were sent once, or their state is unknown
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
        log.warning("this run has reached the end of its feed; `quantd run --fresh` starts a new run", run=run)
    return shell, journal


def same_run(parts: Parts, store: Store, run: str) -> None:
    """Raises CannotStart unless the journalled run has this feed, universe, currency and set of agents."""
    started = first_start(store, run)
    if started is None:
        return
    record = store.run(run)
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
            f"run {run} in this state folder was recorded with {differs}. "
            "Restore that, carry the account over with --carry, or start a new run with --fresh."
        )


def refuse_unsound(parts: Parts) -> None:
    """Raises CannotStart for a new run over recorded prices that would stop a backtest.

    A jump alone does not stop a run: it holds its symbol until a person answers ([feed] jumps).
    """
    if not (isinstance(parts, Assembly) and parts.unsound):
        return
    feed = replace(parts.feed, open=replace(parts.feed.open, jumps=()))
    try:
        require_sound(feed, parts.sessions, parts.members, holes_known=parts.config.feed.holes == "known")
    except UnsoundPrices:
        raise CannotStart(parts.unsound, CHECK_FAILED) from None


def with_record(parts: Parts, store: Store) -> Parts:
    """The parts with the bars of the run that goes on in a store, where an earlier rule about prices gives them."""
    run = store.current_run()
    started = None if run is None or any(r.run == run and r.ended for r in store.runs()) else first_start(store, run)
    return parts if started is None else as_recorded(parts, started.feed)


def this_run(parts: Parts, store: Store, *, fresh: bool = False, carry: bool = False) -> str:
    """The name of the run to continue, or of a new one (always with `fresh`).

    With `carry`, a run with another universe or other agents is carried over. Raises CannotStart when the existing run
    does not fit the configuration.
    """
    if (begun := carried_into(store)) and not fresh:
        return begun
    run = store.current_run()
    if run is not None and any(r.run == run and r.ended for r in store.runs()):
        run = None
    if run is None or fresh:
        refuse_unsound(parts)
    if run is not None and fresh:
        store.finish(run, time.time_ns(), "--fresh")
        run = None
    if run is None:
        return new_run()
    if carry and not same_account(parts, store, run):
        return carry_over(parts, store, run, new_run())
    same_run(parts, store, run)
    return run
