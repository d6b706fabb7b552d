"""The data types and accounting rules of a trading account. Pure code, used by every other package."""
