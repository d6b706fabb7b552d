"""Turns any table of bars that a tool wrote into bars, with a statement of what was taken for what."""
