"""What the engine knows of the venue's account beside the books, and since when it waits for an answer."""

from msgspec import Struct


class Waits(Struct):
    """The newest comparison with the venue, and the clocks of waits for it.

    `compared` is the instant of the newest comparison. `missing` has by column the unsigned lots of the house's
    position that the venue does not let us close: they were sold there, or an order that is not ours holds them.
    `flatten_since` is the instant at which the house began to close all positions, 0 without that. `told` are the
    missing lots that an alert has named since then. `account` is the venue's reason why the account may not trade,
    empty while it may. `holdings` are those that are no whole lots of the universe, as (symbol, decimal text).
    """

    compared: int = 0
    missing: dict[int, int] = {}
    flatten_since: int = 0
    told: dict[int, int] = {}
    account: str = ""
    holdings: tuple[tuple[str, str], ...] = ()
