"""Vendors of bars, one in each module."""
