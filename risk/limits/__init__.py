"""Risk limits: one module for each kind of risk, and what they share."""

from typing import Final

HELPERS: Final = ("catalogue", "ruleset", "values")
"""Modules of this package that read the records of limits."""
