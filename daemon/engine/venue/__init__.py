"""Reports of venues: executions, unknown orders, busts, halts, the account."""
