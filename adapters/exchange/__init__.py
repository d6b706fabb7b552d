"""Crypto exchanges through ccxt: what their orders and their bars have in common. ccxt is imported when one is opened."""
