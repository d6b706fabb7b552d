"""What keeps a venue from being used at all, in words for its user."""


class VenueError(Exception):
    """A venue that cannot be used: a wrong key, another currency, sizes that it does not trade. Never an outcome of
    an order: those are news."""

    def __init__(self, where: str, wrong: str, remedy: str) -> None:
        self.where, self.wrong, self.remedy = where, wrong, remedy
        super().__init__(f"{where}: {wrong}. {remedy}.")
