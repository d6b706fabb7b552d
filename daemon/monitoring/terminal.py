"""The foreground output of `quantd run`: a few lines at the start, then a live box on a terminal.

Without a terminal the output is one line every few seconds.
"""

import asyncio
import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from quantd.adapters.store.store_errors import StoreError
from quantd.daemon.assembly.parts import Assembly, Parts
from quantd.daemon.config import Config
from quantd.daemon.runtime.service import Service
from quantd.daemon.views.overview import AgentNow, LimitNow, Overview, overview
from quantd.daemon.views.rows import decided, newest_plans
from quantd.regular_file import write_whole
from quantd.trading.display_text import ESCAPES, instant_text, visible
from quantd.trading.effects import Publish
from quantd.trading.instruments import synthetic_note
from quantd.trading.ports import leaves

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

REFRESH_S: Final = 0.5
LINE_S: Final = 10.0
"""Seconds between two lines when the output is not a terminal."""

SIGN_IN: Final = "sign-in"
"""File of the state folder with the one-time link of a start without a terminal."""

SHOWN: Final = 5

SAME: Final = 0.0005
"""Two drawdowns that differ by less are shown as one."""

"""Maximum number of weights on an agent's line."""

log = structlog.get_logger("quantd.run")

STYLE: Final = {"RUN": "green", "REDUCE": "yellow", "HALT": "bold red"}
LEVELS: Final = {"INFO": "dim", "WARNING": "yellow", "CRITICAL": "bold red"}


async def watch(
    service: Service,
    parts: Parts,
    config: Config,
    api_url: str,
    bus_url: str,
    folder: Path,
    link: Callable[[], str],
) -> None:
    """Shows the run until cancelled; `folder` is its state folder.

    `link` makes a one-time link to the dashboard. A log may have other readers: without a terminal the link is in the
    file SIGN_IN of the state folder, which only its owner may read, and the output names this file.
    """
    if config.log.format == "json":
        topic = f"{config.bus.prefix}/{config.quantd.name}/#"
        paths = {"state": str(folder), "sign_in": await asyncio.to_thread(_stored, link(), folder)}
        log.info("serving", run=service.run, **paths, dashboard=api_url, bus=bus_url, topic=topic)
        for note in notes(service, parts):
            log.warning("note", run=service.run, text=note)
        await _lines(service, parts, config)
        return
    lines = header(service, parts, config, api_url, bus_url, folder)
    if not sys.stdout.isatty():
        stored = await asyncio.to_thread(_stored, link(), folder)
        lines.append(f"  sign in    the link is in {stored}; it works once, within 15 minutes")
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
        await _lines(service, parts, config)
        return
    from rich.console import Console

    console = Console(highlight=False)
    for line in lines:
        console.print(visible(line), markup=False)
    console.print(f"  sign in    {link()}    (this link works once)", markup=False, soft_wrap=True)
    await _box(console, service, parts, config)


def _stored(link: str, folder: Path) -> str:
    """Write the one-time link to its file, and return the path, or why there is none: a bad disk stops no start."""
    try:
        write_whole(folder / SIGN_IN, f"{link}\n".encode(), 0o600, durable=False)
    except OSError as error:
        return f"no file ({error})"
    return str(folder / SIGN_IN)


def header(service: Service, parts: Parts, config: Config, api_url: str, bus_url: str, folder: Path) -> list[str]:
    """The first lines of the output: name, market, broker, run and addresses."""
    feed, broker = config.feed, config.broker
    market = f"{feed.kind} {feed.venue}".strip()
    if isinstance(parts, Assembly):
        first, last = instant_text(parts.start_ns)[:10], instant_text(parts.feed.last_ts)[:10]
        market = f"replay of {parts.universe.size} symbols, {first} to {last}, {feed.pace.replace('/s', ' sessions/s')}"
    cash = f"{broker.cash_micro / 1e6:,.2f} {config.universe.currency}"
    return [
        f"quantd {config.quantd.name} · {market} · {broker.kind} broker, {cash} · run {service.run}",
        f"  dashboard  {api_url}    (token for changes: {folder / config.api.tokens})",
        f"  alerts     {bus_url}  topic {config.bus.prefix}/{config.quantd.name}/#     try: quantd alerts --follow",
        "  stop with Ctrl-C; the next start continues this run",
        *(f"  {note}" for note in notes(service, parts)),
    ]


def notes(service: Service, parts: Parts) -> list[str]:
    """Notes about the run, for the operator who starts it."""
    texts = [note for note in [synthetic_note(parts.universe.symbols)] if note]
    trained_until_ns = trained_until(parts)
    if trained_until_ns and parts.start_ns < trained_until_ns:
        until = instant_text(trained_until_ns)[:10]
        texts.append(f"note: a learned policy was trained on bars up to {until}; results up to then are in-sample")
    if isinstance(parts, Assembly) and service.shell.ts >= (last := parts.feed.last_ts):
        text = f"this run has processed its whole recorded market, to {instant_text(last)[:10]}"
        texts.append(f"{text}; `quantd run --fresh` starts a new run")
    return texts


