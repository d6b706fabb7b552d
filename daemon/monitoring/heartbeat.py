"""Periodic reports of a running daemon: heartbeats on the bus, watchdog notifications, risk in the log."""

import asyncio
import contextlib
import os
import time
from typing import Final

import structlog

from quantd.adapters.bus.messages import Composer
from quantd.adapters.bus.publisher import MqttBus
from quantd.daemon.monitoring import systemd
from quantd.daemon.monitoring.metrics import log_file_fault
from quantd.daemon.monitoring.watchdog import SILENCE_S, Sentry
from quantd.daemon.runtime.service import Service
from quantd.daemon.views.overview import SWITCH
from quantd.daemon.views.risk_measures import METRICS, house_assessed, metrics_of
from quantd.trading.display_text import instant_text

log = structlog.get_logger("quantd")


LOST_LINES_S: Final = 3_600.0
"""Least seconds between two alerts about lost log lines: a full partition may still take some short lines."""


async def heartbeat(service: Service, bus: MqttBus, composer: Composer) -> None:
    """Publishes a heartbeat every five seconds, and raises an alert if the log file in LOGS_DIR loses lines."""
    beat, alerted_s = 0, -LOST_LINES_S
    while True:
        beat += 1
        state = service.shell.state
        message = composer.heartbeat(time.time_ns(), beat, service.shell.tally.slices, state.equity_micro)
        bus.heartbeat(message.topic, message.payload)
        if (fault := log_file_fault()) and time.monotonic() - alerted_s >= LOST_LINES_S:
            alerted_s = time.monotonic()
            text = f"LOGS_DIR = {os.environ.get('LOGS_DIR', '')}: lines of the log file are lost ({fault})"
            service.alert(f"{text}; trading goes on, and every line is on standard error. Make space in that folder")
        await asyncio.sleep(5.0)


async def watchdog(service: Service) -> None:
    """Notifies systemd or the sentry process that the loop runs; without notifications they kill the daemon."""
    period_s = systemd.watchdog_usec() / 1e6
    with contextlib.ExitStack() as leaving:
        # where systemd asks for no notifications, the sentry process watches the loop
        sentry = None if period_s else Sentry(service.halt_file)
        if sentry is not None:
            leaving.callback(sentry.close)
        last_progress = -1
        while True:
            if service.progress != last_progress:
                last_progress = service.progress
                if sentry is not None:
                    sentry.beat()
                state = service.shell.state
                systemd.alive()
                switch, equity, agents = SWITCH[state.switch.state], state.equity_micro / 1e6, len(state.in_use())
                systemd.tell_status(f"{switch} · {service.status} · equity {equity:,.2f} · {agents} agents")
            await asyncio.sleep(period_s / 3 if period_s else SILENCE_S / 6)


async def monitoring(service: Service, interval_s: float) -> None:
    """Logs the risk of the whole account every `interval_s` seconds of wall-clock time, also between bars."""
    while True:
        await asyncio.sleep(interval_s)
        risk = metrics_of(house_assessed(service.shell.state).house)
        state = service.shell.state
        log.info(
            "risk",
            interval_s=interval_s,
            time=instant_text(state.now),
            equity=state.equity_micro / 1e6,
            switch=state.switch.state,
            **{name: round(value, 4) for name in METRICS if (value := getattr(risk, name)) is not None},
        )
