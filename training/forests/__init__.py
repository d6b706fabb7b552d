"""Fits forests and converts them to arrays."""
