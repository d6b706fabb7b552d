"""Commands of the first hour: a configuration of one's own symbols, a policy that is watched, notebooks."""

from typing import Final

HELPERS: Final = ("first_hour", "notebook", "own_symbols", "policy_check", "policy_watch")
"""Modules of this package that are no command."""
