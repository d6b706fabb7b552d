"""What people order, pay and settle by hand, with a running daemon."""

from pathlib import Path

import msgspec

from quantd.daemon.cli.client import reach
from quantd.daemon.cli.output import print_json, say
from quantd.daemon.cli.places import place
from quantd.daemon.commands.manual import Compared, Ordered, Paid, Stopped
from quantd.daemon.views.overview import SWITCH
from quantd.trading.exit_codes import CHECK_FAILED, DONE


def order(
    config: Path,
    state: Path | None,
    sets: tuple[str, ...],
    side: str,
    qty: str,
    symbol: str,
    *,
    reason: str,
    agent: str,
    stop: str,
    target: str,
    as_json: bool,
) -> int:
    """Send an order through the gate; exit code 1 when nothing of it passed."""
    body = {"side": side, "qty": qty, "symbol": symbol, "reason": reason, "agent": agent}
    body |= {name: price for name, price in (("stop", stop), ("target", target)) if price}
    done = msgspec.convert(reach(place(config, state, sets)).post("/api/v1/orders", body), Ordered)
    if as_json:
        print_json(done)
    elif done.order:
        cut = f", cut from {done.asked} by {done.cut_by}: {done.text} ({done.reason})" if done.reason else ""
        say(f"{done.side} {done.allowed} {done.symbol} at {done.limit} or better, book {done.agent}: {done.order}{cut}")
        levels = [f"{name} {price}" for name, price in (("stop", done.stop), ("target", done.target)) if price]
        if levels:
            say(f"the position has {' and '.join(levels)}")
    elif done.waits:
        say(f"{done.side} {done.asked} {done.symbol} goes out once the stop at the venue that covers it is cancelled")
    else:
        say(f"refused by {done.cut_by}: {done.side} {done.asked} {done.symbol}: {done.text} ({done.reason})")
    return DONE if done.order or done.waits else CHECK_FAILED


def cash(
    config: Path,
    state: Path | None,
    sets: tuple[str, ...],
    do: str,
    amount: str,
    *,
    reason: str,
    agent: str,
    as_json: bool,
) -> None:
    """Pay in or take out; returns once it is in the journal."""
    body = {"do": do, "amount": amount, "reason": reason, "agent": agent}
    done = msgspec.convert(reach(place(config, state, sets)).post("/api/v1/cash", body), Paid)
    if as_json:
        print_json(done)
        return
    verb = "withdrawal of" if done.amount.startswith("-") else "deposit of"
    whose = f"book {done.agent}" if done.agent else "the unallocated book"
    say(f"{verb} {done.amount.lstrip('-')}: {whose} has {done.cash} in cash, the house {done.equity} in all")


def halt(
    config: Path, state: Path | None, sets: tuple[str, ...], do: str, symbol: str, *, reason: str, as_json: bool
) -> None:
    """No new orders for one symbol, or again; returns once it is in the journal."""
    body = {"do": do, "symbol": symbol, "reason": reason}
    done = msgspec.convert(reach(place(config, state, sets)).post("/api/v1/halts", body), Stopped)
    if as_json:
        print_json(done)
        return
    say(f"{done.symbol} is halted: {done.why}; no new orders for it" if done.halted else f"{done.symbol} trades again")


def reconcile(config: Path, state: Path | None, sets: tuple[str, ...], how: str, *, reason: str, as_json: bool) -> int:
    """Compare with the venue; exit code 1 when it differs and nothing was said of it."""
    body = {"how": how, "reason": reason}
    done = msgspec.convert(reach(place(config, state, sets)).post("/api/v1/reconcile", body), Compared)
    if as_json:
        print_json(done)
    elif done.agrees:
        say("the venue's account is ours")
    else:
        became = {"": "nothing was settled (--fence, or --adopt AGENT)", "fence": "fenced off"}
        say(
            f"the venue has {'; '.join(done.differences)}: {became.get(done.how, f'taken into the book of {done.how}')}"
        )
        if done.switch:
            say(f"the switch is {SWITCH[done.switch]}; `quantd resume --reason ..` re-arms it")
    return DONE if done.agrees or done.how else CHECK_FAILED
