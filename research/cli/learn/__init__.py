"""Commands that evaluate and search policies."""
