"""What a run did and how it stands: status, orders, positions, decisions, risk. From the store, beside a running
daemon or without one; the present from the daemon where one runs."""

from pathlib import Path
from typing import Any

from quantd.daemon.cli.client import running
from quantd.daemon.cli.output import local, place_name, print_json, say, table
from quantd.daemon.cli.places import Place, place


def status(config: Path, state: Path | None, sets: tuple[str, ...], *, as_json: bool) -> None:
    """How the run stands."""
    where = place(config, state, sets)
    daemon = running(where)
    if daemon is not None:
        found = daemon.get("/api/v1/status")
        print_json(found) if as_json else _status_lines(found, daemon.reached)
        return
    found = _stored_status(where)
    if as_json:
        print_json(found)
        return
    say(f"no daemon runs in {where.folder}; run {found['run']} stands as it was left")
    say(f"  {found['time'] or 'no sample yet'}  switch {found['switch']} {found['reason']}".rstrip())
    if found["equity"]:
        say(f"  equity {found['equity']}, of it cash {found['cash']}; drawdown {found['drawdown']:.1%}")
    say("  `quantd run` continues it" if not found["ended"] else f"  it has ended ({found['ended']})")


def _stored_status(where: Place) -> dict[str, Any]:
    reader = where.reader()
    last = next(iter(reader.equity(last=1)), None)
    moves = [m for m in reader.switches() if not m.agent]
    switch = moves[-1] if moves else None
    return {
        "run": reader.run.run,
        "mode": reader.run.mode,
        "status": "not running",
        "ready": False,
        "ended": reader.run.ended,
        "ts": last.ts if last else 0,
        "time": f"{local(last.ts)} New York" if last else "",
        "switch": switch.after if switch else "RUN",
        "reason": switch.reason if switch and switch.after != "RUN" else "",
        "equity": last.equity if last else "",
        "cash": last.cash if last else "",
        "gross": last.gross if last else None,
        "drawdown": last.drawdown if last else 0.0,
        "agents": list(reader.run.agents),
    }


def _status_lines(now: dict[str, Any], reached: Any) -> None:
    say(f"{now['name']} ({now['mode']}), run {now['run']}: {now['status']}  http://{reached.host}:{reached.port}/")
    zone = now["zone"]
    when = f"{local(now['ts'], zone)} {place_name(zone)}" if now["ts"] else "before the first bar"
    say(f"  {when}  switch {now['switch']} {now['reason']}".rstrip())
    if now.get("store"):
        say(f"  nothing is recorded: {now['store']}")
    total = f" ({now['total']:+.1%})" if now["total"] is not None else ""
    say(f"  equity {now['equity']}{total}, of it cash {now['cash']}; drawdown {now['drawdown']:.1%}")
    say(f"  {now['orders']:,} orders, {now['open_orders']} open; {now['fills']:,} fills; {now['alerts']:,} alerts")
    for policy, lacking in now.get("not_isolated", {}).items():
        say(f"  {policy} is not isolated: {lacking}; see docs/operate/security.md")
    if now.get("diversity") is not None:
        say(
            f"  what the agents earn is alike by {now['diversity']:.2f} (mean absolute correlation; 0 is all different)"
        )
    for symbol, why in now.get("halted", {}).items():
        say(f"  {symbol} is halted{f': {why}' if why else ''}")
    for symbol, limits in now.get("limited", {}).items():
        say(f"  {symbol} is at a limit: {limits}")
    rows = [
        (
            f"{a['name']} (shadow)" if a.get("shadow") else a["name"],
            f"{a['policy']} (of {a['decided_by']})" if a.get("decided_by") else a["policy"],
            _capital(a),
            "suspended" if a["suspended"] else a["switch"],
            a["equity"],
            _percent(a["total"]),
            ", ".join(f"{s} {w:.1%}" for s, w in sorted(a["weights"].items(), key=lambda x: -abs(x[1]))) or "flat",
        )
        for a in now["agents"]
    ]
    table(
        ("agent", "policy", "capital", "switch", "equity", "return", "weights"), rows, ("capital", "equity", "return")
    )


def _capital(agent: dict[str, Any]) -> str:
    """The share that it was given; where capital moves, the share that it has and the one that it is to have."""
    share, target = agent.get("share"), agent.get("target")
    if share is None or target is None:
        return f"{agent['capital']:.0%}"
    return f"{share:.1%}" if abs(share - target) < 0.0005 else f"{share:.1%}, to be {target:.1%}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:+.1%}"


