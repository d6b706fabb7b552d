"""The Python functions that the compiled records of a step call: limit values, alert levels, crosses, sent orders."""

from collections.abc import Sequence

from quantd.daemon.engine.planning.plan import names_of
from quantd.daemon.engine.safety.monitor import record_known, watch_plan
from quantd.daemon.engine.safety.notices import note_rebalances
from quantd.daemon.engine.safety.session_messages import count_refusals
from quantd.daemon.engine.state.engine_state import HOUSE
from quantd.daemon.engine.state.verdict_log import HouseVerdicts
from quantd.daemon.runtime.host.fold_calls import FoldCalls
from quantd.daemon.runtime.host.limit_columns import Near
from quantd.risk.limits.values import Values
from quantd.trading.effects import Crossed, Effect
from quantd.trading.events import Decided, Event, Tick
from quantd.trading.market import MarketSlice
from quantd.trading.orders import OrderBasket


class RecordCalls:
    """The Python functions that a host's `StepRecords` and its fold (the compiled fast path) call."""

    def __init__(self, host: FoldCalls) -> None:
        self._host = host

    def send(self, basket: OrderBasket) -> bool:
        """Send a basket of orders to a venue across a network and return True.

        Returns False where the fold (the compiled fast path) stands in for a simulated venue: the basket is then
        accepted at once.
        """
        orders = self._host.state.working[basket.sample, basket.n]
        if self._host.stands_in:
            orders.accept()
            return False
        orders.at_venue = True
        self._host.parts.broker.submit(basket)
        return True

    def after_plan(self, event: Event, effects: list[Effect]) -> list[Effect]:
        """Run the stages that follow a plan of the fold: the notice of a rebalance, and the count of refusals."""
        host, before = self._host, len(effects)
        host.show()
        if isinstance(event, Tick | Decided):  # exits at a bar are no rebalance
            effects = list(note_rebalances(host.state, event, effects))
        count_refusals(host.state, event, effects)
        host.parts.tally.add(effects[before:])
        return effects

    def names_of(self, number: int) -> tuple[str, str, str]:
        return names_of(self._host.state, number)

    def note_crosses(self) -> None:
        """Record the crosses (trades between agents without an order) that are booked at the open of this bar."""
        market: MarketSlice = self._host.state.fold_items[self._host.state.fold_at]
        self._host.records.effects.extend(
            Crossed(cross.sample, market.ts_open, cross.symbol, int(market.open_nano[cross.symbol]), cross.shares)
            for cross in self._host.state.crosses
        )

    def note_known(self) -> None:
        """Record the values of the limits on losses and realised returns at a sample."""
        self._host.records.effects.extend(record_known(self._host.state, self._host.state.equities[0]))

    def limit_values(self, near: Sequence[Near]) -> list[Values]:
        """Measure the limits that a plan records, because they cut it or may be near their bounds.

        `near` has, for each book, the limits to measure. The result has the values of each book, in the order of
        `near`.
        """
        self._host.show()
        return self._host.limits.recorded(near)

    def raise_levels(self, values: list[Values]) -> None:
        """Compare the limit values that a plan recorded with the alert levels, and raise each level that is reached.

        `values` has the values of the whole account, then the values of each agent in the plan.
        """
        self._host.show()
        agents = [index for index, columns in enumerate(self._host.state.agent_columns) if columns.taking]
        self._host.add(watch_plan(self._host.state, list(zip((HOUSE, *agents), values, strict=True))))
        self._host.limits.load_levels(self._host.watched)

    def foresees(self) -> bool:
        """Whether the log `State.judged` wants the next gate call (check of limits) of the whole account.

        If True, the caller lets `note_verdict` append that call. Without such a log the result is False.
        """
        judged = self._host.state.judged
        return isinstance(judged, HouseVerdicts) and judged.reads

    def note_verdict(self) -> None:
        """Append the house's gate call (the check of the account's limits) to the log `State.judged`."""
        self._host.show()
        assert self._host.state.judged is not None
        self._host.state.judged.append(self._host.limits.house_call())
