"""The limits of a configuration that are looser than quantd's profiles and the config.toml that comes with quantd."""

from functools import cache
from typing import Any, Final

from quantd import bundled
from quantd.daemon.assembly.limits import limits_of, shocks_of
from quantd.daemon.assembly.names import known_names
from quantd.daemon.config import Config, load
from quantd.daemon.config import Limits as LimitKeys
from quantd.risk.limits.catalogue import EXTRA, FIELDS, PROFILES, Limits, tighter_of, value_of

WITHOUT_PROFILE: Final = "balanced"
"""Profile with which an agent without a profile is compared."""

UNCOMPARED: Final = frozenset(
    {"fee_bp", "max_price_age_ns", "min_history", "restricted", "group_caps", "duplicate_window_ns"}
)
"""Limits that are not compared, because they describe the venue, the bars or the trading desk."""


def looser(config: Config) -> list[str]:
    """Return the dotted keys of the limits that are looser than the shipped limits.

    An agent's limit counts if it is looser than in its profile and than in every shipped agent of this profile.
    """
    shipped, sectors = _shipped(), any(config.instruments().sectors)
    house = _limits(shipped, shipped.risk, shipped.risk.profile)
    keys = [f"risk.{name}" for name in keys_looser(_limits(config, config.risk, config.risk.profile), house)]
    for agent in config.agents:
        profile = agent.profile or WITHOUT_PROFILE
        shipped_limits = [PROFILES[profile]]
        shipped_limits += [
            _limits(shipped, example.limits, profile) for example in shipped.agents if example.profile == profile
        ]
        agent_limits = _limits(config, agent.limits, agent.profile)
        names = set.intersection(*(set(keys_looser(agent_limits, reference)) for reference in shipped_limits))
        # without sectors in the universe the cap on sectors is off, whatever the profile
        keys += [f"agents.{agent.name}.{name}" for name in sorted(names) if sectors or name != "max_sector_weight"]
    return keys


@cache
def _shipped() -> Config:
    return load(bundled.CONFIG, known_names())


def _limits(config: Config, keys: LimitKeys, profile: str | None) -> Limits:
    return limits_of(keys, profile, config.instruments(), shocks_of(config))


def keys_looser(ours: Limits, theirs: Limits) -> list[str]:
    """Return the names of the limits of `ours` that are looser than those of `theirs`.

    A limit that is off in `ours` is looser if it has a value in `theirs` other than its default; `in_flight` is looser
    even if that value is its default. EXTRA are limits without a field in `Limits`, UNCOMPARED those that describe the
    venue or the bars.
    """
    defaults = Limits()
    names = []
    for name in (*(key for key in Limits.__struct_fields__ if key in FIELDS), *EXTRA):
        our_value, their_value = value_of(ours, name), value_of(theirs, name)
        # not comparable, equal, off in `theirs`, or off in `ours` where `theirs` has the default
        if (
            name in UNCOMPARED
            or our_value == their_value
            or their_value is None
            or (their_value == value_of(defaults, name) and name != "in_flight" and our_value is None)
        ):
            continue
        if our_value is None or _loosens(name, our_value, their_value):
            names.append(name)
    return names


def _loosens(name: str, our_value: Any, their_value: Any) -> bool:
    try:
        return bool(tighter_of(name, our_value, their_value) != our_value)
    except ValueError:
        # the estimators differ: compare their bounds
        return bool(getattr(our_value, "limit", 0.0) > getattr(their_value, "limit", 0.0))
