"""The checks of `quantd doctor --live`: whether this account and this machine are ready to trade money."""

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from quantd.adapters.brokers.venue_errors import VenueError
from quantd.adapters.store.handle import read_only
from quantd.adapters.store.journal.records import Records, RunRecord
from quantd.adapters.store.queries import Reader
from quantd.adapters.store.store_errors import StoreError
from quantd.daemon.access.api_token import loose, loose_text
from quantd.daemon.assembly.brokers import broker_of, may_withdraw, untradable_of, venues
from quantd.daemon.assembly.loosened import looser
from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import Parts, market_of, parts_of
from quantd.daemon.assembly.sinks import lacking_secrets
from quantd.daemon.cli.places import Place
from quantd.daemon.config import Config, load, secret
from quantd.daemon.engine.state.live_caps import Allowance
from quantd.daemon.policies.isolation.worker import Apart
from quantd.daemon.recovery.replay import first_start
from quantd.server.cli.client import named
from quantd.server.cli.setup.doctor_checks import Check, free_space
from quantd.server.cli.setup.rehearsal import Post, Tried, alert, deliveries, kill_switch
from quantd.server.requests.tokens import FILE
from quantd.trading.orders import money_text
from quantd.trading.sessions import DAY_NS

FREE_MB: Final = 1024
"""Free disk space that a live run needs, in MiB."""

UNITS: Final = tuple(f"{home}/systemd/system" for home in ("/etc", "/usr/local/lib", "/usr/lib", "/lib"))


def live_checks(config: Config, path: Path, where: Place, sets: tuple[str, ...]) -> Iterator[Check]:
    """The checks of a live start. The venue receives queries, never an order."""
    yield from _mode_and_caps(config)
    yield from account_checks(config, where)
    yield _disk(where)
    yield _rights(config, where)
    yield _paper(config, where)
    yield _limits(config)
    yield from _alerts(config)
    yield from _kill_switch(path, sets)
    yield _unit()


def account_checks(config: Config, where: Place) -> Iterator[Check]:
    """The checks of the keys and of the venue's account, by queries."""
    yield from _keys(config)
    yield from _venue(config, where)


def _mode_and_caps(config: Config) -> Iterator[Check]:
    """Check that the mode is live, and that [live] has every cap on the account, on an order and on orders per day.

    The text of the check also has the share of the caps that is permitted in the first session.
    """
    mode = config.quantd.mode
    is_live = mode == "live"
    yield Check("mode", is_live, f'mode = "{mode}"' + ("" if is_live else '; write mode = "live" in [quantd]'))
    live = config.live
    caps = {
        "max_account_notional": live.max_account_notional_micro, "max_order_notional": live.max_order_notional_micro,
        "max_orders_per_day": live.max_orders_per_day,
    }  # fmt: skip
    missing_caps = [key for key, value in caps.items() if value is None]
    if missing_caps:
        yield Check("caps", False, f"[live] has no {', '.join(missing_caps)}; docs/operate/live.md has rules for them")
        return
    # of the first session, in which the ramp permits the smallest share of the caps
    share = Allowance(ramp_days=live.ramp.days, ramp_from=live.ramp.from_share).share(1)
    account, order = (money_text(caps[key] or 0) for key in ("max_account_notional", "max_order_notional"))
    text = (
        f"at most {account} in all, {order} an order, {live.max_orders_per_day} orders a session; start at {share:.0%}"
    )
    yield Check("caps", True, text)


def _keys(config: Config) -> Iterator[Check]:
    """Check that the broker is a venue, and that each of its secrets is set."""
    kind = config.broker.kind
    names = venues()[kind].secrets
    if not venues()[kind].broker:
        real = " or ".join(f'"{name}"' for name, venue in venues().items() if venue.broker)
        yield Check("keys", False, f'[broker] kind = "{kind}" is no venue; write {real}')
        return
    missing_secrets = [f"QUANTD_{name.upper()}" for name in names if not secret(name)]
    text = f"set {' and '.join(missing_secrets)}, or systemd credentials" if missing_secrets else "are set"
    yield Check("keys", not missing_secrets, text)


