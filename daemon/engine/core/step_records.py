"""Records each event that the fold took, with its effects, as a step for a log.

Each event is recorded as `step`, the Python path, would record it: the reports of fills precede their bar, the
questions to the agents end the tick, the plan is an effect of the last answer, and the acceptance of orders follows it.
The fold, the engine's compiled fast path, calls the `note_` methods in this order while it takes an item; whatever a
handler of Python adds to the same event stands between them.

What can go wrong: an effect stands at another position than `step` would give it, so that the journal differs. So no
effect is stored longer than one item, and `take` hands effects to the handler that goes on with an event.

Values of limits are measured only where a limit cut lots or may be near its bound, and then for the same books in the
same order as in `step`: the last bits of a measure depend on the books that are measured with it. Exposures are sums in
a fixed order, which `StepRecords.expose` repeats.

Rejected: records of several bars at once. A service commits at any bar, and a replay compares each step with its record
before the next one.
"""

from typing import Any, Final

import numpy as np

from quantd.daemon.engine.core.agent_columns import AgentColumns
from quantd.daemon.engine.core.book_columns import BookColumns
from quantd.daemon.engine.core.limiter import Limiter
from quantd.daemon.engine.core.lots import Targets
from quantd.daemon.engine.core.market_columns import Market
from quantd.daemon.engine.core.order_columns import Orders
from quantd.daemon.engine.core.round_plan import Plan
from quantd.risk.limits.case import SLACK
from quantd.risk.measures.portfolio import FEW
from quantd.risk.monitor.levels import in_use
from quantd.risk.pretrade.baskets import basket_of_columns
from quantd.trading.effects import AgentPlan, Filled, Planned, Valued
from quantd.trading.history.rings import Ring
from quantd.trading.instruments import MICRO
from quantd.trading.number_types import Codes, Floats, Ints, ReadFloats, float_zeros
from quantd.trading.orders import Cause, OrderBasket, Reports, accepted_whole

NO_KEYS: Final[frozenset[str]] = frozenset()

LAST_FILL: Final = int(Cause.LAST_FILL)


