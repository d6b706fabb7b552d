"""Sinks of alerts by kind. A client library is imported at the first delivery."""

from collections.abc import Mapping
from typing import cast

import msgspec

from quantd.adapters.plugins import function, records
from quantd.adapters.sinks.sink import OpenSink, Sink
from quantd.daemon.config import Config, Mistake, secret


def sinks() -> Mapping[str, Sink]:
    """Every sink by its kind."""
    return records("quantd.adapters.sinks", Sink, "quantd.sinks")


def lacking_secrets(config: Config) -> list[Mistake]:
    """Mistakes about secrets of sinks. The check needs the secrets, which only a run has."""
    return [
        config.source.mistake(
            ("alerts", "sinks", kind),
            f"needs the secret {name}, which is missing",
            f"set QUANTD_{name.upper()}, or give the systemd credential {name}",
        )
        for kind in config.alerts.sinks
        for name in sinks()[kind].secrets
        if not secret(name)
    ]


def open_sinks(config: Config) -> dict[str, OpenSink]:
    """The sinks of [alerts.sinks], before their first delivery."""
    found = {}
    for kind, table in config.alerts.sinks.items():
        sink = sinks()[kind]
        options = msgspec.convert(table, sink.options)
        found[kind] = cast(OpenSink, function(sink.opens)(options, {name: secret(name) or "" for name in sink.secrets}))
    return found
