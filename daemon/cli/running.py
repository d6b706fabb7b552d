"""`quantd run`: the daemon in the foreground, or under systemd."""

import asyncio
import os
import sys
from pathlib import Path

from daemon.app import BeginAnew, Options, serve, state_folder
from daemon.cli.closing import closing
from daemon.cli.configuration import read
from daemon.cli.failures import CONFIG, Failure
from daemon.cli.output import print_json, say
from daemon.observability import configure
from daemon.permission import refusal


def run(
    config: Path,
    state: Path | None,
    sets: tuple[str, ...],
    *,
    fresh: bool,
    carry: bool,
    live: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run until stopped. Raises what `daemon.cli.failures` explains."""
    found = read(config, sets)
    if missing := refusal(found, state_folder(found, state), live):
        raise Failure(missing, CONFIG)
    configure(found.log.level.upper(), found.log.format)  # type: ignore[arg-type]
    options = Options(
        config=config,
        state=state,
        sets=sets,
        fresh=fresh,
        carry=carry,
        live=live,
        quiet=quiet or as_json,
        environ=dict(os.environ),
    )
    try:
        summary = asyncio.run(serve(found, options))
    except BeginAnew:
        kept = [word for word in sys.orig_argv[1:] if word not in ("--fresh", "--carry")]
        os.execv(sys.executable, [sys.executable, *kept, "--carry"])
    if as_json:
        print_json(summary)
    elif not quiet:
        say(closing(summary))
