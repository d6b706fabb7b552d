"""Commands that quantd had, and the command line that does the work of each."""

from typing import Final

GONE: Final = {
    "token rotate": "token create NAME --rotate",
}
"""Words of a command that went -> its new command line without `quantd`; words in capitals stand for a value."""
