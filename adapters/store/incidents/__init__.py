"""Incidents: what each alert raises, who acknowledged it, and what cleared it."""
