"""Crypto exchanges through ccxt: code shared by the broker and the feed. ccxt is imported when a connection opens."""
