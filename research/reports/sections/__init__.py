"""Sections of a report, one in each module: its part of the page, and its tables of the Markdown text."""