class StepRecords:
    """The steps of one state for a `log`. `effects` are the effects so far of the event that is being taken.

    `units` are the positions of the whole account in units, unsigned.
    """

    host: Any
    """The `quantd.daemon.runtime.host.fold_host.FoldHost`."""
    log: Any
    plan: Plan
    effects: list[Any]
    logged: int
    """Answers of the present round that are in the log."""
    follows: bool
    """Whether stages that follow a plan have work: a notice of a rebalance, or the count of refusals."""
    planned: bool
    """Whether the effects have a plan that such stages follow."""
    values: Any
    """The values of limits of the house that the basket of the present plan records."""
    units: Floats
    unit_array: Any
    filled: Floats
    bought: Floats
    heaviest: float
    net_share: float
    gross_share: float
    """Written by `expose`: the largest absolute weight, the sum of signed weights, and the sum of absolute weights."""

    def __init__(self, host: Any, log: Any, plan: Plan) -> None:
        """Begin without effects."""
        self.host, self.log, self.plan = host, log, plan
        self.effects, self.logged, self.values = [], 0, {}
        self.follows = self.planned = False
        self.unit_array = np.zeros(plan.size)
        self.units = self.unit_array.data
        self.filled, self.bought = float_zeros(plan.size), float_zeros(plan.size)
        self.heaviest = self.net_share = self.gross_share = 0.0

    def take(self) -> list[Any]:
        """Return the effects so far and clear them, because a Python handler goes on with the event."""
        effects: list[Any] = self.effects
        self.effects, self.planned = [], False
        return effects

    def note_fills(self, baskets: list[Any], ts_open: int) -> None:
        """Record the reports of baskets of orders that filled whole at an open."""
        for place in range(len(baskets)):
            orders: Orders = baskets[place]
            rows: int = orders.rows
            columns: list[Any] = orders.fills()
            symbols: Any = columns[0]
            lots: Any = columns[1]
            sizes: Any = columns[2]
            prices: Any = columns[3]
            fees: Any = columns[4]
            sample: int = orders.sample
            n: int = orders.n
            # each order filled at once: the lots of the report are also the lots filled so far
            report: Any = Reports(sample, n, ts_open, list(range(rows)), sizes, sizes, prices, fees, [LAST_FILL] * rows)
            filled: Any = Filled(sample, n, ts_open, symbols, lots, prices, fees, orders.signed_shares())
            self.log.add(report, (filled,))

    def record(self, event: Any) -> None:
        """Record an event with its effects, then the acceptance of its orders."""
        effects: list[Any] = self.effects
        if len(effects) == 0:
            self.log.add(event, ())
            return
        self.effects = []
        if self.planned:
            self.planned = False
            effects = self.host.after_plan(event, effects)
        self.log.add(event, effects)
        for effect in effects:
            if type(effect) is OrderBasket and not self.host.send(effect):
                self.log.add(accepted_whole(effect), ())

    def note_sample(self, ts: int, equities: list[Any], cash: int, peak: Any) -> None:
        """Note the valuation of a sample: equities (micro-currency) of the house, the agents, and what no agent has.

        `cash` and `peak`, the high-water mark, are of the whole account, in micro-currency.
        """
        market: Market = self.plan.market
        house: BookColumns = self.plan.books[0]
        units: Floats = self.units
        held: Floats = house.held
        for k in range(market.size):
            units_held: float = held[k] * market.lot_size[k]
            units[k] = -units_held if units_held < 0.0 else units_held
        equity: Any = equities[0]
        marks: Any = market.bars.marks[market.row]
        exposure: Any = float(self.unit_array.dot(marks))
        if exposure != exposure:  # NaN: a symbol has no price; it is not held, and adds nothing
            exposure = float(np.nansum(self.unit_array * marks))
        drawdown: Any = max(0.0, 1.0 - equity / max(peak, 1))
        self.effects.append(Valued(ts, equity, cash, equities[1:], exposure * MICRO / equity, drawdown))

    def note_round(self, answers: list[Any]) -> None:
        """Record the answers of a round (all questions of one instant); the plan is an effect of the last answer."""
        last: int = len(answers) - 1
        for place in range(self.logged, last):
            self.log.add(answers[place], ())
        self.logged = 0
        self.record(answers[last])

    def note_plan(self, now: int, sample: int, n: int, used: int, ring: Ring) -> list[Any]:
        """Note the plan in the columns as an effect; returns (value, bound) by limit: of the whole account, then of
        each agent.

        `n` is the number of the basket of orders at the sample, `used` the number of earlier follow-ups (purchases that
        waited for sales) of the decision.
        """
        values: list[Any] = self.limit_values(ring)
        self.values, self.planned = values[0], self.follows
        self.effects.append(plan_effect(self.plan, now, sample, n, used, values, self.host.names_of, None))
        return values

    def note_orders(self, orders: Orders) -> None:
        """Note the orders of the plan as effects of the event."""
        orders.record = basket_of_columns(orders.sample, orders.n, orders.ts, orders.terms(), self.values)
        self.effects.append(orders.record)

    def limit_values(self, ring: Ring) -> list[Any]:
        """The values of limits that a plan records: of the whole account, then of each agent in the plan.

        The exposures are computed here; where any book has another limit to measure, Python measures all limits. A
        limit is recorded where it cut lots or where its value may be near its bound. A lone agent with the house's
        account is measured once, for both.
        """
        plan: Plan = self.plan
        limits_by_book: list[Any] = []
        values: list[Any] = []
        sums_suffice: bool = True
        for number in range(len(plan.books)):
            agent: AgentColumns
            lots: Floats = plan.passed
            reasons: Codes = plan.reason
            if number > 0:
                agent = plan.agents[number - 1]
                if not agent.taking:
                    continue
                lots, reasons = agent.passed, agent.reason
            elif plan.granted:
                continue  # the lone agent's verdict also holds for the house, which is not measured again
            columns: BookColumns = plan.books[number]
            doubts: Any = plan.doubts(columns.quiet, number, lots, ring)  # None: all limits may matter
            cutting_keys: Any = self.cutting(columns, reasons)
            keys: Any = None if doubts is None else cutting_keys.union([doubt[0] for doubt in doubts])
            limits_by_book.append((number, keys, cutting_keys))
            sums_suffice = sums_suffice and keys is not None
            if sums_suffice:
                exposed: Any = self.exposed(number, keys, cutting_keys, lots)
                sums_suffice = exposed is not None
                values.append(exposed)
        if not sums_suffice:
            measured: list[Any] = self.host.limit_values(limits_by_book)
            return measured
        if plan.granted:
            cuts: Any = limits_by_book[0][2]
            of_house: Any = values[0]
            if len(cuts) > 0:
                of_house = {key: pair for key, pair in values[0].items() if in_use(key, pair[0], pair[1])}
            values.insert(0, of_house)
        return values

    def cutting(self, columns: BookColumns, reasons: Codes) -> Any:
        """The keys of the limits that cut lots; `reasons` has the code of the limit by symbol, 0 where none cut."""
        keys: Any = NO_KEYS
        last: int = 0
        for k in range(self.plan.size):
            code: int = reasons[k]
            if code != 0 and code != last:
                last = code
                if code in columns.keys:
                    keys = keys.union(columns.keys[code])
        return keys

    def exposed(self, number: int, wanted: Any, cutting: Any, lots: Floats) -> Any:
        """Key -> (measure, bound) of the exposure limits of a book; None where a limit of another kind has to be
        measured, or equity is not positive.

        `wanted` are the keys of the limits to measure. A value is recorded if its limit cut lots (is in `cutting`) or
        is in use.
        """
        plan: Plan = self.plan
        columns: BookColumns = plan.books[number]
        values: Any = {}
        if len(wanted) == 0:
            return values
        if not wanted <= columns.sums or not self.expose(number, lots):
            return None
        for row in columns.exposures:
            key: Any = row[0]
            if key in wanted:
                kind: int = row[1]
                value: float = self.exposure(kind)
                bound: Any = row[2]
                if key in cutting or in_use(key, value, bound):
                    values[key] = (value, bound)
        return values

    def expose(self, number: int, lots: Floats) -> bool:
        """Write the exposures of book `number` after lots and its open orders fill at the closes; False where equity is
        not positive. The exposures are the same to the last bit as in `quantd.risk.limits.values`.
        """
        plan: Plan = self.plan
        columns: BookColumns = plan.books[number]
        limiter: Limiter = columns.limiter
        market: Market = plan.market
        px: Floats = market.px
        held: Floats = columns.held
        filled: Floats = self.filled  # values of the trades, then signed fractions of equity
        bought: Floats = self.bought  # values of the purchases, then unsigned fractions of equity
        value: float
        for k in range(plan.size):
            filled[k] = lots[k] * px[k]
            bought[k] = filled[k] if filled[k] > 0.0 else 0.0
        traded: float = 2.0 * self.add_up(bought) - self.add_up(filled)  # the sum of the unsigned values
        equity: float = float(columns.micro) / 1e6 - traded * limiter.fee
        if not equity > 0.0:
            return False
        heaviest: float = 0.0
        for k in range(plan.size):
            value = held[k] + lots[k]
            if plan.open:
                value = value + columns.up[k]
                value = value - columns.down[k]
            value = value * px[k] / equity
            filled[k] = value
            bought[k] = value if value > 0.0 else -value
            if bought[k] > heaviest:
                heaviest = bought[k]
        self.heaviest, self.net_share, self.gross_share = heaviest, self.add_up(filled), self.add_up(bought)
        return True

    def exposure(self, number: int) -> float:
        """Return a measure of the exposed book as a fraction of equity; `expose` must come first.

        `number` is the code of the measure: 1 the largest weight, 2 gross, 3 net exposure, any other leverage.
        """
        if number == 1:
            return self.heaviest
        if number == 2:
            return self.gross_share
        if number == 3:
            return abs(self.net_share)
        # leverage, the only other measure among the exposures
        shorts: float = (self.gross_share - self.net_share) / 2.0
        borrowed: float = 1.0 + shorts if shorts > SLACK else 0.0
        return max((self.gross_share + self.net_share) / 2.0, borrowed)

    def add_up(self, values: Floats) -> float:
        """The sum of float64[N] as `quantd.risk.limits.values` adds: in order up to FEW numbers, in numpy's order
        beyond."""
        plan: Plan = self.plan
        targets: Targets = plan.targets
        if plan.size > FEW:
            return targets.total(values, 0, plan.size)
        summed: float = 0.0
        for k in range(plan.size):
            summed += values[k]
        return summed


