"""What the gate says of a few hundred fixed books, to the lot: any change of a verdict, a reason or a value shows.

The table says what the gate did, not that it is right: the evaluator of tests/risk_cases judges the same books here. It
is made by `python -m tests.risk.pretrade.test_gate_table`, which first prints what differs; a change of it is a change
of the gate, and the commit that makes it says why.
"""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from msgspec import UNSET, structs

from quantd.risk.limits.catalogue import Limits, Tail, override
from quantd.risk.pretrade.baskets import worst_nano
from quantd.risk.pretrade.gate import HALT, REDUCE, RUN, Account, Verdict, gate
from quantd.trading.instruments import NANO
from tests.support.checkout import ROOT
from tests.support.plan_orders import Part, priced_orders
from tests.support.risk_books import Book, breaches, make_context, random_book, random_limits, scenario_returns

TABLE = ROOT / "tests/support/golden/gate-table.json"
CHUNK = 40

Row = dict[str, Any]


# ---- books ----------------------------------------------------------------------------------------------------------


def drawn(seed: int) -> Book:
    return random_book(np.random.default_rng((seed, 3)))


def long_book(seed: int) -> Book:
    """A book without shorts and open orders, of all kinds of limits, half invested in equal parts or not."""
    rng = np.random.default_rng((seed, 77))
    book = random_book(rng, 0)
    n = len(book.px)
    held = np.floor(rng.random(n) * (rng.random(n) < 0.7) * 60_000.0 / n / book.px)
    equity = 100_000.0
    up = down = None
    up_cash, loss = 0.0, None
    if seed % 2:
        up = np.floor(rng.random(n) * (rng.random(n) < 0.4) * 10_000.0 / n / book.px)
        down = np.floor(held * rng.random(n) * (rng.random(n) < 0.4))
        up_cash = float(up @ book.px) * 1.1
        loss = float(rng.choice([0.0, 500.0])) + up_cash - float(up @ book.px) if rng.random() < 0.5 else None
    book.account = Account(
        up=up,
        down=down,
        up_cash=up_cash,
        open_loss=loss,
        lots=held,
        cash=equity - float(held @ book.px),
        equity=equity,
        traded=float(rng.choice([0.0, 10_000.0])),
        recent_orders=int(rng.integers(0, 3)),
        open_orders=int(rng.integers(0, 3)),
    )
    change = np.trunc(rng.normal(0.3, 1.0, n) * float(rng.choice([0.02, 0.1, 0.4])) * equity / n / book.px)
    book.asked = np.maximum(change, -held if down is None else down - held)
    loose = float(rng.choice([1.0, 2.0, 4.0]))
    changes: dict[str, Any] = {"in_flight": 0.0, "max_cash_debit": 0.0, "restricted": ()}
    if seed % 4:
        changes |= {"liquidity": None, "order_rate": None, "max_open_orders": None}
    for key in (
        "max_position_weight",
        "max_leverage",
        "max_concentration",
        "max_gross_exposure",
        "max_net_exposure",
        "max_sector_weight",
        "max_volatility",
    ):
        value = getattr(book.limits, key)
        changes[key] = None if value is None else value * loose
    if seed % 5 == 0:
        changes["max_leverage"] = float(rng.uniform(0.4, 0.9))
    for key in ("var", "cvar"):
        tail = getattr(book.limits, key)
        changes[key] = None if tail is None else type(tail)(tail.limit * loose, confidence=tail.confidence, lookback=80)
    if seed % 3 == 0:
        changes["max_share_of_volume"] = 0.5
        book.ctx.volume_lots[:] = rng.choice(
            [2.0 * np.abs(book.asked).max() + 1.0, 50.0, np.nan], n, p=[0.8, 0.15, 0.05]
        )
    book.limits = override(book.limits, **changes)
    return book


ALONE = (
    ("max_gross_exposure", 0.2, 1.0), ("max_net_exposure", 0.05, 0.5),
    ("max_leverage", 1.02, 1.3), ("max_turnover", 0.05, 0.5), ("cash_reserve", 0.8, 1.0), ("", 0.0, 0.0),
)  # fmt: skip


