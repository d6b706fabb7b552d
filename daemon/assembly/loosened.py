"""The limits of a configuration that are looser than the shipped ones: the profiles, and quantd's config.toml."""

from functools import cache
from typing import Any, Final

from quantd import bundled
from quantd.daemon.assembly.limits import limits_of, shocks_of
from quantd.daemon.assembly.names import known_names
from quantd.daemon.config import Config, load
from quantd.daemon.config import Limits as LimitKeys
from quantd.risk.limits.catalogue import EXTRA, FIELDS, PROFILES, Limits, tighter_of, value_of

WITHOUT_PROFILE: Final = "balanced"
"""Profile with which an agent without one is compared."""

UNCOMPARED: Final = frozenset(
    {"fee_bp", "max_price_age_ns", "min_history", "restricted", "group_caps", "duplicate_window_ns"}
)
"""Limits that describe the venue, the bars or the desk."""


def looser(config: Config) -> list[str]:
    """Dotted keys of limits that are looser than the shipped ones. An agent's limit is compared with its profile and
    with every shipped agent of that profile."""
    shipped, sectors = _shipped(), any(config.instruments().sectors)
    house = _limits(shipped, shipped.risk, shipped.risk.profile)
    keys = [f"risk.{name}" for name in keys_looser(_limits(config, config.risk, config.risk.profile), house)]
    for agent in config.agents:
        profile = agent.profile or WITHOUT_PROFILE
        bars = [PROFILES[profile]]
        bars += [_limits(shipped, example.limits, profile) for example in shipped.agents if example.profile == profile]
        ours = _limits(config, agent.limits, agent.profile)
        names = set.intersection(*(set(keys_looser(ours, bar)) for bar in bars))
        keys += [f"agents.{agent.name}.{name}" for name in sorted(names) if sectors or name != "max_sector_weight"]
    return keys


@cache
def _shipped() -> Config:
    return load(bundled.CONFIG, known_names())


def _limits(config: Config, keys: LimitKeys, profile: str | None) -> Limits:
    return limits_of(keys, profile, config.instruments(), shocks_of(config))


def keys_looser(ours: Limits, theirs: Limits) -> list[str]:
    """Names of the limits of `ours` that are looser than those of `theirs`."""
    plain = Limits()
    names = []
    for name in (*(key for key in Limits.__struct_fields__ if key in FIELDS), *EXTRA):
        a, b = value_of(ours, name), value_of(theirs, name)
        if (
            name in UNCOMPARED
            or a == b
            or b is None
            or (b == value_of(plain, name) and name != "in_flight" and a is None)
        ):
            continue
        if a is None or _loosens(name, a, b):
            names.append(name)
    return names


def _loosens(name: str, a: Any, b: Any) -> bool:
    try:
        return bool(tighter_of(name, a, b) != a)
    except ValueError:
        # the estimators differ: compare their bounds
        return bool(getattr(a, "limit", 0.0) > getattr(b, "limit", 0.0))
