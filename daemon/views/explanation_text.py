"""An explanation of an order or a refusal as lines of text."""

from quantd.daemon.views.explanation import AgentPart, Explanation, exit_lines
from quantd.daemon.views.limit_rows import Largest, LimitRow
from quantd.daemon.views.policy_inputs import input_lines
from quantd.daemon.views.shortfall import Costed
from quantd.trading.display_text import figure, local


def why_lines(e: Explanation) -> list[str]:
    lines = [_headline(e)]
    house = _book_name(e)
    if e.simulated:
        lines.append(f"  {e.simulated}")
    if e.sample != e.decided and not e.exits:
        origin = f"follow-up {e.follow_up} of" if e.follow_up else "planned on the sample of"
        order_number = f", order number {e.number} of it" if e.number else ""
        lines.append(f"  {origin} the decision of {local(e.sample)} New York{order_number}")
    if e.switch not in ("", "RUN"):
        lines.append(f"  the switch of the {house} was {e.switch}")
    lines += [f"  {line}" for line in exit_lines(e.exits)]
    closed = {part.agent for part in e.exits}
    lines += [f"  {agent_line(part, part.agent in closed)}" for part in e.agents]
    lines += [f"  {part.agent} is {part.because}" for part in e.agents if part.because]
    lines.append(f"  {_net_line(e)}")
    weight_in_table = e.recomputed and any(row.limit == "max_position_weight" for row in e.limits)
    if not weight_in_table and e.weight_before is not None and e.weight_after is not None:
        lines.append(f"  weight of {e.symbol} in the {house} {e.weight_before:.1%} before, {e.weight_after:.1%} after")
    lines += _limit_table(house, e.limits, e.symbol, e.largest, e.allowed, e.net)
    for part in e.agents:
        if part.reason:
            lines += _limit_table(f"agent {part.agent}", part.limits, e.symbol, part.largest, part.allowed, part.asked)
    for part in e.agents:
        lines += [f"  {line}" for line in input_lines(part.agent, part.learned, e.symbol)]
    if not e.recomputed:
        missing_figures = f"headroom in {e.symbol}, the largest size and the inputs of learned policies"
        lines.append(f"  {missing_figures} are not known: {e.unavailable}")
        lines.append("  only the limits that the journal recorded are shown")
    for twin in e.twins:
        passed = f"became {twin.side} {twin.allowed}" if twin.allowed != "0" else "was refused"
        lines.append(
            f"  of the same round, {twin.side} {twin.asked} {twin.symbol} {passed}: {twin.text} ({twin.reason}); "
            f"quantd why {twin.address}"
        )
    for fill in e.fills:
        worse = "worse" if fill.shortfall_bp > 0 else "better"
        lines.append(
            f"  filled {fill.qty} at {fill.price}, {local(fill.ts)} New York: {abs(fill.shortfall_bp):.1f} bp {worse} "
            f"than the decision price, commission {fill.fee} ({fill.fee_bp:.1f} bp)"
        )
    if e.order and not e.fills:
        lines.append("  no fill")
    if e.cancelled:
        lines.append(f"  cancelled by {e.cancelled}")
    if e.part_of:
        lines.append(f"  a child order of the decision {e.part_of}, executed as {e.style}")
    elif e.style:
        lines.append(f"  executed as {e.style}: each child order passes the gate")
    lines += [f"  {line}" for part in (e.shortfall, e.whole) if part is not None for line in _shortfall_lines(part)]
    return lines


def _book_name(e: Explanation) -> str:
    """The name of the book whose limits check the net trade of all agents.

    It is "house" (the whole account), or "simulated account" where a shadow (an agent on paper) decided.
    """
    return "simulated account" if e.shadow else "house"


def _shortfall_lines(cost: Costed) -> list[str]:
    """The implementation shortfall as text; positive is worse than the decision price."""
    if cost.filled == "0" and cost.total is None:
        return []
    parts = ", ".join(
        f"{name} {money} ({bp:+.1f} bp)"
        for name, money, bp in (
            ("delay", cost.delay, cost.delay_bp), ("impact and spread", cost.impact, cost.impact_bp),
            ("fees", cost.fees, cost.fees_bp), ("opportunity", cost.opportunity, cost.opportunity_bp),
        )
        if money is not None and bp is not None
    )  # fmt: skip
    total = f"{cost.total} ({cost.total_bp:+.1f} bp)" if cost.total_bp is not None else "not complete"
    scope = f"of {cost.what}" if cost.style and not cost.what.startswith("q-") else "of this order"
    return [
        f"implementation shortfall {scope}, {cost.filled} filled and {cost.unfilled} not, decided at {cost.decision}: "
        f"{total}",
        f"  {parts}",
        *([f"  {cost.note}"] if cost.note else []),
    ]


