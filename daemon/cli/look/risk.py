"""`quantd risk` and `quantd plan`: how far the limits are, how much more could be traded, and what would be now."""

from pathlib import Path

import msgspec

from quantd.adapters.calendars import UnknownCalendar
from quantd.adapters.feeds.errors import FeedError
from quantd.daemon.cli.client import running
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import local, print_json, say, table
from quantd.daemon.cli.places import Place, place
from quantd.daemon.policies.deadline import Deadline
from quantd.daemon.policies.loading import PolicyError
from quantd.daemon.recovery.replay import NotKept
from quantd.daemon.runtime.journal import RecordTooLong, ReplayDifference
from quantd.daemon.views.headroom import Book, BookSwitch, RiskNow, SideRoom, Unknown, named, risk_now
from quantd.daemon.views.limit_rows import LimitRow, figure, in_order
from quantd.daemon.views.overview import LimitNow, limit_now
from quantd.daemon.views.preview import PlanNow, plan_now
from quantd.trading.clock_text import instant_text
from quantd.trading.exit_codes import USAGE


def risk(
    config: Path, state: Path | None, sets: tuple[str, ...], *, agent: str | None, symbol: str | None, as_json: bool
) -> None:
    """The switch, each limit with what is left of it, and how much more of each symbol could be traded."""
    from urllib.parse import urlencode

    where = place(config, state, sets)
    daemon = running(where)
    if daemon is not None:
        asked = {name: value for name, value in (("agent", agent), ("symbol", symbol)) if value is not None}
        document = daemon.get(f"/api/v1/risk{'?' + urlencode(asked) if asked else ''}")
    else:
        document = msgspec.to_builtins(_risk_at_rest(config, state, sets, agent, symbol))
    if as_json:
        print_json(document)
        return
    _risk_lines(msgspec.convert(document, RiskNow))


def _risk_at_rest(
    config: Path, state: Path | None, sets: tuple[str, ...], agent: str | None, symbol: str | None
) -> RiskNow:
    from quantd.daemon.cli.stopped_run import at_rest

    try:
        shell, run, _ = at_rest(config, state, sets)
    except (FeedError, NotKept, PolicyError, RecordTooLong, ReplayDifference, UnknownCalendar) as why:
        return _risk_recorded(place(config, state, sets), str(why))
    try:
        number, columns = named(shell.state, agent, symbol)
    except Unknown as why:
        raise Failure(str(why), USAGE) from None
    book = Book(shell.state, number)
    return risk_now(
        shell.state, book, agent or "house", run, shell.ts, instant_text(shell.ts), list(book.rooms(columns))
    )


def _risk_recorded(where: Place, why: str) -> RiskNow:
    """What the store alone says of the house: the limits as the newest decision left them."""
    reader = where.reader()
    newest = next(iter(reader.decisions(last=1)), None)
    point = next(iter(reader.equity(last=1)), None)
    moves = {m.agent: m for m in reader.switches()}

    def switch(name: str) -> BookSwitch:
        move = moves.get(name)
        if move is None or move.after == "RUN":
            return BookSwitch("RUN", "", False)
        return BookSwitch(move.after, move.reason, move.reason == "suspended")

    house = switch("")
    plan = newest.plan if newest is not None else None
    values = plan.values if plan is not None else {}
    return RiskNow(
        run=reader.run.run,
        ts=plan.ts if plan is not None else 0,
        time=instant_text(plan.ts) if plan is not None else "",
        book="house",
        switch=house.switch,
        reason=house.reason,
        drawdown=point.drawdown if point is not None else 0.0,
        agents={name: switch(name) for name in reader.run.agents},
        limits=[limit_now(key, *values[key]) for key in in_order(values)],
        off=[],
        room=[],
        note=f"as the newest decision left them, and how much more could be traded is not known: {why}",
    )


def _risk_lines(now: RiskNow) -> None:
    when = f" at {local(now.ts)} New York" if now.ts else ""
    own = "house" if now.book == "house" else f"agent {now.book}, its own limits"
    say(f"{own}{when}: switch {now.switch} {now.reason if now.switch != 'RUN' else ''}".rstrip())
    if now.book == "house":
        for name, agent in now.agents.items():
            say(f"  {name:12} {'suspended' if agent.suspended else agent.switch} {agent.reason}".rstrip())
    table(
        ("limit", "now", "bound", "head-room", "in use"),
        [_limit(row) for row in now.limits],
        ("now", "bound", "head-room", "in use"),
    )
    if now.room:
        say()
        say("how much more of each alone, and what one lot more would break:")
        table(
            ("symbol", "price", "held", "weight", "buy", "worth", "then", "sell", "worth ", "then "),
            [(r.symbol, r.price, r.held, figure(r.weight, "share"), *_side(r.buy), *_side(r.sell)) for r in now.room],
            ("price", "held", "weight", "buy", "worth", "sell", "worth "),
        )
    if now.note:
        say(f"  {now.note}")
    if now.off:
        say()
        say("off, and how to switch them on:")
        for each in now.off:
            say(f"  {each.words:52} {each.switch_on}")


