"""Metrics of an equity series and its trades: a catalogue in which each metric has a formula, a unit and a source."""
