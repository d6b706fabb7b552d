"""Commands that quantd had, and the command line that does the work of each."""

from typing import Final

GONE: Final = {
    "config show": "config check --show",
    "data accept": "data check --accept REASON",
    "data list": "data check",
    "data sentiment": "data import HEADLINES --sentiment MODEL",
    "data synthetic": "data fetch --synthetic N",
    "portfolio show": "portfolio list NAME",
    "schedule jobs": "schedule list --jobs 20",
    "schedule next": "schedule list --next 10",
    "token rotate": "token create NAME --rotate",
}
"""Words of a command that went -> its new command line without `quantd`; words in capitals stand for a value."""
