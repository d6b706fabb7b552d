"""`quantd doctor --live`: is this account, and this machine, ready to trade money? What was found is kept for the
start."""

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from quantd.adapters.brokers.errors import VenueError
from quantd.adapters.store.errors import StoreError
from quantd.adapters.store.handle import read_only
from quantd.adapters.store.journal.records import Records, RunRecord
from quantd.adapters.store.queries import Reader
from quantd.daemon.assembly.brokers import broker_of, may_withdraw, venues
from quantd.daemon.assembly.loosened import looser
from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import Parts, market_of, parts_of
from quantd.daemon.assembly.sinks import lacking_secrets
from quantd.daemon.cli.client import named
from quantd.daemon.cli.places import Place
from quantd.daemon.cli.setup.doctor_checks import Check
from quantd.daemon.cli.setup.rehearsal import Post, Tried, alert, deliveries, kill_switch
from quantd.daemon.commands.api_token import loose, loose_text
from quantd.daemon.config import Config, load, secret
from quantd.daemon.engine.planning.live_caps import Allowance
from quantd.daemon.policies.worker import Apart
from quantd.trading.codec import decode
from quantd.trading.events import Started
from quantd.trading.orders import money_text
from quantd.trading.sessions import DAY_NS

FREE_MB: Final = 1024
"""A live run wants more room than a paper one: it cannot stop for want of it."""

UNITS: Final = (
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)


def live_checks(config: Config, path: Path, where: Place, sets: tuple[str, ...]) -> Iterator[Check]:
    """Each check of a live start, one after the other. Nothing is sent to the venue but questions."""
    yield from _said(config)
    yield from _keys(config)
    yield from _venue(config, where)
    yield _disk(where)
    yield _rights(config, where)
    yield _paper(config, where)
    yield _limits(config)
    yield from _alerts(config)
    yield from _kill_switch(path, sets)
    yield _unit()


def _said(config: Config) -> Iterator[Check]:
    mode = config.quantd.mode
    yield Check(
        "mode", mode == "live", f'mode = "{mode}"' + ("" if mode == "live" else '; write mode = "live" in [quantd]')
    )
    live = config.live
    missing = [
        key
        for key, value in (
            ("max_account_notional", live.max_account_notional_micro),
            ("max_order_notional", live.max_order_notional_micro),
            ("max_orders_per_day", live.max_orders_per_day),
        )
        if value is None
    ]
    if missing:
        yield Check("caps", False, f"[live] has no {', '.join(missing)}; docs/operate/live.md says how to choose them")
        return
    share = Allowance(ramp_days=live.ramp.days, ramp_from=live.ramp.from_share).share(1)
    text = (
        f"at most {money_text(live.max_account_notional_micro or 0)} in all, "
        f"{money_text(live.max_order_notional_micro or 0)} "
        f"an order, {live.max_orders_per_day} orders a session; it begins with {share:.0%} of it"
    )
    yield Check("caps", True, text)


def _keys(config: Config) -> Iterator[Check]:
    kind = config.broker.kind
    names = venues()[kind].secrets
    if not venues()[kind].broker:
        real = " or ".join(f'"{name}"' for name, each in venues().items() if each.broker)
        yield Check("keys", False, f'[broker] kind = "{kind}" is no venue; write {real}')
        return
    missing = [f"QUANTD_{name.upper()}" for name in names if not secret(name)]
    text = f"set {' and '.join(missing)}, or give systemd credentials" if missing else "are there"
    yield Check("keys", not missing, text)


def _venue(config: Config, where: Place) -> Iterator[Check]:
    """What the adapter compares when it opens: key, account, currency, clock, universe; then the account itself."""
    if not venues()[config.broker.kind].broker:
        yield Check("venue", None, "not asked: the broker is simulated")
        return
    try:
        parts = parts_of(config, time.time_ns(), cache=where.folder / "cache", apart=Apart(where.folder))
        yield from asyncio.run(_asked(parts))
    except VenueError as error:
        yield Check("venue", False, str(error))
    except ConnectionError as error:
        yield Check("venue", False, f"{error}; try again when it answers")
    except Exception as error:  # an adapter's surprise is a failed check, not a doctor without a finding
        yield Check("venue", False, f"{type(error).__name__}: {error}"[:400])


async def _asked(parts: Parts) -> list[Check]:
    broker = broker_of(parts.config, parts.universe, "doctor00")
    if broker is None:
        return []
    try:
        await broker.open()
        account = await broker.account()
    finally:
        await broker.close()
    currency, symbols = parts.universe.currency, parts.universe.symbols
    same = account.currency == currency
    blocked = f"the venue lets nothing be traded: {account.blocked}; settle that with it first"
    held = sum(1 for lots in account.lots if lots)
    found = [
        Check("account", not account.blocked,
        blocked if account.blocked else f"answers; {money_text(account.cash_micro)} {account.currency} in cash, "
            f"{held} positions"),
        Check("currency", same, account.currency if same else f"the account is in {account.currency}, [universe] "
            f"currency is {currency}"),
        Check("clock", True, "the venue's and ours agree within what the adapter allows (2 s)"),
        Check("universe", True, f"the venue trades all of {len(symbols)} symbols with these lots and ticks"),
    ]  # fmt: skip
    return [*found, await _withdrawal(parts)]


