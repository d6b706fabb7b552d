"""Spot crypto exchanges as a broker, through ccxt."""
