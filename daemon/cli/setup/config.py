"""Check or show the configuration."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from quantd.daemon.assembly.limits import agent_limits, house_limits, shocks_of
from quantd.daemon.assembly.parts import interval_text, policies_of
from quantd.daemon.cli.command import CONFIG_FILE, Command, ConfigFile, Json, Sets
from quantd.daemon.cli.configuration import read
from quantd.daemon.cli.output import answer, print_json, table
from quantd.daemon.cli.places import place
from quantd.daemon.config import Config, ConfigError, Mistake, digest, flat
from quantd.daemon.config.document import given
from quantd.daemon.config.keys import all_keys, pattern_of
from quantd.daemon.config.mistakes import dotted, shown, without_password
from quantd.daemon.policies.composed import left_out
from quantd.daemon.policies.loading import PolicyError
from quantd.daemon.policies.worker import Apart
from quantd.risk.limits import catalogue
from quantd.risk.limits.catalogue import PROFILES
from quantd.trading.exit_codes import CONFIG, DONE
from quantd.trading.orders import money_text, price_text


def check(config: ConfigFile = CONFIG_FILE, sets: Sets = None, as_json: Json = False) -> int:
    """List every mistake in the configuration; exit code 78 when there is one."""
    try:
        found = read(config, sets)
        if found.study.goals:
            from quantd.research.reports.report_goals import check_goals  # takes a second to import

            check_goals(found)
        apart = Apart(place(config, None, sets).folder)
        policies = policies_of(found, found.instruments(), found.feed.interval_ns, apart)
    except (ConfigError, PolicyError) as why:
        if not as_json:
            raise
        wrong = why.mistakes if isinstance(why, ConfigError) else [Mistake(str(config), 0, "agents", str(why), "")]
        keys = ("file", "line", "path", "text", "remedy")
        print_json({"ok": False, "mistakes": [{key: getattr(each, key) for key in keys} for each in wrong]})
        return CONFIG
    counts = f"{len(found.agents)} agents, {len(found.universe.symbols)} symbols, {len(found.schedules)} schedules"
    trading = f"  digest of the keys that affect trading: {digest(found)}"
    off = [f"{agent}: trades without {', '.join(names)}; [feed] series has use = false"
           for agent, names in left_out(found.seats, policies)]  # fmt: skip
    document = {"ok": True, "mistakes": [], "digest": digest(found), "left_out": off}
    answer(as_json, document, f"{config}: {counts}", trading, *off)
    return DONE


def show(config: ConfigFile = CONFIG_FILE, sets: Sets = None, as_json: Json = False) -> None:
    """List every setting with its value and its source."""
    found = read(config, sets)
    written, effective, keys = given(found), _effective(found), all_keys(type(found.document))
    rows = []
    for path, value in flat(found).items():
        key = keys.get(pattern_of(path))
        attribute = "" if key is None else key.attribute
        name, line = found.source.place(path) if path in written else ("default", 0)
        if path not in written and path[:-1] in effective:
            value, name = effective[path[:-1]].of(attribute, value)
        source = f"{name}:{line}" if line else name
        rows.append({"key": dotted(path), "value": _plain(attribute, value), "source": source})
    if as_json:
        print_json({"config": str(config), "digest": digest(found), "settings": rows})
        return
    table(
        ("key", "value", "source"),
        [(r["key"], "none" if r["value"] is None else shown(r["value"]), r["source"]) for r in rows],
    )


class _Effective(NamedTuple):
    """The effective limits of one section, with the house's and the name of its profile."""

    limits: catalogue.Limits
    house: catalogue.Limits | None
    profile: str | None

    def of(self, attribute: str, value: Any) -> tuple[Any, str]:
        """(value, source) of a key that is not in the file."""
        if value is not None or attribute not in catalogue.LIMITS:
            return value, "default"
        now, plain = catalogue.value_of(self.limits, attribute), catalogue.value_of(catalogue.Limits(), attribute)
        source = "default"
        if self.profile and now == catalogue.value_of(PROFILES[self.profile], attribute) != plain:
            source = f"profile {self.profile}"
        elif self.house is not None and now == catalogue.value_of(self.house, attribute) != plain:
            source = "the house's"
        return msgspec.to_builtins(now), source


def _effective(config: Config) -> dict[tuple[str | int, ...], _Effective]:
    universe, shocks = config.instruments(), shocks_of(config)
    house = house_limits(config, universe, config.feed.interval_ns)
    found: dict[tuple[str | int, ...], _Effective] = {("risk",): _Effective(house, None, config.risk.profile)}
    listed = [(("agents", k, "limits"), agent) for k, agent in enumerate(config.document.agents)]
    if config.document.manual is not None:
        listed.append((("manual", "limits"), config.document.manual.agent()))  # type: ignore[arg-type]
    for path, agent in listed:
        found[path] = _Effective(agent_limits(agent, house, universe, shocks), house, agent.profile)
    return found


def _plain(attribute: str, value: Any) -> Any:
    """A value in the notation of the file: durations and amounts as text, ISO 8601 dates, no password in an address."""
    if isinstance(value, int) and attribute.endswith("_ns"):
        return f"{value / 1e9:g}s" if value % 1_000_000_000 or not value else interval_text(value)
    if isinstance(value, int) and attribute.endswith("_micro"):
        return money_text(value)
    if isinstance(value, int) and attribute.endswith("_nano"):
        return price_text(value)
    if isinstance(value, str):
        return without_password(value)
    if isinstance(value, Mapping):
        return {str(name): _plain("", each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain("", each) for each in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)


COMMAND: Final = Command("Set up", 90, {"check": check, "show": show})
