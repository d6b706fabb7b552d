"""Changes of the configuration by a request: a limit, the share of an agent, a schedule, what receivers get.

What can go wrong: a request overwrites an edit by hand, or makes an edit take effect that nobody has granted. So a
change is refused while file and run differ, and names by `plan` the file and the limits that its preview has seen. The
file is written before the run reads it, and gets its old text back where the run refuses the new one.

A tighter limit is in force at once. A looser one waits for [live] loosen_after, in every mode, or for the approval of
a second person. What is no tighter limit needs a token of scope admin; where devices are in force, the signature of
one instead.
"""

import asyncio
import os
import tomllib
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from math import isfinite
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec
from msgspec import Struct

from quantd.daemon.assembly.config_rows import settings_of
from quantd.daemon.assembly.names import known_names, mistakes_of
from quantd.daemon.assembly.parts import Parts, limits_of_config
from quantd.daemon.config import Config, ConfigError, applicable, digest, flat, read
from quantd.daemon.config.edits import EditError, edited
from quantd.daemon.config.keys import all_keys, pattern_of
from quantd.daemon.config.mistakes import dotted
from quantd.daemon.engine.safety.devices import signature_fault
from quantd.daemon.engine.state.snapshot import in_force, limits_from
from quantd.daemon.monitoring.signals import Granted, reload
from quantd.daemon.recovery.replay import saved_sets
from quantd.daemon.recovery.tightening import change_of_limits, limits_of, tightened
from quantd.daemon.runtime.service import Service
from quantd.regular_file import NotRead, read_regular, write_whole
from quantd.risk.limits.catalogue import LIMITS
from quantd.server.api.commits import committed, of_request
from quantd.server.api.problems import FieldFault, Refused
from quantd.server.requests.control import Because, NotDone, check_ready, journal_reason, market_now
from quantd.server.requests.shares import share_events
from quantd.server.requests.tokens import OWNER, stored
from quantd.trading.display_text import instant_text, toml_value
from quantd.trading.events import DeviceSignature, Flow
from quantd.trading.orders import money_text

Kind = Literal["limit", "share", "schedule", "receiver"]
Takes = Literal["now", "delay", "restart"]

NAMES: Final = frozenset(limit.key.removesuffix("_ns") for limit in LIMITS.values() if limit.configured)
"""The keys of limits in a table of limits."""

RESTARTS: Final = "the daemon restarts with it; an agent without a schedule decides at every sample"
WAITS: Final = "looser limits wait for this instant, or for the approval of a second person"
AGREE: Final = "`quantd config check --reload` reads the file, and names what differs"


class Changeable(Struct, frozen=True):
    """A key that a request may change: kind, label, value as TOML (empty for none), and the source of the value."""

    key: str
    kind: Kind
    label: str
    value: str
    source: str


class PreviewAsked(Struct, frozen=True, forbid_unknown_fields=True):
    """A new value, as TOML, of the key `setting` of the configuration."""

    setting: str
    value: str


class ChangeAsked(PreviewAsked, frozen=True, forbid_unknown_fields=True):
    """A change with the plan of its preview. `signed` is a device's signature of ("setting", plan)."""

    reason: Because
    plan: str = ""
    signed: DeviceSignature | None = None


class Change(Struct, frozen=True):
    """A change of one key: both values as TOML, and the line of the file that has the new one.

    `takes` says when it is in force: now, after a delay (at `due`), or with the restart of the daemon. `looser` are the
    limits that are looser than those accepted before. `needs` is what the change needs beside the scope trade.
    `plan` names it for a request and a signature, and `now` is the present in ns UTC.
    """

    key: str
    kind: Kind
    before: str
    after: str
    source: str
    takes: Takes
    due: str
    looser: list[str]
    needs: Literal["", "admin", "device"]
    note: str
    plan: str
    now: int


class _Planned(NamedTuple):
    """A change with what carries it out: the old and the new text, the new configuration, and cash that moves."""

    change: Change
    path: tuple[str | int, ...]
    old: str
    new: str
    config: Config
    flows: Sequence[Flow]


def changeable(config: Config) -> list[Changeable]:
    """The keys that a request may change, with their values and sources."""
    return [
        Changeable(row.key, kind, config.source.label(path), _toml(row.value), row.source)
        for (path, row), kind in _kinds(config)
    ]


def _toml(value: object) -> str:
    return "" if value is None else toml_value(value)


def _kinds(config: Config) -> Iterator[tuple[tuple[tuple[str | int, ...], Any], Kind]]:
    """Yield ((path, row of `settings_of`), kind) of each key that may change."""
    keys = all_keys(type(config.document))
    for path, row in zip(flat(config), settings_of(config), strict=True):
        pattern = pattern_of(path)
        key = keys.get(pattern)
        if key is None or key.section is not None or (key.reload is not None and key.reload.looser == "fixed"):
            continue
        if kind := _kind(config, path, pattern):
            yield (path, row), kind


