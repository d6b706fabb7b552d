"""The shell around the engine: inbox, step, journal, effects."""