def _venue(config: Config, where: Place) -> Iterator[Check]:
    """Open the venue's adapter, which checks key, account, currency, clock and universe; then check the account."""
    if not venues()[config.broker.kind].broker:
        yield Check("venue", None, "not checked: the broker is simulated")
        return
    try:
        parts = parts_of(config, time.time_ns(), cache=where.folder / "cache", isolation=Apart(where.folder))
        yield from asyncio.run(_account(parts))
    except VenueError as error:
        yield Check("venue", False, str(error))
    except ConnectionError as error:
        yield Check("venue", False, f"{error}; try again later")
    except Exception as error:  # an unexpected error of an adapter is a failed check
        yield Check("venue", False, f"{type(error).__name__}: {error}"[:400])


async def _account(parts: Parts) -> list[Check]:
    """Open the venue, and check its account, currency, clock and universe, and that the keys cannot withdraw money."""
    broker = broker_of(parts.config, parts.universe, "doctor00")  # in place of the id of a run
    if broker is None:
        return []
    try:
        await broker.open()
        account = await broker.account()
    finally:
        await broker.close()
    currency = parts.universe.currency
    same_currency = account.currency == currency
    currency_fault = f"the account is in {account.currency}, [universe] currency is {currency}; change one of them"
    blocked = f"the venue blocks trading: {account.blocked}; settle that with the venue first"
    position_count = sum(1 for lots in account.lots if lots)
    cash = f"responds; {money_text(account.cash_micro)} {account.currency} in cash, {position_count} positions"
    checks = [
        Check("account", not account.blocked, blocked if account.blocked else cash),
        Check("currency", same_currency, account.currency if same_currency else currency_fault),
        # `open` raises for a larger difference
        Check("clock", True, "the clocks agree within the tolerance of the adapter (2 s)"),
        _universe(parts, untradable_of(broker)),
    ]
    return [*checks, await _withdrawal(parts)]


def _universe(parts: Parts, untradable: dict[int, str]) -> Check:
    """Check that the venue trades every symbol; a daemon would start nevertheless, and halt the untradable symbols.

    `untradable` maps a column of the universe to the reason.
    """
    symbols = parts.universe.symbols
    if untradable:
        refused = "; ".join(f"{symbols[column]}: {why}" for column, why in sorted(untradable.items()))
        return Check("universe", False, f"the venue does not trade {refused}; take them out of [universe] symbols")
    return Check("universe", True, f"the venue trades all of {len(symbols)} symbols with these lots and ticks")


async def _withdrawal(parts: Parts) -> Check:
    """Check that the venue's key cannot withdraw money."""
    can_withdraw = await may_withdraw(parts.config, parts.universe)
    if can_withdraw is None:
        venue = parts.config.broker.venue or parts.config.broker.kind
        return Check("withdrawal", None, f"{venue} does not report the rights of a key: check that it cannot withdraw")
    text = "the key may withdraw: use a key that may only trade" if can_withdraw else "the key cannot withdraw"
    return Check("withdrawal", not can_withdraw, text)


def _disk(where: Place) -> Check:
    existing, megabytes = free_space(where.folder)
    text = f"{megabytes:,} MiB are free at {existing}"
    enough = megabytes >= FREE_MB
    return Check("disk", enough, text if enough else f"{text}; a live run needs {FREE_MB:,} MiB")


def _rights(config: Config, where: Place) -> Check:
    """Check that other users may neither write into the state folder nor read the token in it."""
    folder = where.folder
    if not folder.exists():
        return Check("rights", False, f"{folder} does not exist: name the folder of the paper run with --state")
    faults = [
        loose_text(*path_bits) for path_bits in loose(folder, config.api.tokens, FILE, "doctor-live.json", write=0o022)
    ]
    if folder.stat().st_uid != os.getuid():
        faults.append(f"{folder} belongs to another user")
    return Check("rights", not faults, "; ".join(faults) or f"only its owner can write into {folder}")