def any_book(seed: int) -> Book:
    """Two in three are long only, the others hold and ask for shorts too."""
    if seed % 3:
        return long_book(seed)
    rng = np.random.default_rng((seed, 78))
    book = random_book(rng, int(rng.choice([0, 4])))
    loose = float(rng.choice([1.0, 3.0]))
    changes: dict[str, Any] = {"in_flight": 0.0, "max_cash_debit": 0.0, "allow_short": seed % 2 == 0}
    for key in ("max_position_weight", "max_gross_exposure", "max_leverage", "max_volatility", "max_net_exposure"):
        value = getattr(book.limits, key)
        changes[key] = None if value is None else value * loose
    # one linear limit at a time, or what there is
    which, low, high = ALONE[seed // 3 % len(ALONE)]
    if which:
        changes |= dict.fromkeys(("max_gross_exposure", "max_net_exposure", "max_leverage", "max_turnover"))
        changes |= dict.fromkeys(("var", "cvar", "stress", "max_volatility", "max_herfindahl", "max_position_weight"))
        changes |= dict.fromkeys(("max_concentration", "max_sector_weight", "correlation"), None) | {"group_caps": ()}
        changes |= dict.fromkeys(("liquidity", "max_share_of_volume", "max_order_notional"))
        changes[which] = float(rng.uniform(low, high))
    book.limits = override(book.limits, **changes)
    asked, held = np.trunc(book.asked * float(rng.choice([0.05, 0.2, 0.5]))), book.account.lots
    within = np.sign(asked) * np.minimum(np.abs(asked), np.abs(held) // 3)
    book.asked = np.where((asked * held < 0) & (rng.random(len(held)) < 0.9), within, asked)
    return book


def loose(seed: int) -> Book:
    """Limits that a book mostly keeps, so that each is met from within, and no cash in the way."""
    rng = np.random.default_rng((seed, 4))
    book = random_book(rng, 3)
    few = random_limits(rng)
    keys = [k for k in ("max_volatility", "var", "cvar", "correlation", "max_herfindahl", "max_sector_weight") if
            getattr(few, k) is not None]  # fmt: skip
    keep = set(rng.choice(keys, min(len(keys), 2), replace=False).tolist()) if keys else set()
    given = {k: getattr(few, k) for k in keep}
    book.limits = Limits(
        collar=book.limits.collar,
        reduce_collar=book.limits.reduce_collar,
        in_flight=book.limits.in_flight,
        fee_bp=book.limits.fee_bp,
        max_cash_debit=5.0,
        volatility_lookback=80,
        max_position_weight=float(rng.uniform(0.2, 1.0)) if seed % 3 == 0 else None,
        **given,
    )
    return book


def with_gaps(seed: int) -> Book:
    """Rows of returns that are missing, prices that are old, missing or far from the grid, volumes that are
    not known."""
    rng = np.random.default_rng((seed, 5))
    limits = override(random_limits(rng), min_history=int(rng.choice([30, 60])))
    if seed % 3 == 0:
        limits = override(limits, var=Tail(limit=0.01, lookback=80), max_volatility=0.1)
    book = random_book(rng, 4, limits=limits)
    n, returns = len(book.px), book.returns.copy()
    returns[rng.random(returns.shape) < rng.choice([0.0, 0.002, 0.02])] = np.nan
    if rng.random() < 0.5:
        returns[: int(rng.integers(0, 70)), int(rng.integers(n))] = np.nan
    if rng.random() < 0.2:
        returns[: int(rng.integers(0, 30))] = np.nan
    age = np.zeros(n, np.int64)
    kind = seed % 4
    if kind == 1:
        age = rng.choice([0, -1, limits.max_price_age_ns, limits.max_price_age_ns + 1], n, p=[0.7, 0.1, 0.1, 0.1])
    px = book.px.copy()
    if kind == 2:
        px[rng.random(n) < 0.2] = rng.choice([np.nan, np.inf, 0.0])
    nano = np.rint(np.where(np.isfinite(px), px, 0.0) * 100).astype(np.int64) * (NANO // 100)
    if kind == 3 and n > 1:
        # a cent and a half, with a cent between ticks
        px[0], nano[0] = 0.015, NANO * 15 // 1000
        book.asked[0] = np.sign(book.asked[0]) * 50_000.0
        book.account.lots[0] = np.sign(book.account.lots[0]) * 20_000.0
        book.open = []
        book.account.up = book.account.down = None
        book.account.up_cash, book.account.open_loss, book.account.open_orders = 0.0, None, 0
        book.account.cash = book.account.equity - float(book.account.lots @ px)
    universe = book.ctx.universe
    book.ctx = make_context(
        px, returns, book.names, list(universe.sectors), [i.asset for i in universe.instruments], universe.groups,
        volume_lots=book.ctx.volume_lots, age_ns=age, prices_nano=nano,
    )  # fmt: skip
    book.returns, book.px = returns, book.ctx.px
    return book


def many(seed: int) -> Book:
    """More symbols than a covariance is made of unasked."""
    rng = np.random.default_rng((seed, 7))
    n = 160
    px = np.round(rng.uniform(5.0, 500.0, n), 2)
    returns = scenario_returns(rng, n)
    names = [f"S{k:03}" for k in range(n)]
    limits = override(
        random_limits(rng), max_cash_debit=2.0, max_order_notional=None, max_open_orders=None, in_flight=0.0
    )
    held = np.trunc(rng.normal(0.0, 0.1, n) * (rng.random(n) < 0.05) * 1e5 / px)
    if not limits.allow_short or seed % 2:
        held = np.abs(held)
    asked = np.trunc(rng.normal(0.0, 0.2, n) * (rng.random(n) < 0.05) * 1e5 / px)
    if seed % 2:
        asked = np.abs(asked)
    account = Account(lots=held, cash=1e5 - float(held @ px), equity=1e5)
    odd = (("odd", tuple(names[1::2])),)
    ctx = make_context(px, returns, names, ["x"] * n, None, odd)
    return Book(ctx, account, asked, limits, [], returns, px, names)


KINDS: dict[str, tuple[Callable[[int], Book], int]] = {
    "drawn": (drawn, 240), "loose": (loose, 240), "mostly long": (any_book, 320), "with gaps": (with_gaps, 160),
    "many": (many, 16),
}  # fmt: skip
"""Kind -> what makes a book of it, and how many."""

CHUNKS = [(kind, first) for kind, (_, count) in KINDS.items() for first in range(0, count, CHUNK)]


# ---- what is written of each ----------------------------------------------------------------------------------------


def numbers(lots: np.ndarray | None) -> list[float] | None:
    return None if lots is None else [float(x) for x in lots]


def values(figures: dict[str, tuple[float, float]]) -> dict[str, list[float]]:
    return {key: [float(f"{x:.9g}") for x in pair] for key, pair in sorted(figures.items())}


def orders(book: Book, verdict: Verdict) -> list[Any] | None:
    """The basket of a verdict that two agents share, one of them with collars of its own."""
    half = np.trunc(verdict.lots / 2)
    narrower = override(book.limits, collar=book.limits.collar / 2, reduce_collar=0.02, flatten_collar=0.01)
    parts = [
        Part(half, book.account.lots - half, narrower),
        Part(verdict.lots - half, np.where(np.arange(len(half)) % 2, 1.0, -1.0), book.limits),
    ]
    if not np.isfinite(book.account.lots).all():
        return None
    sent = priced_orders(verdict, book.ctx, book.account, book.limits, parts, list(range(len(half))))
    return None if sent is None else sent.terms()


def row(kind: str, seed: int) -> Row:
    book = KINDS[kind][0](seed)
    book = dataclasses.replace(book, limits=structs.replace(book.limits, extra=UNSET))  # not drawn when it was written
    with np.errstate(invalid="ignore", over="ignore"):
        verdict = gate(book.ctx, book.account, book.asked, book.limits)
        columns: Row = {"lots": numbers(verdict.lots), "reason": verdict.reason.tolist()}
        again = gate(book.ctx, book.account, book.asked, book.limits)
        assert np.array_equal(again.lots, verdict.lots), (kind, seed)
        if seed % 4 == 0 and kind != "many":
            columns |= {"values": values(verdict.values), "before": values(verdict.before)}
            columns["worst"] = worst_nano(book.ctx, verdict.lots, book.limits, book.account.lots)
            columns["orders"] = orders(book, verdict)
        if kind == "with gaps":
            reduced = gate(book.ctx, book.account, book.asked, book.limits, REDUCE)
            halted = gate(book.ctx, book.account, book.asked, book.limits, HALT)
            columns |= {"reduced": numbers(reduced.lots), "reduced why": reduced.reason.tolist()}
            columns["halted why"] = halted.reason.tolist()
    return columns


def same(one: Any, other: Any) -> bool:
    """Alike but for rounding in the values."""
    match one, other:
        case dict(), dict():
            return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
        case list(), list():
            return len(one) == len(other) and all(map(same, one, other))
        case float(), float():
            return bool(one == pytest.approx(other, rel=1e-7, abs=1e-9, nan_ok=True))
    return bool(one == other)


def read() -> dict[str, list[Row]]:
    table: dict[str, list[Row]] = json.loads(TABLE.read_text()) if TABLE.exists() else {}
    return table


TABLED = read()


def differs(kind: str, seed: int) -> str:
    """What of a book is not as it is in the table."""
    written = dict(enumerate(TABLED.get(kind, []))).get(seed, {})
    now = json.loads(json.dumps(row(kind, seed)))
    keys = [key for key in {**written, **now} if not same(written.get(key), now.get(key))]
    return "; ".join(f"{kind} {seed}: {key} was {written.get(key)}, is {now.get(key)}" for key in keys)


@pytest.mark.quick_cases(5)
@pytest.mark.parametrize(("kind", "first"), CHUNKS)
def test_the_gate_says_what_it_said(kind: str, first: int) -> None:
    last = min(first + CHUNK, KINDS[kind][1])
    assert [difference for seed in range(first, last) if (difference := differs(kind, seed))] == []


@pytest.mark.long
@pytest.mark.parametrize("kind", ["drawn", "loose", "mostly long", "with gaps"])
def test_no_verdict_of_the_table_breaks_a_limit(kind: str) -> None:
    make, count = KINDS[kind]
    wrong, adding = [], 0
    for seed in range(count):
        book = make(seed)
        with np.errstate(invalid="ignore"):
            verdict = gate(book.ctx, book.account, book.asked, book.limits, RUN)
        short_already = (book.account.lots < 0.0).any() or book.account.down is not None
        if not book.limits.allow_short and short_already:
            continue  # the evaluator would have it that this is the gate's doing
        adding += bool(((verdict.lots != 0) & (verdict.lots * book.account.lots >= 0)).any())
        wrong += [f"{seed}: {w}" for w in breaches(book, verdict, np.random.default_rng(seed), 20)]
    assert wrong == []
    assert adding > count // 5


if __name__ == "__main__":
    rows = {
        kind: [json.loads(json.dumps(row(kind, seed))) for seed in range(count)] for kind, (_, count) in KINDS.items()
    }
    for kind, kept_rows in rows.items():
        print(kind, "changed:", [k for k in range(len(kept_rows)) if differs(kind, k)])  # noqa: T201
    TABLE.write_text(
        "{\n" + ",\n".join(
            json.dumps(kind) + ": [\n" + ",\n".join(json.dumps(r, separators=(",", ":")) for r in chunk) + "\n]"
            for kind, chunk in rows.items()
        ) + "\n}\n"
    )  # fmt: skip
