"""The exceptions of the ledger."""


class LedgerFull(Exception):
    """A booking that could make an amount, or a number of lots, larger than what the ledger holds: `MOST`."""


class LedgerBroken(Exception):
    """The books do not add up to the house account, or an account's cash is unexplained. This is a bug."""
