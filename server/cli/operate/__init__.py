"""Commands that operate a running daemon."""

from typing import Final

HELPERS: Final = ("gate", "remote", "switch")
"""Modules of this package that are no command."""