def _kind(config: Config, path: tuple[str | int, ...], pattern: tuple[str, ...]) -> Kind | None:
    match pattern:
        case ("risk", name, *_) | ("agents", "*", "limits", name, *_) if name in NAMES:
            return "limit"
        case ("manual" | "portfolios", "limits", name, *_) if name in NAMES:
            return "limit"
        case ("live", name) if name.startswith("max_"):
            return "limit"
        case ("agents", "*", "capital"):
            return None if config.document.agents[int(path[1])].shadow else "share"
        case ("schedules", "*", "enabled"):
            return "schedule"
        case ("alerts", _):
            return "receiver"
    return None


async def preview(service: Service, parts: Parts, folder: Path, asked: PreviewAsked, sender: str) -> Change:
    """What a change would become; nothing is written. Raises Refused and NotDone."""
    check_ready(service)
    async with service.reloading:
        return (await asyncio.to_thread(_planned, service, parts, folder, _file(service), asked, sender)).change


async def change(service: Service, parts: Parts, folder: Path, asked: ChangeAsked, sender: str) -> Change:
    """Write a change into the file, and have the run read it. Raises Refused and NotDone."""
    check_ready(service)
    reason, file = journal_reason(asked.reason, "a change of the configuration"), _file(service)
    async with service.reloading:
        planned = await asyncio.to_thread(_planned, service, parts, folder, file, asked, f"{sender}: {reason}")
        if asked.plan != planned.change.plan:
            text = "the file or the limits in force are others than at the preview; look at it again"
            raise Refused(409, "conflict", f"{file}: {asked.setting} was not changed: {text}")
        if why := await asyncio.to_thread(_lacks, service, folder, planned.change, asked.signed, sender):
            raise Refused(403, *why)
        await _carried_out(
            service,
            parts,
            file,
            planned,
            Granted(planned.path, sender, reason, bool(planned.change.looser), of_request().act),
        )
    return planned.change


def _file(service: Service) -> Path:
    source = service.config.source
    return source.folder / Path(source.file).name


async def _carried_out(service: Service, parts: Parts, file: Path, planned: _Planned, granted: Granted) -> None:
    """Write the file, move the cash, and have the run read it. Raises Refused, with the old text in the file."""
    try:
        await asyncio.to_thread(_write, file, planned.old, planned.new)
        if planned.flows:
            await committed(service, lambda *_: None, *planned.flows)
        if mistakes := await reload(service, lambda: planned.config, parts, granted):
            raise Refused(409, "conflict", f"the run refused the change: {'; '.join(map(str, mistakes))}")
    except OSError as why:
        text = f"{file} cannot be written: {(why.strerror or str(why)).lower()}; give the daemon's user that right"
        raise Refused(409, "conflict", f"{text}. File and run are unchanged") from None
    except BaseException:
        await asyncio.to_thread(_write, file, planned.new, planned.old)
        raise


def _planned(service: Service, parts: Parts, folder: Path, file: Path, asked: PreviewAsked, by: str) -> _Planned:
    """The change that is asked for. Raises Refused for another key, value or file, NotDone for a share without cash."""
    config, state = service.config, service.shell.state
    rows = {row.key: (path, row, kind) for (path, row), kind in _kinds(config)}
    # an agent or a schedule is named or numbered, as in --set
    for at, name in config.source.names.items():
        if asked.setting.startswith(f"{at[0]}.{name}."):
            rest = asked.setting.removeprefix(f"{at[0]}.{name}")
            asked = msgspec.structs.replace(asked, setting=f"{dotted(at)}{rest}")
    if asked.setting not in rows:
        text = "is no limit, share, schedule or receiver that may change while the daemon runs"
        raise _wrong("setting", f"{asked.setting[:80]!r} {text}; GET /api/v1/settings has those that are")
    path, row, kind = rows[asked.setting]
    if path in config.source.overrides:
        where = config.source.overrides[path]
        raise Refused(409, "conflict", f"{asked.setting} is set by {where}, which precedes the file; change it there")
    old, sets = _text(file), saved_sets(folder, digest(parts.config))
    try:
        present = _config(old, file, sets)
        new = _edited(old, path, asked.value, file)
        wanted = _config(new, file, sets)
    except ConfigError as why:
        raise _wrong("value", "; ".join(map(str, why.mistakes))[:1000]) from None
    _, unread, differs = applicable(config, present)
    if unread or differs:
        first = str(differs[0]) if differs else f"{unread[0]} was edited"
        raise Refused(409, "conflict", f"the file differs from the run: {first}; {AGREE}")
    _, changed, refused = applicable(config, wanted, (), path)
    if refused or changed != (".".join(map(str, path)),):
        text = str(refused[0]) if refused else f"{asked.value[:80]} is the value of {asked.setting} already"
        raise _wrong("value", text)
    event = change_of_limits(state, limits_of_config(parts, wanted), state.now, "", changed, limits_of(state), True)
    looser = _looser(state, event.later or event.limits)
    flows = _flows(service, wanted, path, by) if kind == "share" else ()
    devices = {} if state.rules.approvals is None else state.rules.approvals.devices
    takes: Takes = "restart" if kind == "schedule" else "delay" if looser else "now"
    note = RESTARTS if kind == "schedule" else _moves(flows) if kind == "share" else WAITS if looser else ""
    after = next(new_row for new_row in settings_of(wanted) if new_row.key == asked.setting)
    plan = blake2b(msgspec.json.encode([old, new, in_force(state.rules)]), digest_size=16).hexdigest()
    change = Change(
        asked.setting, kind, _toml(row.value), _toml(after.value), after.source,
        takes, instant_text(event.due) if looser else "", list(looser),
        "" if kind == "limit" and not looser else "device" if devices else "admin", note, plan, market_now(service),
    )  # fmt: skip
    return _Planned(change, path, old, new, wanted, flows)


