"""Import bars of any table, download bars, check them; generate bars, or score headlines."""

from typing import Final

from quantd.daemon.cli.command import Command
from quantd.daemon.cli.setup.data_check import check
from quantd.daemon.cli.setup.data_fetch import fetch
from quantd.daemon.cli.setup.data_import import import_bars

COMMAND: Final = Command("Set up", 70, {"import": import_bars, "fetch": fetch, "check": check})
