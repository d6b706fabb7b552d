"""The record of a sink, and the sink that it opens."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from msgspec import Struct

from quantd.adapters.bus.payloads import Alert


class SinkError(Exception):
    """A sink did not take an alert. The text names the reason without secrets."""


class OpenSink(Protocol):
    """Receives alerts. One task calls it, with one alert at a time."""

    async def deliver(self, alert: Alert) -> None:
        """Return once the receiver has the alert. Any exception means that the same alert is delivered again later."""

    async def close(self) -> None: ...


class Counts(Struct):
    """The deliveries of one sink: alerts that are queued (at the last look), delivered alerts, and failed attempts.

    `error` is the reason of the last failure, empty after a success.
    """

    depth: int = 0
    sent: int = 0
    failures: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Sink:
    """A sink as data. Its module imports neither a client library nor another heavy package.

    The fields of `options` are the keys of [alerts.sinks.<kind>]. A ValueError of its `__post_init__` that begins with
    the name of a key is reported at the line of that key; the remedy follows a semicolon. `opens` is "module:function"
    from the options and the `secrets` by name to an OpenSink; it makes no request yet.
    """

    kind: str
    options: type[Struct]
    opens: str
    secrets: Mapping[str, str] = field(default_factory=dict)
