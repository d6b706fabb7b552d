"""Add an outside agent: its table in the configuration, its book, its token, and the lines of its client."""

import json
import socket
import time
import tomllib
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from math import ceil
from pathlib import Path
from shlex import join
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from quantd.daemon.cli.command import DEFAULTS, Command, RunOptions, one_of
from quantd.daemon.cli.failures import Failure, needs
from quantd.daemon.cli.output import say
from quantd.daemon.cli.places import Place
from quantd.server.cli.client import Daemon, running
from quantd.trading.exit_codes import CHECK_FAILED, CONFIG

if TYPE_CHECKING:
    from quantd.daemon.config import Config

RESTART_S: Final = 120.0
"""Longest wait for the restart of a daemon, in seconds."""

STOP_S: Final = 8.0
"""Seconds within which a daemon that is asked to restart has stopped."""

REASON: Final = "quantd agent add"

BOUNDS: Final = {"order_rate": {"orders": 300, "per": "1m"}}
"""The limits of a new book, beside those of the account: a program in a loop sends orders as fast as it can."""

Approval = Annotated[
    str | None,
    typer.Option(
        "--approval", parser=one_of(("person", "device")), metavar="person|device", help="Who approves each proposal."
    ),
]

Keys = tuple[str | int, ...]
"""The path of a key in the configuration."""


def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the agent, of its book and of its token.")],
    chosen: RunOptions = DEFAULTS,
    share: Annotated[float, typer.Option("--share", min=0.001, max=0.999, help="Fraction of the account.")] = 0.2,
    mcp: Annotated[bool, typer.Option("--mcp", help="Print the lines of an MCP client.")] = False,
    gateway: Annotated[
        bool,
        typer.Option("--gateway", help="Print the lines of a trading program; make the gateway if it is missing."),
    ] = False,
    approval: Approval = None,
    sell: Annotated[bool, typer.Option("--sell", help="Let other agents sell where their cash is not enough.")] = False,
) -> None:
    """Add an outside agent: table, book, token of mode 600, and the lines of its client.

    Its share is cash that no agent has; the rest is paid by the agents above their shares, with --sell also by sales. A
    running daemon opens the book in a vacant place of [portfolios], or restarts by itself with --carry.
    """  # fmt: skip
    from quantd.server.requests.tokens import check_name

    if mcp:
        needs("quantd agent add --mcp", "mcp", extra="mcp")
    settings, where = chosen.read(), chosen.place().unchanged("the file that this command writes; write the key there")
    check_name(name)  # before a book is opened that would have no token
    file = chosen.config.absolute().with_name(f"{name}.token")
    if file.exists():
        raise Failure(f"{file} exists; move it away, or choose another name", CONFIG)
    daemon = running(where)
    table = settings.gateway
    port = None if not gateway else _free_port() if table is None else table.port
    # a daemon that has no gateway yet has one after its restart
    restarts = bool(approval) or (port is not None and not _listens(port))
    capital = "" if daemon is None or restarts else _place_capital(daemon, share)
    if daemon is not None and capital:
        _fill_place(daemon, name, capital)
        _write_token(where, name, file)
    else:
        more: dict[Keys, Any] = {("feed", "start"): _later_start(settings, where, daemon)}
        if table is None:
            more["gateway", "port"] = port
        text, shares = with_agent(chosen.config, name, share, approval, more)
        if daemon is not None:
            _require_cash(daemon.get("/api/v1/status"), tomllib.loads(text), settings, share, sell=sell)
        _write_token(where, name, file)
        _write(chosen.config, text)
        if daemon is None:
            start = _start(where, chosen.config)
            say(f"{chosen.config}: agent {name} with {share:g} of the account{shares}. Start: {start}")
        else:
            equity, wanted = _restarted(chosen.config, where, name), share * settings.broker.cash_micro / 1e6
            owed = f" of {wanted:.2f}; the agents above their shares pay the rest at the next samples, as they sell"
            owed = "" if float(equity) >= wanted - 0.01 else owed
            say(f"{chosen.config}: agent {name} with {share:g} of the account{shares}")
            say(f"the daemon restarted by itself with --carry: {name} has {equity} now{owed}")
    say(f"{file}: token of {name}, mode 600; it proposes for {name} alone")
    if mcp:
        _print_client(name, file, chosen.config, chosen.state)
    if port is not None:
        _print_program(name, file, chosen.config, port)
    if not mcp and port is None:
        _print_request(name, file, where, settings.api.port)


def _place_capital(daemon: Daemon, share: float) -> str:
    """The capital for a portfolio in a vacant place; empty without a place, or without enough unallocated cash."""
    if not daemon.get("/api/v1/portfolios")["vacant"]:
        return ""
    status = daemon.get("/api/v1/status")
    capital = share * float(status["equity"])
    return f"{capital:.2f}" if capital <= _unallocated(status) else ""


