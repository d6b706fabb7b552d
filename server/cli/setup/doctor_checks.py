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

ROOT: Final = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. `ok` None: not checked; the text is the reason."""

    name: str
    ok: bool | None
    text: str


def ground_checks() -> list[Check]:
    """Python and the installation, before any configuration is read."""
    return [_python(), _ours(), _whole(), _engine()]


def base_checks(config: Config, where: Place, store: bool, torch_before: bool) -> Iterator[Check]:
    """Checks of market data, policies, folder, isolation, ports and store."""
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


def _ours() -> Check:
    """Imports each package: one may be missing or come from another place."""
    wrong = []
    for name in PACKAGES:
        try:
            origin = Path(import_module(f"quantd.{name}").__file__ or "").resolve()
        except ImportError as why:
            wrong.append(f"{name} cannot be imported ({why})")
        else:
            wrong += [] if origin.parent.parent == ROOT else [f"{name} is {origin}"]
    text = "; ".join(wrong) + f"; they must lie in {ROOT}: use quantd's own environment" if wrong else str(ROOT)
    return Check("packages", not wrong, text)


def _whole() -> Check:
    """Whether every file of the installer's record exists. An editable installation records no module."""
    # the metadata that a build leaves in src/ has no RECORD
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
    """Whether the engine is compiled. An uncompiled one gives the same results more slowly."""
    from quantd.engine_build.state import label, reason

    why = reason()
    return Check(
        "engine", None if why else True, f"{label()}: {why.splitlines()[0]}" if why else f"compiled, {label()}"
    )


def _isolation() -> Check:
    from quantd.daemon.policies.isolation.confinement import missing

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
    """Trading must not import torch. `before`: it was imported before the doctor ran."""
    if "torch" in sys.modules and not before:
        return Check("torch", False, "was imported by the trading core, which must not need it")
    there = find_spec("torch") is not None
    text = "installed, for training; trading does not import it" if there else "not installed; trading does not need it"
    return Check("torch", True, text)


def _market(config: Config, where: Place) -> Iterator[Check]:
    from quantd.adapters.calendars import CalendarError
    from quantd.adapters.feeds.errors import FeedError
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
    """Calls each policy twice on one view, at the first sample at which it may decide."""
    from msgspec.structs import replace

    from quantd.daemon.policies.loading import probe
    from quantd.trading.effects import Ask
    from quantd.trading.events import Decided, Tick

    first: dict[int, str] = {}

    def ask(question: Ask) -> Decided:
        if question.agent not in first:
            first[question.agent] = probe(assembly.policies[question.policy], question.view)
        return Decided(question.round, question.agent)

    shell = assembly.shell()
    shell.answer = ask
    for seen, item in enumerate(assembly.items()):
        # every agent decides at the first sample, whatever its schedule
        decides = type(item) is Tick and not item.warmup
        shell.take(replace(item, due=tuple(range(len(config.seats))), jobs=()) if decides else item)
        if len(first) == len(config.seats) - len(shell.state.rules.outside) or seen > 100_000:
            break
    for number, agent in enumerate(config.seats):
        fault, who = first.get(number), f"{agent.name} ({agent.policy})"
        if number in shell.state.rules.outside:
            yield Check("policy", True, f"{who}: decides by proposals, and is never asked")
        elif fault is None:
            yield Check("policy", None, f"{who}: the data end before its first decision")
        else:
            yield Check("policy", not fault, f"{who}: {fault or 'loads; two calls decide the same'}")


def free_space(folder: Path) -> tuple[Path, int]:
    """(the folder, or the nearest existing one above it, its free space in MiB)."""
    there = folder if folder.exists() else next(p for p in folder.resolve().parents if p.exists())
    free = os.statvfs(there)
    return there, free.f_bavail * free.f_frsize // 2**20


def _folder(where: Place, token: str) -> Check:
    folder = where.folder
    there, megabytes = free_space(folder)
    if not os.access(there, os.W_OK):
        return Check("state", False, f"{folder}: cannot be written; name another with --state")
    if megabytes < 100:
        return Check("state", False, f"{folder}: {megabytes} MiB are free; a run halts when the disk is full")
    if faults := [loose_text(*path_bits) for path_bits in loose(folder, token, FILE)]:
        return Check("state", False, "; ".join(faults))
    text = f"{folder}: {megabytes:,} MiB free"
    if os.path.lexists(folder / "HALT"):
        text += "; the file HALT exists: nothing trades until it is removed"
    return Check("state", True, text)


def _ports(config: Config, where: Place) -> Iterator[Check]:
    if running(where) is not None:
        yield Check("ports", None, "a daemon runs here and holds them")
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
            yield Check("ports", False, f"{name} = {port}: {why.strerror}; set another, 0 takes any free one")
        else:
            yield Check("ports", True, f"{name} = {port} is free" if port else f"{name} = 0: any free one")


def store_checks(where: Place, replay: bool) -> Iterator[Check]:
    """Yield the checks of the whole store, with `replay`; without it, one line that the store was not checked."""
    if not replay:
        yield Check("store", None, "not checked; --store replays the whole journal and compares")
        return
    from quantd.adapters.store.errors import StoreError
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
