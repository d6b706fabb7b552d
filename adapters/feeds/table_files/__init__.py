"""Reads tables of bars in the layouts of other tools, and states how it read each column."""
