"""Commands that report."""

from typing import Final

HELPERS: Final = ("looks_ledger",)
"""Modules of this package that are no command."""
