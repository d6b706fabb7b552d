"""One book that trades against a gate: a market that moves, orders that rest, fill in part, end or are forgotten.

What the gate says is taken at its word, and judged; orders then fill at the worst prices that they allow as often as
not.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

import quantd.risk.pretrade.gate
from quantd.risk.limits.catalogue import AccountCap, Limits, override
from quantd.risk.pretrade.baskets import worst_nano
from quantd.risk.pretrade.gate import RUN, Account, Context, Verdict
from quantd.trading.instruments import NANO
from tests.proofs.adversary.judge import judge
from tests.support.checkout import DATA
from tests.support.risk_books import Book, Floats, make_context, scenario_returns

Gate = Callable[[Context, Account, Floats, Limits, int], Verdict]

CASH = 100_000.0


def real_gate(ctx: Context, account: Account, asked: Floats, limits: Limits, switch: int) -> Verdict:
    """The gate as it stands, looked up at each call."""
    return quantd.risk.pretrade.gate.gate(ctx, account, asked, limits, switch)


@dataclass(slots=True)
class Tally:
    """What has been put to the gate, and what came of it."""

    intents: int = 0
    verdicts: int = 0
    added: int = 0
    states: int = 0
    use: float = 0.0
    reasons: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    proposed: int = 0
    """Orders that an outside agent sent."""
    rests: int = 0
    """Those that went out at a price of their own."""

    def __iadd__(self, other: "Tally") -> "Tally":
        self.intents += other.intents
        self.verdicts += other.verdicts
        self.added += other.added
        self.states += other.states
        self.use = max(self.use, other.use)
        self.reasons += other.reasons
        self.wrong += other.wrong
        self.proposed += other.proposed
        self.rests += other.rests
        return self


@lru_cache(maxsize=1)
def market_returns() -> Floats:
    """float64[T, 5], daily returns of the bundled shares and funds on the days that all of them have."""
    import polars as pl

    bars = pl.read_parquet(DATA / "us_daily.parquet", columns=["ts", "symbol", "close"])
    table = bars.pivot(on="symbol", index="ts", values="close").sort("ts").drop("ts").drop_nulls()
    close = table.to_numpy()
    returns = close[1:] / close[:-1] - 1.0
    # a split is no return
    return returns[(np.abs(returns) < 0.4).all(axis=1)]


def drawn_returns(rng: np.random.Generator, n: int, rows: int) -> Floats:
    """float64[rows, n]: of the recorded market or of fat tails with one common factor."""
    if rng.random() < 0.5:
        return scenario_returns(rng, n, rows)
    recorded = market_returns()
    first = int(rng.integers(len(recorded) - rows))
    some = recorded[first : first + rows, rng.integers(recorded.shape[1], size=n)]
    return some * rng.choice([-1.0, 1.0, 1.0, 1.0], size=n) + rng.normal(0.0, 0.004, (rows, n))


class Arena:
    """A market of `n` symbols, one account and its limits. `put` asks the gate; the rest is what then happens."""

    def __init__(
        self, rng: np.random.Generator, limits: Limits, n: int, *, rows: int = 80, gate: Gate = real_gate,
        equity: float = CASH, invested: float = 0.3,
    ) -> None:  # fmt: skip
        self.rng, self.limits, self.n, self.gate = rng, limits, n, gate
        self.tally = Tally()
        self.px = np.round(np.exp(rng.uniform(np.log(2.0), np.log(3_000.0), n)), 2)
        self.returns = drawn_returns(rng, n, rows)
        self.names = [f"S{k}" for k in range(n)]
        self.sectors = [str(s) for s in rng.choice(["", "a", "b", "c"], size=n, p=[0.03, 0.4, 0.3, 0.27])]
        self.assets = [str(s) for s in rng.choice(["", "x", "y"], size=n, p=[0.6, 0.2, 0.2])]
        self.volume = np.trunc(equity / self.px * rng.uniform(0.05, 5.0, n)) if rng.random() < 0.4 else np.full(n, 1e9)
        held = np.trunc(rng.normal(0.0, invested / n**0.5, n) * equity / self.px * (rng.random(n) < 0.6))
        self.held = held if limits.allow_short else np.abs(held)
        self.cash = equity - float(self.held @ self.px)
        self.open: list[tuple[int, float, float]] = []
        self.traded = 0.0
        self.still = True
        """Whether no mark has moved since the oldest open order was sent."""
        self.changes: dict[str, Any] = {}
        """Inputs of the next context that are not as they should be."""
        self.broken: dict[str, Any] = {}
        """The same of the next account."""
        self._ctx: Context | None = None
        # drawn aside, so that all else of a match is what it is without
        aside = rng.spawn(1)[0]
        self.power = float(equity * np.exp(aside.uniform(-3.0, 1.0))) if aside.random() < 0.25 else None
        """What the venue lets be bought; None where it does not say."""

    @property
    def allowed(self) -> Limits:
        """The limits, with what may be bought as a share of the equity now."""
        if self.power is None:
            return self.limits
        share = self.power / self.equity if self.equity > 0.0 else 0.0
        return override(self.limits, buying_power=AccountCap(share, self.power))

    @property
    def equity(self) -> float:
        return self.cash + float(self.held @ self.px)

    def scale(self) -> Floats:
        """float64[N], lots that the whole equity buys of each."""
        return max(self.equity, 1.0) / self.px

    def context(self) -> Context:
        """Kept while nothing moves, as the daemon keeps one a sample."""
        if self.changes:
            return self._made()
        if self._ctx is None:
            self._ctx = self._made()
        return self._ctx

    def _made(self) -> Context:
        kept = {key: self.changes[key] for key in ("age_ns", "prices_nano") if key in self.changes}
        return make_context(
            self.changes.get("px", self.px), self.changes.get("rows", self.returns), self.names, self.sectors,
            self.assets, (("odd", tuple(self.names[1::2])),), volume_lots=self.changes.get("volume", self.volume),
            **kept,
        )  # fmt: skip

    def account(self) -> Account:
        """With everything that may still fill, as the engine counts it."""
        up, down = np.zeros(self.n), np.zeros(self.n)
        up_cash = loss = 0.0
        fee = self.limits.fee_bp * 1e-4
        for k, lots, worst in self.open:
            (up if lots > 0 else down)[k] += abs(lots)
            mark = float(self.px[k])
            up_cash += max(lots, 0.0) * worst * (1.0 + fee)
            loss += (
                lots * max(worst * (1 + fee) - mark, 0.0) if lots > 0 else -lots * max(mark - worst * (1 - fee), 0.0)
            )
        given: dict[str, Any] = {
            "lots": self.held.copy(),
            "cash": self.cash,
            "equity": self.equity,
            "up": up if up.any() else None,
            "down": down if down.any() else None,
            "up_cash": up_cash,
            "open_orders": len(self.open),
            # without it the gate takes the collars, which is exact while no mark has moved
            "open_gain": sum(abs(k) * max((self.px[s] - w) * np.sign(k), 0.0) for s, k, w in self.open),
            "open_loss": None if self.still and self.tally.verdicts % 2 else loss,
            "traded": self.traded,
        }
        return Account(**{**given, **self.broken})

    def book(self, asked: Floats) -> Book:
        """The case as it is put to the gate."""
        px, rows = self.changes.get("px", self.px), self.changes.get("rows", self.returns)
        return Book(
            self.context(), self.account(), asked, self.allowed, list(self.open), rows, np.array(px), list(self.names)
        )

    def put(self, asked: Floats, switch: int = RUN, *, keep: bool = True) -> Verdict:
        """Ask the gate, judge its verdict; with `keep` what passed is sent."""
        book = self.book(asked)
        verdict = self.gate(book.ctx, book.account, asked, book.limits, switch)
        judgement = judge(book, verdict, self.rng, switch=switch)
        t = self.tally
        t.intents += int(np.count_nonzero(asked))
        t.verdicts += 1
        t.states += judgement.states
        t.added += judgement.states > 0
        t.use = max(t.use, judgement.use)
        t.reasons.update(verdict.reason[asked != 0.0].tolist())
        t.wrong += judgement.wrong
        if keep:
            self.send(np.nan_to_num(verdict.lots))
        return verdict

    def send(self, lots: Floats) -> None:
        """Orders of `lots` rest from now on, at their worst prices."""
        worst = worst_nano(self.context(), lots, self.limits, self.held)
        self.open += [(k, float(lots[k]), worst[k] / NANO) for k in np.flatnonzero(lots).tolist()]

    # what happens between two rounds

    def fill(self, chance: float = 0.6, *, worst: float = 0.5, end: float = 0.1) -> None:
        """Some orders fill, whole or in part, at their worst price or inside it; some end."""
        fee, kept = self.limits.fee_bp * 1e-4, []
        for k, lots, price in self.open:
            open_lots, drawn = lots, self.rng.random(4)
            if drawn[0] < chance:
                filled = lots if drawn[1] < 0.6 else float(np.trunc(lots * drawn[1]))
                inside = 1.0 if drawn[2] < worst else drawn[2]
                paid = float(self.px[k]) + inside * (price - float(self.px[k]))
                # one that crossed the mark meanwhile fills at its own limit
                self.cash -= filled * paid + abs(filled) * paid * fee
                self.held[k] += filled
                self.traded += abs(filled) * float(self.px[k])
                open_lots = lots - filled
            if open_lots and not drawn[3] < end:
                kept.append((k, open_lots, price))
        self.open = kept[-40:]
        self.still = self.still or not kept

    def move(self, size: float = 1.0) -> None:
        """A session passes: prices move, and the newest return with them."""
        step = self.returns[int(self.rng.integers(len(self.returns)))] * size
        self.px = np.maximum(np.round(self.px * (1.0 + np.clip(step, -0.6, 2.0)), 2), 0.01)
        self.returns = np.vstack((self.returns[1:], step))
        self.traded = 0.0
        self._moved()

    def split(self, k: int, numerator: int, denominator: int) -> None:
        """Lots, price and open orders rescaled; a fraction of a lot becomes cash."""
        ratio = numerator / denominator
        self.px = self.px.copy()
        self.px[k] = max(round(float(self.px[k]) / ratio, 2), 0.01)
        exact = float(self.held[k]) * ratio
        self.held[k] = float(np.trunc(exact))
        self.cash += (exact - float(self.held[k])) * float(self.px[k])
        self.open = [
            (s, float(np.trunc(lots * ratio)) if s == k else lots, worst / ratio if s == k else worst)
            for s, lots, worst in self.open
        ]
        self.open = [order for order in self.open if order[1]]
        self._moved()

    def _moved(self) -> None:
        self._ctx, self.still = None, not self.open
