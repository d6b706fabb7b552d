"""What the gate says of a few hundred fixed books, to the lot: any change of a verdict, a reason, a value or a shortcut
shows.

The table says what the gate did, not that it is right: the evaluator of tests/risk_cases judges the same books here. It
is made by `python -m tests.risk.pretrade.test_gate_table`, which first prints what differs; a change of it is a change
of the gate, and the commit that makes it says why.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from quantd.risk.limits.catalogue import Limits, Tail, override
from quantd.risk.limits.context import Scenarios
from quantd.risk.limits.ruleset import rules_of
from quantd.risk.plain import plain
from quantd.risk.pretrade import gate as gate_module
from quantd.risk.pretrade.baskets import Part, basket, worst_nano
from quantd.risk.pretrade.gate import HALT, REDUCE, RUN, Account, Context, Verdict, gate
from quantd.trading.instruments import NANO
from tests.support.checkout import ROOT
from tests.support.risk_books import Book, breaches, make_context, random_book, random_limits, scenario_returns
from tests.test_plain import any_book

TABLE = ROOT / "tests/support/golden/gate-table.json"
CHUNK = 40

Row = dict[str, Any]


# ---- books ----------------------------------------------------------------------------------------------------------


def drawn(seed: int) -> Book:
    return random_book(np.random.default_rng((seed, 3)))


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


def strange(seed: int) -> Book:
    """One number of the account or of the intents is none, or there is no equity, or orders are repeated or
    restricted."""
    rng = np.random.default_rng((seed, 6))
    book = random_book(rng, 4)
    a, n = book.account, len(book.px)
    bad, k = float(rng.choice([np.nan, np.inf, -np.inf])), int(rng.integers(n))
    match seed % 12:
        case 0:
            book.asked[k] = bad
        case 1:
            a.lots[k] = bad
        case 2:
            a.cash = bad
        case 3:
            a.equity = bad
        case 4:
            a.up = np.where(np.arange(n) == k, bad, 1.0)
        case 5:
            a.down = np.where(np.arange(n) == k, bad, 1.0)
        case 6:
            a.open_loss = bad
        case 7:
            a.traded = bad
        case 8:
            a.up_cash = bad
        case 9:
            a.equity = float(rng.choice([0.0, -5.0, 1.0]))
        case 10:
            a.repeated = book.asked * (rng.random(n) < 0.5)
            book.limits = override(book.limits, duplicate_window_ns=1)
        case _:
            book.limits = override(book.limits, restricted=tuple(book.names[::2]))
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
    "drawn": (drawn, 240), "loose": (loose, 240), "short way": (any_book, 320), "with gaps": (with_gaps, 160),
    "strange": (strange, 80), "many": (many, 16),
}  # fmt: skip
"""Kind -> what makes a book of it, and how many."""

CHUNKS = [(kind, first) for kind, (_, count) in KINDS.items() for first in range(0, count, CHUNK)]


# ---- what is written of each ----------------------------------------------------------------------------------------


def made(ctx: Context) -> str:
    """Which of the dear things were made: a shortcut that no longer is one shows here."""
    words: list[str] = [name for name in ("volumes_known", "priced") if name in vars(ctx)]
    words += [f"{len(ctx._off_grid)} grids"] if ctx._off_grid else []
    for (lookback, _least), window in ctx._windows.items():
        words.append(f"{lookback}:")
        for found in {id(s): s for s in (window.all, *window.by_rows.values())}.values():
            words.append(f"{len(found)}")
            words += _made_of(found)
    return " ".join(words)


def _made_of(found: Scenarios) -> Iterator[str]:
    if "gains" in vars(found):
        yield "gains"
    if found._deviation is not None:
        yield "deviation"
    yield from (f"reach-{m}" for m in sorted(found._reach))
    yield from (name for name in ("signed", "filtered") if name in vars(found))
    spreads = {name: vars(found).get(name) for name in ("sample", "shrunk", "weighted")}
    for name, spread in spreads.items():
        if spread is not None:
            yield name
            yield from (f"{name}.{each}" for each in ("cov", "together", "opposed") if each in vars(spread))
            yield from (f"{name}.links" for _ in spread._linked)


def numbers(lots: np.ndarray | None) -> list[float] | None:
    return None if lots is None else [float(x) for x in lots]


def values(found: dict[str, tuple[float, float]]) -> dict[str, list[float]]:
    return {key: [float(f"{x:.9g}") for x in pair] for key, pair in sorted(found.items())}


def orders(book: Book, verdict: Verdict) -> list[Any] | None:
    """The basket of a verdict that two agents share, one of them with collars of its own."""
    half = np.trunc(verdict.lots / 2)
    own = override(book.limits, collar=book.limits.collar / 2, reduce_collar=0.02, flatten_collar=0.01)
    parts = [
        Part(half, book.account.lots - half, own),
        Part(verdict.lots - half, np.where(np.arange(len(half)) % 2, 1.0, -1.0), book.limits),
    ]
    if not np.isfinite(book.account.lots).all():
        return None
    sent = basket(
        verdict, book.ctx, book.account, book.limits, sample=1, n=2, ts=3, end=list(range(len(half))), parts=parts
    )
    return None if sent is None else [sent.sym, sent.lots, sent.worst_nano, sent.end, sent.reason]


def row(kind: str, seed: int) -> Row:
    """A fresh book for each way, since what is made for one is there for the next."""
    make = KINDS[kind][0]
    book = make(seed)
    codes = np.zeros(len(book.px), np.int8)
    with np.errstate(invalid="ignore", over="ignore"):
        short = plain(book.ctx, book.account, book.asked, rules_of(book.limits, book.ctx.universe), codes)
        found: Row = {"short": numbers(short), "short made": made(book.ctx)}
        book, usual = make(seed), gate_module.plain  # type: ignore[attr-defined]
        gate_module.plain = lambda *_: None  # type: ignore[attr-defined]
        try:
            verdict = gate(book.ctx, book.account, book.asked, book.limits)
        finally:
            gate_module.plain = usual  # type: ignore[attr-defined]
        found |= {"lots": numbers(verdict.lots), "reason": verdict.reason.tolist(), "made": made(book.ctx)}
        if short is not None:
            assert np.array_equal(short, verdict.lots), (kind, seed)
            assert np.array_equal(codes, verdict.reason), (kind, seed)
        both = gate(book.ctx, book.account, book.asked, book.limits)
        assert np.array_equal(both.lots, verdict.lots), (kind, seed)
        if seed % 4 == 0 and kind not in ("strange", "many"):
            found |= {"values": values(verdict.values), "before": values(verdict.before)}
            found["worst"] = worst_nano(book.ctx, verdict.lots, book.limits, book.account.lots)
            found["orders"] = orders(book, verdict)
        if kind in ("strange", "with gaps"):
            reduced = gate(book.ctx, book.account, book.asked, book.limits, REDUCE)
            halted = gate(book.ctx, book.account, book.asked, book.limits, HALT)
            found |= {"reduced": numbers(reduced.lots), "reduced why": reduced.reason.tolist()}
            found["halted why"] = halted.reason.tolist()
    return found


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
    found: dict[str, list[Row]] = json.loads(TABLE.read_text()) if TABLE.exists() else {}
    return found


TABLED = read()


def differs(kind: str, seed: int) -> str:
    """What of a book is not as it is in the table."""
    written = dict(enumerate(TABLED.get(kind, []))).get(seed, {})
    now = json.loads(json.dumps(row(kind, seed)))
    keys = [key for key in {**written, **now} if not same(written.get(key), now.get(key))]
    return "; ".join(f"{kind} {seed}: {key} was {written.get(key)}, is {now.get(key)}" for key in keys)


@pytest.mark.parametrize(("kind", "first"), CHUNKS)
def test_the_gate_says_what_it_said(kind: str, first: int) -> None:
    last = min(first + CHUNK, KINDS[kind][1])
    assert [found for seed in range(first, last) if (found := differs(kind, seed))] == []


@pytest.mark.parametrize("kind", ["drawn", "loose", "short way", "with gaps"])
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
    for each, found in rows.items():
        print(each, "changed:", [k for k in range(len(found)) if differs(each, k)])  # noqa: T201
    TABLE.write_text(
        "{\n" + ",\n".join(
            json.dumps(kind) + ": [\n" + ",\n".join(json.dumps(r, separators=(",", ":")) for r in found) + "\n]"
            for kind, found in rows.items()
        ) + "\n}\n"
    )  # fmt: skip
