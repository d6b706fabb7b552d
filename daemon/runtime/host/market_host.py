"""What Python does for the bars and samples of the fold (compiled fast path): a block, and the rare sample."""

from quantd.daemon.engine.core.market_columns import BlockColumns
from quantd.daemon.engine.market import keep_bar
from quantd.daemon.engine.samples import append
from quantd.daemon.engine.state.engine_state import State
from quantd.daemon.engine.stops.exits import release_blocked
from quantd.daemon.runtime.host.shell_parts import Parts
from quantd.trading.events import Tick
from quantd.trading.market import Block, MarketSlice


class MarketHost:
    """The part of the fold's host that has to do with bars, samples and the history of closes."""

    state: State
    parts: Parts

    def show(self) -> None:
        """Drop what the state computed from an earlier bar or sample."""
        raise NotImplementedError

    def count_trades(self, item: MarketSlice, fills: bool, crosses: bool) -> None:
        """Count, for limits over a session, what fills and crosses at the open of a bar."""
        state = self.state
        activity, size = state.activity, state.universe.lot_size
        activity.roll(item.ts_open, state.rules.house_sessions())
        for orders in state.venue_orders.baskets if fills else ():
            symbols, _, _, prices, _ = orders.fills()
            activity.fill(symbols, prices, orders.signed_shares(), size)
        for cross in state.crosses if crosses else ():
            activity.cross(int(item.open_nano[cross.symbol]), cross.shares, float(size[cross.symbol]))

    def columns_of(self, block: Block, row: int) -> BlockColumns:
        """The columns of `block`, consecutive bars of a recorded market, for bars from `row` on."""
        return self.state.columns_of(block, row)

    def keep_closes(self) -> None:
        """Let the closes of the last bar wait: another bar came before their sample."""
        self.state.keep_closes()

    def append(self, tick: Tick) -> None:
        """Append a sample to the history of which a close is missing, or whose date is not that of the last bar, or is
        complete later. The gates then read the prices anew, though there may be no newer return."""
        self.keep_closes()
        if self.state.ready and not self.state.plans_in_python:
            for columns in self.state.book_columns:
                columns.limiter.renewed = -1
        append(self.state, tick)

    def act(self, key: int) -> bool:
        """Apply the dividends since the last sample to the histories of closes (rings).

        Returns False, without a change, where a dividend has a later date than `key`, the date of the sample. The ring
        by instant and the ring by date share their arrays while dividends change both alike.
        """
        history = self.state.history
        if any(date_key > key for date_key, *_ in history.sync_actions):
            return False
        if not history.acts_alike(key):
            history.part()
        history.known.act(history.known_actions)
        if not history.joined:
            history.synchronous.act([(column, ratio, cash) for _, column, ratio, cash in history.sync_actions])
        return True

    def keep_bar(self, bar: MarketSlice) -> None:
        """Store a bar for policies that read bars, with the prices before the jump of symbols that are held."""
        keep_bar(self.state, bar)

    def keep_sample(self, tick: Tick) -> None:
        """Store the data of a sample that policies read: its bar and its values of the macro series. Forget its
        dividends, which are in the rings, and the closes that waited for its date."""
        history, market = self.state.history, self.state.market_columns
        if history.pending:
            history.drop(tick.key)
        if history.bars is not None:
            history.bars.sample(tick.key, market.bars.marks[market.row], history.known_actions)
        if history.macro is not None:
            history.macro.sample(tick.macro)
        history.known_actions, history.sync_actions = [], []

    def forget_orders(self) -> None:
        """Drop the oldest samples with orders from the state's memory."""
        self.state.forget_orders()

    def release(self) -> None:
        """End each cooldown (block of a symbol after its exit) whose last sample has passed."""
        release_blocked(self.state)
        self.state.cooling = any(agent.blocked for agent in self.state.agents)

    def ends(self, ts: int) -> int | list[int]:
        """The expiry of a decision's orders, ns UTC: one for all, or one for each symbol; 0 for no expiry."""
        rules = self.state.rules
        if rules.good_till_cancelled:
            return 0
        ends = [sessions.day_order_end(ts, rules.daily) for sessions in rules.sessions]
        return ends[0] if len(ends) == 1 else [ends[calendar] for calendar in rules.calendar]

    def withdraw_actions(self) -> None:
        """Take the dividends that `act` applied back from the rings."""
        history = self.state.history
        history.known.act([])
        if not history.joined:
            history.synchronous.act([])