def trained_until(parts: Parts) -> int:
    """The end (ns UTC) of the latest training window of any policy; 0 when none was trained."""
    parts_of_policies = (leaf for policy in parts.policies for leaf in leaves(policy))
    return max((int(getattr(leaf, "trained_until_ns", 0)) for leaf in parts_of_policies), default=0)


async def _lines(service: Service, parts: Parts, config: Config) -> None:
    while True:
        await asyncio.sleep(LINE_S)
        current = overview(service, parts, config)
        fields = ("run", "status", "session", "switch", "equity", "drawdown", "orders", "fills", "alerts")
        log.info("standing", **{k: getattr(current, k) for k in fields} | {"drawdown": round(current.drawdown, 4)})


async def _box(console: "Console", service: Service, parts: Parts, config: Config) -> None:
    """Show the run in a box that is drawn again every REFRESH_S, until cancelled, and once more at the end."""
    from rich.live import Live

    decisions: dict[str, str] = {}

    def picture() -> "RenderableType":
        return box(overview(service, parts, config), decisions, service.recent[-1] if service.recent else None)

    with Live(console=console, auto_refresh=False, redirect_stdout=False) as live:
        try:
            while True:
                with contextlib.suppress(StoreError):
                    plans = await asyncio.to_thread(newest_plans, service.store, service.run)
                    decisions = decided(plans, parts)
                live.update(picture(), refresh=True)
                await asyncio.sleep(REFRESH_S)
        finally:
            live.update(picture(), refresh=True)


def box(now: Overview, decisions: dict[str, str], alert: Publish | None) -> "RenderableType":
    """One frame of the terminal display of a run: a row for each agent, and the newest alert, if there is one.

    `decisions` are agent -> its newest decision as text.
    """
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, expand=True, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    # (heading, 1 for figures, which stand at the right)
    for name, right in (("agent", 0), ("policy", 0), ("capital", 1), ("weight now", 0), ("today", 1), ("decided", 0)):
        grid.add_column(name, justify="right" if right else "left", no_wrap=True, overflow="ellipsis")
    for agent in now.agents:
        grid.add_row(
            Text(
                f"{agent.name} (shadow)" if agent.shadow else agent.name,
                style=STYLE["REDUCE"] if agent.suspended else "",
            ),
            agent.policy.rsplit("/", 1)[-1],  # a policy file without its folder
            f"{agent.capital:.0%}",
            weights(agent),
            _percent(agent.today),
            "suspended" if agent.suspended else decisions.get(agent.name, "").translate(ESCAPES),
        )
    rows: list[RenderableType] = [grid]
    if alert is not None:
        about = f" ({alert.agent or alert.symbol})" if alert.agent or alert.symbol else ""
        text = f"last alert {alert.level} {alert.kind}: {alert.text}{about}".translate(ESCAPES)
        rows.append(Text(text, style=LEVELS[alert.level]))
    return Panel(Group(*rows), title=title(now), title_align="left", border_style=STYLE[now.switch])


def title(now: Overview) -> str:
    """The title, as in: 2020-02-28 ─ RUN ─ equity 118,402.17 (+18.4 %) ─ drawdown 9.1 % of 25 % ─ VaR 2.7 % of 3 %."""
    limits = {limit.limit: limit for limit in now.limits}
    parts = [now.session or "no bar yet", now.switch if now.status == "running" else f"{now.switch}, {now.status}"]
    parts.append(f"equity {float(now.equity):,.2f} ({_percent(now.total)})")
    counts = _of(now.limit_drawdown, limits.get("max_drawdown"))
    same = abs(now.drawdown - now.limit_drawdown) < SAME
    parts.append(f"drawdown {counts}" if same else f"drawdown {now.drawdown:.1%}, since the resume {counts}")
    if (var := limits.get("var")) is not None and var.value is not None:
        parts.append(f"VaR {_of(var.value, var)}")
    return " ─ ".join(parts)


def weights(agent: AgentNow) -> str:
    """The largest weights in percent, the largest first: "SPY 12.1  QQQ 14.0  IWM 3.2 …"; "flat" for none."""
    held = sorted(agent.weights.items(), key=lambda item: -abs(item[1]))
    shown = "  ".join(f"{symbol} {100 * weight:.1f}" for symbol, weight in held[:SHOWN])
    return f"{shown} …" if len(held) > SHOWN else shown or "flat"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:+.1f} %"


def _of(value: float, limit: LimitNow | None) -> str:
    text = f"{100 * value:.1f} %"
    return text if limit is None or limit.bound is None else f"{text} of {100 * limit.bound:g} %"
