"""Resume trading. Needs --reason; every high-water mark is reset to the present equity."""

from typing import Final

from quantd.daemon.cli.command import Command
from quantd.daemon.cli.operate.switch import with_symbol

COMMAND: Final = Command("Operate", 30, with_symbol("resume"))
