"""Sinks of alerts by kind. A client library is imported at the first delivery."""

import time
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from msgspec import Struct

from quantd.adapters.plugins import function
from quantd.adapters.sinks.sink import OpenSink, Sink, divided
from quantd.daemon.config import Config, Mistake, secret
from quantd.records import records
from quantd.trading.display_text import microsecond_text

if TYPE_CHECKING:
    from quantd.adapters.bus.payloads import Alert

REHEARSAL: Final = "rehearse"
"""The name that a test alert has as its run."""


def sinks() -> Mapping[str, Sink]:
    """Return every kind of sink (receiver of alerts), by its name."""
    return records("quantd.adapters.sinks", Sink, "quantd.sinks")


def lacking_secrets(config: Config) -> list[Mistake]:
    """Return the mistakes about missing secrets of sinks. Call this in a run only, where secrets are available."""
    return [
        config.source.mistake(
            ("alerts", "sinks", kind),
            f"needs the secret {name}, which is missing",
            f"set QUANTD_{name.upper()}, or give the systemd credential {name}",
        )
        for kind, table in config.alerts.sinks.items()
        for name in sinks()[kind].required(_options(kind, table))
        if not secret(name)
    ]


def _options(kind: str, table: Mapping[str, Any]) -> Struct:
    """Return the options of a sink of alerts, from its valid table in config.toml."""
    return msgspec.convert(divided(table)[1], sinks()[kind].options)


def open_sinks(config: Config) -> dict[str, OpenSink]:
    """Return the opened sinks (receivers) of [alerts.sinks] by name, before their first delivery."""
    by_kind = {}
    for kind, table in config.alerts.sinks.items():
        sink = sinks()[kind]
        secrets = {name: secret(name) or "" for name in sink.secrets}
        by_kind[kind] = cast(OpenSink, function(sink.opens)(_options(kind, table), secrets))
    return by_kind


def rehearsal(name: str) -> "Alert":
    """Return an alert that tests a sink, of the daemon `name`: INFO, of kind `rehearsal`."""
    from quantd.adapters.bus.payloads import SCHEMA, Alert

    now = time.time_ns()
    return Alert(
        schema=SCHEMA, id=f"{REHEARSAL}-{uuid.uuid4().hex}", run=REHEARSAL, name=name, ts_event=now,
        time=microsecond_text(now), level="INFO", kind="rehearsal", text="a test of this sink: nothing happened",
        symbol="", agent="", value=None, bound=None,
    )  # fmt: skip
