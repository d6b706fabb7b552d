"""Loads and calls policies: inline, in a thread, or in separate processes."""
