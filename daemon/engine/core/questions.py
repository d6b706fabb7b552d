"""The questions to agents at the last sample: what `quantd.daemon.engine.rounds.view_of` makes, from columns."""

from typing import Any

from quantd.daemon.engine.core.book_columns import BookColumns
from quantd.daemon.engine.core.market_columns import Market
from quantd.trading.history.question import question
from quantd.trading.history.rings import History, Ring
from quantd.trading.ledger.book import Book, Postings
from quantd.trading.number_types import Whole


class Questions:
    """Makes questions. `room` is a bytearray with the room for weights that books share, `seats` are by agent."""

    market: Market
    universe: Any
    room: Any
    seats: list[int]

    def __init__(self, market: Market, universe: Any, room: Any) -> None:
        self.market, self.universe, self.room, self.seats = market, universe, room, []

    def asks(
        self, numbers: list[Any], round_no: int, ts: int, books: list[BookColumns], ledger: Postings, history: History,
        agents: list[Any],
    ) -> list[Any]:  # fmt: skip
        """The questions to some agents, at a sample at which each has a positive equity."""
        known: Ring = history.known
        by_date: Ring = known if history.own_dates is None else history.own_dates
        market: Market = self.market
        closes: Any = market.block.close
        asks: list[Any] = []
        number: int
        for member in numbers:
            number = member
            columns: BookColumns = books[number + 1]
            book: Book = ledger.books[number]
            columns.weigh()
            held: bytes = bytes(self.room)
            cash: Whole = book.cash_micro
            share: float = cash / columns.micro
            equity: float = float(columns.micro) / 1e6
            seat: int = self.seats[number]
            asks.append(
                question(
                    round_no, number, seat, agents[number].memory, self.universe, known, by_date, history.bars,
                    history.macro, closes, market.row, held, share, equity, ts,
                )
            )  # fmt: skip
        return asks