def _looser(state: Any, after: bytes) -> tuple[str, ...]:
    """The limits of `after` that are looser than those in force, or than those that were accepted and wait."""
    names = [agent.name for agent in state.rules.agents]
    accepted = in_force(state.rules) if state.loosening is None else state.loosening.limits
    return tightened((limits_from(accepted), names), (limits_from(after), names))[1]


def _flows(service: Service, wanted: Config, path: tuple[str | int, ...], by: str) -> Sequence[Flow]:
    """The cash that gives an agent the share of the configuration `wanted`. Raises NotDone."""
    if service.config.document.capital is not None:
        raise NotDone("conflict", "[capital] moves the shares by its schedule; change [capital] and start again")
    if service.config.broker.kind != "paper":
        text = "the books of an account at a venue keep their money; other shares are those of a new run, with --fresh"
        raise NotDone("venue", text)
    agent, sender = wanted.document.agents[int(path[1])], by.partition(": ")[0]
    return share_events(service.shell.state, {agent.name: agent.capital}, market_now(service), sender, by)


def _moves(flows: Sequence[Flow]) -> str:
    """The cash that an agent gets or gives, as text."""
    gained = sum(flow.amount_micro for flow in flows if flow.agent)
    way = "from the unallocated book to the agent" if gained > 0 else "from the agent to the unallocated book"
    return f"{money_text(abs(gained))} of cash moves {way}, at once"


def _lacks(
    service: Service, folder: Path, change: Change, signed: DeviceSignature | None, sender: str
) -> tuple[str, str] | None:
    """(code, text) of what a change lacks; None where it lacks nothing."""
    if change.needs == "device":
        fields = ("setting", change.plan)
        why = signature_fault(service.shell.state.rules.approvals, signed, fields, market_now(service))
        return ("device", f"{change.key} was not changed: {why}; the page of a paired device signs") if why else None
    if not change.needs or sender == f"api:{OWNER}":
        return None
    if any(token.grants("admin") for token in stored(folder) if sender == f"api:{token.name}:{token.id}"):
        return None
    return "scope", f"{change.key} was not changed: what is no tighter limit needs a token of scope admin"


def _text(file: Path) -> str:
    """The text of the configuration file. Raises Refused."""
    try:
        return read_regular(file).data.decode()
    except (OSError, NotRead, UnicodeDecodeError) as why:
        raise Refused(409, "conflict", f"{file} cannot be read: {why}; put it back") from None


def _edited(text: str, path: tuple[str | int, ...], value: str, file: Path) -> str:
    """The text with a new value, as TOML or plain text, at a path. Raises Refused."""
    try:
        parsed = tomllib.loads(f"x = {value}")
    except tomllib.TOMLDecodeError:
        parsed = {"x": value}
    no_number = isinstance(parsed["x"], float) and not isfinite(parsed["x"])
    if parsed.keys() != {"x"} or not value.strip() or not value.isprintable() or no_number:
        raise _wrong("value", f'{value[:80]!r} is no value; write one such as 0.15, "21" or ["CRITICAL"]')
    try:
        return edited(text, {path: parsed["x"]})
    except EditError:
        pass
    try:  # a key of an inline table: the whole table is written anew
        table: Any = tomllib.loads(text)
        for part in path[:-1]:
            table = table.get(part, {}) if isinstance(part, str) else table[part]
        return edited(text, {path[:-1]: {**table, str(path[-1]): parsed["x"]}})
    except (EditError, tomllib.TOMLDecodeError, LookupError):
        raise Refused(409, "conflict", f"{file}: {dotted(path)} is in a form that only a person edits") from None


def _config(text: str, file: Path, sets: tuple[str, ...]) -> Config:
    """The configuration of a text. Raises ConfigError."""
    config = read(text, known_names(), file=str(file), folder=file.parent, environ=os.environ, sets=sets)
    if mistakes := [*mistakes_of(config), *config.missing_files()]:
        raise ConfigError(mistakes)
    return config


def _write(file: Path, old: str, new: str) -> None:
    """Write the text `new` into a file that has the text `old`. Raises Refused for another text, and OSError."""
    if _text(file) != old:
        raise Refused(409, "conflict", f"{file} was edited meanwhile, and is left as it is; look at it again")
    write_whole(file, new.encode(), keep_mode=True)


def _wrong(field: str, text: str) -> Refused:
    return Refused(422, "command", text, errors=[FieldFault(field, text)])
