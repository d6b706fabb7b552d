"""The names that a configuration may use: policies with their parameters, calendars, risk profiles."""

from typing import Final

from quantd.adapters.sinks.sink import Selection
from quantd.daemon.assembly.brokers import venues
from quantd.daemon.assembly.feeds import vendors
from quantd.daemon.assembly.limit_keys import limit_keys
from quantd.daemon.assembly.sinks import sinks
from quantd.daemon.config import Known
from quantd.models.forests.params import NAME as LEARNED_ALLOCATION
from quantd.models.forests.params import AllocationParams
from quantd.risk.limits.catalogue import PROFILES
from quantd.strategies.policies import COMPOSITES, POLICIES, RECORDS

COMMON: Final = (
    "24/7", "XNYS", "XNAS", "NYSE", "NASDAQ", "XLON", "LSE", "XETR", "XFRA", "XPAR", "XAMS", "XSWX", "XMIL", "XMAD",
    "XTSE", "XTKS", "XHKG", "XSHG", "XBOM", "XASX", "XKRX", "BVMF", "CMES", "24/5",
)  # fmt: skip
"""Calendars that are known without an import of the library; a test compares them with it."""


class Calendars(tuple[str, ...]):
    """The common names, for suggestions; other names are looked up in a library that takes two seconds to import."""

    __slots__ = ()

    def __contains__(self, name: object) -> bool:
        if super().__contains__(name):
            return True
        from quantd.adapters.calendars import ALWAYS_OPEN, names

        return name == ALWAYS_OPEN or name in names()


class Policies(tuple[str, ...]):
    """The built-in names, for suggestions; other names are looked up among installed packages."""

    __slots__ = ()

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in POLICIES or name in COMPOSITES


def known_names() -> Known:
    """The names that `quantd.daemon.config.load` accepts."""
    parameters = {each.name: each.params.__struct_fields__ for each in RECORDS}
    parameters[LEARNED_ALLOCATION] = AllocationParams.__struct_fields__
    declared = [each.secrets for many in (vendors(), venues(), sinks()) for each in many.values()]
    return Known(
        Policies(sorted(parameters)),
        Calendars(COMMON),
        tuple(PROFILES),
        parameters,
        limits=limit_keys(),
        sinks={kind: each.options for kind, each in sinks().items()},
        selection=Selection,
        feeds=("replay", *vendors()),
        brokers=tuple(venues()),
        stops_at={kind: each.stops_at for kind, each in venues().items() if each.stops_at is not None},
        secrets={name: text for secrets in declared for name, text in secrets.items()},
    )
