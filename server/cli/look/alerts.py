"""List the newest alerts, or with --active the incidents that hold; --ack acknowledges one, --test sends an alert."""

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote

import msgspec
import typer

from quantd.adapters.bus.settings import address
from quantd.daemon.cli.command import DEFAULTS, Command, Json, Last, Mqtt, Reason, Run, RunOptions, unused
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import answer, say
from quantd.daemon.cli.places import Place, bus_login, bus_tls
from quantd.server.cli.client import reach, running
from quantd.trading.display_text import endpoint_text, local
from quantd.trading.exit_codes import CHECK_FAILED, DONE, TRY_LATER, USAGE

if TYPE_CHECKING:
    from quantd.adapters.store.queries import Reader

LAST: Final = 20
"""Alerts that are listed without --last."""


def alerts(
    chosen: RunOptions = DEFAULTS,
    last: Last = LAST,
    run: Run = None,
    kind: Annotated[
        list[str] | None, typer.Option("--kind", metavar="KIND", help="Only alerts of this kind; repeatable.")
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option("--without", metavar="KIND", help="No alerts of this kind; repeatable.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Continue with new alerts, over MQTT.")] = False,
    test: Annotated[
        bool, typer.Option("--test", help="Send a test alert to each sink; exit code 1 if one fails.")
    ] = False,
    active: Annotated[bool, typer.Option("--active", help="List the incidents that hold.")] = False,
    ack: Annotated[str, typer.Option("--ack", metavar="ID", help="Acknowledge an incident; needs --reason.")] = "",
    reason: Reason = "",
    mqtt: Mqtt = "",
    as_json: Json = False,
) -> int:
    import asyncio

    from quantd.adapters.store.incidents.alert_kinds import ALERT_KINDS, kind_of
    from quantd.daemon.config.mistakes import suggestion

    stored = {"--run": run, "--last": last != LAST, "--kind": kind, "--without": without}
    if ack:
        unused("--ack", {**stored, "--follow": follow, "--test": test, "--active": active})
        return _acknowledge(chosen, ack, reason, mqtt, as_json=as_json)
    if follow:
        unused("--follow", {"--kind": kind, "--without": without, "--test": test, "--active": active})
    if reason or mqtt:
        raise typer.BadParameter("--reason and --mqtt were used without --ack; add --ack ID, or leave them out")
    if test:
        unused("--test", {**stored, "--active": active})
        return _test(chosen, as_json)
    where = chosen.place().unchanged()
    reader = where.reader(run)
    if active:
        unused("--active", {**stored, "--run": ""})
        return _active(reader, as_json)
    rows = reader.alerts(last=last, kinds=kind or (), without=without or ())
    if follow:
        # first the stored alerts, then the new ones
        for row in rows:
            _show(msgspec.to_builtins(row), as_json)
        asyncio.run(_follow(chosen.config, *_bus(where), as_json))
    else:
        counts = reader.alert_kinds()
        for name in (*(kind or ()), *(without or ())):
            if name not in counts and kind_of(name) is None:
                names = dict.fromkeys([*counts, *(record.name for record in ALERT_KINDS)])
                raise Failure(f"no alert has the kind {name!r}: {suggestion(name, list(names))}", USAGE)
        lines = (_line(row.ts, row.level, row.kind, row.text, row.symbol, row.agent) for row in rows)
        counts_line = [_kinds_line(len(rows), counts)] if sum(counts.values()) > len(rows) else []
        answer(as_json, {"run": reader.run.run, "alerts": rows, "kinds": counts}, *lines, *counts_line)
    return DONE


def _kinds_line(shown: int, counts: Mapping[str, int]) -> str:
    """The number of all alerts of each kind as a line, since the `shown` alerts may all be of one frequent kind."""
    kinds = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    return f"{shown:,} of {sum(counts.values()):,} alerts: {kinds}. --kind and --without choose among them"


def _active(reader: "Reader", as_json: bool) -> int:
    """List the incidents that are not cleared."""
    incidents = [incident for incident in reader.incidents() if incident.active]
    lines = [
        f"{_line(incident.since_ts, incident.level, incident.kind, incident.text, incident.symbol, incident.agent)}\n"
        f"    {incident.id}  {incident.state}" + (f" by {incident.who}: {incident.reason}" if incident.who else "")
        for incident in incidents
    ]
    answer(as_json, {"run": reader.run.run, "incidents": incidents}, *(lines or ["no active incidents"]))
    return DONE


