"""The closed forms against bisection, and every limit of the tables read from its key."""

from typing import Any

import numpy as np
import pytest

from quantd.risk.limits import ruleset as rules_module
from quantd.risk.limits.case import Account
from quantd.risk.limits.catalogue import PROFILES, AccountCap, Limits, Ramp, override
from quantd.risk.limits.context import Floats
from quantd.risk.limits.kinds import Form, Labels, Linear, Losses, Room, refused
from quantd.risk.limits.record import Barred, Capped, Counts, Families, Forms, Limit, Refusal, Rows, Tails
from quantd.risk.limits.ruleset import (
    BARS,
    CAPS,
    COUNTS,
    FAMILIES,
    FORMS,
    ROWS,
    TAILS,
    Rules,
    moves,
    prepare,
    rules_of,
)
from quantd.risk.pretrade.gate import gate
from quantd.trading.instruments import Instrument, Universe
from tests.support.risk_books import make_context

UNIVERSE = Universe((Instrument("A", sector="x"), Instrument("B", asset="A")), groups=(("all", ("A", "B")),))


def test_rules_with_moved_bounds_are_the_rules_made_of_the_limits():
    """Live, the buying power, the cap in money and the ramp have other bounds at each sample."""
    before = override(
        PROFILES["balanced"], max_account_notional=AccountCap(0.5, 50.0), ramp=Ramp(0.2, 1, 9), cash_reserve=0.1,
        buying_power=AccountCap(0.2, 20.0),
    )  # fmt: skip
    after = override(
        before, max_account_notional=AccountCap(0.4, 50.0), ramp=Ramp(0.3, 2, 9), buying_power=AccountCap(0.0, 0.0)
    )
    assert moves(before, after)
    moved, made_anew = Rules(before, UNIVERSE).moved(after), Rules(after, UNIVERSE)
    assert [row.key for row in moved.rows] == [row.key for row in made_anew.rows]
    for row, new in zip(moved.rows, made_anew.rows, strict=True):
        assert (row.bound, row.settled_bound, row.load.tolist()) == (new.bound, new.settled_bound, new.load.tolist())
    assert moved.held_measures == made_anew.held_measures
    assert moved.limits is after
    assert not moves(before, override(after, buying_power=None)), "a limit that ends has no bound to move"
    assert not moves(before, override(after, max_position_weight=0.01))
    prepare(before, after, UNIVERSE)
    assert rules_of(after, UNIVERSE).rows[-1].key == made_anew.rows[-1].key


SIZE = 16
ODD = np.arange(SIZE) % 2 == 1
MANY = Universe(tuple(Instrument(f"S{k:02}") for k in range(SIZE)))


SOME = Limit("some", 0, "some", refusals=(Refusal(120, "SOME", "some"),))


def _kept() -> Floats:
    """A limit may hand out what it keeps."""
    room = np.where(ODD, 0.0, np.inf)
    room.flags.writeable = False
    return room


DECLARED: dict[str, tuple[list[Any], Any]] = {
    "cap": (CAPS, Capped(1, lambda ctx, rules: refused(ODD))),
    "room": (CAPS, Capped(1, lambda ctx, rules: Room(np.where(ODD, 0.0, np.inf), np.where(ODD, 0.0, np.inf)))),
    "room that nobody may write": (CAPS, Capped(1, lambda ctx, rules: Room(_kept(), _kept()))),
    "bar": (BARS, Barred(1, lambda rules, account, asked: ODD)),
    "count": (COUNTS, Counts(1, lambda account: 0, lambda value: SIZE // 2)),
    "row": (ROWS, Rows(1, lambda value, limits, universe: [Linear(0.001, long=ODD * 1.0, short=ODD * 1.0)])),
    "family": (FAMILIES, Families(1, lambda value, limits,
    universe: [Labels(["odd" if odd else "" for odd in ODD], 0.001)])),
    "tail": (TAILS, Tails(1, lambda value, limits, universe: [Losses(0.0001, False, 0.95, 80)])),
    "form": (FORMS, Forms(1, lambda value, limits: [Form(0.001)])),
}  # fmt: skip


@pytest.mark.parametrize("short", [False, True], ids=["long", "long and short"])
@pytest.mark.parametrize("kind", DECLARED)
def test_a_limit_that_is_only_declared_is_enforced(kind: str, short: bool, request: pytest.FixtureRequest) -> None:
    """The gate that everybody asks walks the tables, whichever way it decides by."""
    px, returns = np.full(SIZE, 100.0), np.random.default_rng(2).normal(0.0, 0.01, (80, SIZE))
    ctx = make_context(px, returns, list(MANY.symbols), universe=MANY)
    account = Account(lots=np.full(SIZE, 0.0), cash=100_000.0, equity=100_000.0)
    asked = np.full(SIZE, 10.0) * (np.where(np.arange(SIZE) % 3 == 0, -1.0, 1.0) if short else 1.0)

    def passed() -> list[float]:
        # made each time, as rules are kept by identity
        return gate(ctx, account, asked, Limits(in_flight=0.01)).lots.tolist()

    assert passed() == asked.tolist()
    table, declared = DECLARED[kind]
    # the same list, as everybody holds it
    table.append((SOME, declared))
    request.addfinalizer(lambda: table.remove((SOME, declared)))
    assert sum(lots == 0.0 for lots in passed()) >= SIZE // 2


@pytest.mark.parametrize(
    ("lots", "equity", "passes"), [(1.0, 1_600.0, True), (1.0, 1_599.0, False), (9.0, 14_400.0, True)]
)
def test_a_load_for_each_symbol_counts_to_the_lot(
    lots: float, equity: float, passes: bool, request: pytest.FixtureRequest
) -> None:
    """Purchases of half of the symbols may be worth half of the equity; a lot is worth 100, and all share a factor."""
    half = (SOME, Rows(1, lambda value, limits, universe: [Linear(0.5, long=ODD * 1.0, short=ODD * 0.0)]))
    ROWS.append(half)
    request.addfinalizer(lambda: ROWS.remove(half))
    ctx = make_context(np.full(SIZE, 100.0), np.zeros((80, SIZE)), list(MANY.symbols), universe=MANY)
    account = Account(lots=np.zeros(SIZE), cash=1e6, equity=equity)
    verdict = gate(ctx, account, np.full(SIZE, lots), Limits(collar=0.0, reduce_collar=0.0))
    assert verdict.lots.tolist() == [lots * passes] * SIZE


# ---- caps, by hand ---------------------------------------------------------------------------------------------------


def test_sets_that_are_ready_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules_module, "_ready", {})  # what other tests made ready must not fill it here
    one, other = Limits(max_gross_exposure=1.0), Limits(max_gross_exposure=2.0)
    first, second = rules_of(one, UNIVERSE), rules_of(other, UNIVERSE)
    assert rules_of(one, UNIVERSE) is first
    assert rules_of(other, UNIVERSE) is second
    for k in range(rules_module._MOST_READY + 10):
        rules_of(Limits(max_gross_exposure=1.0 + k), UNIVERSE)
        assert len(rules_module._ready) <= rules_module._MOST_READY
