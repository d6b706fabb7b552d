"""Carry-over of an account into a new run after a change of its universe or agents.

The record of the old run's end names the new run before the new run exists. So a start after a crash at any point in
between continues the carry-over, and never begins with an empty account.
"""

import asyncio
import time
from typing import Final

import msgspec
import structlog

from quantd.adapters.store.handle import Store
from quantd.adapters.store.journal.records import INTO
from quantd.daemon.assembly.parts import Parts
from quantd.daemon.config import Config
from quantd.daemon.engine.agents.carry_over import carry_of, loaded_of, unfit
from quantd.daemon.engine.state.snapshot import freeze
from quantd.daemon.policies.loading import PolicyError
from quantd.daemon.policies.seats import continuing
from quantd.daemon.recovery.tightening import Named, stored_limits
from quantd.daemon.runtime.loop import RunSnapshot
from quantd.daemon.runtime.service import Service
from quantd.trading.events import Carried, Stopping
from quantd.trading.exit_codes import CONFIG, ExplainedError

MOVES: Final = "the universe or the agents change"
"""Stop reason of a daemon that continues with another universe or other agents."""

CLOSES: Final = "the closed dates change"
"""Stop reason of a daemon that continues with a changed calendar."""

SCHEDULES: Final = "a schedule is switched on or off"
"""Stop reason of a daemon that continues with changed schedules."""

log = structlog.get_logger("quantd.carrying")


class NotCarried(ExplainedError):
    """An account cannot be carried over; the text has the reason and the remedy."""

    exit_code = CONFIG


def same_account(parts: Parts, store: Store, run: str) -> bool:
    """Whether a run has the universe and agents of the configuration."""
    record = store.run(run)
    return record.universe == parts.universe and record.agents == tuple(a.name for a in parts.rules.agents)


def carried_into(store: Store) -> str:
    """The name of the new run in an interrupted carry-over, whose journal is still empty; "" if none was
    interrupted."""
    targets = (r.ended.removeprefix(INTO) for r in store.runs() if r.ended.startswith(INTO))
    return next((run for run in targets if not store.last_seq(run)), "")


def carry_over(parts: Parts, store: Store, run: str, into: str) -> str:
    """Ends `run`, whose account continues in the run `into`; returns `into`.

    Raises NotCarried, before anything has changed, where the account cannot be carried over.
    """
    refuse(parts, store, run)
    store.finish(run, time.time_ns(), INTO + into)
    return into


def refuse(parts: Parts, store: Store, run: str) -> None:
    """Raises NotCarried when the account of `run` cannot be carried over to a run with these `parts`."""
    record, (account, ts) = store.run(run), account_of(parts, store, run)
    if record.universe.currency != parts.universe.currency:
        old, new = record.universe.currency, parts.universe.currency
        raise NotCarried(
            f"run {run} is in {old}, but [universe] currency is {new}: set {old}, or start a new run with --fresh"
        )
    if why := unfit(account, parts.rules) or unusable(account, parts):
        raise NotCarried(f"run {run} cannot be carried over: {why}")
    if not parts.live and parts.start_ns <= ts:
        remedy = "set [feed] start to a later date"
        raise NotCarried(f"run {run} is already later than the start of this recorded market; {remedy}")


def unusable(account: bytes, parts: Parts) -> str:
    """The reason why a loaded artifact cannot go on deciding under these parts; empty when all can."""
    loaded = loaded_of(account)
    try:
        for name in continuing(parts.config.seats, loaded):
            parts.seats(dict).verify(loaded[name])
    except PolicyError as error:
        return str(error)
    return ""


def account_of(parts: Parts, store: Store, run: str) -> tuple[bytes, int]:
    """Return (encoded account with the new names of symbols, its instant in ns UTC) of a run that was stopped cleanly.

    Raises NotCarried for a run that was not stopped cleanly, and for an account that cannot be carried over.
    """
    record, newest = store.run(run), store.latest_snapshot(run)
    if newest is None or newest[0] != store.last_seq(run):
        remedy = "start it with its old configuration, and stop it with Ctrl-C"
        raise NotCarried(f"run {run} was not stopped cleanly: {remedy}")
    snapshot = msgspec.msgpack.decode(newest[1], type=RunSnapshot)
    simulated, names = parts.config.broker.kind == "paper", renamed(parts.config)
    try:
        account = carry_of(snapshot.state, record.universe, record.agents, simulated=simulated, renamed=names)
        return account, snapshot.ts
    except ValueError as why:
        raise NotCarried(f"run {run} cannot be carried over: {why}") from None


def renamed(config: Config) -> dict[str, str]:
    """Old symbol -> new symbol, for the instruments of a configuration that were renamed (key `was`)."""
    return {instrument.was: instrument.symbol for instrument in config.universe.instruments if instrument.was}


def carried_from(parts: Parts, store: Store, run: str) -> Carried | None:
    """Return the account that a carry-over gives to a new run; None for every other run.

    The old run ended with the stop reason INTO and the name of the new run, which has no entry in its journal yet.
    Raises NotCarried where the account cannot be carried over.
    """
    if store.last_seq(run):
        return None
    old_run = store.carried_run(run)
    if old_run is None:
        return None
    refuse(parts, store, old_run)
    account, since = account_of(parts, store, old_run)
    # 0: the start of the new run sets the instant
    return Carried(0, old_run, account, since, parts.start_ns, continuing(parts.config.seats, loaded_of(account)))


def carried_limits(store: Store, run: str) -> Named | None:
    """The limits in force in the run whose account a new run takes over; None where it takes over none."""
    old_run = None if store.last_seq(run) else store.carried_run(run)
    return None if old_run is None else stored_limits(store, old_run)


def connected_to(store: Store, run: str) -> dict[str, str]:
    """Return what a run was last connected to, by name. A run that was carried over has the account, the host and the
    daemon of the old run, but not its assets, because a symbol may mean another asset in the new run."""
    if kept := store.identity(run):
        return kept
    old_run = store.carried_run(run)
    old = {} if old_run is None else store.identity(old_run)
    return {name: value for name, value in old.items() if name in ("account", "host", "daemon")}


def moves(parts: Parts, new: Config) -> bool:
    """Whether a new configuration changes the universe or the agents, so that the account is carried over."""
    return new.instruments() != parts.universe or [a.name for a in new.agents] != [a.name for a in parts.config.agents]


async def move(service: Service, into: Parts) -> None:
    """Stops cleanly once no order is open at a real venue, so that the program restarts with the parts `into`.

    Raises NotCarried when the account cannot be carried over as it is now.
    """
    await service.settled()
    state = service.shell.state
    names = [a.name for a in state.rules.agents]
    try:
        # simulated=True: orders that are open at a real venue are no fault here, because their end is awaited below
        account = carry_of(freeze(state), state.universe, names, simulated=True, renamed=renamed(into.config))
        fault = unfit(account, into.rules) or await asyncio.to_thread(unusable, account, into)
    except ValueError as error:
        fault = str(error)
    at_real_venue = into.config.broker.kind != "paper"
    if not fault and at_real_venue and state.protection.stops:
        # the new run would not know these stop orders
        fault = 'protective stops are open at the venue; stop with [quantd] on_stop = "cancel", then start with --carry'
    if fault:
        raise NotCarried(fault)
    log.info("moving", symbols=list(into.universe.symbols), agents=[a.name for a in into.rules.agents])
    while at_real_venue and any(work.live for work in state.working.values()):
        await service.changed(1.0)
    service.inbox.command(Stopping(state.now, False, MOVES))  # False: no order is cancelled
