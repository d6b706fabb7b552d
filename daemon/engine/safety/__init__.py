"""The limits that are watched while trading, and the switches that they move."""
