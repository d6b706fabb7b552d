"""Metrics of an equity series and its trades: a catalogue in which each metric has a formula, a unit and a source."""

from typing import Final

HELPERS: Final = ("catalogue", "run_track")
"""Modules of this package that import the catalogue, or the daemon, whose configuration reads it."""
