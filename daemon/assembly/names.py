"""The names a configuration may use: policies with their parameters, calendars, risk profiles."""

from collections.abc import Iterator
from typing import Final

from quantd.daemon.config import Config, Known, LimitKey, Mistake
from quantd.models.forests.params import NAME as LEARNED_ALLOCATION
from quantd.models.forests.params import AllocationParams
from quantd.risk.limits.catalogue import EXTRA
from quantd.risk.limits.profiles import PROFILES
from quantd.risk.limits.record import higher
from quantd.strategies.policies import COMPOSITE_PARAMS, COMPOSITES, POLICIES, ParamsError
from quantd.strategies.policies.feature_rank import SignalsParams
from quantd.strategies.policies.fixed_mix import FixedMixParams

COMMON: Final = (
    "24/7", "XNYS", "XNAS", "NYSE", "NASDAQ", "XLON", "LSE", "XETR", "XFRA", "XPAR", "XAMS", "XSWX", "XMIL", "XMAD",
    "XTSE", "XTKS", "XHKG", "XSHG", "XBOM", "XASX", "XKRX", "BVMF", "CMES", "24/5",
)  # fmt: skip
"""Calendars that need no look at the library; a test holds them to it."""


class Calendars(tuple[str, ...]):
    """The common names, for suggestions; every other one is asked of a library that takes two seconds to import."""

    __slots__ = ()

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in _all_calendars()


def _all_calendars() -> tuple[str, ...]:
    from quantd.adapters.calendars import ALWAYS_OPEN, names

    return (ALWAYS_OPEN, *names())


def known_names() -> Known:
    """What `quantd.daemon.config.load` checks names against."""
    parameters = {name: fields for name in POLICIES if (fields := _parameters(name)) is not None}
    parameters[LEARNED_ALLOCATION] = AllocationParams.__struct_fields__
    names = tuple(sorted([*POLICIES, *COMPOSITES, LEARNED_ALLOCATION]))
    return Known(names, Calendars(COMMON), tuple(PROFILES), parameters | COMPOSITE_PARAMS, limit_keys())


def limit_keys() -> tuple[LimitKey, ...]:
    """The keys of limits that the schema of the configuration does not have: those of records without a field."""
    return tuple(
        LimitKey(key, *bounds, floor=each.tighter is higher)
        for key, each in EXTRA.items()
        if (bounds := each.bounds) is not None
    )


def _parameters(policy: str) -> tuple[str, ...] | None:
    """Names of a registered policy's parameters; None when it does not say."""
    try:
        made = POLICIES[policy]({})
    except ParamsError:
        needy = {"fixed_mix": FixedMixParams, "signals": SignalsParams}  # they have no usual parameters
        return needy[policy].__struct_fields__ if policy in needy else None
    params = getattr(made, "params", None)
    return () if params is None else tuple(params.__struct_fields__)


JOBS = frozenset(
    {
        "rebalance",
        "snapshot",
        "flatten",
        "risk_report",
        "daily_report",
        "reconcile",
        "backup",
        "compact",
        "reallocate",
        "promote",
        "retrain",
    }
)
"""What a schedule can do in this version."""


def not_yet(config: Config) -> list[Mistake]:
    """A mistake for each thing that is configured and not built."""
    return list(_not_yet(config))


def _not_yet(config: Config) -> Iterator[Mistake]:
    mistake = config.source.mistake
    later = "this version does not do it yet"
    for k, schedule in enumerate(config.schedules):
        if schedule.do not in JOBS:
            known = ", ".join(sorted(JOBS))
            yield mistake(("schedules", k, "do"), f'= "{schedule.do}": {later}', f"it does {known}")
