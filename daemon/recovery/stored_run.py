"""The run in a store: verified, then continued or refused.

What can go wrong: a damaged store, or a journal of another feed, universe or version, is continued with real orders. So
nothing is traded before three checks. Every refusal names the remedy.

- The newest rows agree with the journal.
- The run has this feed, universe, currency and these agents.
- Each step since the snapshot has its recorded effects.

Orders that the replay made again are dropped: they were sent, or their state at the venue is unknown and queried.
"""

import secrets
import time
from dataclasses import replace
from pathlib import Path

import msgspec
import structlog

from quantd.adapters.feeds.recorded.soundness import UnsoundPrices, require_sound
from quantd.adapters.store.handle import Store
from quantd.adapters.store.upkeep.verify import NEWEST, verify
from quantd.daemon.assembly.parts import Assembly, Parts, as_recorded
from quantd.daemon.config import Config, ConfigError, Mistake
from quantd.daemon.policies.deadline import Deadline
from quantd.daemon.recovery.continuation import carried_into, carry_over, same_account
from quantd.daemon.recovery.replay import ConfigLost, Records, first_start, newest_snapshot, refold, saved_config
from quantd.daemon.runtime.journal import Journal, RecordTooLong, ReplayDifference
from quantd.daemon.runtime.loop import RunSnapshot, Shell
from quantd.daemon.runtime.outbound import Wire
from quantd.daemon.runtime.version import code_version
from quantd.trading.codec import decode
from quantd.trading.events import Reloaded, Started
from quantd.trading.exit_codes import CHECK_FAILED, CONFIG, ExplainedError
from quantd.trading.orders import base36, money_text, quantity_text

log = structlog.get_logger("quantd")


class CannotStart(ExplainedError):
    """The daemon does not start; `text` is the reason for the user, `exit_code` the code for systemd."""

    def __init__(self, text: str, exit_code: int = CONFIG) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def new_run() -> str:
    """The name of a new run: eight random base-36 digits."""
    return base36(secrets.randbits(64), 8)


def refuse_damaged(store: Store) -> None:
    """Raises CannotStart for a store whose rows differ from its journal."""
    began_s = time.monotonic()
    damage = verify(store.where, store.folder, NEWEST)
    if damage:
        more = f", and {len(damage) - 1} more" if len(damage) > 1 else ""
        raise CannotStart(
            f"the store is damaged: {damage[0]}{more}. Nothing was traded. `quantd doctor --store` lists the damage. "
            "Restore a backup with `quantd restore`, or start a new run in another folder with --state.",
            CHECK_FAILED,
        )
    log.info("verified", newest=NEWEST, seconds=round(time.monotonic() - began_s, 3))


def recover(parts: Parts, store: Store, run: str, folder: Path) -> tuple[Shell, Journal]:
    """Rebuilds the run from its journal. Raises CannotStart where the replay differs or the feed has changed.

    The replay starts at the newest snapshot that this version may use. After the replay the agents are asked again,
    with a deadline: during the replay the journal gave their answers.
    """
    seq, snapshot = newest_snapshot(store, run)
    began_s = time.monotonic()
    try:
        shell, journal = refold(parts, store, run, folder, seq=seq, snapshot=snapshot)
    except ReplayDifference as error:
        remedy = f"`quantd replay {run}` shows the difference; `quantd run --fresh` starts a new run."
        if store.latest_snapshot(run, code_version()) is None:  # nothing shows that this version recorded it
            remedy = (
                "If another version of quantd recorded the run, start that version, stop it with Ctrl-C, then start "
                f"this one: it goes on from there without a replay. Otherwise {remedy}"
            )
        raise CannotStart(f"run {run}: {error}. Nothing was traded. {remedy}", CHECK_FAILED) from error
    except RecordTooLong as error:
        raise CannotStart(
            f"run {run}: {error}; configure the feed it was recorded with, or start a new run with --fresh."
        ) from error
    except ConfigLost as error:
        raise CannotStart(f"run {run}: {error}") from error
    max_failures = parts.rules.max_failures
    deadline = Deadline(parts.policies, max_failures=max_failures, seated=shell.seats, method=shell.seats.method)
    shell.answer = shell.meanwhile = deadline
    if isinstance(shell.broker, Wire):
        shell.broker.taken()  # drops the orders that the replay made again
    if journal.seq:
        log.info(
            "recovered",
            run=run,
            steps_folded=journal.compared,
            from_snapshot=seq,
            seconds=round(time.monotonic() - began_s, 3),
            open_orders=sum(work.live for work in shell.state.at_venue().values()),
        )
    if isinstance(parts, Assembly) and shell.ts >= parts.feed.last_ts:
        log.warning("this run has reached the end of its feed; `quantd run --fresh` starts a new run", run=run)
    return shell, journal


def same_market(parts: Parts, store: Store, run: str) -> bool:
    """Whether a run has the feed of the configuration; in another mode `same_run` refuses it."""
    started = first_start(store, run)
    return started is None or started.feed == parts.market or started.mode != parts.config.quantd.mode


