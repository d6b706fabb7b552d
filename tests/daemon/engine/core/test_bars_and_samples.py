"""A bar or a sample that the fold does not know stays as it was; what it takes is booked as the engine does."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from quantd.daemon.engine.core.book_columns import EXACT
from quantd.daemon.engine.core.order_columns import Orders
from quantd.daemon.engine.planning.gate_account import account_of
from quantd.daemon.engine.state import HOUSE, Exit, State
from quantd.daemon.runtime.host.fold_host import FoldHost
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.runtime.step_log import NoLog
from quantd.daemon.runtime.timeline import Item
from quantd.risk.limits.catalogue import Protective, override
from quantd.risk.switch import FrozenSwitch
from quantd.trading.events import Tick
from quantd.trading.market import MarketSlice
from tests.daemon.engine.core.drawn_worlds import SETS, Kind, world_of
from tests.support.fold import decided_every, snapshot_of, stepped

KIND = Kind(3, (), agents=3, idle=0.7, short=0.2, days=40, sets=SETS[1:3])
UNIT = [1.0, 0.1, 2.5]

Change = Callable[[State], None]


class Folded:
    """A shell whose columns are ahead, with the items of its world; the next is `at`."""

    def __init__(self) -> None:
        run = world_of(KIND, [])
        self.items: list[Item] = decided_every(list(run.items()), 1, 3)
        self.single, self.shell = stepped(run, NoLog()), run.fresh(NoLog())
        for item in self.items[:2]:
            self.shell.take(item)
        self.host, self.state, self.at = self.shell._fold_host(), self.shell.state, 2

    def go_to(self, kind: type, ready: Callable[[State], bool] = lambda state: True) -> "Folded":
        """Fold up to an item of a kind before which the state is `ready`."""
        while not (type(self.items[self.at]) is kind and self.state.folding and ready(self.state)):
            assert self.fold() == self.at + 1 or self.step()
            self.at += 1
        return self

    def fold(self) -> int:
        """What the fold of the next item returns."""
        return self.state.fold(self.items, self.at, self.at + 1)

    def step(self) -> bool:
        self.host.sync()
        self.shell.take(self.items[self.at])
        return True

    def finish(self) -> None:
        """The rest of the items leaves what all of them by `step` leave."""
        self.shell.take_all(self.items[self.at :])
        for item in self.items:
            self.single.take(item)
        assert snapshot_of(self.single) == snapshot_of(self.shell)
        assert self.single.digest.hexdigest() == self.shell.digest.hexdigest()


def columns_of(shell: Shell) -> list[object]:
    """What a bar or a sample changes, as the columns have it."""
    state = shell.unsettled
    books = [(list(book.held), book.micro) for book in state.book_columns]
    switches = [FrozenSwitch.of(switch) for switch in (state.switch, *(agent.switch for agent in state.agents))]
    returns = [book.freeze() for book in state.watch.realised]
    agents = [(columns.request.at, list(columns.request.lots)) for columns in state.agent_columns]
    history = state.history
    rings = history.known.count, history.known.end, history.synchronous.count, history.synchronous.end
    return [
        books, switches, returns, agents, rings, state.ledger.cells().tolist(), state.now, state.sample,
        state.sample_no, state.round_no, state.volume_count, state.market_columns.waiting, state.market_columns.row,
        list(state.crosses),
        [list(orders.cells[: 2 * orders.rows]) for orders in state.venue_orders.baskets],
        len(state.digest_rows.chain.parts),
        state.venue_orders.sent, state.venue_orders.done, state.bars_taken, state.samples_taken, state.rounds_taken,
        state.sample_columns.count,
    ]  # fmt: skip


UNCHANGED = (0, 1, 2, 3, 5, 7, 8, 9, 13, 14, 16, 17, 18, 19, 20, 21)
"""The places in `columns_of` of all but history, clocks, volumes and digest."""


def trading(state: State) -> bool:
    return len(state.venue_orders.baskets) == 1 and state.crosses.count > 0


def crosses_start_later(state: State) -> None:
    for k in range(state.universe.size):
        state.crosses.ts[k] = 2**62


def cross_outside_its_prices(state: State) -> None:
    for k in range(state.universe.size):
        state.crosses.buy_worst[k] = 1


@pytest.mark.parametrize("change", [crosses_start_later, cross_outside_its_prices])
def test_a_cross_that_cannot_be_booked_at_an_open_waits_or_lapses_as_in_the_handler_of_bars(change: Change) -> None:
    folded = Folded().go_to(MarketSlice, trading)
    change(folded.state)
    for item in folded.items[: folded.at]:
        folded.single.take(item)
    change(folded.single.state)
    assert folded.fold() == folded.at + 1
    folded.single.take(folded.items[folded.at])
    assert snapshot_of(folded.single) == snapshot_of(folded.shell)


def left_to_python(folded: Folded, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next tick is left to Python, with books, switches, returns, requests and orders as they were."""
    calls: list[list[object]] = []
    monkeypatch.setattr(FoldHost, "tell", lambda host, item: None)
    monkeypatch.setattr(FoldHost, "rest_of_tick", lambda host, tick: calls.append(columns_of(folded.shell)))
    before = columns_of(folded.shell)
    assert folded.fold() == folded.at + 1
    (at_call,) = calls
    assert [at_call[k] for k in UNCHANGED] == [before[k] for k in UNCHANGED]


