"""The exceptions of the ledger."""


class LedgerFull(Exception):
    """A booking could make an amount, or a number of lots, larger than MOST, the most that the ledger can store."""


class LedgerBroken(Exception):
    """The books do not add up to the whole account, or a book's cash is unexplained. This is a bug in quantd."""
