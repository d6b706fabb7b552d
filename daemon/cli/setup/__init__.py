"""Commands for configuration, data and the store."""

from typing import Final

HELPERS: Final = (
    "bar_files",
    "bar_report",
    "config_lines",
    "credentials",
    "data_check",
    "data_fetch",
    "data_import",
    "download_lines",
    "service_answers",
    "table_options",
    "vendors",
)
"""Modules of this package that are no command."""
