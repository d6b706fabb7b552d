"""Processes of policies, and their messages."""
