"""Orders with a price of their own: a rest switches off no exit, weighs what it fills at, and is looked at again."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from quantd.daemon.engine.planning.targets import at_rest
from quantd.daemon.engine.state.snapshot import freeze, in_force, thaw
from quantd.risk.limits.catalogue import Limits, Protective, override
from quantd.risk.switch import REDUCE
from quantd.trading.effects import Cancel, Effect, Ended, Filled, Planned, Publish, Refused
from quantd.trading.events import Proposed, Reloaded, Tick
from quantd.trading.instruments import NANO
from quantd.trading.orders import THE_DAY, UNTIL_CANCELLED, OrderBasket, Wish, order_id
from quantd.trading.sessions import DAY_NS
from tests.support.engine import COLLARED, START, World, block
from tests.support.examples import examples

HOUR = DAY_NS // 24
FREE = override(COLLARED, max_position_weight=None, max_concentration=None, max_gross_exposure=1.0)


class Guest(World):
    """A house with one outside agent, in which `do` maps a sample (from 1) to what is sent after it."""

    def __init__(self, closes: Sequence[Sequence[float]], limits: Limits = FREE) -> None:
        super().__init__(block(np.array(closes, dtype=np.float64)), [lambda view: None], house=limits)
        self.rules = replace(self.rules, outside=(0,))
        self.shell = self.fresh(self)
        self.ids = 0

    def order(self, lots: int, *terms: Wish, whole: bool = False) -> list[Effect]:
        self.ids += 1
        orders = tuple(replace(wish, lots=lots) for wish in terms or (Wish(0, lots),))
        sent = Proposed(self.shell.state.now, "a0", str(self.ids), "a test", "me", orders=orders, whole=whole)
        return list(self.shell.run(sent))

    def days(self, **do: object) -> "Guest":
        """Run; `day3=f` calls f() after the third sample."""
        samples = 0
        for item in self.items():
            self.shell.take(item)
            if isinstance(item, Tick) and item.sample:
                samples += 1
                if (act := do.get(f"day{samples}")) is not None:
                    act()  # type: ignore[operator]
        return self

    @property
    def lots(self) -> list[int]:
        return list(self.shell.state.ledger.house.lots)


def flat(*prices: float) -> list[list[float]]:
    return [[price] for price in prices]


def limit(price: float, end: int = UNTIL_CANCELLED, symbol: int = 0) -> Wish:
    return Wish(symbol, 0, round(price * NANO), end)


@pytest.mark.parametrize("at_venue", [False, True])
def test_a_take_profit_that_rests_switches_no_stop_loss_off(at_venue: bool) -> None:
    limits = override(FREE, protective=Protective(stop_loss=0.06, take_profit=None, cooldown=1, at_venue=at_venue))
    world = Guest(flat(100, 100, 100, 97, 93, 80, 70, 60, 58, 58), limits)
    world.days(day1=lambda: world.order(1000), day2=lambda: world.order(-1000, limit(150)))
    assert world.lots == [0]
    prices = [price for e in world.of(Filled) for price, lots in zip(e.price_nano, e.lots, strict=True) if lots < 0]
    assert all(price >= 80 * NANO for price in prices), "sold within a sample of the close at 93"
    assert sum(lots for e in world.of(Filled) for lots in e.lots) == 0


def test_a_rest_that_opens_a_short_position_weighs_what_it_fills_at() -> None:
    limits = override(FREE, allow_short=True, max_position_weight=0.4)
    world = Guest(flat(*(100 * 1.03**k for k in range(30))), limits)
    effects: list[Effect] = []
    world.days(day2=lambda: effects.extend(world.order(-3800, limit(150))))
    (basket,) = (e for e in effects if isinstance(e, OrderBasket))
    assert -basket.lots[0] * 150 == pytest.approx(0.4 * 1_000_000, rel=0.01)
    state = world.shell.state
    filled = [e for e in world.of(Filled) if e.lots[0] < 0]
    assert filled, "the market came to the price"
    assert -filled[0].lots[0] * filled[0].price_nano[0] / NANO <= 0.401 * 1_000_000
    assert state.ledger.house.lots == list(basket.lots)


def test_a_second_short_sale_counts_the_first_at_what_it_fills_at() -> None:
    world = Guest(flat(*[100.0] * 5), override(FREE, allow_short=True, max_position_weight=0.4))
    world.days(day1=lambda: [world.order(-1000, limit(150)), world.order(-9000, limit(150))])
    assert [e.lots for e in world.of(OrderBasket)] == [[-1000], [-1666]], "together 40 % of the book at 150"


def test_a_sale_above_the_mark_that_only_closes_weighs_nothing_more() -> None:
    limits = override(FREE, allow_short=True, max_position_weight=0.4)
    world = Guest(flat(*[100.0] * 6), limits)
    effects: list[Effect] = []
    world.days(day1=lambda: world.order(3000), day3=lambda: effects.extend(world.order(-3000, limit(200))))
    assert [e.lots for e in effects if isinstance(e, OrderBasket)] == [[-3000]]


def test_a_limit_that_waits_for_the_end_of_a_stop_stays_a_limit_and_keeps_its_id() -> None:
    limits = override(FREE, protective=Protective(stop_loss=0.06, take_profit=None, cooldown=1, at_venue=True))
    world = Guest(flat(*[100.0] * 8), limits)
    world.days(day1=lambda: world.order(1000), day3=lambda: world.order(-1000, limit(150)))
    basket = next(e for e in world.of(OrderBasket) if e.lots == [-1000] and not e.stop_nano)
    assert (basket.worst_nano, basket.end, basket.cause) == ([150 * NANO], [0], "a0/2")
    assert world.lots == [1000]
    key = basket.sample, basket.n
    assert [e.agents[0].cause for e in world.of(Planned) if (e.sample, e.n) == key] == ["a0/2"]


def test_an_order_without_a_price_withdraws_the_rests_in_its_way_and_sells_whole() -> None:
    world = Guest(flat(*[100.0] * 8))
    world.days(
        day1=lambda: world.order(1000), day2=lambda: world.order(-600, limit(150)),
        day3=lambda: world.order(-1000),
    )  # fmt: skip
    assert world.lots == [0]
    assert len(world.of(Cancel)) == 1
    assert sum(e.lots[0] for e in world.of(Filled) if e.lots[0] < 0) == -1000


def test_a_second_rest_of_the_same_lots_is_refused_and_withdraws_nothing() -> None:
    world = Guest(flat(*[100.0] * 6))
    said: list[Effect] = []
    world.days(
        day1=lambda: world.order(1000), day2=lambda: world.order(-1000, limit(150)),
        day3=lambda: said.extend(world.order(-1000, limit(140), whole=True)),
    )  # fmt: skip
    (refused,) = (e for e in said if isinstance(e, Refused))
    assert refused.text.startswith("at most 0 of 1000 S0")
    assert not world.of(Cancel)


def test_weights_replace_a_rest_of_the_same_lots() -> None:
    """A rest that will never fill is not the trade that the weights ask for."""
    world = Guest(flat(*[100.0] * 8))
    weights = np.array([0.0]).tobytes()

    def sell() -> None:
        now = world.shell.state.now
        world.shell.run(Proposed(now, "a0", "sell", "a test", "me", weights))

    world.days(day1=lambda: world.order(1000), day2=lambda: world.order(-1000, limit(150)), day3=sell)
    assert world.lots == [0]


def test_the_end_is_the_session_an_instant_or_never() -> None:
    world = Guest(flat(*[100.0] * 8))
    until = START + 6 * DAY_NS
    orders = [limit(90, THE_DAY), limit(90, until), limit(90), limit(90, 0)]
    world.days(day2=lambda: [world.order(10, terms, whole=True) for terms in orders])
    ends = [e.end[0] for e in world.of(OrderBasket)]
    assert ends == [START + 2 * DAY_NS + 16 * HOUR, until, 0, START + 2 * DAY_NS + 16 * HOUR]
    assert sorted(e.ts - START for e in world.of(Ended)) == [2 * DAY_NS + 16 * HOUR] * 2 + [until - START]


@pytest.mark.parametrize(
    ("lots", "terms", "words"),
    [
        (10, limit(111), "is beyond the collar, 105.00 now"),
        (-10, limit(80), "is beyond the collar, 85.00 now"),
        (10, Wish(0, 0, 99 * NANO + 5), "no multiple of its tick"),
        (10, Wish(0, 0, 99 * NANO, 5), "would have expired already"),
        (0, limit(99), "is of 0 units"),
    ],
)
def test_terms_that_cannot_be_kept_are_refused_and_never_changed(lots: int, terms: Wish, words: str) -> None:
    world = Guest(flat(*[100.0] * 5))
    said: list[Effect] = []
    world.days(day1=lambda: world.order(100), day3=lambda: said.extend(world.order(lots, terms)))
    assert [words in e.text for e in said if isinstance(e, Refused)] == [True]


def test_whole_or_refused_with_the_largest_that_would_pass_and_the_id_stays_free() -> None:
    world = Guest(flat(*[100.0] * 5), override(FREE, max_position_weight=0.4))
    said: list[Effect] = []
    world.days(day1=lambda: said.extend(world.order(9000, whole=True)))
    assert [type(e) for e in said if isinstance(e, Planned | OrderBasket | Refused)] == [Planned, Refused]
    (refused,) = (e for e in said if isinstance(e, Refused))
    assert refused.text.startswith("at most 4000 of 9000 S0 would pass now: ")
    assert "1" not in world.shell.state.outside["a0"].ids
    assert not world.of(OrderBasket)


def test_two_equal_orders_with_ids_of_their_own_are_two_orders() -> None:
    world = Guest(flat(*[100.0] * 5), override(FREE, duplicate_window_ns=DAY_NS))
    world.days(day1=lambda: [world.order(100, whole=True) for _ in range(3)])
    assert world.lots == [300]


def test_a_rest_that_the_limits_would_cut_now_is_cancelled_newest_first_with_its_reason() -> None:
    limits = override(FREE, max_position_weight=0.5)
    world = Guest([[100.0, 100.0], *([100.0 + 20 * k, 100.0] for k in range(7))], limits)
    world.days(
        day1=lambda: world.order(2000),
        day3=lambda: [world.order(900, limit(90), whole=True), world.order(900, limit(85), whole=True)],
    )
    notes = [e for e in world.of(Publish) if e.kind == "rest"]
    assert [("at 85" in e.text, "at 90" in e.text) for e in notes][:2] == [(True, False), (False, True)]
    assert all("is cancelled: " in e.text for e in notes)
    assert not world.shell.state.working


def test_a_book_at_reduce_keeps_no_rest_that_adds() -> None:
    world = Guest(flat(*[100.0] * 6))

    def reduce() -> None:
        world.shell.state.agents[0].switch.state = REDUCE

    world.days(
        day1=lambda: [world.order(1000), world.order(500, limit(90))], day2=lambda: world.order(-400, limit(150)),
        day3=reduce,
    )  # fmt: skip
    assert [e.symbol for e in world.of(Publish) if e.kind == "rest"] == ["S0"]
    assert [list(work.lots) for work in world.shell.state.working.values()] == [[-400]]


def test_tighter_limits_look_at_the_rests_at_once() -> None:
    world = Guest(flat(*[100.0] * 6), override(FREE, max_position_weight=0.9))

    def tighten() -> None:
        tight = override(world.rules.house, max_position_weight=0.1)
        rules = replace(world.rules, house=tight, agents=(replace(world.rules.agents[0], limits=tight),))
        world.shell.run(Reloaded(world.shell.state.now, "d", ("max_position_weight",), in_force(rules)))

    world.days(day1=lambda: world.order(5000, limit(90)), day3=tighten)
    assert [e.kind for e in world.of(Publish) if e.kind == "rest"] == ["rest"]
    assert not world.shell.state.working


def test_what_waits_and_rests_comes_out_of_a_snapshot_again() -> None:
    world = Guest(flat(*[100.0] * 6))
    world.days(day1=lambda: world.order(1000), day3=lambda: world.order(-400, limit(150)))
    again = thaw(world.rules, freeze(world.shell.state))
    assert freeze(again) == freeze(world.shell.state)
    assert at_rest(again, 0).tolist() == [-400.0]


def test_ids_of_orders_do_not_repeat_in_a_sample_of_many_baskets() -> None:
    assert len({order_id("run", 7, "SPY", n) for n in (1, 46_655, 46_656, 46_657, 93_312, 93_313)}) == 6


def test_a_thousand_orders_of_a_program_make_one_alert_a_minute() -> None:
    world = Guest(flat(*[100.0] * 5))
    world.days(day1=lambda: [world.order(1, whole=True) for _ in range(300)], day3=lambda: world.order(1, whole=True))
    texts = [e.text for e in world.of(Publish) if e.kind == "proposal"]
    assert texts == [
        "orders of a0: 1 sent, 0 refused",
        "orders of a0: 299 sent, 0 refused",  # at the next tick, without a further order
        "orders of a0: 1 sent, 0 refused",
    ]
    assert len(world.of(OrderBasket)) == 301


@settings(max_examples=examples(40), deadline=None)
@given(st.data())
def test_each_protective_exit_is_sent_within_one_sample_of_its_bar_and_fills_whole(data: st.DataObject) -> None:
    """Books with rests on both sides, adding and reducing: no rest keeps a position open below its stop."""
    moves = data.draw(st.lists(st.floats(-0.06, 0.05), min_size=14, max_size=14))
    closes = np.round(100.0 * np.cumprod([1.0, *(1.0 + move for move in moves)]), 2)
    spec = Protective(stop_loss=0.06, take_profit=None, cooldown=1)
    limits = override(FREE, protective=spec, allow_short=False)
    world = Guest([[float(c)] for c in closes], limits)
    above = data.draw(
        st.lists(st.tuples(st.integers(1, 12), st.integers(-900, 900), st.floats(0.80, 1.30)), max_size=6)
    )
    acts: dict[str, list[tuple[int, float]]] = {}
    for day, lots, factor in above:
        acts.setdefault(f"day{day}", []).append((lots, factor))

    def send(orders: list[tuple[int, float]]) -> None:
        mark = int(world.shell.state.marks_nano[0])
        for lots, factor in orders:
            worst = round(mark * factor) // (NANO // 100) * (NANO // 100)
            if lots:
                world.order(lots, Wish(0, 0, worst, UNTIL_CANCELLED))

    def at(day: int) -> None:
        send(acts.get(f"day{day}", []))
        if day == 1:
            world.order(900)
        state = world.shell.state
        held = state.ledger.house.lots[0]
        for symbol, exit_ in state.agents[0].exits.items():
            if symbol not in seen:
                seen[symbol] = day
            # the order of the exit is out, or waits one sample for the end of what stood in its way
            assert exit_.tried or day - seen[symbol] <= 1
        for symbol in list(seen):
            if symbol not in state.agents[0].exits:
                del seen[symbol]
        assert held >= 0

    seen: dict[int, int] = {}
    world.days(**{f"day{day}": (lambda day=day: at(day)) for day in range(1, 15)})  # type: ignore[misc]
    assert all(day >= 13 for day in seen.values()), "every exit that had two samples has ended"
