"""The checks of `quantd doctor` that every run needs. A check that fails names the remedy."""

import os
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from quantd.daemon.access.api_token import loose, loose_text
from quantd.daemon.cli.places import Place
from quantd.daemon.config import Config
from quantd.server.cli.client import running
from quantd.server.requests.tokens import FILE

PACKAGES: Final = ("trading", "strategies", "risk", "models", "adapters", "daemon", "server", "training", "research")

OLDEST: Final = (3, 11)
"""Oldest Python that quantd supports."""

ROOT: Final = Path(__file__).resolve().parents[3]
"""Folder in which the packages of quantd must lie."""


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check: `ok` is True (passed), False (failed) or None (not made; `text` has the reason)."""

    name: str
    ok: bool | None
    text: str


def ground_checks() -> list[Check]:
    """Checks of Python and of the installation, which need no configuration."""
    return [_python(), _packages(), _installed_files(), _engine()]


def base_checks(config: Config, where: Place, store: bool, torch_before: bool) -> Iterator[Check]:
    """Checks of market data, policies, state folder, isolation, sinks, torch, ports and store.

    With `store` the journal is replayed. `torch_before` is True if torch was imported before the checks began.
    """
    yield from _market(config, where)
    yield _folder(where, config.api.tokens)
    yield _isolation()
    yield from _sinks(config)
    yield _torch(torch_before)
    yield from _ports(config, where)
    yield from store_checks(where, store)


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    fits = sys.version_info[:2] >= OLDEST
    return Check("python", fits, version if fits else f"{version}; install 3.11 or newer")


def _packages() -> Check:
    """Import each package of quantd: one may be missing, or come from another installation."""
    faults = []
    for name in PACKAGES:
        try:
            origin = Path(import_module(f"quantd.{name}").__file__ or "").resolve()
        except ImportError as why:
            faults.append(f"{name} cannot be imported ({why})")
        else:
            faults += [] if origin.parent.parent == ROOT else [f"{name} is {origin}"]
    text = "; ".join(faults) + f"; they must lie in {ROOT}: use quantd's own environment" if faults else str(ROOT)
    return Check("packages", not faults, text)


def _installed_files() -> Check:
    """Check that every file in the installer's record exists.

    The record of an editable installation has no modules. Without a record the check is not made (result None).
    """
    # only an installation has a RECORD; metadata that a build left in src/ has none
    installed = next(
        (distribution for distribution in distributions(name="quantd") if distribution.read_text("RECORD") is not None),
        None,
    )
    if installed is None:
        return Check("files", None, "not installed: quantd runs from its source")
    recorded = [file for file in installed.files or () if file.suffix != ".pyc"]
    missing_files = sorted(str(file) for file in recorded if not Path(str(file.locate())).exists())
    if missing_files:
        return Check(
            "files", False, f"{len(missing_files)} are missing, the first is {missing_files[0]}; install quantd again"
        )
    return Check("files", True, f"{len(recorded)}, as installed")


def _engine() -> Check:
    """Check whether the engine is compiled; if not, it gives the same results more slowly."""
    from quantd.engine_build.state import label, reason

    why = reason()
    return Check(
        "engine", None if why else True, f"{label()}: {why.splitlines()[0]}" if why else f"compiled, {label()}"
    )


def _isolation() -> Check:
    from quantd.models.isolation.confinement import missing

    lacking = ", ".join(missing())
    text = f"policy files are not isolated: this machine lacks {lacking}; see docs/operate/security.md"
    return Check("isolation", None if lacking else True, text if lacking else "policy files run confined")


def _sinks(config: Config) -> Iterator[Check]:
    if not config.alerts.sinks:
        return
    from quantd.daemon.assembly.sinks import lacking_secrets

    lacking = lacking_secrets(config)
    yield from (Check("sinks", False, str(mistake)) for mistake in lacking)
    if not lacking:
        yield Check("sinks", True, f"{', '.join(config.alerts.sinks)}: the secrets are there")


def _torch(before: bool) -> Check:
    """Check that trading does not import torch. If `before`, torch was imported before the doctor ran, which proves
    nothing.
    """
    if "torch" in sys.modules and not before:
        return Check("torch", False, "was imported by the trading core, which must not need it")
    installed = find_spec("torch") is not None
    text = (
        "installed, for training; trading does not import it"
        if installed
        else "not installed; trading does not need it"
    )
    return Check("torch", True, text)


def _market(config: Config, where: Place) -> Iterator[Check]:
    """Load the market data and the policies; with recorded bars, also ask each policy for a decision. The result of a
    check is True, False, or None where it was not made."""
    from quantd.adapters.calendars import CalendarError
    from quantd.adapters.feeds.feed_errors import FeedError
    from quantd.daemon.assembly.parts import Assembly, parts_of
    from quantd.daemon.policies.isolation.worker import Apart
    from quantd.daemon.policies.loading import PolicyError
    from quantd.trading.display_text import instant_text

    try:
        assembly = parts_of(config, time.time_ns(), cache=where.folder / "cache", isolation=Apart(where.folder))
    except (FeedError, CalendarError, PolicyError) as why:
        yield Check("policies" if isinstance(why, PolicyError) else "data", False, str(why))
        return
    if not isinstance(assembly, Assembly):
        yield Check("data", None, f"{config.feed.kind}: bars are loaded when a run requests them")
        yield Check("policies", True, "all load")
        return
    feed = assembly.feed
    quarantined = f"; {len(feed.quarantined)} bars are quarantined" if feed.quarantined else ""
    dates = f"{instant_text(feed.first_ts)[:10]} to {instant_text(feed.last_ts)[:10]}"
    yield Check("data", True, f"{config.feed.path}: {dates}{quarantined}")
    yield from _policies(assembly.config, assembly)


def _policies(config: Config, assembly: Any) -> Iterator[Check]:
    """Call each policy twice on one view, at the first sample at which it may decide, and compare the decisions.

    The engine runs on the recorded bars, and receives an empty decision for each agent, so that nothing is traded. An
    outside agent decides by proposals and is not asked.
    """
    from msgspec.structs import replace

    from quantd.daemon.policies.loading import probe
    from quantd.trading.effects import Ask
    from quantd.trading.events import Decided, Tick

    fault_by_agent: dict[int, str] = {}  # index of an agent -> fault of its policy, empty for none

    def ask(question: Ask) -> Decided:
        if question.agent not in fault_by_agent:
            fault_by_agent[question.agent] = probe(assembly.policies[question.policy], question.view)
        return Decided(question.round, question.agent)

    shell = assembly.shell()
    shell.answer = ask
    for item_count, item in enumerate(assembly.items()):
        # every agent decides at the first sample after the warm-up, whatever its schedule
        decides = type(item) is Tick and not item.warmup
        shell.take(replace(item, due=tuple(range(len(config.seats))), jobs=()) if decides else item)
        # every policy was asked; the bound ends the search in data without a decision
        if len(fault_by_agent) == len(config.seats) - len(shell.state.rules.outside) or item_count > 100_000:
            break
    for index, agent in enumerate(config.seats):
        fault, who = fault_by_agent.get(index), f"{agent.name} ({agent.policy})"
        if index in shell.state.rules.outside:
            yield Check("policy", True, f"{who}: decides by proposals, and is never asked")
        elif fault is None:
            yield Check("policy", None, f"{who}: the data end before its first decision")
        else:
            yield Check("policy", not fault, f"{who}: {fault or 'loads; two calls decide the same'}")


def free_space(folder: Path) -> tuple[Path, int]:
    """(The folder or, if it does not exist, the nearest existing folder above it; free space there in MiB)."""
    existing = folder if folder.exists() else next(p for p in folder.resolve().parents if p.exists())
    free = os.statvfs(existing)
    return existing, free.f_bavail * free.f_frsize // 2**20


def _folder(where: Place, token: str) -> Check:
    """Check that the state folder can be written, has 100 MiB free, and that only its owner may read the secrets."""
    folder = where.folder
    existing, megabytes = free_space(folder)
    if not os.access(existing, os.W_OK):
        return Check("state", False, f"{folder}: cannot be written; name another with --state")
    if megabytes < 100:
        return Check(
            "state",
            False,
            f"{folder}: only {megabytes} MiB are free, and a run halts when the disk is full; free some space",
        )
    if faults := [loose_text(*path_bits) for path_bits in loose(folder, token, FILE)]:
        return Check("state", False, "; ".join(faults))
    text = f"{folder}: {megabytes:,} MiB free"
    if os.path.lexists(folder / "HALT"):
        text += "; the file HALT exists: nothing trades until it is removed"
    return Check("state", True, text)


def _ports(config: Config, where: Place) -> Iterator[Check]:
    """Check that the ports of the API and of an embedded broker are free; skipped (None) while a daemon runs here."""
    if running(where) is not None:
        yield Check("ports", None, "not checked: a daemon runs here and uses them")
        return
    ports = [("[api] port", config.api.host, config.api.port)]
    if config.bus.kind == "embedded":
        ports.append(("[bus] port", "127.0.0.1", config.bus.port))
    for name, host, port in ports:
        try:
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
        except OSError as why:
            yield Check("ports", False, f"{name} = {port}: {why.strerror}; set another port, or 0 for any free one")
        else:
            yield Check("ports", True, f"{name} = {port} is free" if port else f"{name} = 0: any free one")


def store_checks(where: Place, replay: bool) -> Iterator[Check]:
    """Yield the checks of the whole store; without `replay`, one line that says that it was not checked."""
    if not replay:
        yield Check("store", None, "not checked; --store replays the whole journal and compares")
        return
    from quantd.adapters.store.store_errors import StoreError
    from quantd.adapters.store.upkeep.verify import verify

    folder = where.folder
    if not (folder / "quantd.db").exists() and "://" not in str(where.store):
        head = (folder / "journal.head").exists()
        text = "quantd.db is missing, but journal.head exists: restore a backup" if head else "there is no store yet"
        yield Check("store", False if head else None, f"{folder}: {text}")
        return
    try:
        faults = verify(where.store, folder)
    except StoreError as why:
        faults = [str(why)]
    if not faults:
        yield Check("store", True, f"{folder}: chain, archives, digests and read models agree with the journal")
    for text in faults:
        yield Check("store", False, text)
