"""The vocabulary and the rules of an account: pure, shared by every other package."""
