"""The exact ledger: the account of the house (everything together) and one virtual book per agent."""
