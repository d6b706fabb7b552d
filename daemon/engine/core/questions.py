"""Makes the questions to agents at the last sample from columns, equal to those of `engine.rounds.view_of`."""

from typing import Any

from quantd.daemon.engine.core.agent_columns import AgentColumns
from quantd.daemon.engine.core.book_columns import BookColumns
from quantd.daemon.engine.core.market_columns import BlockColumns, Market
from quantd.daemon.engine.core.order_columns import FollowUp
from quantd.trading.history.question import question
from quantd.trading.history.rings import History, Ring
from quantd.trading.ledger.book import Book, Postings
from quantd.trading.number_types import Whole


class Questions:
    """Makes questions. `room` is the bytearray into which each book writes its weights, one book after another; `seats`
    has by agent the index of the policy that decides for it."""

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
        """Return the questions to some agents at a sample.

        `numbers` are the indices of the agents; book 0 is the whole account, book k + 1 agent k. A question
        has the samples by instant and by session date, which differ where calendars differ.
        """
        by_instant: Ring = history.known
        by_date: Ring = by_instant if history.own_dates is None else history.own_dates
        market: Market = self.market
        bars: BlockColumns = market.bars
        closes: Any = bars.marks
        asks: list[Any] = []
        number: int
        for member in numbers:
            number = member  # as an integer of C
            columns: BookColumns = books[number + 1]
            book: Book = ledger.books[number]
            columns.weigh()
            weights_held: bytes = bytes(self.room)  # `weigh` wrote them into `room`
            cash: Whole = book.cash_micro
            cash_share: float = cash / columns.micro if columns.micro > 0 else 0.0
            equity: float = float(columns.micro) / 1e6
            policy_number: int = self.seats[number]
            asks.append(
                question(
                    round_no, number, policy_number, agents[number].memory, self.universe, by_instant, by_date,
                    history.bars, history.macro, closes, market.row, weights_held, cash_share, equity, ts,
                )
            )  # fmt: skip
        return asks


def take_ahead(agents: list[AgentColumns], states: list[Any], ahead: Any, questions: list[Any]) -> bool:
    """Write answers known in advance (`ahead`) into the columns of the agents, which take part in the next plan.

    `questions` are the agents that are due. Returns False, with nothing changed, where an answer is missing or an agent
    has a note, which Python must clear.
    """
    weights: Any = ahead.answers
    agent: AgentColumns
    state: Any
    number: int
    if len(weights) != len(questions):
        return False
    for member in questions:
        state = states[member]
        if state.note:
            return False
    for k in range(len(agents)):
        agent = agents[k]
        agent.taking = False
    follow_up: FollowUp
    for member in questions:
        number = member
        agent = agents[number]
        agent.taking = True
        agent.put(weights[member])
        follow_up = agent.follow_up
        follow_up.drop()
    return True


def take_answers(agents: list[AgentColumns], states: list[Any], answers: list[Any], size: int, host: Any) -> bool:
    """Write the answers of a round into the columns and states of the agents, which take part in the next plan.

    Weights are float64[`size`] as bytes; an answer without weights (None) changes nothing. Returns False, with nothing
    changed, where an answer failed or has a note, or its weights have another size. The states then have no failures,
    and the memory of the answer, as after `step` (in Python).
    """
    agent: AgentColumns
    number: int
    state: Any
    weights: Any
    follow_up: FollowUp
    for answer in answers:
        state = states[answer.agent]
        weights = answer.weights
        if answer.failed or answer.note or state.note or (weights is not None and len(weights) != 8 * size):
            return False
        number = answer.agent
        agent = agents[number]
        follow_up = agent.follow_up
        if weights is None and follow_up.sample >= 0:  # the rest of its last target goes on: Python plans it
            return False
    for k in range(len(agents)):
        agent = agents[k]
        agent.taking = False
    for answer in answers:
        number = answer.agent
        state = states[number]
        weights = answer.weights
        state.failures = 0
        if answer.memory:
            host.remember(state, answer)
        if weights is not None:
            agent = agents[number]
            agent.taking = True
            agent.put(weights)
            follow_up = agent.follow_up
            follow_up.drop()
    return True
