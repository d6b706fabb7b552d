"""Fixtures for the tests of the API."""

from tests.support.api_world import shared, world

__all__ = ["shared", "world"]