def _acknowledge(chosen: RunOptions, incident: str, reason: str, mqtt: str, *, as_json: bool) -> int:
    """Acknowledge an incident at the daemon or over MQTT; return when the acknowledgement is journalled."""
    if mqtt:
        from quantd.server.cli.operate import remote

        remote.command(chosen.config, mqtt, "acknowledge", reason=reason, incident=incident, as_json=as_json)
        return DONE
    path = f"/api/v1/alerts/{quote(incident, safe='')}/acknowledge"
    row = reach(chosen.place()).post(path, {"reason": reason})
    answer(as_json, row, f"{row['id']} is {row['state']} by {row['acknowledged_by']}: {row['text']}")
    return DONE


def _test(chosen: RunOptions, as_json: bool) -> int:
    """Deliver a test alert to each configured sink, whatever levels and kinds it accepts."""
    import asyncio

    from quantd.daemon.assembly.sinks import lacking_secrets
    from quantd.daemon.config import ConfigError
    from quantd.server.cli.setup.rehearsal import deliveries

    settings = chosen.read()
    if mistakes := lacking_secrets(settings):
        raise ConfigError(mistakes)
    if not settings.alerts.sinks:
        raise Failure(
            f"{chosen.config} has no sink of alerts; add one under [alerts.sinks] (docs/operate/alerts.md)", USAGE
        )
    tried = asyncio.run(deliveries(settings))
    failed = any(delivery.failed for delivery in tried)
    rows = [
        {"sink": delivery.what, "ok": not delivery.failed, "error": delivery.failed, "ms": round(delivery.ms)}
        for delivery in tried
    ]
    lines = (f"  {'FAIL' if row['error'] else 'ok  '}  {row['error'] or row['sink']}, {row['ms']} ms" for row in rows)
    answer(as_json, {"ok": not failed, "sinks": rows}, *lines)
    return CHECK_FAILED if failed else DONE


def _line(ts: int, level: str, kind: str, text: str, symbol: str, agent: str) -> str:
    about = " ".join(x for x in (symbol, agent) if x)
    return f"{local(ts)}  {level:8} {kind:24} {about + ': ' if about else ''}{text}".replace("\n", "\\n")


def _show(alert: dict[str, Any], as_json: bool) -> None:
    if as_json:
        say(msgspec.json.encode(alert).decode())
    else:
        ts = alert.get("ts_event", alert.get("ts", 0))
        say(_line(ts, alert["level"], alert["kind"], alert["text"], alert["symbol"], alert["agent"]))
    sys.stdout.flush()


def _bus(where: Place) -> tuple[str, str]:
    """The URL of the running daemon's broker, and the topic of its alerts."""
    daemon = running(where)
    if daemon is None:
        raise Failure(f"no daemon runs in {where.folder}, so there are no new alerts; start `quantd run`", TRY_LATER)
    about = daemon.get("/api/v1")
    return str(about["bus"]), f"{about['topic']}/alerts/#"


async def _follow(config: Path, url: str, topic: str, as_json: bool) -> None:
    """Print the alerts of a broker until interrupted; after a lost connection it connects again.

    Raises Failure if the first connection fails.
    """
    import asyncio

    from aiomqtt import Client, MqttError

    host, port, secure = address(url)
    user, password = bus_login(config)
    tls = bus_tls(config, secure)
    context = tls.context() if tls is not None else None
    shown_ids: set[str] = set()
    first_attempt = True
    while True:
        try:
            async with Client(host, port, username=user, password=password, tls_context=context, timeout=5.0) as client:
                await client.subscribe(topic, qos=1)
                first_attempt = False
                async for message in client.messages:
                    with contextlib.suppress(msgspec.DecodeError, KeyError, TypeError):
                        alert = msgspec.json.decode(message.payload)
                        if alert["id"] in shown_ids:
                            continue  # the broker repeats alerts after a reconnection
                        if len(shown_ids) > 10_000:  # a bound on memory; repeated alerts are recent
                            shown_ids.clear()
                        shown_ids.add(alert["id"])
                        _show(alert, as_json)
        except MqttError as why:
            if first_attempt:
                raise Failure(
                    f"the MQTT broker at {endpoint_text(host, port)} does not answer: {why}", TRY_LATER
                ) from None
            await asyncio.sleep(1.0)


COMMAND: Final = Command("Look", 70, alerts)
