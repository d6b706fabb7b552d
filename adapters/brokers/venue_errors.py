"""Errors of an unusable venue."""


class VenueError(Exception):
    """A venue that cannot be used: a wrong key, another currency, sizes that it does not trade.

    The outcome of an order never raises this error; it is returned as a report.
    """

    def __init__(self, where: str, wrong: str, remedy: str) -> None:
        self.where, self.wrong, self.remedy = where, wrong, remedy
        super().__init__(f"{where}: {wrong}. {remedy}.")


class KeysRefused(VenueError):
    """The venue refuses the keys, or they lack a permission."""
