"""Fixtures for the tests of commands."""

from tests.support.command_runs import live, ran

__all__ = ("live", "ran")
