"""The lots of the books that can be closed at the venue, which may hold less than the books.

`quantd.daemon.engine.venue.availability` records the lots that the venue lets us close.
"""

from collections.abc import Sequence
from decimal import Decimal

from quantd.daemon.engine.state import HOUSE, State
from quantd.trading.instruments import NANO
from quantd.trading.ledger.shares import share
from quantd.trading.market import Floats
from quantd.trading.orders import quantity_text


def closing_lots(state: State, agent: int) -> Floats:
    """float64[N] signed lots that close the positions of a book, as far as the venue has these lots.

    The venue may refuse to let us close some lots of the account's position. Books with a position on the house's side
    (long or short, as the whole account) bear these missing lots in proportion to their positions.
    """
    change: Floats = -state.lots(agent)
    for column, lots in state.venue.waits.missing.items():
        side = 1 if state.ledger.house.held[column] > 0 else -1
        # the last book, the unallocated one, belongs to no agent
        positions = [
            (n, side * book.held[column]) for n, book in enumerate(state.ledger.books) if n < len(state.agents)
        ]
        positions = [(number, unsigned) for number, unsigned in positions if unsigned > 0]
        if positions:
            total = sum(unsigned for _, unsigned in positions)
            change[column] += side * dict(share(min(lots, total), positions)).get(agent, 0)
    return change


def sold_out(state: State) -> bool:
    """Whether no lots remain that the venue lets us close.

    Only a comparison with the venue after the flatten (the closing of all positions) began can tell; without such a
    comparison the answer is False.
    """
    if not state.venue.waits.missing or state.venue.waits.compared < state.venue.waits.flatten_since:
        return False
    return not any(closing_lots(state, number).any() for number in range(len(state.agents)))


def new_names(state: State, lots: Sequence[int]) -> list[str]:
    """Sentences about holdings in no book with the size of lots that the venue lacks: they may be the same positions.

    `lots` are the venue's lots less those of the books, by column. A venue that renames a symbol lists its position
    under the new name. Such a position exists, and must not be booked as closed.
    """
    texts = []
    for column, missing in enumerate(lots):
        size, symbol = Decimal(-missing * state.universe.lot_nano[column]) / NANO, state.universe.symbols[column]
        names = [name for name, held in state.venue.waits.holdings if missing and Decimal(held) == size]
        texts += [
            f"the venue holds {quantity_text(-missing, state.universe.lot_nano[column])} {name}, which is in no book "
            f"and may be {symbol} under a new name: compare the two at the venue. If it is, do not book {symbol} as "
            f'closed: give the new symbol the key was = "{symbol}" in [[universe.instruments]], and start with --carry'
            for name in names
        ]
    return texts


def gap_text(state: State, column: int) -> str:
    """The lots of a symbol in the books, and the lots that the venue permits to close."""
    universe, held = state.universe, abs(state.account(HOUSE).lots[column])
    lot, symbol = universe.lot_nano[column], universe.symbols[column]
    closable = held - state.venue.waits.missing[column]
    return (
        f"the books have {quantity_text(held, lot)} {symbol}, the venue lets {quantity_text(closable, lot)} be closed"
    )