def plan_effect(
    plan: Plan, now: int, sample: int, n: int, used: int, values: list[Any], names: Any, portion: Any
) -> Any:
    """The plan in the columns as an effect. `values` are (value, bound) by limit: of the whole account, then of each
    agent that takes part; `names` gives by agent what `AgentPlan` calls `policy`, `because` and `cause`."""
    market: Market = plan.market
    house: BookColumns = plan.books[0]
    agent: AgentColumns
    agent_plans: list[Any] = []
    numbers: Ints = plan.numbers
    for k in range(plan.size):
        numbers[k] = 0
        for number in range(len(plan.agents)):
            agent = plan.agents[number]
            lots: int = agent.wanted[k] - agent.surviving[k] if agent.taking else 0
            numbers[k] += lots if lots > 0 else 0
    crossed: Any = bytes(numbers)
    for number in range(len(plan.agents)):
        agent = plan.agents[number]
        if not agent.taking:
            continue
        policy: Any
        because: Any
        cause: Any
        policy, because, cause = names(number)
        agent_plans.append(
            AgentPlan(
                number, bytes(agent.weights_raw), agent.scale, whole_lots(agent.change_view, numbers),
                bytes(agent.wanted), bytes(agent.reason), values[len(agent_plans) + 1], policy, because,
                whole_lots(agent.kept, numbers) if agent.keeps else b"", cause,
            )
        )  # fmt: skip
    return Planned(
        sample, n, now, agent_plans, market.bars.marks[market.row].tobytes(), whole_lots(house.held_view, numbers),
        crossed, bytes(plan.total), whole_lots(plan.passed, numbers), bytes(plan.reason), {}, values[0], used, portion,
    )  # fmt: skip


def whole_lots(values: ReadFloats, numbers: Ints) -> Any:
    """float64[N] of whole numbers as the bytes of int64[N], by way of `numbers`."""
    for k in range(len(values)):
        numbers[k] = int(values[k])
    return bytes(numbers)
