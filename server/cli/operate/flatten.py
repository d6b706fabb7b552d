"""Sell every position, then halt."""

from typing import Final

from quantd.daemon.cli.command import Command
from quantd.server.cli.operate.switch import action_of

COMMAND: Final = Command("Operate", 40, action_of("flatten", "agent", "symbol", "jump"))
