"""Alarms of one's own, `alarms` in [alerts]: an alert where a figure passes its bound, open until it is back.

The figures are those of the newest commit, looked at once a second at most. A recorded market at full speed takes many
samples in one commit; an alarm then sees the last of them.
"""

import asyncio
from math import isfinite
from typing import Final

from quantd.daemon.config.alarm_bounds import Alarm, alarm_of
from quantd.daemon.engine.state import State
from quantd.daemon.runtime.service import Service

LOOK_S: Final = 1.0
"""Least seconds between two looks at the figures."""

PREFIX: Final = "job_"
"""What the kind of an alert has before the name of an alarm."""


async def alarms(service: Service) -> None:
    """Look at all alarms whenever the account may have changed."""
    seen: tuple[int, tuple[str, ...]] | None = None
    while True:
        if seen != (newest := (service.progress, service.config.alerts.alarms)):
            seen = newest
            look(service)
        await service.changed(LOOK_S)
        await asyncio.sleep(LOOK_S)


def look(service: Service) -> None:
    """Raise each alarm whose figure has passed its bound, and clear each that is back, or is not configured any more.

    What is raised is read from the open incidents, which a restart keeps. A figure without a value changes nothing.
    """
    raised = {incident.kind.removeprefix(PREFIX) for incident in service.incidents.active()}
    configured = {alarm.name: alarm for text in service.config.alerts.alarms if (alarm := alarm_of(text))}
    for name, alarm in configured.items():
        value = value_of(service, alarm)
        if value is None:
            continue
        passed = value > alarm.bound if alarm.above else value < alarm.bound
        if passed != (name in raised):
            words = f"{alarm.figure} {alarm.symbol}".strip()
            end = "the alarm" if passed else "no longer the alarm"
            service.alert(f"{words} is {_text(alarm.figure, value)}: {end} {alarm.text}", name, up=not passed)
    for name in sorted(raised - set(configured)):
        if name.startswith("alarm_"):
            service.alert("the alarm is not in the configuration any more", name, up=True)


def value_of(service: Service, alarm: Alarm) -> float | None:
    """The value of an alarm's figure now; None where it has none, such as before the first price."""
    state: State = service.shell.state
    if not state.sample:
        return None
    equity = state.equity_micro / 1e6
    match alarm.figure:
        case "equity":
            return equity
        case "drawdown":
            return service.histories.peak.drawdown(state.equity_micro)
        case "day":
            opening = state.switch.day_open
            return state.equity_micro / opening - 1.0 if opening > 0 else None
    column = state.universe.index.get(alarm.symbol)
    if column is None or not isfinite(price := float(state.marks[column])) or price <= 0.0:
        return None
    if alarm.figure == "price":
        return price
    lots = state.ledger.house.lots[column]
    return lots * float(state.universe.lot_size[column]) * price / equity if equity > 0.0 else None


def _text(name: str, value: float) -> str:
    """The value of a figure as text: money and prices with two decimals, a fraction with four."""
    return f"{value:,.2f}" if name in ("equity", "price") else f"{value:.4f}"
