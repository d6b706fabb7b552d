"""Cancel all orders of an account, and close its positions, without the daemon: by API keys only."""

import asyncio
import sys
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlsplit

import typer

from quantd.daemon.cli.command import Command, Json

if TYPE_CHECKING:
    from quantd.adapters.brokers.account_exit import AccountExit
    from quantd.daemon.live.emergency import Contents

VENUE: Final = typer.Option("--venue", metavar="VENUE", help="alpaca, ibkr, or a crypto exchange such as kraken.")
URL: Final = typer.Option("--url", metavar="URL", help="The venue's address, in place of its own.")
TIMEOUT: Final = typer.Option("--timeout", min=1.0, max=3600.0, metavar="SECONDS", help="Total time.")
CURRENCY: Final = typer.Option("--currency", metavar="CODE", help="Currency that coins of an exchange are sold for.")

LONGEST_REQUEST_S: Final = 10.0
"""Longest wait for one answer of the venue, in seconds."""

LOCAL: Final = ("localhost", "127.0.0.1", "::1")


def emergency(
    venue: Annotated[str, VENUE],
    cancel_all: Annotated[bool, typer.Option("--cancel-all", help="Cancel every working order.")] = False,
    close: Annotated[bool, typer.Option("--close", help="Then close every position at market.")] = False,
    paper: Annotated[bool, typer.Option("--paper", help="The venue's sandbox; the live account without it.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show orders and positions, and do nothing.")] = False,
    url: Annotated[str, URL] = "",
    currency: Annotated[str, CURRENCY] = "USD",
    timeout: Annotated[float, TIMEOUT] = 60.0,
    as_json: Json = False,
) -> int:
    sys.dont_write_bytecode = True  # this command writes no file
    from quantd.adapters.brokers.venue_errors import VenueError
    from quantd.daemon.assembly.brokers import account_exit, venues
    from quantd.daemon.cli.failures import Failure
    from quantd.trading.display_text import one_line
    from quantd.trading.exit_codes import CHECK_FAILED, CONFIG, ExplainedError

    # an address without https:// is that of a gateway, to which no key is sent
    is_gateway = venue in venues() and "://" not in (venues()[venue].paper_url or "://")
    _check(cancel_all, close, "" if is_gateway else url, asks=not yes and not dry_run)
    # one request without an answer must leave time for the others
    request_s = min(LONGEST_REQUEST_S, timeout / 4)
    try:
        account = account_exit(venue, live=not paper, url=url, currency=currency.upper(), timeout_s=request_s)
        return asyncio.run(
            _exit_account(account, close=close, yes=yes, dry_run=dry_run, timeout_s=timeout, as_json=as_json)
        )
    except ExplainedError as refused:
        raise Failure(str(refused), refused.exit_code) from None
    except VenueError as refused:
        raise Failure(str(refused), CONFIG) from None
    except Exception as error:  # otherwise the report of a fault would be written to the disk, which may be full
        words = one_line(error, 300) or type(error).__name__
        text = f"{words}. Run the command again, or use the web page of {venue}"
        raise Failure(text, CHECK_FAILED) from None


def _check(cancel_all: bool, close: bool, url: str, *, asks: bool) -> None:
    """Raise typer.BadParameter for options that do not fit together. With `asks` a person at the terminal has to
    confirm."""
    if not cancel_all:
        text = "--close needs it too: a working order could open a position again" if close else "name what to do"
        raise typer.BadParameter(text, param_hint="--cancel-all")
    url_parts = urlsplit(url)
    if url and not (url_parts.scheme == "https" or (url_parts.scheme == "http" and url_parts.hostname in LOCAL)):
        raise typer.BadParameter("it must begin with https://, because keys are sent there", param_hint="--url")
    if asks and not sys.stdin.isatty():
        raise typer.BadParameter("without a terminal nobody can confirm it; nothing was done", param_hint="--yes")


async def _exit_account(
    account: "AccountExit", *, close: bool, yes: bool, dry_run: bool, timeout_s: float, as_json: bool
) -> int:
    """Show or carry out the exit from an account, after a confirmation; return the exit code.

    `dust` are positions below the venue's minimum order, which cannot be closed; they are no failure.
    """
    from quantd.daemon.cli.failures import note
    from quantd.daemon.cli.output import print_json, say
    from quantd.daemon.live.emergency import Emergency
    from quantd.trading.exit_codes import CHECK_FAILED, DONE

    tell = (lambda line: None) if as_json else say
    started = int(time.time())
    try:
        await account.open()
        if dry_run or not yes:
            contents = await Emergency(account, started, timeout_s).contents()
            if as_json and dry_run:
                print_json({"venue": account.where, "dry_run": True, "contents": contents})
            else:
                for line in _plan(account.where, contents, close):
                    # before a question the plan goes to standard error: standard output has the result only
                    (say if dry_run else note)(line)
            if dry_run:
                return DONE
            if not _confirmed(contents.number, close):
                note("nothing was done")
                return CHECK_FAILED
        run = Emergency(account, started, timeout_s, tell)
        remainders = await run.run(close=close)
    finally:
        await account.close()
    if as_json:
        document = {"venue": account.where, "dry_run": False, "done": not remainders}
        document |= {"orders": run.orders, "positions": run.positions, "dust": run.dust, "remaining": remainders}
        print_json(document)
        return CHECK_FAILED if remainders else DONE
    for position in run.dust:
        say(f"left: {position.qty:f} {position.symbol}, {position.dust}")
    for remainder in remainders:
        say(f"REMAINS: {remainder.text}: {remainder.remedy}")
    if not remainders:
        say(f"{account.where}: no open orders{' and no positions' if close else '; positions were not touched'}")
    return CHECK_FAILED if remainders else DONE


def _plan(where: str, contents: "Contents", close: bool) -> list[str]:
    """Return a line for each open order and position of an account, with what would be done to it.

    `dust` of a position is the reason why no order can close it; empty otherwise.
    """
    from quantd.daemon.live.emergency import order_text

    lines = [f"{where}, account {contents.number}" if contents.number else where]
    lines += [f"  would cancel {order_text(order)}" for order in contents.orders] or ["  no open orders"]
    verb = "would close" if close else "would keep"
    total = Decimal(0)
    for position in contents.positions:
        worth = f"worth {position.worth:,.2f}" if position.worth is not None else "worth unknown"
        total += abs(position.worth or Decimal(0))
        lines.append(
            f"  {'would keep' if position.dust else verb} {position.qty:f} {position.symbol}, {position.dust or worth}"
        )
    return lines + ([f"  positions worth {total:,.2f} in all"] if contents.positions else ["  no positions"])


def _confirmed(number: str, close: bool) -> bool:
    """Ask for a confirmation: True if the operator types the account number or the word for the action."""
    words = {number, "close"} if close else {number, "close", "cancel"}
    sys.stderr.write(f"Type {f'the account number {number} or ' if number else ''}the word close to go on: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip() in words - {""}


COMMAND: Final = Command("Operate", 15, emergency)
