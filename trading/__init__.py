"""The vocabulary and accounting rules of a trading account. Pure code, shared by every other package."""
