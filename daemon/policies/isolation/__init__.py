"""Processes of policies: their rights, their messages, and what they read."""
