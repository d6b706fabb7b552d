"""Every setting of a configuration with its value and its source, without secrets."""

from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from quantd.bundled import elsewhere
from quantd.daemon.assembly.limits import agent_limits, house_limits, shocks_of
from quantd.daemon.config import Config, flat
from quantd.daemon.config.document import given
from quantd.daemon.config.keys import all_keys, pattern_of
from quantd.daemon.config.mistakes import dotted, notation
from quantd.risk.limits import catalogue
from quantd.risk.limits.catalogue import PROFILES


class Setting(Struct, frozen=True):
    """One key: its value in the notation of the file, and its source.

    The source is FILE:LINE, an option or variable, "default", a risk profile, or the limits of the whole account.
    For a path that DATA_DIR or MODELS_DIR moves, the value is the moved path.
    """

    key: str
    value: Any
    source: str


def settings_of(config: Config) -> list[Setting]:
    """Return every setting of a configuration with its source: file and line, a variable, a profile, the house, or
    default.

    The house is the whole account; its limits apply where an agent sets none.
    """
    # the paths of the keys in the file; the limits in force by the path of their table; the keys by pattern
    written, effective, keys = given(config), _effective(config), all_keys(type(config.document))
    rows = []
    for path, value in flat(config).items():
        key = keys.get(pattern_of(path))
        attribute = "" if key is None else key.attribute
        name, line = config.source.place(path) if path in written else ("default", 0)
        if path not in written and path[:-1] in effective:
            value, name = effective[path[:-1]].of(attribute, value)
        # DATA_DIR or MODELS_DIR is the source of a path that it moves
        if isinstance(value, str) and (moved_path := elsewhere(value)) is not None:
            (file, name), line = moved_path, 0
            value = str(file)
        rows.append(Setting(dotted(path), notation(attribute, value), f"{name}:{line}" if line else name))
    return rows


class _Effective(NamedTuple):
    """Effective limits of one table, those of the house, and the name of the table's risk profile.

    The house is the whole account; its own table has None in place of the house's limits.
    """

    limits: catalogue.Limits
    house: catalogue.Limits | None
    profile: str | None

    def of(self, attribute: str, value: Any) -> tuple[Any, str]:
        """Return (effective value, source) of a key that is not in the file; `value` is its value in the configuration.

        A limit without a value has the profile's value, else the value of the whole account, else its default.
        """
        if value is not None or attribute not in catalogue.LIMITS:
            return value, "default"
        effective, default = (
            catalogue.value_of(self.limits, attribute),
            catalogue.value_of(catalogue.Limits(), attribute),
        )
        source = "default"
        if self.profile and effective == catalogue.value_of(PROFILES[self.profile], attribute) != default:
            source = f"profile {self.profile}"
        elif self.house is not None and effective == catalogue.value_of(self.house, attribute) != default:
            source = "the house's"
        return msgspec.to_builtins(effective), source


def _effective(config: Config) -> dict[tuple[str | int, ...], _Effective]:
    """Return the limits in force by the path of their table: of the whole account, of each agent, of the book of
    manual orders, and of the places for portfolios (agents without capital), which all have the first one's limits."""
    universe, shocks = config.instruments(), shocks_of(config)
    house = house_limits(config, universe, config.feed.interval_ns)
    # None: there are no limits above those of the house
    effective: dict[tuple[str | int, ...], _Effective] = {("risk",): _Effective(house, None, config.risk.profile)}
    agent_tables = [(("agents", k, "limits"), agent) for k, agent in enumerate(config.document.agents)]
    if config.document.manual is not None:
        agent_tables.append((("manual", "limits"), config.document.manual.agent()))  # type: ignore[arg-type]
    if config.document.portfolios is not None and (places := config.document.portfolios.agents()):
        agent_tables.append((("portfolios", "limits"), places[0]))  # type: ignore[arg-type]
    for path, agent in agent_tables:
        effective[path] = _Effective(agent_limits(config, agent, house, universe, shocks), house, agent.profile)
    return effective