def same_run(parts: Parts, store: Store, run: str) -> None:
    """Raises CannotStart unless the journalled run has this feed, universe, currency and set of agents."""
    started = first_start(store, run)
    if started is None:
        return
    record = store.run(run)
    difference = ""
    if started.feed != parts.market:
        difference = "another feed file or selection ([feed], [universe], or the history that the policies need)"
    elif started.symbols != parts.universe.symbols:
        difference = f"another universe ({', '.join(started.symbols)})"
    elif resized := [
        f"{symbol} {quantity_text(1, lot_before)}, now {quantity_text(1, lot_now)}"
        for symbol, lot_before, lot_now in zip(
            started.symbols, record.universe.lot_nano, parts.universe.lot_nano, strict=True
        )
        if lot_before != lot_now
    ]:
        difference = f"lots of another size ({'; '.join(resized)}: [[universe.instruments]] lot sets it)"
    elif record.universe.currency != parts.universe.currency:
        difference = f"another currency ({record.universe.currency})"
    elif record.agents != tuple(agent.name for agent in parts.rules.agents):
        difference = f"other agents ({', '.join(record.agents)})"
    elif started.mode != parts.config.quantd.mode:
        difference = f'mode = "{started.mode}"'
    if difference:
        # an account is not carried over to another mode: the venue does not hold what was held on paper
        carry = "" if started.mode != parts.config.quantd.mode else "carry the account over with --carry, "
        raise CannotStart(
            f"run {run} in this state folder was recorded with {difference}. "
            f"Restore that, {carry}or start a new run with --fresh."
        )


def refuse_unsound(parts: Parts) -> None:
    """Raises CannotStart for a new run over recorded prices that would stop a backtest.

    A price jump alone does not stop a run: it stops trading in its symbol until a person decides ([feed] jumps).
    """
    if not (isinstance(parts, Assembly) and parts.unsound):
        return
    feed = replace(parts.feed, open=replace(parts.feed.open, jumps=()))
    try:
        require_sound(feed, parts.sessions, parts.members, holes_known=parts.config.feed.holes == "known")
    except UnsoundPrices:
        raise CannotStart(parts.unsound, CHECK_FAILED) from None


def with_record(parts: Parts, store: Store) -> Parts:
    """The parts with the bars that the store's current run was recorded with.

    A later rule about prices may read other bars from the same file.
    """
    run = store.current_run()
    started = None if run is None or any(r.run == run and r.ended for r in store.runs()) else first_start(store, run)
    return parts if started is None else as_recorded(parts, started.feed)


def this_run(parts: Parts, store: Store, *, fresh: bool = False, carry: bool = False) -> str:
    """The name of the run to continue, or of a new run (always with `fresh`).

    With `carry`, a run with another universe, other agents or another feed is carried over: it ends, and its account
    continues in a new run. A carry-over that was interrupted goes on. Raises CannotStart when the existing run does not
    fit the configuration.
    """
    if (interrupted_target := carried_into(store)) and not fresh:
        return interrupted_target
    run = store.current_run()
    if run is not None and any(record.run == run and record.ended for record in store.runs()):
        run = None  # a run that has ended is not continued
    if run is None or fresh:
        refuse_unsound(parts)
    if run is not None and fresh:
        store.finish(run, time.time_ns(), "--fresh")
        run = None
    if run is None:
        return new_run()
    if carry and not (same_account(parts, store, run) and same_market(parts, store, run)):
        _refuse_shares(parts, store, run)
        return carry_over(parts, store, run, new_run())
    same_run(parts, store, run)
    return run


def _refuse_shares(parts: Parts, store: Store, run: str) -> None:
    """Raises ConfigError for cash and shares that a carry-over of `run` would not apply: where it adds an agent, the
    others may pay for its share."""
    newest = store.latest_snapshot(run)
    if newest is None or {agent.name for agent in parts.rules.agents} - set(store.run(run).agents):
        return
    before = msgspec.msgpack.decode(newest[1], type=RunSnapshot).config
    if mistakes := without_effect(store, run, parts.config.state_folder(None), parts.config, before):
        raise ConfigError(mistakes)


def without_effect(records: Records, run: str, folder: Path, config: Config, before: str) -> list[Mistake]:
    """A mistake for the cash and for each share of `config` that are not those of the run, which moves no money for
    them. `before` is the digest of the configuration of its last start; without a copy of that nothing is compared.

    A share that the page changed since has moved its money. With [capital] the shares apply at its next schedule.
    """
    try:
        old = saved_config(folder, before)
    except ConfigLost:
        return []
    simulated, present = config.broker.kind == "paper", {agent.name: agent.capital for agent in old.agents}
    by_hand = "put that back and move cash: `quantd cash`, or for a share the page" if simulated else "put that back"
    remedy = f"{by_hand}; or start a new run with --fresh"
    differing: list[tuple[tuple[str | int, ...], str, str]] = []
    if simulated and config.broker.cash_micro != old.broker.cash_micro:
        amounts = money_text(config.broker.cash_micro), money_text(old.broker.cash_micro)
        differing.append((("broker", "cash"), *amounts))
    names = [agent.name for agent in config.document.agents]
    for agent in () if config.document.capital is not None else config.agents:
        if agent.capital != (share := present.get(agent.name, agent.capital)):
            path = ("agents", names.index(agent.name), "capital") if agent.name in names else (agent.name, "capital")
            differing.append((path, f"{agent.capital:g}", f"{share:g}"))
    moved = _changed_since(records, run) if differing else set()
    return [
        config.source.mistake(path, f"= {wanted} moves no money in this run, which has {value}", remedy)
        for path, wanted, value in differing
        if ".".join(map(str, path)) not in moved
    ]


def _changed_since(records: Records, run: str) -> set[str]:
    """The dotted keys that were changed since the last start of a run."""
    keys: set[str] = set()
    for _, data in records.entries(run, 1):
        if b"Started" in data and isinstance(decode(data).event, Started):
            keys.clear()
        elif b"Reloaded" in data and isinstance(event := decode(data).event, Reloaded):
            keys.update(key.split()[0] for key in event.changed)
    return keys
