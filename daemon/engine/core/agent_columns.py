"""The columns of one agent of the compiled fold."""

from math import inf
from typing import Any

from quantd.daemon.engine.core.book_columns import BookColumns
from quantd.daemon.engine.core.lacks import Lacks
from quantd.daemon.engine.core.order_columns import FollowUp, Request
from quantd.trading.number_types import Codes, Floats, Ints, ReadCodes, ReadFloats, float_zeros, int_zeros


class AgentColumns:
    """One agent: its terms, its last request, the rest of its last decision, and its part of the plan.

    Weights and lots are per symbol. `most_age` is the largest age of a price and `window` the duplicate window, both in
    ns. `gross` and `net` are the bounds of gross exposure and of the sum of the weights. `least_trade` is [agents]
    min_trade. `stop` and `target` are protective levels as fractions of the entry price, infinite for none.
    """

    gross: float
    net: float
    rooms: list[Any]
    """`BuyingRoom` of the agent's limits and of the house's."""
    heaviest: float
    """The largest weight of one position, infinite for none; a position aims at the share `at_limit` of it."""
    at_limit: float
    kept: Floats
    """Lots of the target that are not asked of the gate, which `keeps` says there are. `waits` is the value of those
    that wait, `why` the reason codes of the others."""
    keeps: bool
    why: Codes
    waits: float
    scale: float
    """The factor, at most 1, that keeps its targets within `gross` and `net`."""
    least_trade: float
    owed: int
    """Capital that it owes to other agents, in micro-currency: it plans without it."""
    most_age: int
    window: int
    stop: float
    target: float
    asked: bool
    """Whether its policy is asked: an agent outside the daemon sends its decisions."""
    always: bool
    """Whether it decides at each sample."""
    request: Request
    """The request that the activity of its book refers to."""
    follow_up: FollowUp
    """The follow-up that the agent's state refers to."""
    lacks: Lacks
    """What its book lacks of its target, which the agent's state refers to."""
    taking: bool
    """Whether it has a part in the present plan."""
    weights: Floats
    weights_view: ReadFloats
    weights_raw: Any
    """The bytes of the weights."""
    change: Floats
    """Lots requested."""
    change_view: ReadFloats
    passed: Floats
    """Lots that its limits let pass."""
    reason: Codes
    reason_view: ReadCodes
    wanted: Ints
    counted: Codes
    """1 for each symbol in which a cut of the present decision is counted: the tally's, so that Python counts on."""
    surviving: Ints
    """Lots that remain to be ordered after crossing with other agents."""

    def __init__(self, size: int, reason: Codes, request: Request, follow_up: FollowUp, lacks: Lacks) -> None:
        self.request, self.follow_up, self.lacks, self.reason = request, follow_up, lacks, reason
        self.change, self.passed = float_zeros(size), float_zeros(size)
        self.wanted, self.surviving = int_zeros(size), int_zeros(size)
        self.weights_raw = memoryview(bytearray(8 * size))
        self.weights = self.weights_raw.cast("d")
        self.weights_view, self.change_view, self.reason_view = self.weights, self.change, self.reason
        self.kept, self.why = float_zeros(size), memoryview(bytearray(size)).cast("b")
        self.keeps = False
        self.taking = self.asked = self.always = False
        self.rooms = []
        self.waits, self.heaviest = 0.0, inf
        self.most_age = self.window = self.owed = 0
        self.gross = self.net = self.least_trade = self.stop = self.target = 0.0
        self.scale = 1.0

    def put(self, weights: bytes) -> None:
        """Take the weights of an agent's answer, as float64[N] in bytes."""
        self.weights_raw[:] = weights

    def leave(self) -> None:
        """Let no lots pass, as of an agent that has no part in a plan."""
        for k in range(len(self.wanted)):
            self.wanted[k] = 0
            self.passed[k] = 0.0

    def trade(self, change: ReadFloats) -> None:
        """Aim at the trades `change` themselves, whatever the targets are."""
        self.keeps, self.waits, self.scale = False, 0.0, 1.0
        for k in range(len(self.change)):
            self.change[k] = change[k]
            self.kept[k] = 0.0
            self.why[k] = 0

    def note_aim(self, book: BookColumns, px: ReadFloats) -> None:
        """Note the target, and what its trades lack before limits are asked, at the values `px` of a lot."""
        self.lacks.note(
            self.weights_view, float(book.micro - self.owed) / 1e6, self.scale, book.held_view, self.change_view,
            self.kept, self.why, px, self.least_trade,
        )  # fmt: skip

    def note_cuts(self, book: BookColumns, px: ReadFloats) -> None:
        """Note what its limits cut, at the values `px` of a lot."""
        self.lacks.cut(book.held_view, self.change_view, self.passed, self.reason_view, px)

    def take(self, change: ReadFloats, passed: ReadFloats, reason: ReadCodes) -> None:
        """Take part in a plan with the lots `change`, of which its limits let `passed` pass, with a `reason` for each
        cut."""
        self.taking = True
        for k in range(len(self.change)):
            self.change[k], self.passed[k], self.reason[k] = change[k], passed[k], reason[k]
            self.wanted[k] = int(passed[k])


def note_house_cuts(
    agents: list[AgentColumns], books: list[BookColumns], net: ReadFloats, allowed: ReadFloats, reason: ReadCodes,
    px: ReadFloats,
) -> None:  # fmt: skip
    """Note what each agent lacks where the account's limits allow less than the `net` lots of a plan."""
    for number in range(len(agents)):
        agent: AgentColumns = agents[number]
        book: BookColumns = books[number + 1]
        if agent.taking:
            agent.lacks.cut_by_house(book.held_view, agent.passed, agent.surviving, net, allowed, reason, px)


def note_sample(agents: list[AgentColumns], books: list[BookColumns], px: ReadFloats, equity: float) -> None:
    """Add a sample to what the agents lack, with the account's `equity` and the values of a lot `px`."""
    for number in range(len(agents)):
        agent: AgentColumns = agents[number]
        book: BookColumns = books[number + 1]
        agent.lacks.sample(book.held_view, px, equity)
