"""Serve the page and all reads beside a trading daemon, or of a stopped run, with --read-only."""

from typing import Annotated, Final

import typer

from quantd.daemon.cli.command import DEFAULTS, Command, RunOptions
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import say
from quantd.trading.exit_codes import USAGE


def serve(
    chosen: RunOptions = DEFAULTS,
    read_only: Annotated[bool, typer.Option("--read-only", help="Needed: this command never trades.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of this instance; 0 chooses a free one.")] = 0,
    leader: Annotated[
        str, typer.Option(metavar="URL", help="Address of the trading daemon, where the state folder does not have it.")
    ] = "",
) -> None:
    if not read_only:
        raise Failure("`quantd serve` lacks --read-only: write `quantd serve --read-only`. `quantd run` trades.", USAGE)
    import asyncio
    import os
    import sys

    from quantd.daemon.monitoring.metrics import configure
    from quantd.server.replica import is_address
    from quantd.server.replica import serve as serve_reads

    if leader and not is_address(leader):
        raise Failure(f"--leader {leader} is no URL with a port: write https://HOST:PORT/", USAGE)
    settings = chosen.read().with_option("api", "port", port, "--port")
    settings = settings.in_state(chosen.state, os.environ)
    configure(settings.log.level.upper(), settings.log.format, instance=settings.quantd.name)  # type: ignore[arg-type]

    def shown(url: str) -> None:
        say(f"read-only: {url}  (Ctrl-C ends it; the trading daemon is not touched)")
        sys.stdout.flush()

    asyncio.run(serve_reads(settings, settings.state_folder(chosen.state), shown, leader))


COMMAND: Final = Command("Look", 15, serve)