def _headline(e: Explanation) -> str:
    when = f"decided {local(e.decided)} New York ({e.time}), decision price {e.price or 'unknown'}"
    if e.order:
        note = f", {e.note}" if e.note else ""
        limit = f"limit price {e.limit}" if e.limit else "no limit price"
        return f"{e.side.upper()} {e.qty} {e.symbol}, {when}, {limit}: {e.state}{note}"
    wanted = e.agents[0].asked if len(e.agents) == 1 else e.net
    amount = f"{wanted.lstrip('-')} " if wanted != "0" else ""
    return f"{e.side.upper()} {amount}{e.symbol}, {when}: {e.state}, no order was made (decision {e.address})"


def agent_line(part: AgentPart, closed: bool) -> str:
    """The line about one agent's target, request and own limits; `closed` says that a protective exit closes it."""
    holds = f"holds {part.held}" + (f" ({part.had:.1%})" if part.had is not None else "")
    wanted, scaled = f"{part.wanted:.1%}", f"{part.wanted * part.scale:.1%}"
    target = "exit" if closed else f"target {wanted} of its equity"
    if scaled != wanted and not closed:
        target += f", {scaled} so that the book is within cash and gross exposure after all fills"
    whose = f" (policy of {part.policy})" if part.policy else ""
    text = f"agent {part.agent}{whose}: {target}; {holds}; requests {_signed(part.asked)}"
    if part.asked == "0" and part.text:
        text += f": {part.text}"
    if part.allowed != part.asked:
        text += f"; its own limits allow {_signed(part.allowed)}: {part.text} (code {part.reason})"
    return text + _kept_text(part)


def _kept_text(part: AgentPart) -> str:
    """What of the target the plan does not ask for, and why."""
    if part.kept == "0":
        return ""
    kept = _signed(part.kept)
    # a reason beside a cut is that of the cut
    reason = part.reason if part.allowed == part.asked else ""
    if reason == "price_age":
        return f"; {kept} waits for a price"
    if reason == "position_weight":
        return f"; {kept} more of its target is above its limit"
    if part.held != "0" and part.held.startswith("-") != part.kept.startswith("-"):
        return f"; {kept} waits until the position of the other sign is closed"
    return f"; {kept} waits for fills below worst prices, or for a sale"


def _net_line(e: Explanation) -> str:
    """The line about the net quantity of all agents, and how much of it the limits allow."""
    crossed = f"{e.crossed} crossed between agents; " if e.crossed != "0" else ""
    if e.net == "0":
        return f"{crossed}no quantity is left for the {_book_name(e)} to trade"
    if e.net != e.allowed:
        return (
            f"{crossed}net {_signed(e.net)}; the limits of the {_book_name(e)} allow {_signed(e.allowed)}: {e.text} "
            f"(code {e.reason})"
        )
    return f"{crossed}net {_signed(e.net)}; all of it passed the limits of the {_book_name(e)}"


def _signed(qty: str) -> str:
    if qty == "0":
        return "no trade"
    return f"sell {qty[1:]}" if qty.startswith("-") else f"buy {qty}"


def _limit_table(
    book: str, limits: list[LimitRow], symbol: str, largest: Largest | None, allowed: str, asked: str
) -> list[str]:
    """The limits of one book as a table, and the largest order that would pass.

    `asked` and `allowed` are the requested and the passed units of the book's trade.
    """
    width = max([len(row.words) for row in limits] + [20])
    head = f"limit ({book})"
    lines = [f"  {head:{width}}{'before':>13}{'after':>13}{'bound':>13}{'headroom':>13}  more {symbol:<8}  in use"]
    for row in limits:
        before, after, bound, headroom = (
            "" if value is None and row.unit == "none" else figure(value, row.unit) if value is not None else "–"
            for value in (row.before, row.after, row.bound, row.headroom)
        )
        more = f"+{row.more}" if row.more is not None else ""
        use = f"{row.use:.0%}" if row.use is not None else ""
        cut = f"  <- this limit cut {asked.lstrip('-')} to {allowed.lstrip('-')}" if row.cut else ""
        lines.append(
            f"  {row.words:{width}}{before:>13}{after:>13}{bound:>13}{headroom:>13}  {more:<13}  {use:>6}{cut}".rstrip()
        )
    if largest is not None:
        size = "any size" if largest.qty is None else f"{largest.side} {largest.qty} {symbol}"
        stop_text = largest.text if largest.qty is None else f"the next lot: {largest.text} ({largest.reason})"
        lines.append(f"  largest order that would pass alone, without the rest of its round: {size}; {stop_text}")
    return lines
