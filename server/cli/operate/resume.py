"""Resume trading. Needs --reason; every high-water mark is reset to the present equity. --symbol with --jump ends the
hold after a jump of the price."""

from typing import Final

from quantd.daemon.cli.command import Command
from quantd.server.cli.operate.switch import action_of

COMMAND: Final = Command("Operate", 30, action_of("resume"))