def _paper(config: Config, where: Place) -> Check:
    """Check that the longest earlier run in the mode paper or shadow had as many sessions as [live] demands.

    Only runs with these agents on this market count.
    """
    needed_days = config.live.paper_days
    names = tuple(agent.name for agent in config.agents)
    longest, longest_run = 0, ""
    try:
        records = read_only(where.store)
        for run in records.runs():
            if run.mode in ("paper", "shadow") and run.agents == names and _same_market(config, records, run):
                days = {point.ts // DAY_NS for point in Reader.open(where.store, run.run).equity()}
                if len(days) > longest:
                    longest, longest_run = len(days), run.run
    except StoreError as error:
        return Check("paper run", not needed_days, f"{error}; trade on paper for {needed_days} sessions first")
    text = f"{longest} sessions" + (f", run {longest_run}" if longest_run else "")
    if longest >= needed_days:
        return Check("paper run", True, text)
    remedy = "trade on paper first (docs/operate/live.md)"
    return Check("paper run", False, f"{text} of {needed_days} with these agents on this market; {remedy}")


def _same_market(config: Config, records: Records, run: RunRecord) -> bool:
    """Whether a run traded on the live bars of this configuration, at this venue's sandbox or with the simulated
    broker.
    """
    first = first_start(records, run.run)
    markets = ((config.broker.kind, config.broker.venue), ("paper", config.broker.venue), ("paper", ""))
    return first is not None and first.feed in {market_of(config, *market) for market in markets}


def _limits(config: Config) -> Check:
    looser_limits = looser(config)
    if not looser_limits:
        return Check("limits", True, "none is looser than the shipped ones")
    return Check("limits", False, f"looser than the shipped ones: {', '.join(looser_limits)}; tighten or remove them")


def _alerts(config: Config) -> Iterator[Check]:
    tried = asyncio.run(alert(config))
    yield Check("alerts", not tried.failed, tried.failed or f"received over {tried.what} after {tried.ms:.0f} ms")
    for delivery in [] if lacking_secrets(config) else asyncio.run(deliveries(config)):
        yield Check(
            "alerts", not delivery.failed, delivery.failed or f"delivered to {delivery.what} in {delivery.ms:.0f} ms"
        )


def _kill_switch(path: Path, sets: tuple[str, ...]) -> Iterator[Check]:
    """Rehearse the kill switch on a service of this configuration, with a simulated broker in a temporary folder."""
    paper = ("quantd.mode=shadow", "broker.kind=paper", "api.host=127.0.0.1", "api.port=0")
    try:
        tried = asyncio.run(kill_switch(load(path, known_names(), environ=os.environ, sets=(*sets, *paper)), _client))
    except Exception as error:  # a kill switch that cannot be tried counts as failed
        tried = [Tried("kill switch", f"{type(error).__name__}: {error}"[:400], 0.0)]
    for attempt in tried:
        halted = f"{attempt.what}: halted in {attempt.ms:.0f} ms (rehearsal)"
        yield Check("kill switch", not attempt.failed, attempt.failed or halted)


def _client(folder: Path) -> Post:
    daemon = named(Place(folder, folder))
    if daemon is None:
        raise FileNotFoundError(folder / "api.json")
    return daemon.post


def _unit() -> Check:
    homes = [*UNITS, str(Path.home() / ".config/systemd/user")]
    units = [unit for home in homes for unit in sorted(Path(home).glob("quantd*.service"))]
    if units:
        return Check("systemd", True, str(units[0]))
    return Check("systemd", None, "no unit is installed, so a dead daemon is not restarted (systemd/quantd@.service)")
