"""Try the hostile calls of an agent against a copy of the account."""

import asyncio
import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from quantd.daemon.cli.command import DEFAULTS, Command, Json, RunOptions
from quantd.daemon.cli.output import print_json, say
from quantd.daemon.cli.places import Place
from quantd.trading.exit_codes import CHECK_FAILED, DONE

if TYPE_CHECKING:
    from quantd.daemon.config import Config
    from quantd.server.cli.setup.redteam_run import Row

MARKS: Final = {True: "held", False: "NOT HELD", None: "-"}


def redteam(
    chosen: RunOptions = DEFAULTS,
    agent: Annotated[
        str, typer.Option("--agent", metavar="NAME", help="The outside agent; a new one if none is.")
    ] = "",
    as_json: Json = False,
) -> int:
    """Try hostile calls of an outside agent, at each of its doors, against a copy of configuration, limits and state.

    The running daemon and its files are only read, and no venue is contacted. The exit code is 1 if a row is not held.
    """
    from quantd.server.cli.setup.redteam_copy import subject

    options = tuple(chosen.sets or ())
    settings, name = subject(chosen.config, options, chosen.read(), agent)
    origin, rows = asyncio.run(_rows(settings, chosen.place(), name))
    tried = [row for row in rows if row.held is not None]
    held = sum(row.held is True for row in tried)
    if as_json:
        print_json({"agent": name, "copy": origin, "held": held, "tried": len(tried), "rows": rows})
    else:
        say(f"agent {name}, in a copy of {chosen.config} ({origin})")
        for row in rows:
            say(f"{MARKS[row.held]:9}{row.door:8} {row.what} | {row.expected} | {row.happened}")
        say(f"{held} of {len(tried)} held; {len(rows) - len(tried)} rows do not apply to this account")
    return DONE if held == len(tried) else CHECK_FAILED


async def _rows(config: "Config", where: Place, agent: str) -> "tuple[str, list[Row]]":
    """(What the copy is of, its rows)."""
    import aiohttp
    import structlog

    from quantd.server.cli.setup.redteam_copy import copied
    from quantd.server.cli.setup.redteam_run import Trial

    settings, disabled = structlog.get_config(), logging.root.manager.disable
    # the faults of the calls are rows, not log lines
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        with tempfile.TemporaryDirectory(prefix="quantd-redteam-") as folder:
            async with copied(config, where, agent, Path(folder)) as copy, aiohttp.ClientSession() as session:
                return copy.origin, await Trial(copy, session).rows()
    finally:
        structlog.configure(**settings)
        logging.disable(disabled)


COMMAND: Final = Command("Set up", 21, redteam)
