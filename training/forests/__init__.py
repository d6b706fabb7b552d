"""Fits random forests and converts them to arrays."""
