"""Fixtures for the tests of the page."""

from tests.server.api.dashboard.screens import browser, shared

__all__ = ["browser", "shared"]
