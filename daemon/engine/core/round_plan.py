"""The plan of a round: agents' answers become lots, pass the agents' limits, cross, and pass the account's limits.

`make` plans agents whose open orders are exits, at a bar in which every symbol has a price, and writes only into
columns that belong to the plan. Any other plan is `engine.planning.plan`, which takes its verdicts from the gate in
Python, and the lots that cross, prices, orders and rests from here.
"""

from math import inf
from typing import Any, Final

from quantd.daemon.engine.core.agent_columns import AgentColumns, note_house_cuts
from quantd.daemon.engine.core.book_columns import BookColumns
from quantd.daemon.engine.core.limiter import Limiter, copy
from quantd.daemon.engine.core.lots import BY_SALES, LEAST_REST, Targets
from quantd.daemon.engine.core.market_columns import Market
from quantd.daemon.engine.core.order_columns import Crosses, Orders, Request
from quantd.risk.limits.collars import Collar, Collars
from quantd.risk.monitor.ceilings import Bands
from quantd.risk.monitor.holdings import Holdings
from quantd.risk.pretrade.judge import Gate
from quantd.risk.pretrade.loops import Loops
from quantd.risk.pretrade.standing import Basket
from quantd.risk.switch_state import RUN
from quantd.trading.history.rings import Ring
from quantd.trading.ledger.book import Book
from quantd.trading.ledger.shares import cross_lots, share_lots
from quantd.trading.number_types import Codes, Floats, Ints, ReadCodes, ReadFloats, ReadInts, float_zeros, int_zeros

NO_REQUEST: Final = 0
"""No agent requests a lot."""
PLANNED: Final = 1
RAISES_LEVEL: Final = 2
"""Planned, as PLANNED, and a level of a limit may rise by it."""
FOR_PYTHON: Final = 3
"""The fold cannot make this plan: nothing was sent, and Python makes it."""

WEIGHT_BOUND: Final = 1e300
"""Weights of this absolute value or more, and NaN, are left to Python, which reports them."""


