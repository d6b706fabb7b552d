"""What venues report: executions, unknown orders, busts, halts, the account."""
