"""Check what a run needs: Python, packages, configuration, data, policies, ports."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from quantd.daemon.cli.command import CONFIG_FILE, DEFAULTS, Command, Json, RunOptions, unused
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import print_json, say
from quantd.daemon.cli.places import place
from quantd.trading.exit_codes import CHECK_FAILED, DONE, USAGE

if TYPE_CHECKING:
    from quantd.server.cli.setup.doctor_checks import Check


SYMBOL: Final = "BTC/USD"
"""The symbol of a trial at a venue that names none."""


def doctor(
    chosen: RunOptions = DEFAULTS,
    store: Annotated[bool, typer.Option("--store", help="Replay the whole journal and compare.")] = False,
    live: Annotated[bool, typer.Option("--live", help="Check what live trading needs.")] = False,
    venue: Annotated[
        str, typer.Option(metavar="NAME", help="Check the account at a venue, without a configuration.")
    ] = "",
    symbol: Annotated[str, typer.Option(metavar="SYMBOL", help="The symbol of --order and --fill.")] = SYMBOL,
    order: Annotated[bool, typer.Option("--order", help="With --venue: one order far away, then cancelled.")] = False,
    fill: Annotated[bool, typer.Option("--fill", help="With --venue: the smallest purchase, and its sale.")] = False,
    record: Annotated[
        Path | None, typer.Option(metavar="DIR", help="With --venue: keep the venue's answers, without secrets.")
    ] = None,
    report: Annotated[bool, typer.Option("--report", help="Print the checks as a report in Markdown.")] = False,
    as_json: Json = False,
) -> int:
    checks = []
    if report:
        unused("--report", {"--json": as_json})
    if (order or fill) and not venue:
        raise Failure("--order and --fill send orders to a venue's test network; name it with --venue", USAGE)
    if record and not venue:
        raise Failure("--record keeps the answers of a venue; name it with --venue", USAGE)
    if not venue:
        unused("doctor without --venue", {"--symbol": symbol != SYMBOL})
    if venue:
        unused("--venue", {"--store": store})
        from quantd.server.cli.setup.venue_trial import recorded, venue_checks

        sets = (*_addresses(chosen.config, venue), *(chosen.sets or ()))
        results = venue_checks(venue, symbol, sets, live, order, fill)
        if record:
            results = recorded(results, venue, record)
    else:
        results = _checks(chosen, store, live)
    for check in results:
        checks.append(check)
        if not (as_json or report):
            mark = {True: "ok  ", False: "FAIL", None: "--  "}[check.ok]  # None: not checked
            say(f"  {mark}  {check.name:12} {check.text}")
            sys.stdout.flush()
    failed_count = sum(check.ok is False for check in checks)
    if as_json:
        print_json({"ok": not failed_count, "checks": checks})
    elif report:
        from quantd.server.cli.setup.readiness import readiness

        say(readiness(checks, venue, "live" if live else "paper", live) if venue else _report(chosen, checks, live))
    else:
        say(f"{failed_count} of {len(checks)} checks failed" if failed_count else "all is well")
    return CHECK_FAILED if failed_count else DONE


def _addresses(config: Path, venue: str) -> list[str]:
    """The addresses of a venue in a configuration that trades there, as overrides; a later --set replaces them.

    Raises ConfigError for a configuration that --config names, if it has mistakes or does not exist.
    """
    from quantd.daemon.config import ConfigError

    try:
        settings = RunOptions(config).read()
    except ConfigError:
        if config != CONFIG_FILE:
            raise
        return []
    broker, feed = settings.broker, settings.feed
    urls = {"broker.url": broker.url if venue in (broker.kind, broker.venue) else ""}
    urls["feed.url"] = feed.url if venue in (feed.kind, feed.venue) else ""
    return [f"{key}={url}" for key, url in urls.items() if url]


def _report(chosen: RunOptions, checks: "list[Check]", live: bool) -> str:
    """The checks as a Markdown report, with the name and mode of the daemon from the configuration.

    With a faulty configuration, the report has its path as the name, and the mode "unknown".
    """
    from quantd.daemon.config import ConfigError
    from quantd.server.cli.setup.readiness import readiness

    try:
        section = chosen.read().quantd
    except ConfigError:  # the check "config" names the mistakes
        return readiness(checks, str(chosen.config), "unknown", live)
    return readiness(checks, section.name, section.mode, live)


def _checks(chosen: RunOptions, store: bool, live: bool) -> "Iterator[Check]":
    """Yield the results of all checks, in their order. After a faulty configuration only the store is checked.

    With `store` or `live` the journal is replayed. With `live`, the checks of a live start follow, and the result is
    recorded in the state folder: a live start needs a result without a failed check.
    """
    from quantd.daemon.config import ConfigError
    from quantd.server.cli.setup.doctor_checks import Check, base_checks, ground_checks, store_checks

    config, sets, torch_before = chosen.config, chosen.sets, "torch" in sys.modules
    ground = ground_checks()
    yield from ground
    try:
        settings = chosen.read()
    except ConfigError as why:
        for mistake in why.mistakes:
            yield Check("config", False, str(mistake))
        yield from store_checks(place(config, chosen.state or Path("state"), sets), store)
        return
    yield Check("config", True, f"{config}: {len(settings.agents)} agents, {len(settings.universe.symbols)} symbols")
    where = chosen.place()
    failed_base = [check.name for check in ground if check.ok is False]
    for check in base_checks(settings, where, store or live, torch_before):
        failed_base += [check.name] if check.ok is False else []
        yield check
    if live:
        from quantd.daemon.live.permission import keep
        from quantd.server.cli.setup.doctor_live import live_checks

        failed_live: list[str] = []
        if where.folder.exists():
            # recorded first, so that an interrupted check leaves no earlier permission to trade
            keep(where.folder, settings, ("it did not come to its end",))
        for check in live_checks(settings, config, where, tuple(sets or ())):
            failed_live += [check.name] if check.ok is False else []
            yield check
        keep(where.folder, settings, (*failed_base, *failed_live))


COMMAND: Final = Command("Set up", 20, doctor)