def loss_at_its_bound(state: State) -> None:
    state.book_columns[2].moves_at[1] = 0.0


def equity_of_nothing(state: State) -> None:
    state.ledger.books[1].cash_micro -= state.book_columns[2].micro * 2


def equity_beyond_floats(state: State) -> None:
    state.ledger.house.cash_micro += EXACT


def sample_of_a_new_start(state: State) -> None:
    """A switch is re-armed at it."""
    state.rearm_no = state.sample_no + 1


def order_that_has_expired(state: State) -> None:
    state.venue_orders.baskets = [Orders(1, 1, state.now, 1, 3)]
    state.venue_orders.baskets[0].end[0] = state.now - 1


def order_under_a_switch(state: State) -> None:
    state.venue_orders.baskets, state.reducing = [Orders(1, 1, state.now, 0, 3)], True


def exit_of_another_instant(state: State) -> None:
    state.exiting = True
    state.agents[0].exits[0] = Exit("stop_loss", 1.0, 1.0, 1.0, tried=state.now - 1)


def orders_at_the_venue(state: State) -> None:
    state.crosses.count = 1


@pytest.mark.parametrize(
    "change",
    [loss_at_its_bound, equity_of_nothing, equity_beyond_floats, orders_at_the_venue,
     sample_of_a_new_start, order_that_has_expired, order_under_a_switch, exit_of_another_instant],
)  # fmt: skip
def test_python_does_what_follows_the_history_of_a_sample(change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    folded = Folded().go_to(Tick, lambda state: state.sample_no > 20)
    change(folded.state)
    left_to_python(folded, monkeypatch)


@pytest.mark.parametrize(
    "more",
    [{"jobs": ("snapshot",)}, {"sample": False}, {"warmup": True}],
)
def test_python_does_what_follows_a_tick_that_is_no_plain_sample(
    more: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    folded = Folded().go_to(Tick, lambda state: state.sample_no > 20)
    tick = folded.items[folded.at]
    folded.items[folded.at] = Tick(**{name: getattr(tick, name) for name in Tick.__struct_fields__} | more)  # type: ignore[arg-type]
    left_to_python(folded, monkeypatch)


def test_open_orders_are_those_of_the_account_that_the_gate_of_the_engine_has() -> None:
    """At each sample of a world with exits, of the house and of each agent."""
    stops = tuple(override(of_book, protective=Protective(stop_loss=0.01)) for of_book in SETS[:2])
    world = world_of(Kind(3, (), agents=3, short=0.2, days=60, sets=stops), [])
    items = decided_every(list(world.items()), 1, 3)
    shell = world.fresh(NoLog())
    compared = 0
    for item in items:
        if type(item) is Tick and shell.state.working:
            host, state = shell._fold_host(), shell.state
            host.load()
            if state.ready and state.venue_orders.baskets:
                state.market_columns.take_prices()
                state.venue_orders.reserve(state.book_columns, state.market_columns, state.house_fee)
                rows = [
                    (list(book.up), list(book.down), book.up_cash, book.open_loss, book.open_gain, book.open_orders)
                    for book in state.book_columns
                ]
                host.sync()
                for book, row in zip((HOUSE, *range(len(state.agents))), rows, strict=True):
                    account = account_of(state, book)
                    assert account.up is not None
                    assert account.down is not None
                    sides = account.up.tolist(), account.down.tolist()
                    assert row == (
                        *sides, account.up_cash, account.open_loss, account.open_gain, account.open_orders
                    )  # fmt: skip
                compared += 1
            host.end()
        shell.take(item)
    assert compared > 3


@pytest.mark.long
@pytest.mark.parametrize("read", ["state", "broker", "tally", "market", "settle"])
def test_another_thread_is_refused_what_the_columns_are_ahead_of(read: str) -> None:
    world = Folded().go_to(MarketSlice, lambda state: len(state.venue_orders.baskets) > 0)
    before = columns_of(world.shell)
    with ThreadPoolExecutor(1) as threads:
        refused = threads.submit(
            lambda: getattr(world.shell, read)() if read == "settle" else getattr(world.shell, read)
        )
        with pytest.raises(RuntimeError, match=r"another thread steps it; read Shell.unsettled in this one"):
            refused.result()
        assert threads.submit(lambda: world.shell.unsettled).result() is world.state
    assert columns_of(world.shell) == before
    assert world.state.folding
    world.finish()


def test_a_shell_goes_on_in_the_thread_that_steps_it() -> None:
    world = Folded().go_to(MarketSlice)
    with ThreadPoolExecutor(1) as threads:
        threads.submit(world.shell.take, world.items[world.at]).result()
        world.at += 1
        assert world.state.folding
        with pytest.raises(RuntimeError, match="this thread reads the state"):
            _ = world.shell.state
        threads.submit(world.finish).result()
