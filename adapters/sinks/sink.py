"""The description of a sink (receiver of alerts) as data, and the protocol of an open sink."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
from msgspec import Struct

from quantd.trading.effects import Level

if TYPE_CHECKING:
    from quantd.adapters.bus.payloads import Alert
    from quantd.adapters.store.tables.projection import Row

ALL_LEVELS: Final[frozenset[Level]] = frozenset({"INFO", "WARNING", "CRITICAL"})


LONGEST_WAIT_S: Final = 3_600.0
"""Longest delay that a receiver can request."""


class SinkError(Exception):
    """A sink did not take an alert. The text names the reason without secrets.

    `retry_after_s` is the delay that the receiver requests before the next attempt, 0 without one. `refused` is True if
    the receiver refused only this alert and may accept others.
    """

    def __init__(self, text: str, retry_after_s: float = 0.0, *, refused: bool = False) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s
        self.refused = refused


class Selection(Struct, frozen=True):
    """The alerts that a sink receives: those of `levels`, and if `kinds` is not empty only those of these kinds.

    The fields are keys of the configuration table of every sink, besides the sink's own options. Raises ValueError if
    `levels` lacks CRITICAL.
    """

    levels: frozenset[Level] = ALL_LEVELS
    kinds: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if "CRITICAL" not in self.levels:
            raise ValueError('levels has no CRITICAL, which is always sent; add "CRITICAL"')

    def has(self, level: str, kind: str) -> bool:
        return level in self.levels and (not self.kinds or kind in self.kinds)


def divided(table: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split a configuration table [alerts.sinks.<kind>] into the keys of its Selection and the options of the sink."""
    common = {key: value for key, value in table.items() if key in Selection.__struct_fields__}
    return common, {key: value for key, value in table.items() if key not in common}


def selection_of(table: Mapping[str, Any]) -> Selection:
    return msgspec.convert(divided(table)[0], Selection)


class OpenSink(Protocol):
    """An open receiver of alerts. One task calls its methods, with one alert at a time."""

    async def deliver(self, alert: "Alert") -> None:
        """Send one alert, and return once the receiver has it. After any exception the same alert is delivered again
        later.

        After several SinkErrors with `refused`, or exceptions that are no OSError, other alerts are sent before this
        one.
        """

    async def close(self) -> None: ...


class Counts(Struct):
    """The deliveries of one sink, and which alerts are queued for it.

    `depth` is the number of alerts that were queued at the last count, `sent` the number of delivered alerts, and
    `failures` the number of failed attempts. `error` is the reason of the last failure, empty after a success.
    `selection` says which alerts are queued. `later` is True for a sink in the list [alerts] escalate that is not its
    first: a CRITICAL incident is queued for this sink only once the incident is escalated to the sink.
    """

    depth: int = 0
    sent: int = 0
    failures: int = 0
    error: str = ""
    selection: Selection = Selection()
    kind: str = ""
    later: bool = False

    def selects(self, row: "Row") -> bool:
        """Whether a message, a row of the outbox, is queued for the sink.

        A route says which sinks receive a message, and at which level. The selection has the levels and kinds that a
        person chose for this sink. A route to certain sinks has priority over the selection. `later` is True for a
        receiver of escalations that is not the first one: it gets a CRITICAL incident only by such a route.
        """
        from quantd.adapters.store.incidents.incident_fold import Route

        route = row[7]  # a row ends with its route; column 5 is the kind
        assert isinstance(route, Route)
        if route.only or self.kind in route.sinks:
            return self.kind in route.sinks
        if self.later and route.level == "CRITICAL" and route.incident:
            return False
        return self.selection.has(route.level, str(row[5]))


@dataclass(frozen=True, slots=True)
class Sink:
    """The description of a sink (receiver of alerts) as data. Its module imports neither a client library nor another
    heavy package.

    The fields of `options` are the keys of [alerts.sinks.<kind>]. If `__post_init__` of the options raises a ValueError
    whose text begins with the name of a key, the error is reported at the line of that key; the remedy in the text
    follows a semicolon. `opens` names, as "module:function", a function that takes the options and the secrets by name,
    and returns an OpenSink without a request. `secrets` maps the name of each secret to its meaning. `needs` returns
    the names of the secrets that the options require; if it is None, all are required. A secret that is neither
    required nor set is empty.
    """

    kind: str
    options: type[Struct]
    opens: str
    secrets: Mapping[str, str] = field(default_factory=dict)
    needs: Callable[[Any], Collection[str]] | None = None

    def required(self, options: Struct) -> Collection[str]:
        """Return the names of the secrets without which these options do not work."""
        return self.secrets if self.needs is None else self.needs(options)