def _limit(row: LimitNow) -> tuple[str, ...]:
    if row.unit == "none":
        return (row.words, "kept", "", "", "")
    use = "" if row.use is None else f"{row.use:.0%}"
    now = "" if row.value is None else figure(row.value, row.unit)
    left = "" if row.headroom is None else figure(row.headroom, row.unit)
    return (row.words, now, figure(row.bound, row.unit), left, use)


def _side(room: SideRoom) -> tuple[str, str, str]:
    if room.qty is None:
        return ("any", "", room.text)
    return (room.qty, "" if room.value is None else f"{room.value:,.2f}", room.limit)


def plan(config: Path, state: Path | None, sets: tuple[str, ...], *, as_json: bool) -> None:
    """What would be traded now; nothing is."""
    where = place(config, state, sets)
    daemon = running(where)
    if daemon is not None:
        document = daemon.get("/api/v1/plan")
    else:
        document = msgspec.to_builtins(_plan_at_rest(config, state, sets))
    if as_json:
        print_json(document)
        return
    _plan_lines(msgspec.convert(document, PlanNow))


def _plan_at_rest(config: Path, state: Path | None, sets: tuple[str, ...]) -> PlanNow:
    from quantd.daemon.cli.stopped_run import at_rest
    from quantd.daemon.engine.snapshot import freeze

    shell, run, assembly = at_rest(config, state, sets)
    deadline = Deadline(assembly.policies)
    try:
        return plan_now(shell.state.rules, freeze(shell.state), deadline, assembly.costs, run)
    finally:
        deadline.close()


def _plan_lines(now: PlanNow) -> None:
    say(
        f"at {local(now.ts)} New York, switch {now.switch}: what would be traded if every agent were asked now; nothing is"
    )
    if now.note:
        say(f"  {now.note}")
        return
    for one in now.answers:
        said = ", ".join(f"{s} {w:.1%}" for s, w in one.weights.items()) or "cash"
        wants = (
            f"fails, and holds: {one.failed}" if one.failed else "holds what it has" if one.held else f"wants {said}"
        )
        say(f"  {one.agent:12} {wants}{f' ({one.note})' if one.note else ''}")
        a = one.allocation
        if a is not None and a.expected_return is not None and a.expected_risk is not None:
            sure = "" if a.confidence is None else f"; above 0 with probability {a.confidence:.2f}"
            say(
                f"  {'':12} over the last {a.samples} samples these weights made {a.expected_return:+.1%} a year at "
                f"{a.expected_risk:.1%} volatility{sure}"
            )
    if now.crossed:
        say("  crossed between agents: " + ", ".join(f"{qty} {symbol}" for symbol, qty in now.crossed.items()))
    if now.cancels:
        say(f"  {now.cancels} open orders would be cancelled first")
    if not now.orders:
        say("  no order")
    else:
        rows = [
            (o.side, o.qty, o.symbol, o.price, o.limit, f"{o.value:,.2f}", f"{o.commission:,.2f}", f"{o.slippage:,.2f}",
             ", ".join(o.agents), o.style, o.reason)
            for o in now.orders
        ]  # fmt: skip
        head = (
            "side",
            "qty",
            "symbol",
            "price",
            "limit",
            "value",
            "commission",
            "slippage",
            "agents",
            "style",
            "cut by",
        )
        table(head, rows, ("qty", "price", "limit", "value", "commission", "slippage"))
        cost = now.commission + now.slippage
        share = f", {1e4 * cost / now.value:.1f} bp" if now.value > 0 else ""
        say(f"  traded {now.value:,.2f}; cost about {cost:,.2f}{share} (commission {now.commission:,.2f})")
    for cut in now.refused:
        alone = "" if cut.most is None else f"; alone {cut.most} would pass"
        kept = "refused" if cut.allowed == "0" else f"cut to {cut.allowed}"
        say(f"  {cut.who}: {cut.side} {cut.asked} {cut.symbol} {kept}: {cut.text} ({cut.reason}){alone}")
    if now.limits:
        table(
            ("limit (house)", "now", "after", "bound", "head-room", "in use"),
            [_moved(row) for row in now.limits],
            ("now", "after", "bound", "head-room", "in use"),
        )


def _moved(row: LimitRow) -> tuple[str, ...]:
    use = "" if row.use is None else f"{row.use:.0%}"
    return (row.words, *(figure(x, row.unit) for x in (row.before, row.after, row.bound, row.headroom)), use)