class Plan:
    """The columns of a plan. Book 0 is the whole account, book k + 1 agent k. Of the house, `net` are the
    signed lots requested, `passed` those that its limits allow."""

    size: int
    agents: list[AgentColumns]
    states: list[Any]
    """The agents of the state."""
    books: list[BookColumns]
    market: Market
    crosses: Crosses
    """The crosses of the plan. When it is sent, they are copied into the crosses of the state, where they wait."""
    loops: Loops
    targets: Targets
    holdings: Holdings
    open: bool
    """Whether orders are open: then the columns of the books have the lots of these orders."""
    resting: bool
    """Whether the plan is of rests: their trades are worth LEAST_REST of equity."""
    closing: bool
    """Whether agents close positions: then the caller has written `change`, and `weights` are not read."""
    granted: bool
    """Whether the gate's verdict on the only agent in the plan also holds for the house."""
    host: Any
    orders_type: Any
    """The subclass of `Orders` with the methods of handlers."""
    watched: int
    """Number of books whose levels are watched: 1 where the lone agent is the house."""
    by_volume: bool
    """Whether a limit reads average volumes."""
    least_collar: float
    widest_tick: float
    """The smallest collar of any set of limits, as a fraction of the price; the widest tick of any symbol, in nano."""
    later: ReadCodes
    """By reason code of a cut: the bits of `lots` that say when the cut lots may pass."""
    heaviest: float
    """The largest weight of one position of the house, infinite for none."""
    counted: Codes
    """Of the house, as `AgentColumns.counted`."""
    net: Floats
    net_view: ReadFloats
    passed: Floats
    reason: Codes
    reason_view: ReadCodes
    worst: Ints
    total: Ints
    filled: Floats
    """Lots of a book with the plan filled."""
    filled_view: ReadFloats
    ages: ReadInts
    numbers: Ints
    given: Ints
    taken: Ints
    remaining: Ints
    """Scratch by symbol; and of one symbol by agent: lots before crossing, lots that cross, and lots that remain."""
    refused: int
    clipped: int

    def __init__(
        self, size: int, agents: list[AgentColumns], books: list[BookColumns], market: Market, reason: Codes
    ) -> None:
        self.size, self.agents, self.books, self.market = size, agents, books, market
        self.targets = Targets(size)
        self.net, self.passed, self.filled = float_zeros(size), float_zeros(size), float_zeros(size)
        self.worst, self.total, self.ages = int_zeros(size), int_zeros(size), int_zeros(size)
        self.numbers = int_zeros(size)
        self.given, self.taken, self.remaining = int_zeros(len(agents)), int_zeros(len(agents)), int_zeros(len(agents))
        self.net_view, self.filled_view = self.net, self.filled  # read-only views of the same arrays
        self.reason = reason
        self.reason_view = reason
        self.watched = self.refused = self.clipped = 0
        self.open = self.closing = self.granted = self.resting = False
        self.by_volume, self.least_collar, self.widest_tick, self.heaviest = False, 0.0, 0.0, inf

    def make(self, ts: int, ring: Ring) -> int:
        """Plan the agents `taking` part, from weights, or from `change` (lots) if `closing`. Returns NO_REQUEST,
        PLANNED, RAISES_LEVEL (planned, and an alert level may rise), or FOR_PYTHON where only Python can plan."""
        market: Market = self.market
        age: int = market.age(ts)
        if age < 0 or (self.by_volume and not self.host.volumes()):  # a volume is unknown
            return FOR_PYTHON
        marks: ReadInts = market.closes()
        n: int = self.size
        lowest: int = marks[0]
        for k in range(n):
            lowest = min(lowest, marks[k])
        # a limit price within a collar narrower than a tick may not exist: Python reports it
        if not float(lowest) * self.least_collar >= self.widest_tick:
            return FOR_PYTHON
        any_request: bool = False
        for number in range(len(self.agents)):
            agent: AgentColumns = self.agents[number]
            agent.leave()
            if not agent.taking:
                continue
            status: int = self.request(number, ts, age)
            if status == FOR_PYTHON:
                return FOR_PYTHON
            if status == NO_REQUEST:
                agent.taking = False
                continue
            self.judge(number + 1, agent.change_view, agent.passed, agent.reason, agent.reason_view, ring)
            wanted: Ints = agent.wanted
            passed: Floats = agent.passed
            for k in range(n):
                wanted[k] = int(passed[k])
            any_request = True
        if not any_request:
            return NO_REQUEST
        self.net_lots()
        reason: Codes = self.reason
        copy(self.passed, self.net)
        for k in range(n):
            reason[k] = 0
        self.granted = self.same_book()  # then the verdict on the lone agent is also that on the house
        if not self.granted and self.count() > 0:
            self.judge(0, self.net_view, self.passed, self.reason, self.reason_view, ring)
        if not self.order_prices(marks, self.ages) or (len(self.agents) > 1 and not self.cross_prices(marks)):
            return FOR_PYTHON
        raises: bool = not self.holds(0, self.passed, ring)
        for number in range(len(self.agents)):
            agent = self.agents[number]
            if agent.taking and self.watched > 1:  # else the lone agent is the house
                raises = not self.holds(number + 1, agent.passed, ring) or raises
        return RAISES_LEVEL if raises else PLANNED

    def request(self, number: int, ts: int, age: int) -> int:
        """Write the lots that agent `number` requests into its `change`. Returns PLANNED where it requests any, else
        NO_REQUEST; FOR_PYTHON where Python must plan, as for a request repeated within the duplicate window."""
        agent: AgentColumns = self.agents[number]
        if age > agent.most_age or (self.open and self.in_the_way(number)):  # an open order may have to be cancelled
            return FOR_PYTHON
        agent.waits, agent.keeps = 0.0, False
        if not self.closing:
            targets: Targets = self.targets
            weights: ReadFloats = agent.weights_view
            for k in range(self.size):
                if not -WEIGHT_BOUND < weights[k] < WEIGHT_BOUND:
                    return FOR_PYTHON
            self.aim(number, self.ages)
            agent.note_aim(self.books[number + 1], self.market.px_view)
            if targets.changed == 0:  # a plan without an order says what waits
                return FOR_PYTHON if agent.waits >= self.least_rest(number) else NO_REQUEST
        last_request: Request = agent.request
        if last_request.lasts(ts, agent.window) and last_request.has(agent.change):
            return FOR_PYTHON
        return PLANNED

    def aim(self, number: int, ages: ReadInts) -> None:
        """Write the lots to agent `number`'s targets into its `change`, and what of them waits, at marks of these ages
        in ns.

        A change worth less than the agent's smallest trade is omitted (`Targets`); of a rest it is worth LEAST_REST of
        equity at least, so that a rest trades no drift.
        """
        agent: AgentColumns = self.agents[number]
        book: BookColumns = self.books[number + 1]
        state: Any = self.states[number]
        weights: ReadFloats = agent.weights_view
        equity: float = float(book.micro - agent.owed) / 1e6
        market: Market = self.market
        targets: Targets = self.targets
        scale: float = targets.factor(weights, agent.gross, agent.net)
        agent.scale = scale
        least: float = max(agent.least_trade, LEAST_REST) if self.resting else agent.least_trade
        targets.change_to(
            weights, book.held_view, market.px_view, ages, agent.most_age, scale * equity,
            least * equity, agent.heaviest * equity, agent.heaviest * equity * agent.at_limit,
        )  # fmt: skip
        account: Book = book.book
        cash: float = float(account.cash_micro) / 1e6
        for room in agent.rooms:
            targets.fit(
                book.held_view, market.px_view, equity, cash,
                room.gross, room.reserve, room.debit, room.cost, room.reduce_cost,
            )  # fmt: skip
        for member in state.exits:  # an exit overrides the policy
            column: int = member
            targets.omit(column, market.px_view[column])
        copy(agent.change, targets.change)
        copy(agent.kept, targets.kept)
        agent.keeps = False
        for k in range(self.size):
            agent.why[k] = targets.why[k]
            agent.keeps = agent.keeps or targets.kept[k] != 0.0
        agent.waits = targets.waits

    def in_the_way(self, number: int) -> bool:
        """Whether agent `number` has an open order that is no exit: a new plan may have to cancel that order."""
        columns: BookColumns = self.books[number + 1]
        state: Any = self.states[number]
        blocks: bool = False
        for k in range(self.size):
            blocks = blocks or (columns.up[k] + columns.down[k] != 0.0 and k not in state.exits)
        return blocks

    def judge(
        self, number: int, requested: ReadFloats, out: Floats, reason: Codes, reasons: ReadCodes, ring: Ring
    ) -> None:
        """Write the lots that the limits of book `number` let pass into `out`, the codes of cuts into `reason`."""
        columns: BookColumns = self.books[number]
        limiter: Limiter = columns.limiter
        book: Book = columns.book
        market: Market = self.market
        limiter.renew(ring, market.px)
        for k in range(self.size):
            reason[k] = 0
        gate: Gate = limiter.gate
        basket: Basket = gate.basket
        loops: Loops = self.loops
        loops.begin(basket, requested, columns.held_view, reasons)
        basket.cash = float(book.cash_micro) / 1e6
        basket.equity = float(columns.micro) / 1e6
        basket.up_cash = basket.open_loss = basket.open_gain = basket.traded = 0.0
        basket.derived = not self.open  # without open orders the gate computes `open_loss` itself
        for k in range(len(gate.rooms)):
            gate.rooms[k] = limiter.most[k]  # by limit on a number of orders: how many may still be sent
        if self.open:
            self.reserve(columns, gate)
        caps: list[Any] = limiter.caps
        if number > 0:
            state: Any = self.states[number - 1]
            if state.blocked:  # symbols in a cooldown after a protective exit
                caps = self.host.caps(number - 1, limiter, requested)
        house: BookColumns = self.books[0]
        runs: bool = columns.marks.state == RUN and house.marks.state == RUN
        gate.judge(limiter.bounds, limiter.scene, caps, runs)
        loops.finish(basket, out, reason)
        if number > 0:
            agent: AgentColumns = self.agents[number - 1]
            if not self.closing:
                agent.note_cuts(columns, market.px_view)
            if agent.keeps:  # the reasons of lots that were not asked of the gate
                for k in range(self.size):
                    if reason[k] == 0:
                        reason[k] = agent.why[k]
        elif not self.closing:
            note_house_cuts(self.agents, self.books, requested, out, reasons, market.px_view)

    def reserve(self, columns: BookColumns, gate: Gate) -> None:
        """Write the open orders of a book to the basket of its gate (check of limits), which counts them too."""
        basket: Basket = gate.basket
        for k in range(self.size):
            basket.up[k], basket.down[k] = columns.up[k], columns.down[k]
        basket.up_cash, basket.open_loss, basket.open_gain = columns.up_cash, columns.open_loss, columns.open_gain
        for k in range(len(gate.rooms)):
            gate.rooms[k] -= float(columns.open_orders)

    def take(self, passed: ReadFloats, reason: ReadCodes) -> None:
        """Let `passed` of the net lots pass, with a `reason` for each cut."""
        for k in range(self.size):
            self.passed[k], self.reason[k] = passed[k], reason[k]

    def net_lots(self) -> None:
        """Set off the agents' wanted lots against each other: write their `surviving` lots, `total` and `net`."""
        agents: int = len(self.agents)
        agent: AgentColumns = self.agents[0]
        net: Floats = self.net
        total: Ints = self.total
        surviving: Ints = agent.surviving
        wanted: Ints = agent.wanted
        given: Ints = self.given
        remaining: Ints = self.remaining
        if agents == 1:
            for k in range(self.size):
                surviving[k] = total[k] = wanted[k]
                net[k] = float(wanted[k])
            return
        for k in range(self.size):
            for number in range(agents):
                agent = self.agents[number]
                given[number] = agent.wanted[k]
            total[k] = cross_lots(given, self.taken, remaining)
            net[k] = float(total[k])
            for number in range(agents):
                agent = self.agents[number]
                agent.surviving[k] = remaining[number]

    def same_book(self) -> bool:
        """Whether the only agent in the plan has the house's limits, positions, cash and equity, and no open orders."""
        if self.open:
            return False
        only_agent: int = -1
        for number in range(len(self.agents)):
            agent: AgentColumns = self.agents[number]
            if agent.taking:
                if only_agent >= 0:
                    return False
                only_agent = number
        house: BookColumns = self.books[0]
        columns: BookColumns = self.books[only_agent + 1]
        book: Book = columns.book
        house_book: Book = house.book
        if house.limiter is not columns.limiter or house.micro != columns.micro:
            return False
        if book.cash_micro != house_book.cash_micro:
            return False
        same: bool = True
        agent_held: Floats = columns.held
        house_held: Floats = house.held
        for k in range(self.size):
            same = same and house_held[k] == agent_held[k]
        return same

    def price(self, collars: Collars, k: int, lots: float, held: float, mark: int, age: int) -> int:
        """Return an order's limit price in nano-currency, with lots `held` before; -1 if it has more than 62 bits."""
        try:
            return collars.price(k, lots, held, mark, age)
        except OverflowError:
            return -1

    def order_prices(self, marks: ReadInts, ages: ReadInts) -> bool:
        """Write the limit prices of the account's orders, narrowed by each agent's, at marks of these ages in ns; False
        if one is out of range."""
        columns: BookColumns = self.books[0]
        agent: AgentColumns
        lots: float
        passed: Floats = self.passed
        worst: Ints = self.worst
        held: Floats = columns.held
        for k in range(self.size):
            lots = passed[k]
            worst[k] = 0
            if lots != 0.0:
                worst[k] = self.price(columns.collars, k, lots, held[k], marks[k], ages[k])
                if worst[k] <= 0:
                    return False
        for number in range(len(self.agents)):
            agent = self.agents[number]
            if agent.taking and not self.narrow(number, marks, ages):
                return False
        return True

    def narrow(self, number: int, marks: ReadInts, ages: ReadInts) -> bool:
        """Narrow the limit prices by those of agent `number`; False if an order has no price in range."""
        agent: AgentColumns = self.agents[number]
        columns: BookColumns = self.books[number + 1]
        house_columns: BookColumns = self.books[0]
        collars: Collars = columns.collars
        narrower: bool = not collars.equals(house_columns.collars)
        passed: Floats = self.passed
        surviving: Ints = agent.surviving
        held: Floats = columns.held
        house_held: Floats = house_columns.held
        worst: Ints = self.worst
        for k in range(self.size):
            # where the house reduces and the agent adds, the agent's adding collar may be narrower
            house_reduces: bool = passed[k] * house_held[k] < 0.0 and surviving[k] != 0
            narrower = narrower or (house_reduces and float(surviving[k]) * held[k] >= 0.0)
        if not narrower:
            return True
        for k in range(self.size):
            lots: float = float(surviving[k])
            if lots == 0.0 or worst[k] == 0:
                continue
            price: int = self.price(collars, k, lots, held[k], marks[k], ages[k])
            if price <= 0:
                return False
            if price < worst[k] if lots > 0.0 else price > worst[k]:
                worst[k] = price
        return True

    def cross_prices(self, marks: ReadInts) -> bool:
        """Write lots and worst prices of crosses, except where the house refused; False if a price, which is then 0, is
        out of range."""
        columns: BookColumns = self.books[0]
        collars: Collars = columns.collars
        narrowest: Collar = collars.adding
        crosses: Crosses = self.crosses
        agent: AgentColumns
        for number in range(len(self.agents)):
            agent = self.agents[number]
            if agent.taking:
                columns = self.books[number + 1]
                collars = columns.collars
                if collars.adding.narrower(narrowest):
                    narrowest = collars.adding
        crosses.count = 0
        priced: bool = True
        for k in range(self.size):
            refused: bool = self.reason[k] != 0 and self.passed[k] == 0.0
            parties: int = 0
            for number in range(len(self.agents)):
                agent = self.agents[number]
                lots: int = 0 if refused else agent.wanted[k] - agent.surviving[k]
                crosses.lots[number, k] = lots
                parties += 1 if lots != 0 else 0
            crosses.parties[k] = parties
            if parties == 0:
                continue
            crosses.count += 1
            crosses.buy_worst[k] = crosses.sell_worst[k] = 0
            try:
                crosses.buy_worst[k] = narrowest.price(k, True, marks[k])
                crosses.sell_worst[k] = narrowest.price(k, False, marks[k])
            except OverflowError:
                priced = False
            priced = priced and crosses.buy_worst[k] > 0 and crosses.sell_worst[k] > 0
        return priced

    def doubts(self, bands: Bands, number: int, lots: Floats, ring: Ring) -> Any:
        """Return (key, least, most, bound) of limits that may leave `bands` once `lots` fill; [] if equity <= 0."""
        return bands.doubts(self.holdings, ring) if self.fill(number, lots) else []

    def holds(self, number: int, lots: Floats, ring: Ring) -> bool:
        """Whether no alert level of book `number` rises when these lots fill at the closes."""
        columns: BookColumns = self.books[number]
        bands: Bands = columns.rising
        return not self.fill(number, lots) or bands.keep(self.holdings, ring)

    def fill(self, number: int, lots: Floats) -> bool:
        """Write the holdings of a book after lots and open orders fill at the closes; False if equity is 0 or less."""
        columns: BookColumns = self.books[number]
        limiter: Limiter = columns.limiter
        market: Market = self.market
        traded: float = 0.0
        px: Floats = market.px
        held: Floats = columns.held
        filled: Floats = self.filled
        for k in range(self.size):
            change: float = lots[k]
            filled[k] = held[k] + change
            traded += (change if change > 0.0 else -change) * px[k]
        if self.open:
            for k in range(self.size):
                filled[k] += columns.up[k] - columns.down[k]
        equity: float = float(columns.micro) / 1e6 - traded * limiter.fee
        if not equity > 0.0:
            return False
        holdings: Holdings = self.holdings
        holdings.value(self.filled_view, market.px_view)
        holdings.weigh(equity)
        return True

    def orders(self, sample: int, n: int, ts: int) -> Orders:
        """Return the plan, which has an order, as basket `n` of orders at a sample, with the agents' shares."""
        rows: int = self.count()
        agents: int = len(self.agents)
        orders: Orders = self.orders_type(sample, n, ts, rows, rows * agents if agents > 1 else 0)
        crosses: Crosses = self.crosses
        row: int = 0
        at: int = 0
        passed: Floats = self.passed
        symbols: Ints = orders.symbol
        traded: Ints = orders.lots
        worst: Ints = orders.worst_nano
        ends: Ints = orders.end
        reasons: Ints = orders.reason
        for k in range(self.size):
            lots: int = int(passed[k])
            if lots == 0:
                continue
            symbols[row], traded[row], worst[row] = k, lots, self.worst[k]
            ends[row], reasons[row] = crosses.end[k], self.reason[k]
            if len(self.agents) > 1:
                after: int = self.parts(orders.parts, k, lots, at)
                orders.pairs[row] = (after - at) // 2
                at = after
            row += 1
        orders.open_whole()
        return orders

    def count(self) -> int:
        rows: int = 0
        passed: Floats = self.passed
        for k in range(self.size):
            if passed[k] != 0.0:
                rows += 1
        return rows

    def parts(self, out: Ints, k: int, lots: int, at: int) -> int:
        """Write the pairs (agent, signed lots) of an order from the index `at` on; returns the index after the last."""
        given: Ints = self.given
        taken: Ints = self.taken
        for number in range(len(given)):
            agent: AgentColumns = self.agents[number]
            surviving: int = agent.surviving[k]
            given[number] = surviving if surviving > 0 else -surviving
        share_lots(lots if lots > 0 else -lots, given, taken)
        for number in range(len(taken)):
            share: int = taken[number]
            if share > 0:
                out[at], out[at + 1] = number, share if lots > 0 else -share
                at += 2
        return at

    def count_cuts(self, used: int) -> None:
        """Count, once a decision, the symbols in which limits refused or cut lots, of the house and of each agent.

        `used` counts the earlier follow-ups of the decision; 0 begins another one.
        """
        self.count_cut(self.net, self.passed, self.counted, used)
        for number in range(len(self.agents)):
            agent: AgentColumns = self.agents[number]
            if agent.taking:
                self.count_cut(agent.change, agent.passed, agent.counted, used)

    def count_cut(self, requested: Floats, passed: Floats, counted: Codes, used: int) -> None:
        """Count the symbols in which float64[N] `passed` refuses or cuts the `requested` lots."""
        for k in range(self.size):
            if used == 0:
                counted[k] = 0
            if requested[k] != passed[k] and counted[k] == 0:
                counted[k] = 1
                if passed[k] == 0.0:
                    self.refused += 1
                else:
                    self.clipped += 1

    def least_rest(self, number: int) -> float:
        """Return the value below which a rest of a decision of agent `number` does not follow."""
        agent: AgentColumns = self.agents[number]
        book: BookColumns = self.books[number + 1]
        return max(agent.least_trade, LEAST_REST) * float(book.micro - agent.owed) / 1e6

    def follows(self, number: int, may: bool) -> bool:
        """Whether a rest of the decision of agent `number` waits. Unless it `may` follow, only
        volume that lets a part pass continues."""
        agent: AgentColumns = self.agents[number]
        columns: BookColumns = self.books[number + 1]
        market: Market = self.market
        least: float = self.least_rest(number)
        equity: float = float(columns.micro) / 1e6
        targets: Targets = self.targets
        targets.find_rest(
            agent.change_view, agent.passed, agent.reason_view, self.later, columns.held_view, market.px_view,
            agent.heaviest * equity,
        )  # fmt: skip
        rest: float = targets.rest
        renews: bool = targets.renews
        house: bool = False
        for k in range(self.size):
            house = house or (agent.surviving[k] != 0 and self.passed[k] != self.net[k])
        if house:
            columns = self.books[0]
            equity = float(columns.micro) / 1e6
            targets.find_rest(
                self.net_view, self.passed, self.reason_view, self.later, columns.held_view, market.px_view,
                self.heaviest * equity,
            )  # fmt: skip
            rest = max(rest, targets.rest)
            renews = renews or targets.renews
        if not (may or renews):
            return False
        return agent.waits >= least or rest >= least or self.freed_by_sales(number)

    def freed_by_sales(self, number: int) -> bool:
        """Whether agent `number` sells, and a limit cut lots that the proceeds may permit later."""
        agent: AgentColumns = self.agents[number]
        columns: BookColumns = self.books[number + 1]
        sales: bool = False
        freed: bool = False
        held: Floats = columns.held
        for k in range(self.size):
            sales = sales or agent.change[k] * held[k] < 0.0
            agent_bits: int = self.later[agent.reason[k]]
            house_bits: int = self.later[self.reason[k]]
            freed = freed or (agent_bits % 2 == BY_SALES and agent.passed[k] != agent.change[k])
            freed = freed or (house_bits % 2 == BY_SALES and self.passed[k] != self.net[k] and agent.surviving[k] != 0)
        return sales and freed
