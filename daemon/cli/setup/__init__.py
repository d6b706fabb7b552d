"""Commands for configuration, data and the store."""
