"""Venues that execute orders: the simulated venue, Alpaca, and crypto exchanges through ccxt."""
