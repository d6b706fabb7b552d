"""The exact ledger: a house account and one virtual book per agent."""
