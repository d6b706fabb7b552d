"""The Alpaca broker."""
