"""Stop all trading and cancel every open order; positions stay. `resume` re-arms."""

from typing import Final

from quantd.daemon.cli.command import Command
from quantd.server.cli.operate.switch import action_of

COMMAND: Final = Command("Operate", 10, action_of("halt", "jump"))
