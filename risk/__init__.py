"""Intents to verdicts: measures, limits and the gate. Pure."""
