"""The Python client of a daemon, and one HTTP request."""