async def _withdrawal(parts: Parts) -> Check:
    may = await may_withdraw(parts.config, parts.universe)
    if may is None:
        return Check(
            "withdrawal",
            None,
            f"{parts.config.broker.venue or parts.config.broker.kind} does not say what a key may do: look that it "
            f"cannot withdraw",
        )
    text = "the key may withdraw: make one that may only trade, and use that" if may else "the key cannot withdraw"
    return Check("withdrawal", not may, text)


def _disk(where: Place) -> Check:
    there = where.folder if where.folder.exists() else next(p for p in where.folder.resolve().parents if p.exists())
    free = os.statvfs(there)
    megabytes = free.f_bavail * free.f_frsize // 2**20
    text = f"{megabytes:,} MiB are free at {there}"
    return Check(
        "disk", megabytes >= FREE_MB, text if megabytes >= FREE_MB else f"{text}; a live run wants {FREE_MB:,}"
    )


def _rights(config: Config, where: Place) -> Check:
    """The folder holds the token and the journal: nobody else may write there, and nobody else read the token."""
    folder = where.folder
    if not folder.exists():
        return Check("rights", False, f"{folder} is not there yet: it is where the paper run was; name it with --state")
    found = loose(folder, config.api.tokens, "doctor-live.json", write=0o022)
    wrong = [loose_text(*each) for each in found]
    if folder.stat().st_uid != os.getuid():
        wrong.append(f"{folder} belongs to another user than this one, who runs quantd")
    return Check("rights", not wrong, "; ".join(wrong) or f"{folder} is its owner's alone to write")


def _paper(config: Config, where: Place) -> Check:
    """The longest run on paper or in shadow with these agents on this market."""
    wanted = config.live.paper_days
    names = tuple(a.name for a in config.agents)
    longest, best = 0, ""
    try:
        records = read_only(where.store)
        for each in records.runs():
            if each.mode in ("paper", "shadow") and each.agents == names and _same_market(config, records, each):
                days = {point.ts // DAY_NS for point in Reader.open(where.store, each.run).equity()}
                if len(days) > longest:
                    longest, best = len(days), each.run
    except StoreError as error:
        return Check("paper run", not wanted, f"{error}; trade on paper for {wanted} sessions first")
    text = f"{longest} sessions" + (f", run {best}" if best else "")
    if longest >= wanted:
        return Check("paper run", True, text)
    return Check(
        "paper run",
        False,
        f"{text} of {wanted} with these agents on this market; trade on paper first (docs/operate/live.md)",
    )


def _same_market(config: Config, records: Records, run: RunRecord) -> bool:
    """Whether a run's first entry says that it was on these live bars, at this venue's sandbox or simulated."""
    first = next((decode(data).event for _, data in records.entries(run.run, 1)), None)
    markets = ((config.broker.kind, config.broker.venue), ("paper", config.broker.venue), ("paper", ""))
    return isinstance(first, Started) and first.feed in {market_of(config, *each) for each in markets}


def _limits(config: Config) -> Check:
    found = looser(config)
    if not found:
        return Check("limits", True, "none is looser than those that are shipped")
    return Check("limits", False, f"looser than those that are shipped: {', '.join(found)}; tighten or remove them")


def _alerts(config: Config) -> Iterator[Check]:
    tried = asyncio.run(alert(config))
    yield Check("alerts", not tried.failed, tried.failed or f"there and back over {tried.what} in {tried.ms:.0f} ms")
    for each in [] if lacking_secrets(config) else asyncio.run(deliveries(config)):
        yield Check("alerts", not each.failed, each.failed or f"delivered to {each.what} in {each.ms:.0f} ms")


def _kill_switch(path: Path, sets: tuple[str, ...]) -> Iterator[Check]:
    """On a service of this configuration with a simulated broker, in a folder that is thrown away."""
    paper = ("quantd.mode=shadow", "broker.kind=paper", "api.host=127.0.0.1", "api.port=0")
    try:
        config = load(path, known_names(), environ=os.environ, sets=(*sets, *paper))
        tried = asyncio.run(kill_switch(config, _client))
    except Exception as error:  # whatever it is: a switch that could not be tried is one that failed
        tried = [Tried("kill switch", f"{type(error).__name__}: {error}"[:400], 0.0)]
    for each in tried:
        yield Check(
            "kill switch", not each.failed, each.failed or f"{each.what}: halted in {each.ms:.0f} ms (rehearsed apart)"
        )


def _client(folder: Path) -> Post:
    daemon = named(Place(folder, folder))
    if daemon is None:
        raise FileNotFoundError(folder / "api.json")
    return daemon.post


def _unit() -> Check:
    homes = [*UNITS, str(Path.home() / ".config/systemd/user")]
    found = [unit for home in homes for unit in sorted(Path(home).glob("quantd*.service"))]
    if found:
        return Check("systemd", True, str(found[0]))
    return Check("systemd", None, "no unit is installed: nobody restarts a daemon that dies (systemd/quantd@.service)")
