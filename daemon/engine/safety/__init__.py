"""The limits that are watched while trading, and the kill switches that they move."""
