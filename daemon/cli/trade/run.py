"""`quantd run`: the daemon in the foreground, or under systemd."""

import asyncio
import os
import sys
from pathlib import Path

import msgspec
import structlog

from quantd.daemon.app import BeginAnew, Options, serve, state_folder
from quantd.daemon.cli.configuration import read
from quantd.daemon.cli.failures import Failure, explained
from quantd.daemon.cli.output import closing, print_json, say
from quantd.daemon.live.permission import refusal
from quantd.daemon.monitoring.metrics import configure
from quantd.trading.exit_codes import CONFIG

log = structlog.get_logger("quantd.run")


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
    """Run until stopped. Raises what `quantd.daemon.cli.failures` explains."""
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
    in_json = found.log.format == "json"
    try:
        summary = asyncio.run(serve(found, options))
    except BeginAnew:
        kept = [word for word in sys.orig_argv[1:] if word not in ("--fresh", "--carry")]
        os.execv(sys.executable, [sys.executable, *kept, "--carry"])
    except Exception as error:
        if not in_json:
            raise
        text, code = explained(error)
        log.critical("ended", error=text, code=code)
        raise SystemExit(code) from None
    if as_json:
        print_json(summary)
    elif in_json:
        log.info("ended", **msgspec.to_builtins(summary))
    elif not quiet:
        say(closing(summary))
