"""List the newest alerts. With --follow and --json: one JSON document per line."""

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from aiomqtt import Client, MqttError

from quantd.adapters.bus.settings import address
from quantd.daemon.cli.client import running
from quantd.daemon.cli.command import CONFIG_FILE, Command, ConfigFile, Json, Last, Run, State
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import local, print_json, say
from quantd.daemon.cli.places import bus_login, bus_tls, place
from quantd.daemon.views.rows import alert_line
from quantd.trading.exit_codes import TRY_LATER


def alerts(
    config: ConfigFile = CONFIG_FILE,
    state: State = None,
    last: Last = 20,
    run: Run = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Then those that come, over MQTT.")] = False,
    as_json: Json = False,
) -> None:
    where = place(config, state)
    reader = where.reader(run)
    rows = [alert_line(row) for row in reader.alerts(last=last)]
    if not follow:
        if as_json:
            print_json({"run": reader.run.run, "alerts": rows})
            return
        for row in rows:
            say(_line(row.ts, row.level, row.kind, row.text, row.symbol, row.agent))
        return
    for row in rows:
        _show(msgspec.to_builtins(row), as_json)
    url, topic = _bus(where)
    asyncio.run(_follow(config, url, topic, as_json))


def _line(ts: int, level: str, kind: str, text: str, symbol: str, agent: str) -> str:
    about = " ".join(x for x in (symbol, agent) if x)
    return f"{local(ts)}  {level:8} {kind:24} {about + ': ' if about else ''}{text}".replace("\n", "\\n")


def _show(alert: dict[str, Any], as_json: bool) -> None:
    """One line, at once: somebody is looking."""
    if as_json:
        say(msgspec.json.encode(alert).decode())
    else:
        ts = alert.get("ts_event", alert.get("ts", 0))
        say(_line(ts, alert["level"], alert["kind"], alert["text"], alert["symbol"], alert["agent"]))
    sys.stdout.flush()


def _bus(where: Any) -> tuple[str, str]:
    daemon = running(where)
    if daemon is None:
        raise Failure(f"no daemon runs in {where.folder}, so no alert will come; `quantd run` starts one", TRY_LATER)
    about = daemon.get("/api/v1")
    return str(about["bus"]), f"{about['topic']}/alerts/#"


async def _follow(config: Path, url: str, topic: str, as_json: bool) -> None:
    """Alerts of a broker until somebody stops us; connects again when the broker was away."""
    host, port, secure = address(url)
    user, password = bus_login(config)
    tls = bus_tls(config, secure)
    context = tls.context() if tls is not None else None
    seen: set[str] = set()
    first = True
    while True:
        try:
            async with Client(host, port, username=user, password=password, tls_context=context, timeout=5.0) as client:
                await client.subscribe(topic, qos=1)
                first = False
                async for message in client.messages:
                    with contextlib.suppress(msgspec.DecodeError, KeyError, TypeError):
                        alert = msgspec.json.decode(message.payload)
                        if alert["id"] in seen:
                            continue  # sent again after a break: the same id
                        if len(seen) > 10_000:
                            seen.clear()
                        seen.add(alert["id"])
                        _show(alert, as_json)
        except MqttError as why:
            if first:
                raise Failure(f"the MQTT broker at {host}:{port} does not answer: {why}", TRY_LATER) from None
            await asyncio.sleep(1.0)


COMMAND: Final = Command("Look", 70, alerts)
