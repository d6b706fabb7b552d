"""Books do not meet: no order of the account could trade with a rest of the account, and no rest keeps a neighbour from
selling."""

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from quantd.daemon.engine.planning.targets import at_rest
from quantd.risk.limits.catalogue import Limits, Protective, override
from quantd.trading.effects import Cancel, Filled, Publish, Refused
from quantd.trading.events import Proposed, Tick
from quantd.trading.instruments import NANO
from quantd.trading.orders import UNTIL_CANCELLED, Cause, OrderBasket, OrderState, Reports, Wish
from tests.support.engine import COLLARED, World, block
from tests.support.examples import examples

FREE = override(COLLARED, max_position_weight=None, max_concentration=None, max_gross_exposure=1.0, allow_short=False)


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