def _fill_place(daemon: Daemon, name: str, capital: str) -> None:
    """Open the book of an agent in a vacant place. Raises Failure, as before the first price of a run."""
    symbol = daemon.get("/api/v1/bars?limit=1")["symbol"]
    body = {"name": name, "capital": capital, "reason": REASON, "weights": {symbol: 0.0}}
    daemon.post("/api/v1/portfolios", body)
    say(f"{name} has a book with {capital} of unallocated cash, in a vacant place of [portfolios]; nothing restarts")


def _unallocated(status: Mapping[str, Any]) -> float:
    """Equity of the account that is in no agent's book."""
    own = sum(float(agent["equity"]) for agent in status["agents"] if not agent["shadow"])
    return float(status["equity"]) - own


def with_agent(
    config: Path, name: str, share: float, approval: str | None, more: Mapping[Keys, Any]
) -> tuple[str, str]:
    """The text of the configuration with one more agent, and what other shares become; comments are kept.

    `more` has values of other keys, such as a later start of a recorded market; None leaves a key as it is.
    Raises Failure for a name in use, for a text that cannot be edited, and for a configuration that would have
    mistakes.
    """
    from quantd.daemon.cli.setup.config_lines import require_valid
    from quantd.daemon.config.edits import EditError, appended, edited

    text = config.read_text(encoding="utf-8")
    document = tomllib.loads(text)
    agents = document.get("agents", [])
    if any(agent.get("name") == name for agent in agents):
        raise Failure(f"{config} has an agent {name} already; choose another name", CONFIG)
    owners: list[tuple[Keys, Any]] = [
        (("agents", k, "capital"), agent) for k, agent in enumerate(agents) if agent.get("shadow") is not True
    ]
    owners += [(("manual", "capital"), {"name": "manual", **document["manual"]})] if "manual" in document else []
    old = {path: (owner["name"], Fraction(str(owner["capital"]))) for path, owner in owners}
    total, left = sum(capital for _, capital in old.values()), 1 - Fraction(str(share))
    changes = {path: value for path, value in more.items() if value is not None}
    shares = []
    if total > left:
        for path, (owner, capital) in old.items():
            changes[path] = int(capital * left / total * 10_000) / 10_000  # rounded down: a sum above 1 is refused
            shares.append(f"{owner} {float(capital):g} to {changes[path]:g}")
    table: dict[str, Any] = {"name": name, "policy": "external", "capital": share, "limits": BOUNDS}
    table |= {"approval": approval} if approval else {}
    try:
        changed = appended(edited(text, changes), "agents", table)
        if tomllib.loads(changed)["agents"][-1] != table:
            raise EditError("agents")
    except (EditError, tomllib.TOMLDecodeError):
        lines = ", ".join(f"{key} = {value!r}" for key, value in table.items())
        raise Failure(f"{config} is unchanged: write an [[agents]] table there with {lines}", CONFIG) from None
    require_valid(changed, config)
    said = [f"; the shares become {', '.join(shares)}"] if shares else []
    if start := more.get(("feed", "start")):
        said.append(f"; [feed] start becomes {start}, after the market time")
    if port := more.get(("gateway", "port")):
        said.append(f"; [gateway] is new, at port {port}")
    return changed, "".join(said)


def _later_start(settings: "Config", where: Place, daemon: Daemon | None) -> date | None:
    """The first date of a recorded market for the run that takes over the account; None where no run does."""
    if settings.feed.kind != "replay":
        return None
    status: Any = {"ts": _stopped_at(where), "status": ""} if daemon is None else daemon.get("/api/v1/status")
    if status["status"] == "ended":
        text = "the recorded market of this run has ended: stop it, add the agent, and begin with `quantd run --fresh`"
        raise Failure(text, CHECK_FAILED)
    # the market goes on until the daemon stops: a day for each session of the meantime, with weekends
    pace = settings.feed.pace
    sessions = 0.0 if daemon is None or not pace.endswith("/s") else STOP_S * float(pace.removesuffix("/s"))
    later = timedelta(days=1 + ceil(sessions * 7 / 5))
    if not status["ts"]:
        return None
    # before the first session of the run its time is that of its warm-up
    return max(datetime.fromtimestamp(status["ts"] / 1e9, UTC).date(), settings.feed.start or date.min) + later


def _stopped_at(where: Place) -> int:
    """The newest instant (ns UTC) of a stopped run that has not ended; 0 without one."""
    from quantd.adapters.store.store_errors import StoreError

    try:
        reader = where.reader()
    except (Failure, StoreError):
        return 0
    points = reader.equity(last=1)
    return points[-1].ts if points and not reader.run.ended else 0


def _start(where: Place, config: Path) -> str:
    """The command that starts the daemon."""
    return join(["quantd", "run", *(["--carry"] if _stopped_at(where) else []), "--config", str(config)])


def _write(config: Path, text: str) -> None:
    from quantd.regular_file import write_whole

    write_whole(config, text.encode(), keep_mode=True)


