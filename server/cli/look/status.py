"""Show the state of the run: switch, equity, agents."""

from typing import Any, Final

from quantd.daemon.cli.command import DEFAULTS, Command, Json, RunOptions
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import answer, records, say
from quantd.daemon.cli.places import Place
from quantd.server.cli.client import document_of, named
from quantd.trading.display_text import clock_name, local, money_text
from quantd.trading.exit_codes import CHECK_FAILED

NOT_RUNNING: Final = "not running"


def status(chosen: RunOptions = DEFAULTS, as_json: Json = False) -> None:
    where = chosen.place().unchanged()
    document = document_of(where, "/api/v1/status", lambda: _stored_status(where))
    answer(as_json, document, lambda: _print(document, where))


def _print(document: dict[str, Any], where: Place) -> None:
    if document["status"] != NOT_RUNNING:
        daemon = named(where)
        _print_status(document, daemon.reached.url if daemon is not None else "")
        return
    say(f"no daemon runs in {where.folder}; this is the last state of run {document['run']}")
    say(f"  {document['time'] or 'no sample yet'}  switch {document['switch']} {document['reason']}".rstrip())
    if document["equity"]:
        say(f"  equity {document['equity']}, of it cash {document['cash']}; {_drawdown(document)}")
    say("  `quantd run` continues it" if not document["ended"] else f"  it has ended ({document['ended']})")


def _stored_status(where: Place) -> dict[str, Any]:
    """The last stored state of a run without a daemon, as the fields of the daemon's status that the store has."""
    from quantd.adapters.store.last_state import Peak, last_state
    from quantd.adapters.store.store_errors import StoreMismatch

    try:
        last = last_state(where.store)
    except StoreMismatch as why:
        raise Failure(str(why), CHECK_FAILED) from None
    ts, equity, cash, gross, drawdown = last.sample or (0, 0, 0, None, 0.0)
    _, switch, reason = last.moves[-1] if last.moves else (0, 0, "")
    return {
        "run": last.run,
        "mode": last.mode,
        "status": NOT_RUNNING,
        "ready": False,
        "ended": last.ended,
        "ts": ts,
        "time": f"{local(ts)} New York" if last.sample else "",
        "switch": ("RUN", "REDUCE", "HALT")[switch],
        "reason": reason if switch else "",
        "equity": money_text(equity) if last.sample else "",
        "cash": money_text(cash) if last.sample else "",
        "gross": gross,
        "drawdown": Peak(last.worth).drawdown(equity) if last.sample else 0.0,
        "limit_drawdown": drawdown,
        "resumed_ts": max((ts for ts, switch, _ in last.moves if not switch), default=0),
        "agents": list(last.agents),
    }


def _drawdown(now: dict[str, Any]) -> str:
    """The drawdown of the account, and the one that counts for the limit where a resume has made them differ."""
    text = f"drawdown {now['drawdown']:.1%}"
    if abs(now["drawdown"] - now["limit_drawdown"]) < 0.0005 or not now["resumed_ts"]:
        return text
    since = local(now["resumed_ts"])[:10]
    return f"{text} from the peak; {now['limit_drawdown']:.1%} since the resume of {since}, which counts for the limit"


def _print_status(now: dict[str, Any], url: str) -> None:
    """Print the answer of the daemon at `url`."""
    say(f"{now['name']} ({now['mode']}), run {now['run']}: {now['status']}  {url}")
    zone = now["zone"]
    when = f"{local(now['ts'], zone)} {clock_name(zone)}" if now["ts"] else "before the first bar"
    say(f"  {when}  switch {now['switch']} {now['reason']}".rstrip())
    for line in now.get("differs", []):
        say(f"  the file differs from the run: {line}")
    if now.get("store"):
        say(f"  the store records nothing: {now['store']}")
    total = f" ({now['total']:+.1%})" if now["total"] is not None else ""
    say(f"  equity {now['equity']}{total}, of it cash {now['cash']}; {_drawdown(now)}")
    say(f"  {now['orders']:,} orders, {now['open_orders']} open; {now['fills']:,} fills; {now['alerts']:,} alerts")
    if now.get("loosening"):
        say(f"  looser limits wait: {now['loosening']}; see docs/operate/live.md")
    if now.get("regime"):
        say(f"  market {now['regime']}")
    for policy, lacking in now.get("not_isolated", {}).items():
        say(f"  {policy} is not isolated: {lacking}; see docs/operate/security.md")
    for sink, sink_state in now.get("sinks", {}).items():
        if sink_state["queued"] or sink_state["error"]:
            say(f"  alerts queued for {sink}: {sink_state['queued']:,}; {sink_state['error'] or 'no failure'}")
    if now.get("diversity") is not None:
        say(f"  mean absolute correlation of the agents' returns {now['diversity']:.2f}")
    for symbol, why in now.get("halted", {}).items():
        say(f"  {symbol} is halted{f': {why}' if why else ''}")
    for symbol, why in now.get("jumped", {}).items():
        say(f"  {symbol} is held: {why}; `quantd resume --symbol {symbol} --jump real` (or a split, as 2:1) ends it")
    for symbol, limits in now.get("limited", {}).items():
        say(f"  {symbol} is at a limit: {limits}")
    for name in ("halted", "jumped", "limited"):
        if count := now.get("more", {}).get(name):
            say(f"  {count:,} more symbols are {'held after a jump' if name == 'jumped' else name}")
    records(
        now["agents"],
        {"agent": lambda agent: agent["name"] + (" (shadow)" if agent.get("shadow") else ""),
         "policy": lambda agent: agent["policy"] + (f" (of {agent['decided_by']})" if agent.get("decided_by") else ""),
         "capital": _capital, "switch": lambda agent: "suspended" if agent["suspended"] else agent["switch"],
         "equity": "equity:", "return": "total:+.1%", "weights": _weights},
        ("capital",),
    )  # fmt: skip


def _weights(agent: dict[str, Any]) -> str:
    """The largest weights of an agent as text; if the agent has more weights, their total number comes first."""
    shown = ", ".join(f"{s} {w:.1%}" for s, w in sorted(agent["weights"].items(), key=lambda x: -abs(x[1])))
    return f"{len(agent['weights']) + agent['more']:,}, largest {shown}" if agent["more"] else shown or "flat"


def _capital(agent: dict[str, Any]) -> str:
    """The configured capital share of an agent or, where capital is reallocated, its present share and target share."""
    share, target = agent.get("share"), agent.get("target")
    if share is None or target is None:
        return f"{agent['capital']:.0%}"
    return f"{share:.1%}" if abs(share - target) < 0.0005 else f"{share:.1%}, target {target:.1%}"


COMMAND: Final = Command("Look", 10, status)
