"""Let only orders pass that reduce positions."""

from typing import Final

from quantd.daemon.cli.command import Command
from quantd.server.cli.operate.switch import action_of

COMMAND: Final = Command("Operate", 20, action_of("reduce", "symbol", "jump"))
