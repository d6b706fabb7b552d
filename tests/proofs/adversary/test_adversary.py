"""The search for a breach, in short form, and what it has found; `make prove-long` runs the long one."""

from typing import Any

import numpy as np
import pytest

from quantd.risk.limits.catalogue import Correlation, Limits, Rate, Reason, Tail, override
from quantd.risk.pretrade.gate import Account, Verdict, gate
from tests.proofs.adversary.arena import Tally
from tests.proofs.adversary.duel import ALL, duel, match_of
from tests.proofs.adversary.judge import Judgement, judge
from tests.proofs.adversary.worlds import Watched
from tests.support.engine import block
from tests.support.risk_books import Book, make_context


@pytest.mark.requirement("R-166")
@pytest.mark.long
def test_no_policy_of_any_kind_finds_a_breach() -> None:
    kinds: dict[str, Tally] = {kind: Tally() for kind in ALL}
    for kind, tally in duel(20_000, 7):
        kinds[kind] += tally
    assert [wrong for tally in kinds.values() for wrong in tally.wrong] == []
    assert len(kinds) >= 8
    assert all(tally.intents > 300 for kind, tally in kinds.items()), "a kind that asks nothing"
    assert all(tally.added > 5 for tally in kinds.values()), "a kind of which nothing passes shows nothing"
    reasons = set().union(*(tally.reasons for tally in kinds.values()))
    # equity below nothing, prices off the grid and stress have tests of their own
    assert {int(r) for r in Reason if r.value <= Reason.DUPLICATE} - reasons <= {Reason.WORST_PRICE, Reason.LIQUIDITY}


def test_a_pair_that_breaches_already_and_that_an_open_order_makes_larger_leaves_no_equity_to_lower() -> None:
    """A reduction of its other side may bring it back within its bound, which falls with equity."""
    assert match_of("searching", 7, 104).wrong == []


def test_a_limit_that_the_positions_exceed_refuses_no_order_that_does_not_add_to_it() -> None:
    """Also where an open purchase adds three lots to it, and another open order earns equity that would cover it."""
    assert match_of("splitting", 20261124, 531).wrong == []


@pytest.mark.parametrize(
    ("key", "kind", "match"), [("max_gross_exposure", "at the bound", 1), ("max_position_weight", "against open", 0)]
)
def test_a_gate_that_does_not_read_a_limit_is_seen(key: str, kind: str, match: int) -> None:
    def without(ctx: Any, account: Account, asked: Any, limits: Limits, switch: int) -> Verdict:
        return gate(ctx, account, asked, override(limits, **{key: None}), switch)

    assert match_of(kind, 0, match, without).wrong


# ---- found by the search, smallest cases ------------------------------------------------------------------------

EQUITY = 100_000.0


def judged(
    asked: list[float], limits: Limits, px: list[float], rows: list[tuple[int, float, float]], **given: Any
) -> Judgement:
    """The gate's verdict, judged: `rows` (column, signed lots, worst price) are open."""
    return passed(asked, limits, px, rows, **given)[1]


def passed(
    asked: list[float], limits: Limits, px: list[float], rows: list[tuple[int, float, float]], **given: Any
) -> tuple[list[float], Judgement]:
    """The lots that pass, and the judgement of them. The sector is x, of all but the first y; S0 is in the group
    "first"."""
    n = len(px)
    price, up, down = np.array(px), np.zeros(n), np.zeros(n)
    for k, lots, _worst in rows:
        (up if lots > 0 else down)[k] += abs(lots)
    lots = np.array(given.pop("lots", [0.0] * n))
    returns = given.pop("returns", np.zeros((80, n)))
    account = Account(
        **{
            "lots": lots,
            "cash": EQUITY - float(np.nan_to_num(lots) @ price),
            "equity": EQUITY,
            "up": up if up.any() else None,
            "down": down if down.any() else None,
            "up_cash": sum(max(k, 0.0) * worst for _, k, worst in rows),
            "open_orders": len(rows),
            "open_loss": sum(abs(k * (worst - px[s])) for s, k, worst in rows),
            **given,
        }
    )
    names = [f"S{k}" for k in range(n)]
    ctx = make_context(price, returns, names, ["x", *["y"] * (n - 1)], groups=(("first", ("S0",)),))
    book = Book(ctx, account, np.array(asked), limits, rows, returns, price, names)
    verdict = gate(ctx, account, book.asked, limits)
    return verdict.lots.tolist(), judge(book, verdict, np.random.default_rng(0))