def _write_token(where: Place, name: str, file: Path) -> None:
    """Make the token of the agent, and write its secret into a file that only this user reads."""
    from quantd.regular_file import write_whole
    from quantd.server.requests.tokens import created

    where.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _, secret = created(where.folder, name, "propose", agent=name)
    write_whole(file, f"{secret}\n".encode(), 0o600)


def _restarted(config: Path, where: Place, name: str) -> str:
    """Have the daemon restart with the new configuration, and return the equity of the agent then."""
    from quantd.daemon.monitoring.signals import reload_now

    differs = reload_now(where.folder)
    if wrong := [line for line in differs if "agents" in line or "universe" in line]:
        remedy = "mend it, then `quantd config check --reload`"
        raise Failure(f"{config} has the agent {name}, which is not in force: {wrong[0]}; {remedy}", CHECK_FAILED)
    until_s = time.monotonic() + RESTART_S
    while time.monotonic() < until_s:
        time.sleep(0.1)
        try:
            if (now := running(where)) is not None and now.get("/health")["ready"]:
                return str(now.get(f"/api/v1/agents/{name}/standing")["equity"])
        except Failure:
            continue  # it is stopping, or not started yet
    raise Failure(f"the daemon was asked to restart with {name} and does not answer; see its log", CHECK_FAILED)


def _require_cash(
    status: Mapping[str, Any], document: Mapping[str, Any], settings: "Config", share: float, *, sell: bool
) -> None:
    """Raise Failure where the agents above their new shares of `document` would sell for the new agent, unless they may
    `sell`; and where they would pay in an account at a venue, whose open orders a restart does not carry over."""
    wanted = share * settings.broker.cash_micro / 1e6
    missing = wanted - _unallocated(status)
    if missing <= 0.01:
        return
    if settings.broker.kind != "paper":
        text = "the agents of an account at a venue pay at its next start: stop the daemon, and type this again"
        raise Failure(f"nothing was changed: {text}", CHECK_FAILED)
    shares = {table["name"]: table["capital"] for table in document["agents"]}
    shares["manual"] = document.get("manual", {}).get("capital", 0.0)
    equity, agents = float(status["equity"]), [agent for agent in status["agents"] if not agent["shadow"]]
    above = [max(0.0, float(agent["equity"]) - shares.get(agent["name"], 0.0) * equity) for agent in agents]
    # `cash` of an agent is a fraction of its equity
    cash = [agent["cash"] * float(agent["equity"]) for agent in agents]
    part = missing / sum(above) if any(above) else 0.0
    sold = sum(max(0.0, part * amount - free) for amount, free in zip(above, cash, strict=True))
    if sold > 0.01 and not sell:
        text = f"the agents above their shares have cash for {wanted - sold:.2f} of {wanted:.2f}"
        remedy = "--sell lets them sell for the rest, or ask for a smaller --share"
        raise Failure(f"nothing was changed: {text}; {remedy}", CHECK_FAILED)


def _print_client(name: str, file: Path, config: Path, state: Path | None) -> None:
    """Print the lines with which an MCP client starts the server of the agent."""
    from quantd.server.cli.operate.mcp import command_line

    words = command_line(file, name, "", config, state, ())
    say(f"claude mcp add quantd-{name} -- {join(words)}")
    entry = {"mcpServers": {f"quantd-{name}": {"command": words[0], "args": words[1:]}}}
    say(f"or, in the file of another client: {json.dumps(entry)}")


def _free_port() -> int:
    """The first port from that of a gateway on at which nothing listens."""
    from quantd.daemon.config.schema import GatewayTable

    usual = GatewayTable().port
    return next((port for port in range(usual, usual + 100) if not _listens(port)), usual)


def _listens(port: int) -> bool:
    """Whether a program listens at a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(5.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _print_request(name: str, file: Path, where: Place, port: int) -> None:
    """Print a first request of a program that speaks quantd's own API."""
    now = running(where)
    url = f"http://127.0.0.1:{port or 'PORT'}" if now is None else now.reached.url.rstrip("/")
    say(f'curl -H "Authorization: Bearer $(cat {file})" {url}/api/v1/agents/{name}/standing')


def _print_program(name: str, file: Path, config: Path, port: int) -> None:
    """Print how a trading program gets the address and the key pair of the agent."""
    url = f"http://127.0.0.1:{port}"
    chosen = ["--agent", name] if len(list(file.parent.glob("*.token"))) > 1 else []
    say(f"{join(['quantd', 'gateway', 'exec', '--config', str(config), *chosen])} -- python my_bot.py")
    say(f'or, in the program: TradingClient("{name}", open("{file}").read().strip(), url_override="{url}")')
    key = f'APCA_API_KEY_ID={name} APCA_API_SECRET_KEY="$(cat {file})"'
    say(f"or, for a program that reads the environment: APCA_API_BASE_URL={url} APCA_API_DATA_URL={url} {key}")


COMMAND: Final = Command("Operate", 84, {"add": add})
