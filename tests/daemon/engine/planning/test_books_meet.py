"""Books do not meet: no order of the account could trade with a rest of the account, and no rest keeps a neighbour from
selling."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from quantd.daemon.engine.planning.targets import at_rest
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.snapshot import freeze, thaw
from quantd.risk.limits.catalogue import Limits, Protective, override
from quantd.trading.effects import Cancel, Filled, Publish, Refused
from quantd.trading.events import Event, Proposed, Tick
from quantd.trading.instruments import NANO
from quantd.trading.orders import UNTIL_CANCELLED, Cause, OrderBasket, OrderState, Reports, Wish
from tests.support.engine import COLLARED, World, block, taken
from tests.support.examples import examples

FREE = override(COLLARED, max_position_weight=None, max_concentration=None, max_gross_exposure=1.0, allow_short=False)

PAIRS = 800
"""10,000 take four minutes."""


class Books(World):
    """Programs a0 and a1, and the policy a2, on one symbol."""

    def __init__(
        self, closes: Sequence[float], limits: Limits = FREE, decide: Callable[..., object] = lambda view: None
    ) -> None:
        acts = [lambda view: None, lambda view: None, decide]
        super().__init__(block(np.array([[close] for close in closes])), acts, house=limits, capital=(0.3, 0.3, 0.4))
        self.rules = replace(self.rules, outside=(0, 1))
        self.shell = self.fresh(self)
        self.ids = 0

    def send(self, who: int, lots: int, price: float = 0.0) -> str:
        """Send an order of a program; why it is refused."""
        self.ids += 1
        wish = Wish(0, lots, round(price * NANO), UNTIL_CANCELLED if price else 0)
        now = self.shell.state.now
        sent = Proposed(now, f"a{who}", str(self.ids), "a test", "me", orders=(wish,), whole=True)
        return next((e.text for e in self.shell.run(sent) if isinstance(e, Refused)), "")

    def days(self, after: Callable[[], None] = lambda: None, **do: Callable[[], object]) -> "Books":
        samples = 0
        for item in self.items():
            self.shell.take(item)
            if isinstance(item, Tick) and item.sample:
                samples += 1
                do.get(f"day{samples}", lambda: None)()
            after()
        return self

    def meets(self) -> list[str]:
        """Pairs of a rest and a later open order that could trade with each other."""
        mark = int(self.shell.state.marks_nano[0])
        rows = [
            (work.lots[row] > 0, work.worst_nano[row], bool(work.cause) and (work.worst_nano[row] > mark) != (lots > 0))
            for work in self.shell.state.working.values()
            for row, _, lots in work.open_shares()
        ]
        return [
            f"{one} {other}"
            for one, other in combinations(rows, 2)
            if one[0] != other[0] and one[2]
            and max(p for buys, p, _ in (one, other) if buys) >= min(p for buys, p, _ in (one, other) if not buys)
        ]  # fmt: skip


def test_an_exit_withdraws_the_rest_of_another_book_that_it_would_meet() -> None:
    limits = override(FREE, protective=Protective(stop_loss=0.06, take_profit=None, cooldown=1))
    world = Books([100, 100, 100, 100, 93, 92, 91, 90], limits)
    world.days(day1=lambda: world.send(0, 100), day3=lambda: world.send(1, 50, 90.0))
    assert world.shell.state.lots(0)[0] == 0
    assert [lots for e in world.of(Filled) for lots in e.lots] == [100, -100], "sold whole, and the rest bought nothing"
    assert len(world.of(Cancel)) == 1
    assert not at_rest(world.shell.state, 1).any()


def test_an_order_that_adds_is_refused_where_it_would_meet_a_rest_and_names_no_owner() -> None:
    world = Books([100] * 6)
    said: list[str] = []

    def rest() -> None:
        world.send(0, -50, 103.0)
        said.append(world.send(1, 10))
        said.append(world.send(1, 10, 103.0))
        said.append(world.send(1, 10, 102.99))
        said.append(world.send(0, 10))

    world.days(day1=lambda: world.send(0, 100), day3=rest)
    market, met, below, own = said
    text = "it would meet the resting order of another book of the account to sell 50 S00 at 103"
    assert text.replace("S00", world.universe.symbols[0]) in market
    assert "send a limit below 103" in met
    assert "of this book" in own
    assert below == ""
    assert "a0" not in market + met


def test_a_senders_own_price_is_met_as_long_as_it_is_open() -> None:
    world = Books([100] * 6)
    said: list[str] = []

    def passed() -> None:
        world.send(0, 50, 101.0)
        said.extend(world.send(1, -10, price) for price in (100.5, 101.01))

    world.days(day1=lambda: world.send(1, 100), day3=passed)
    met, above = said
    assert "it would meet the resting order of another book of the account to buy 50" in met
    assert above == ""


def test_an_order_that_could_overtake_one_on_its_way_is_refused_and_so_is_one_that_would_meet_a_remainder() -> None:
    world = Books([100] * 6)
    state = world.shell.state
    said: list[str] = []

    def sent() -> None:
        world.send(0, 50)
        said.append(world.send(1, -10, 106.0))  # beyond the worst price of the plan
        state.venue.waits.compared = 1  # the venue is across a network
        (work,) = (work for work in state.working.values() if work.lots[0] == 50)
        work.state[0] = OrderState.SENT
        said.append(world.send(1, -10, 99.0))
        work.state[0], work.filled[0], state.venue.waits.compared = OrderState.PARTIAL, 20, 0
        said.append(world.send(1, -10, 99.0))

    world.days(day1=lambda: world.send(1, 100), day3=sent)
    beyond, flying, remainder = said
    assert beyond == ""
    assert "an opposite order of the account is on its way to the venue; send it again afterwards" in flying
    assert "to buy 30" in remainder


class Venue:
    """A venue that fills an order at once where its price has reached it, and else lets it rest."""

    def __init__(self, state: State, draw: random.Random) -> None:
        self.state, self.draw = state, draw
        self.price_nano = int(state.marks_nano[0])
        self.resting: dict[tuple[int, int], OrderBasket] = {}
        self.own_trades: list[str] = []

    def take(self, event: Event) -> None:
        """Step an event, and carry out what it sends and cancels."""
        for effect in taken(self.state, event):
            if isinstance(effect, OrderBasket):
                self._arrive(effect)
            if isinstance(effect, Cancel):
                self.resting.pop((effect.sample, effect.n))
                self._report(effect.sample, effect.n, Cause.CANCELLED, 0, 0)

    def _arrive(self, basket: OrderBasket) -> None:
        (lots,), (worst,) = basket.lots, basket.worst_nano
        for other in self.resting.values():
            limit = other.worst_nano[0]
            if other.lots[0] * lots < 0 and (worst >= limit if lots > 0 else worst <= limit):
                self.own_trades.append(f"{lots} at {worst} and {other.lots[0]} at {limit}")
        self._report(basket.sample, basket.n, Cause.ACCEPTED, 0, 0)
        if self.price_nano <= worst if lots > 0 else self.price_nano >= worst:
            self._report(basket.sample, basket.n, Cause.LAST_FILL, abs(lots), self.price_nano)
        else:
            self.resting[basket.sample, basket.n] = basket

    def _report(self, sample: int, n: int, cause: Cause, lots: int, price: int) -> None:
        self.take(Reports(sample, n, self.state.now, [0], [lots], [lots], [price], [0], [int(cause)]))

    def move(self) -> None:
        """The price moves, and a mark follows now and then."""
        self.price_nano = round(int(self.state.marks_nano[0]) * self.draw.uniform(0.96, 1.04) / 1e7) * 10**7
        if self.draw.random() < 0.3:
            state = self.state
            state.now += 1
            instants = np.full_like(state.mark_ts, state.now)
            state.set_marks(np.array([self.price_nano / NANO]), np.array([self.price_nano]), instants)


@pytest.mark.long
def test_random_pairs_never_trade_with_each_other_and_block_no_exit() -> None:
    world = Books([100] * 4)
    world.days(day1=lambda: [world.send(0, 1000), world.send(1, 1000)])
    base, draw = freeze(world.shell.state), random.Random(1)
    sent: Counter[str] = Counter()
    for number in range(PAIRS):
        state = thaw(world.rules, base)
        state.now = world.shell.state.now
        venue = Venue(state, draw)
        for who, side in draw.choice([((0, 1), (1, -1)), ((0, -1), (1, 1))]):
            venue.move()
            price = round(state.marks[0] * draw.uniform(0.97, 1.03), 2) if draw.random() < 0.6 else 0.0
            wish = Wish(0, side * draw.randint(1, 200), round(price * NANO), UNTIL_CANCELLED if price else 0)
            proposal = Proposed(state.now, f"a{who}", f"{number}-{who}", "a test", "me", orders=(wish,), whole=True)
            venue.take(proposal)
        sent["resting"] += len(venue.resting)
        venue.move()
        venue.price_nano = int(state.marks_nano[0])
        lots = -int(state.lots(1)[0])
        venue.take(Proposed(state.now, "a1", f"{number}-x", "a test", "me", orders=(Wish(0, lots),), whole=True))
        assert venue.own_trades == []
        assert state.lots(1)[0] == 0, "the exit closed its position"
    assert sent["resting"] > PAIRS // 6


def test_a_decision_withdraws_what_it_would_meet_and_nothing_else() -> None:
    world = Books([100] * 8, decide=lambda view: np.array([0.5 if view.time >= day4 else 0.0]))
    day4 = int(world.bars.ts_event[3])
    world.days(day1=lambda: world.send(0, 100), day2=lambda: [world.send(0, -10, 103.0), world.send(0, -10, 140.0)])
    resting = [b.worst_nano for b in world.of(OrderBasket) if b.cause]
    assert [140 * NANO] in resting
    assert at_rest(world.shell.state, 0)[0] == -10, "the rest that it would not meet stays"
    assert world.shell.state.lots(2)[0] > 0


def test_nobody_rests_an_order_in_the_way_of_a_plan_that_waits() -> None:
    limits = override(FREE, protective=Protective(stop_loss=0.06, take_profit=None, cooldown=1))
    world = Books([100, 100, 100, 100, 93, 92, 91, 90], limits)
    said: list[str] = []

    def again() -> None:
        if world.shell.state.protection.postponed:
            said.append(world.send(1, 50, 89.0))

    world.days(again, day1=lambda: world.send(0, 100), day3=lambda: world.send(1, 50, 90.0))
    assert all("waits to be sent" in text for text in said)
    assert world.shell.state.lots(0)[0] == 0


def test_the_refusal_of_a_programs_order_pauses_its_book_alone() -> None:
    world = Books([100] * 6)

    def refuse() -> None:
        world.send(0, 10)
        (basket,) = [b for b in world.of(OrderBasket) if b.cause]
        state = world.shell.state
        work = state.working[basket.sample, basket.n]
        none, rejected = [0], [int(Cause.REJECTED)]
        world.shell.run(
            Reports(basket.sample, basket.n, state.now, [0], none, none, none, none, rejected, "it is a wash trade")
        )
        assert work.state[0] == OrderState.REJECTED
        assert {key[0] for key in state.protection.retries} == {0}
        assert "of a0 pause" in next(e.text for e in world.of(Publish) if e.kind == "refusal")
        assert world.send(0, 10) != ""
        assert world.send(1, 10) == "", "the other program goes on"

    world.days(day6=refuse)


@settings(max_examples=examples(150), deadline=None)
@given(st.data())
def test_no_order_of_the_account_could_trade_with_a_rest_of_the_account(data: st.DataObject) -> None:
    moves = data.draw(st.lists(st.floats(-0.06, 0.06), min_size=9, max_size=9))
    closes = np.round(100.0 * np.cumprod([1.0, *(1.0 + move for move in moves)]), 2).tolist()
    targets = data.draw(st.lists(st.sampled_from([None, 0.0, 0.3, 0.9]), min_size=10, max_size=10))
    spec = Protective(stop_loss=0.06, take_profit=None, cooldown=1)
    limits = override(FREE, protective=spec) if data.draw(st.booleans()) else FREE
    days: list[int] = []

    def decide(view: object) -> object:
        days.append(1)
        target = targets[len(days) % 10]
        return None if target is None else np.array([target])

    world = Books(closes, limits, decide)
    asked = data.draw(
        st.lists(
            st.tuples(st.integers(1, 9), st.integers(0, 1), st.integers(-400, 400), st.floats(0.9, 1.1), st.booleans()),
            max_size=14,
        )
    )
    acts: dict[str, list[Callable[[], str]]] = {}
    for day, who, lots, factor, priced in asked:
        price = lambda factor=factor: round(float(world.shell.state.marks[0]) * factor, 2)  # noqa: E731
        act = lambda who=who, lots=lots, price=price, priced=priced: world.send(who, lots, price() if priced else 0)  # noqa: E731
        acts.setdefault(f"day{day}", []).append(act)

    def none_meet() -> None:
        assert world.meets() == []

    runs = {day: (lambda todo=todo: [(act(), none_meet()) for act in todo]) for day, todo in acts.items()}
    world.days(none_meet, **runs)