def test_a_position_beyond_its_weight_keeps_its_concentration() -> None:
    limits = Limits(collar=0.2, max_position_weight=0.1, max_concentration=0.2)
    assert judged([0.0, 500.0], limits, [100.0, 100.0], [], lots=[199.0, 0.0]).wrong == []


def test_a_short_sale_that_became_nothing_pays_for_nothing() -> None:
    limits = Limits(max_cash_debit=1.0)
    assert judged([20_000.0, -1.0], limits, [10.0, 70_000.0], []).wrong == []


def test_open_short_sales_are_reserved_at_their_own_collar() -> None:
    limits = Limits(collar=0.2, reduce_collar=0.05, max_gross_exposure=0.5)
    judgement = judged([0.0, 1_000.0], limits, [100.0, 100.0], [(0, -200.0, 80.0)], open_loss=None)
    assert judgement.wrong == []


def test_lots_that_are_not_a_number_do_not_come_out_of_the_gate() -> None:
    judgement = judged([1.0, -9.0], Limits(), [100.0, 100.0], [], lots=[float("nan"), 5.0], cash=EQUITY)
    assert judgement.wrong == []


def test_a_resting_sale_far_below_the_mark_lowers_what_may_be_owed() -> None:
    limits = Limits(max_cash_debit=1.0)
    judgement = judged([0.0, 5_000.0], limits, [100.0, 100.0], [(0, -1_000.0, 30.0)], lots=[1_000.0, 0.0])
    assert judgement.wrong == []


def test_a_position_whose_sale_rests_keeps_its_weight_when_others_are_bought() -> None:
    """19.9 % of at most 20 %, for sale: unfilled it weighs that, filled nothing; no state breaks the limit."""
    limits = Limits(max_position_weight=0.2)
    held = [199.0, 0.0, 0.0, 0.0]
    judgement = judged([0.0, 180.0, 180.0, 180.0], limits, [100.0] * 4, [(0, -199.0, 85.0)], lots=held)
    assert judgement.wrong == []


def one_world(agents: list[Any], house: Limits, agent: Limits) -> Tally:
    """Judged as the long form judges worlds, at a price that does not move."""
    world = Watched(block(np.full((6, 1), 100.0)), agents, house=house, agent=agent)
    return world.run().tally


def test_an_agent_s_limit_holds_at_the_price_its_order_goes_out_with() -> None:
    agent = Limits(collar=0.01, max_position_weight=0.5)
    tally = one_world([lambda view: np.array([0.9])], Limits(collar=0.1), agent)
    assert tally.wrong == []


def test_an_agent_s_short_holds_its_limit_where_the_house_reduces() -> None:
    def short_later(view: Any) -> np.ndarray:
        return np.array([0.0 if view.time < block(np.zeros((3, 1))).ts_event[1] else -0.3])

    tally = one_world([lambda view: np.array([0.3]), short_later], Limits(), Limits(max_position_weight=0.3))
    assert tally.wrong == []


def test_a_resting_sale_of_more_than_is_held_counts_as_a_short() -> None:
    limits = Limits(collar=0.01, max_gross_exposure=0.15)
    rows = [(0, -438.0, 21.12)]
    lots = [2.0, 29.0, 0.0]
    judgement = judged([1_620.0, 234.0, 787.0], limits, [21.38, 159.67, 33.04], rows, lots=lots)
    assert judgement.wrong == []


MOVED = np.repeat(np.random.default_rng(5).normal(0.0, 0.01, (80, 1)), 3, axis=1) * [1.0, 1.0, 0.0]
PAIRED = Correlation(threshold=0.7, joint_weight=0.2115, min_weight=0.005, lookback=80)


