"""List the symbols without new orders; exit code 1 when no daemon runs."""

from typing import Final

from quantd.daemon.cli.client import running

from quantd.daemon.cli.command import CONFIG_FILE, Command, ConfigFile, Json, Sets, State
from quantd.daemon.cli.output import answer
from quantd.daemon.cli.places import place
from quantd.trading.exit_codes import CHECK_FAILED, DONE


def halted(config: ConfigFile = CONFIG_FILE, state: State = None, sets: Sets = None, as_json: Json = False) -> int:
    daemon = running(place(config, state, sets))
    symbols = {} if daemon is None else daemon.get("/api/v1/status").get("halted", {})
    lines = (f"{symbol} {reason}" for symbol, reason in symbols.items())
    answer(as_json, {"running": daemon is not None, "halted": symbols}, *lines)
    return CHECK_FAILED if daemon is None else DONE


COMMAND: Final = Command("Look", 15, halted)
