"""Incidents: problems that alerts open, that persons acknowledge and that later alerts or persons end."""