@pytest.mark.parametrize(
    ("limits", "held", "side"),
    [
        ({"max_position_weight": 0.2015}, [200.0, 0.0, 0.0], 1.0),
        ({"max_concentration": 0.2015}, [200.0, 0.0, 0.0], 1.0),
        ({"max_sector_weight": 0.2015}, [200.0, 0.0, 0.0], 1.0),
        ({"group_caps": (("first", 0.2015),)}, [200.0, 0.0, 0.0], 1.0),
        ({"max_leverage": 1.2015, "max_cash_debit": 0.5}, [1_200.0, 0.0, 0.0], -1.0),
        ({"correlation": PAIRED}, [200.0, 10.0, 0.0], 1.0),
        ({"max_herfindahl": 0.0402}, [200.0, 0.0, 0.0], 1.0),
        ({"max_volatility": 0.0334, "volatility_lookback": 80}, [200.0, 0.0, 0.0], 1.0),
        ({"var": Tail(0.0035, lookback=80)}, [200.0, 0.0, 0.0], 1.0),
        ({"cvar": Tail(0.0041, lookback=80)}, [200.0, 0.0, 0.0], 1.0),
    ],
    ids=lambda given: next(iter(given)) if isinstance(given, dict) else "",
)
def test_a_limit_that_an_open_order_may_break_still_holds_for_new_orders(
    limits: dict[str, Any], held: list[float], side: float
) -> None:
    """20 % is held, an open order would make it 25 %: no new order may take equity from what is held."""
    given: dict[str, Any] = {"limits": Limits(**limits), "px": [100.0] * 3, "lots": held, "returns": MOVED}
    alone, judgement = passed([0.0, 0.0, side * 160.0], rows=[], **given)
    assert judgement.wrong == []
    assert abs(alone[2]) > 1.0
    beside, judgement = passed([0.0, 0.0, side * 160.0], rows=[(0, 50.0, 105.0)], **given)
    assert judgement.wrong == []
    assert abs(beside[2]) <= abs(alone[2])


def test_a_limit_that_is_breached_by_what_is_held_stops_only_what_adds_to_it() -> None:
    limits = Limits(group_caps=(("first", 0.15),))
    outcome = passed([10.0, 100.0], limits, [100.0, 100.0], [(0, 50.0, 105.0)], lots=[200.0, 0.0])
    assert outcome[0] == [0.0, 100.0]
    assert outcome[1].wrong == []


@pytest.mark.parametrize(
    "limits", [{"max_orders_per_day": 1}, {"max_open_orders": 1}, {"order_rate": Rate(1)}], ids=lambda k: next(iter(k))
)
def test_reductions_of_a_basket_count_as_orders_and_pass(limits: dict[str, Any]) -> None:
    lots, judgement = passed([-50.0, 100.0, 0.0], Limits(**limits), [100.0] * 3, [], lots=[100.0, 0.0, 0.0])
    assert lots == [-50.0, 0.0, 0.0]
    assert judgement.wrong == []
    lots, judgement = passed([-50.0, 0.0, -20.0], Limits(**limits), [100.0] * 3, [], lots=[100.0, 0.0, 50.0])
    assert lots == [-50.0, 0.0, -20.0]


def test_the_sum_of_squares_on_the_way_is_exceeded_by_in_flight_once() -> None:
    limits = Limits(max_herfindahl=0.2, in_flight=0.25)
    lots, judgement = passed([-400.0, 450.0], limits, [100.0] * 2, [], lots=[400.0, 0.0])
    assert judgement.wrong == []
    assert lots[0] == -400.0
    low = EQUITY - 5.0 * lots[1]
    assert (40_000.0**2 + (100.0 * lots[1]) ** 2) / low**2 <= 0.25
    # a lot more would be too much
    low = EQUITY - 15.0 * 400.0 - 5.0 * (lots[1] + 1.0)
    assert (40_000.0**2 + (100.0 * (lots[1] + 1.0)) ** 2) / low**2 > 0.25
