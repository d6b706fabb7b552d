"""The gateway: a listener for trading programs, which speaks the trading API that they already speak."""
