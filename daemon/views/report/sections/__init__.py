"""Sections of a risk report's page, one in each module."""