def orders(
    config: Path, state: Path | None, *, last: int, run: str | None, symbol: str | None, refused: bool, as_json: bool
) -> None:
    """The newest orders, oldest of them first; with `refused` what was cut or refused instead."""
    from quantd.daemon.views.addresses import refused_lines
    from quantd.daemon.views.rows import order_line

    where = place(config, state)
    reader = where.reader(run)
    if refused:
        found = refused_lines(reader, last=last, symbol=symbol)
        if as_json:
            print_json({"run": reader.run.run, "refused": found})
            return
        table(
            ("time (New York)", "address", "who", "side", "asked", "passed", "symbol", "cut by"),
            [(local(r.ts), r.address, r.who, r.side, r.asked, r.allowed, r.symbol, r.reason) for r in found],
            ("asked", "passed"),
        )
        say(f"quantd why {found[-1].address} says why" if found else "nothing was cut or refused")
        return
    found_orders = reader.orders(last=last, symbol=symbol)
    if as_json:
        from quantd.adapters.store.handle import read_only
        from quantd.daemon.recovery.replay import slices_of
        from quantd.daemon.views.shortfall import of_orders

        slices = slices_of(read_only(where.store, where.folder), reader.run.run, where.folder)
        costs = of_orders(reader, [row.order for row in found_orders], slices)
        print_json(
            {"run": reader.run.run, "orders": [order_line(row, costs.get(row.order.id)) for row in found_orders]}
        )
        return
    rows = [order_line(row) for row in found_orders]
    table(
        ("time (New York)", "order", "side", "qty", "symbol", "limit", "state", "cut by", "agent"),
        [(local(r.ts), r.id, r.side, r.qty, r.symbol, r.limit, _state(r), r.reason, _agents(r.agent)) for r in rows],
        ("qty", "limit"),
    )


def _state(row: Any) -> str:
    return f"{row.state} {row.filled}" if row.state != "filled" and row.filled not in ("", "0") else str(row.state)


def _agents(joined: str) -> str:
    return joined.replace("+", ", ")


def positions(config: Path, state: Path | None, sets: tuple[str, ...], *, as_json: bool) -> None:
    """What is held: from the daemon, or folded from the journal of a stopped one."""
    daemon = running(place(config, state, sets))
    if daemon is not None:
        found = daemon.get("/api/v1/positions")
    else:
        from quantd.daemon.cli.stopped_run import positions_at_rest

        found = positions_at_rest(config, state, sets)
    if as_json:
        print_json(found)
        return
    say(f"run {found['run']} at {local(found['ts'])} New York" if found["ts"] else f"run {found['run']}")
    rows = [
        (
            p["symbol"],
            p["qty"],
            p["price"],
            p["value"],
            f"{p['weight']:.1%}",
            p["cost"],
            ", ".join(f"{name} {qty}" for name, qty in p["agents"].items()),
        )
        for p in found["positions"]
    ]
    table(
        ("symbol", "qty", "price", "value", "weight", "cost", "books"),
        rows,
        ("qty", "price", "value", "weight", "cost"),
    )
    for p in found["positions"]:
        if p.get("halted"):
            say(f"  {p['symbol']} is halted: {p['halted']}")


def decisions(config: Path, state: Path | None, *, last: int, run: str | None, as_json: bool) -> None:
    """How rounds became orders."""
    from quantd.daemon.views.rows import decision_line

    reader = place(config, state).reader(run)
    universe = reader.run.universe
    rows = [decision_line(d.plan, universe, d.agents, d.address) for d in reader.decisions(last=last)]
    if as_json:
        print_json({"run": reader.run.run, "decisions": rows})
        return
    for row in rows:
        note = f"  follow-up {row.follow_up}" if row.follow_up else ""
        say(f"{local(row.ts)} New York  {row.address}{note}")
        for wish in row.agents:
            weights = ", ".join(f"{s} {w:.1%}" for s, w in wish.weights.items()) or "cash"
            scaled = f"  (scaled to {wish.scale:.3f} for cash at worst prices)" if wish.scale < 1 else ""
            whose = f" (policy of {wish.policy})" if wish.policy else ""
            say(f"  {wish.agent:12} wants {weights}{scaled}{whose}")
            for symbol, reason in wish.reasons.items():
                left, asked = wish.allowed.get(symbol, "0"), wish.asked.get(symbol, "0")
                say(
                    f"  {'':12} its limits leave {left} of {asked} {symbol} ({reason}): quantd why {row.address}:{symbol}"
                )
        for symbol, qty in row.net.items():
            got = row.allowed.get(symbol, "0")
            cut = ""
            if got != qty:
                cut = f" of {qty} asked, cut by {row.reasons.get(symbol, '')}: quantd why {row.address}:{symbol}"
            say(f"  {'buy' if not qty.startswith('-') else 'sell':4} {got.lstrip('-')} {symbol}{cut}")
        if row.crossed:
            say("  crossed between agents: " + ", ".join(f"{qty} {symbol}" for symbol, qty in row.crossed.items()))
