"""What a run did and how it stands: status, orders, positions, decisions, risk. From the store, beside a running
daemon or without one; the present from the daemon where one runs."""

from pathlib import Path
from typing import Any

from adapters.store.errors import StoreFailing
from daemon.cli.client import running
from daemon.cli.failures import Failure
from daemon.cli.output import local, place_name, print_json, say, table
from daemon.cli.places import Place, place
from daemon.exits import exit_lines
from daemon.explanation import Explanation, explain

NEW_YORK = "America/New_York"


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
    total = f" ({now['total']:+.1%})" if now["total"] is not None else ""
    say(f"  equity {now['equity']}{total}, of it cash {now['cash']}; drawdown {now['drawdown']:.1%}")
    say(f"  {now['orders']:,} orders, {now['open_orders']} open; {now['fills']:,} fills; {now['alerts']:,} alerts")
    rows = [
        (
            a["name"],
            a["policy"],
            f"{a['capital']:.0%}",
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


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:+.1%}"


def orders(config: Path, state: Path | None, *, last: int, run: str | None, symbol: str | None, as_json: bool) -> None:
    """The newest orders, oldest of them first."""
    from daemon.listing import order_line

    reader = place(config, state).reader(run)
    rows = [order_line(row) for row in reader.orders(last=last, symbol=symbol)]
    if as_json:
        print_json({"run": reader.run.run, "orders": rows})
        return
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
        from daemon.cli.resting import positions_at_rest

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


def decisions(config: Path, state: Path | None, *, last: int, run: str | None, as_json: bool) -> None:
    """How rounds became orders."""
    from daemon.listing import decision_line

    reader = place(config, state).reader(run)
    names = reader.run.agents
    rows = [decision_line(plan, reader.run.universe, names) for plan in reader.decisions(last=last)]
    if as_json:
        print_json({"run": reader.run.run, "decisions": rows})
        return
    for row in rows:
        note = f"  follow-up {row.follow_up}" if row.follow_up else ""
        say(f"{local(row.ts)} New York{note}")
        for wish in row.agents:
            weights = ", ".join(f"{s} {w:.1%}" for s, w in wish.weights.items()) or "cash"
            scaled = f"  (scaled to {wish.scale:.3f} for cash at worst prices)" if wish.scale < 1 else ""
            say(f"  {wish.agent:12} wants {weights}{scaled}")
        for symbol, qty in row.net.items():
            got = row.allowed.get(symbol, "0")
            cut = f" of {qty} asked, cut by {row.reasons.get(symbol, '')}" if got != qty else ""
            say(f"  {'buy' if not qty.startswith('-') else 'sell':4} {got.lstrip('-')} {symbol}{cut}")
        if row.crossed:
            say("  crossed between agents: " + ", ".join(f"{qty} {symbol}" for symbol, qty in row.crossed.items()))


def risk(config: Path, state: Path | None, sets: tuple[str, ...], *, as_json: bool) -> None:
    """The switches, and each limit of the house with its value."""
    where = place(config, state, sets)
    daemon = running(where)
    found = daemon.get("/api/v1/risk") if daemon is not None else _stored_risk(where)
    if as_json:
        print_json(found)
        return
    say(f"house switch {found['switch']} {found['reason']}".rstrip())
    for name, agent in found["agents"].items():
        say(f"  {name:12} {'suspended' if agent['suspended'] else agent['switch']} {agent['reason']}".rstrip())
    rows = []
    for row in found["limits"]:
        use = "" if row["use"] is None else f"{row['use']:.0%}"
        rows.append((row["limit"], _measure(row["value"], row["floor"]), _measure(row["bound"], row["floor"]), use))
    table(("limit", "value", "bound", "in use"), rows, ("value", "bound", "in use"))


def _stored_risk(where: Place) -> dict[str, Any]:
    from daemon.overview import iso, limit_now

    reader = where.reader()
    plan = next(iter(reader.decisions(last=1)), None)
    point = next(iter(reader.equity(last=1)), None)
    moves = {m.agent: m for m in reader.switches()}
    house = moves.get("")
    values = plan.values if plan is not None else {}
    return {
        "run": reader.run.run,
        "ts": plan.ts if plan else 0,
        "time": iso(plan.ts) if plan else "",
        "switch": house.after if house else "RUN",
        "reason": house.reason if house and house.after != "RUN" else "",
        "drawdown": point.drawdown if point else 0.0,
        "agents": {
            name: {
                "switch": moves[name].after if name in moves else "RUN",
                "reason": moves[name].reason if name in moves and moves[name].after != "RUN" else "",
                "suspended": name in moves and moves[name].after != "RUN" and moves[name].reason == "suspended",
            }
            for name in reader.run.agents
        },
        "limits": [
            {"limit": r.limit, "value": r.value, "bound": r.bound, "use": r.use, "floor": r.floor}
            for r in (limit_now(key, value, bound) for key, (value, bound) in sorted(values.items()))
        ],
    }


def _measure(value: float | None, money: bool) -> str:
    if value is None:
        return "unknown"
    return f"{value:,.2f}" if money else f"{value:.2%}"


def why(config: Path, state: Path | None, order: str, *, run: str | None, as_json: bool) -> None:
    """Why one order was made as it was."""
    where = place(config, state)
    try:
        found = explain(where.store, where.reader(run), order)
    except StoreFailing as why_not:
        raise Failure(str(why_not)) from None
    if as_json:
        print_json(found)
        return
    for line in why_lines(found):
        say(line)


def why_lines(e: Explanation) -> list[str]:
    """An explanation in words."""
    lines = [
        f"{e.side.upper()} {e.qty} {e.symbol}, decided {local(e.decided)} New York ({e.time}) "
        f"on the price {e.price}, limit {e.limit}: {e.state}{f', {e.note}' if e.note else ''}"
    ]
    if e.sample != e.decided and not e.exits:
        again = f"follow-up {e.follow_up} of" if e.follow_up else "order on the sample of"
        lines.append(f"  {again} the decision of {local(e.sample)} New York, order number {e.number} of it")
    lines += [f"  {line}" for line in exit_lines(e.exits)]
    closed = {part.agent for part in e.exits}
    for part in e.agents:
        had = f"has {part.had:.1%}, {part.held}" if part.had is not None else f"has {part.held}"
        room = (
            f" ({part.wanted * part.scale:.1%} with room for cash and gross at worst prices)" if part.scale < 1 else ""
        )
        wants = "exits" if part.agent in closed else f"wants {part.wanted:.1%}{room}"
        said = f"{part.agent} {wants}, {had}: asks {_signed(part.asked)}"
        if part.allowed != part.asked:
            said += f", its own limits leave {_signed(part.allowed)}: {part.text} ({part.reason})"
        lines.append("  " + said)
    crossed = f"{e.crossed} crossed between agents; " if e.crossed != "0" else ""
    if e.net != e.allowed:
        cut = f"{_signed(e.allowed)} of it passed: {e.text} ({e.reason})"
    else:
        cut = "all of it passed the house's limits"
    lines.append(f"  {crossed}net {_signed(e.net)}; {cut}")
    if e.weight_before is not None and e.weight_after is not None:
        lines.append(f"  weight of {e.symbol} in the house {e.weight_before:.1%} before, {e.weight_after:.1%} after")
    lines.append(f"  {'limit (house)':24}{'before':>14}{'after':>14}{'bound':>14}  in use")
    for limit in e.limits:
        use = limit.after / limit.bound if limit.after is not None and limit.bound and not limit.floor else None
        mark = "  <- this limit cut the order" if limit.limit in _LIMIT_OF.get(e.reason, ()) else ""
        lines.append(
            f"  {limit.limit:24}{_measure(limit.before, limit.floor):>14}{_measure(limit.after, limit.floor):>14}"
            f"{_measure(limit.bound, limit.floor):>14}  {'' if use is None else f'{use:.0%}'}{mark}"
        )
    for twin in e.twins:
        kept = f"became {twin.side} {twin.allowed}" if twin.allowed != "0" else "was refused"
        lines.append(f"  of the same round, {twin.side} {twin.asked} {twin.symbol} {kept}: {twin.text} ({twin.reason})")
    for fill in e.fills:
        worse = "worse" if fill.shortfall_bp > 0 else "better"
        lines.append(
            f"  filled {fill.qty} at {fill.price}, {local(fill.ts)} New York: {abs(fill.shortfall_bp):.1f} bp {worse} than "
            f"the price decided on, commission {fill.fee} ({fill.fee_bp:.1f} bp)"
        )
    if not e.fills:
        lines.append("  no fill")
    return lines


def _signed(qty: str) -> str:
    if qty == "0":
        return "nothing"
    return f"to sell {qty[1:]}" if qty.startswith("-") else f"to buy {qty}"


_LIMIT_OF = {
    "position_weight": ("max_position_weight",),
    "gross": ("max_gross_exposure",),
    "net": ("max_net_exposure",),
    "cash": ("cash",),
    "var": ("var",),
    "cvar": ("cvar",),
    "volatility": ("max_volatility",),
    "correlation": ("correlation",),
    "concentration": ("max_concentration",),
    "sector": ("max_sector_weight",),
    "turnover": ("max_turnover",),
}
"""Reason -> key of the limit whose value stands in the table."""
