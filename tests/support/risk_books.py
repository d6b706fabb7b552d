"""Random books for the gate, and an evaluator that judges its verdicts state by state.

The evaluator shares no formula with the gate: it fills orders one state at a time at their worst prices and
measures what is then held, with numpy's own quantile, covariance and corrcoef.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations, product
from typing import Any

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.covariance import LedoitWolf

from quantd.risk.limits.catalogue import Correlation, Limits, Liquidity, Rate, Stress, Tail, value_of
from quantd.risk.measures.stress import Shock
from quantd.risk.pretrade.baskets import worst_nano
from quantd.risk.pretrade.gate import Account, Context, Verdict
from quantd.trading.instruments import NANO, Instrument, Universe

Floats = NDArray[np.float64]
CLOSE = 1e-9


@dataclass
class Book:
    """One case: what the gate is given, and the open orders one by one (symbol, signed lots, worst price)."""

    ctx: Context
    account: Account
    asked: Floats
    limits: Limits
    open: list[tuple[int, float, float]]
    returns: Floats
    px: Floats
    names: list[str] = field(default_factory=list)


def scenario_returns(rng: np.random.Generator, n: int, rows: int = 80) -> Floats:
    """float64[rows, n]: fat tails and one common factor with signs, so that pairs and hedges exist."""
    common = rng.standard_t(4, size=(rows, 1)) * 0.01
    residuals = rng.standard_t(4, size=(rows, n)) * 0.008
    return np.clip(common * rng.choice([-1.0, 0.3, 1.0, 1.5], size=n) + residuals, -0.5, 0.5)


def make_context(
    px: Floats,
    returns: Floats,
    names: list[str],
    sectors: list[str] | None = None,
    assets: list[str] | None = None,
    groups: tuple[tuple[str, tuple[str, ...]], ...] = (),
    **changes: Any,
) -> Context:
    """A context of fresh prices on a one-cent grid."""
    n = len(px)
    instruments = tuple(
        Instrument(s, sector=sectors[k] if sectors else "", asset=assets[k] if assets else "")
        for k, s in enumerate(names)
    )
    fields: dict[str, Any] = {
        "px": px,
        "prices_nano": np.rint(np.where(np.isfinite(px), px, 0.0) * 100).astype(np.int64) * (NANO // 100),
        "age_ns": np.zeros(n, dtype=np.int64),
        "volume_lots": np.full(n, 1e9),
        "returns": lambda k: returns[-k:],
        "universe": Universe(instruments, groups=groups),
    }
    return Context(**{**fields, **changes})


def random_limits(rng: np.random.Generator) -> Limits:
    """A handful of limits, tight ones too."""

    def some(low: float, high: float, chance: float = 0.5) -> float | None:
        return float(rng.uniform(low, high)) if rng.random() < chance else None

    def tail(low: float, high: float) -> Tail | None:
        limit = some(low, high)
        confidence = float(rng.choice([0.9, 0.95, 0.99]))
        return (
            None
            if limit is None
            else Tail(
                limit=limit,
                confidence=confidence,
                horizon=int(rng.choice([1, 4])),
                lookback=80,
                method=rng.choice(["historical", "historical", "filtered", "parametric", "ewma"]),
            )
        )

    def stress() -> Stress | None:
        limit = some(0.02, 0.5, 0.3)
        moves = [{"*": float(rng.uniform(-0.5, 0.2)), "a": float(rng.uniform(-0.6, 0.3))} for _ in range(3)]
        shocks = tuple(Shock(name=str(k), moves=sector_moves) for k, sector_moves in enumerate(moves))
        return None if limit is None else Stress(limit, shocks)

    pair, aside = None, rng.spawn(1)[0]
    if rng.random() < 0.5:
        pair = Correlation(
            threshold=float(rng.uniform(0.2, 0.8)),
            joint_weight=float(rng.uniform(0.1, 0.8)),
            min_weight=float(rng.choice([0.0, 0.05, 0.2])),
            lookback=80,
            strict=bool(rng.random() < 0.3),
        )
    return Limits(
        collar=float(rng.choice([0.01, 0.05, 0.2])),
        reduce_collar=float(rng.choice([0.05, 0.15])),
        fee_bp=float(rng.choice([0.0, 10.0])),
        in_flight=float(rng.choice([0.0, 0.0, 0.0, 0.1, 1.0])),
        max_cash_debit=float(rng.choice([0.0, 0.0, 0.0, 0.1, 1.0])),
        cash_reserve=float(rng.choice([0.0, 0.05])),
        allow_short=bool(rng.random() < 0.8),
        volatility_lookback=80,
        max_position_weight=some(0.05, 1.0),
        max_gross_exposure=some(0.3, 2.0),
        max_net_exposure=some(0.1, 1.5),
        max_sector_weight=some(0.1, 1.0),
        max_leverage=some(0.5, 2.0, 0.3),
        group_caps=(("odd", float(rng.uniform(0.1, 1.0))),) if rng.random() < 0.3 else (),
        max_concentration=some(0.1, 1.0, 0.3),
        max_herfindahl=some(0.05, 1.0, 0.3),
        liquidity=Liquidity(float(rng.uniform(0.5, 5.0)), float(rng.choice([0.1, 1.0])))
        if rng.random() < 0.2
        else None,
        order_rate=Rate(int(rng.integers(1, 8))) if rng.random() < 0.2 else None,
        max_open_orders=int(rng.integers(1, 12)) if rng.random() < 0.2 else None,
        max_share_of_volume=some(0.05, 1.0, 0.2),
        max_turnover=some(0.05, 2.0, 0.3),
        max_order_notional=some(1_000.0, 80_000.0, 0.3),
        max_volatility=some(0.02, 0.5),
        var=tail(0.002, 0.05),
        cvar=tail(0.004, 0.07),
        stress=stress(),
        correlation=pair,
        # drawn aside, so that all else is what it is without
        max_orders_per_day=int(aside.integers(1, 8)) if aside.random() < 0.2 else None,
        extra=(("average_correlation", float(aside.uniform(0.05, 0.8))),) if aside.random() < 0.3 else UNSET,
    )


def random_book(rng: np.random.Generator, most_open: int = 8, **changes: Any) -> Book:
    """A book of 1 to 6 symbols: long and short, open orders on both sides, intents that cross zero."""
    n = int(rng.integers(1, 7))
    equity = 100_000.0
    px = np.round(rng.uniform(5.0, 5_000.0, size=n), 2)
    returns = scenario_returns(rng, n)
    sectors = [str(s) for s in rng.choice(["", "a", "b"], size=n, p=[0.05, 0.5, 0.45])]
    assets = [str(s) for s in rng.choice(["", "x"], size=n, p=[0.6, 0.4])]
    limits = changes.get("limits") or random_limits(rng)
    scale = equity / px

    def lots(size: float, chance: float) -> Floats:
        return np.trunc(rng.normal(0.0, size, size=n) * scale * (rng.random(n) < chance))

    held = lots(0.3, 0.6)
    if not limits.allow_short:
        held = np.abs(held)
    orders = []
    for _ in range(int(rng.integers(0, most_open + 1)) if rng.random() < 0.6 else 0):
        k = int(rng.integers(n))
        size = float(np.trunc(rng.normal(0.0, 0.1) * scale[k]))
        if size and (limits.allow_short or size > 0):
            collar = limits.collar if size > 0 else limits.reduce_collar
            orders.append((k, size, float(px[k] * (1 + np.sign(size) * collar * rng.random()))))
    up, down = np.zeros(n), np.zeros(n)
    up_cash = loss = 0.0
    fee = limits.fee_bp * 1e-4
    for k, size, worst in orders:
        (up if size > 0 else down)[k] += abs(size)
        up_cash += max(size, 0.0) * worst * (1 + fee)
        loss += abs(size) * (abs(worst - px[k]) + worst * fee)
    account = Account(
        lots=held,
        cash=equity - float(held @ px),
        equity=equity,
        up=up if up.any() else None,
        down=down if down.any() else None,
        up_cash=up_cash,
        open_orders=len(orders),
        open_loss=loss if rng.random() < 0.5 else None,
        traded=float(rng.uniform(0.0, 0.3) * equity) if rng.random() < 0.2 else 0.0,
        recent_orders=int(rng.integers(0, 4)) if rng.random() < 0.2 else 0,
        blocked=rng.random(n) < 0.3 if rng.random() < 0.1 else None,
    )
    names = [f"S{k}" for k in range(n)]
    volume = np.trunc(scale * rng.uniform(0.05, 3.0, size=n)) if rng.random() < 0.3 else np.full(n, 1e9)
    odd = (("odd", tuple(names[1::2])),)
    ctx = make_context(px, returns, names, sectors, assets, odd, volume_lots=volume)
    intents = lots(0.5, 0.8) * float(rng.choice([0.1, 1.0, 5.0]))
    return Book(ctx, account, np.trunc(intents), limits, orders, returns, px, names)


@dataclass
class Orders:
    """All orders of a state space in columns: symbol, signed lots, worst price, and which are new and adding."""

    sym: NDArray[np.int64]
    lots: Floats
    worst: Floats
    new: NDArray[np.bool_]
    adding: NDArray[np.bool_]


def orders_of(book: Book, lots: Floats) -> Orders:
    """Open orders, then those of a verdict at the prices it would be sent with."""
    worst = worst_nano(book.ctx, lots, book.limits, book.account.lots)
    rows = np.flatnonzero(lots).tolist()
    return Orders(
        np.array([k for k, _, _ in book.open] + rows, dtype=np.int64),
        np.array([s for _, s, _ in book.open] + [lots[k] for k in rows]),
        np.array([w for _, _, w in book.open] + [worst[k] / NANO for k in rows]),
        np.array([False] * len(book.open) + [True] * len(rows), dtype=np.bool_),
        np.array([False] * len(book.open) + [book.account.lots[k] * lots[k] >= 0 for k in rows], dtype=np.bool_),
    )


def fill_states(rng: np.random.Generator, orders: Orders, partial: int) -> Floats:
    """float64[K, orders] filled lots: every vertex up to 8 orders (else 256 random ones), and random partial fills."""
    m = len(orders.lots)
    if m <= 8:
        corners = np.array(list(product((0.0, 1.0), repeat=m))).reshape(-1, m)
    else:
        corners = np.vstack(((rng.random((254, m)) < 0.5).astype(float), np.zeros(m), np.ones(m)))
    inside = np.trunc(rng.random((partial, m)) * np.abs(orders.lots)) * np.sign(orders.lots)
    return np.vstack((corners * orders.lots, inside))


class States:
    """What is held in each fill state: lots, cash and equity, filled at worst prices or at reference prices."""

    def __init__(self, book: Book, orders: Orders, fills: Floats, at_worst: bool) -> None:
        fee = book.limits.fee_bp * 1e-4
        self.room = 1.0 + book.limits.in_flight if at_worst else 1.0
        mark = book.px[orders.sym]
        # an order beyond whose limit the mark has moved fills at its limit, not at the mark
        inside = np.where(orders.lots > 0.0, np.minimum(mark, orders.worst), np.maximum(mark, orders.worst))
        price = orders.worst if at_worst else inside
        held = np.tile(book.account.lots, (len(fills), 1))
        for j, k in enumerate(orders.sym):
            held[:, k] += fills[:, j]
        self.exposure = held * book.px
        self.cash = book.account.cash - fills @ price - np.abs(fills) @ (price * fee)
        self.equity = self.cash + self.exposure.sum(axis=1)
        self.traded = book.account.traded + np.abs(fills) @ book.px[orders.sym]
        self.matters = book.account.lots != 0.0
        """What is held or has an order: its returns are needed."""
        self.matters[orders.sym] = True


def _historical(e: Floats, returns: Floats, confidence: float, beyond: bool) -> Floats:
    losses = -(e @ returns.T)
    var = np.quantile(losses, confidence, axis=1, method="higher")
    if not beyond:
        return var
    worse = losses >= var[:, None]
    return np.where(worse, losses, 0.0).sum(axis=1) / worse.sum(axis=1)


def _filtered(e: Floats, returns: Floats, confidence: float, beyond: bool) -> Floats:
    """By the recursion of its definition, a row at a time."""
    variance, then = (returns**2).mean(axis=0), []
    for row in returns:
        then.append(variance)
        variance = 0.94 * variance + 0.06 * row**2
    return _historical(e, returns * np.sqrt(variance / np.array(then)), confidence, beyond)


def _normal(e: Floats, cov: Floats, confidence: float, beyond: bool) -> Floats:
    deviations = norm.pdf(norm.ppf(confidence)) / (1 - confidence) if beyond else norm.ppf(confidence)
    return deviations * np.sqrt(np.einsum("ki,ij,kj->k", e, cov, e))


def _parametric(e: Floats, returns: Floats, confidence: float, beyond: bool) -> Floats:
    return _normal(e, _shrunk(returns.tobytes(), returns.shape[1]), confidence, beyond)


@lru_cache(maxsize=8)
def _shrunk(returns: bytes, columns: int) -> Floats:
    """One book is looked at in many states."""
    return LedoitWolf().fit(np.frombuffer(returns).reshape(-1, columns)).covariance_


def _ewma(e: Floats, returns: Floats, confidence: float, beyond: bool) -> Floats:
    weights = 0.94 ** np.arange(len(returns))[::-1]
    return _normal(e, (returns.T * weights) @ returns / weights.sum(), confidence, beyond)


TAIL = {"historical": _historical, "filtered": _filtered, "parametric": _parametric, "ewma": _ewma}
"""Method -> (float64[K, N] exposures, returns, confidence, whether beyond the quantile) -> float64[K] losses."""


def numerators(book: Book, s: States) -> dict[str, tuple[Floats, float]]:
    """Limit -> (float64[K] numerator in currency, bound as a fraction of equity), each by its definition."""
    limits, e = book.limits, s.exposure
    measures: dict[str, tuple[Floats, float]] = {}
    if limits.max_gross_exposure is not None:
        measures["gross"] = np.abs(e).sum(axis=1), limits.max_gross_exposure
    if limits.max_net_exposure is not None:
        measures["net long"] = e.sum(axis=1), limits.max_net_exposure
        measures["net short"] = -e.sum(axis=1), limits.max_net_exposure
    if limits.max_position_weight is not None:
        for k in range(e.shape[1]):
            measures[f"weight {k}"] = np.abs(e[:, k]), limits.max_position_weight
    if limits.max_sector_weight is not None:
        sectors = np.array(book.ctx.universe.sectors)
        for name in set(book.ctx.universe.sectors) - {""}:
            measures[f"sector {name}"] = np.abs(e[:, sectors == name]).sum(axis=1), limits.max_sector_weight
    if limits.max_leverage is not None:
        borrowed = np.maximum(-e, 0.0).sum(axis=1)
        measures["leverage long"] = np.maximum(e, 0.0).sum(axis=1), limits.max_leverage
        # equity + shares borrowed within leverage x equity
        measures["leverage short"] = borrowed, max(limits.max_leverage * s.room - 1.0, 0.0) / s.room
    for name, cap in limits.group_caps:
        inside = np.array([s in dict(book.ctx.universe.groups)[name] for s in book.names], dtype=bool)
        measures[f"group {name}"] = np.abs(e[:, inside]).sum(axis=1), cap
    if limits.max_concentration is not None:
        assets = np.array(book.ctx.universe.assets)
        for name in set(assets.tolist()):
            measures[f"asset {name}"] = np.abs(e[:, assets == name]).sum(axis=1), limits.max_concentration
    if limits.max_herfindahl is not None:
        # the limit, not its root, may be exceeded on the way
        measures["herfindahl"] = np.sqrt((e**2).sum(axis=1)), (limits.max_herfindahl * s.room) ** 0.5 / s.room
    if limits.max_turnover is not None:
        measures["turnover"] = s.traded, limits.max_turnover
    rows = scenario_rows(book, s.matters)
    for name, tail in (("var", limits.var), ("cvar", limits.cvar)):
        if tail is not None:
            value = TAIL[tail.method](e, rows[tail.lookback], tail.confidence, name == "cvar")
            measures[name] = value * tail.horizon**0.5, tail.limit
    if limits.stress is not None:
        sectors = book.ctx.universe.sectors
        moves = np.array([[s.moves.get(x, s.moves["*"]) for x in sectors] for s in limits.stress.shocks])
        measures["stress"] = (-(e @ moves.T)).max(axis=1), limits.stress.limit
    if limits.max_volatility is not None:
        deviation = (e @ rows[limits.volatility_lookback].T).std(axis=1, ddof=1)
        measures["volatility"] = np.sqrt(252.0) * deviation, limits.max_volatility
    average = value_of(limits, "average_correlation")
    if average is not None:
        rho = correlations(rows[limits.volatility_lookback])
        pairs = list(combinations(range(e.shape[1]), 2))
        # a sum over pairs of positions that may not exceed 0, in the currency of the other tolerances
        scale = abs(book.account.equity)
        side = np.sign(e)
        sums = np.zeros(len(e))
        for i, j in pairs:
            pair_sign = side[:, i] * side[:, j]
            sums += pair_sign * rho[i, j] - np.abs(pair_sign) * average * s.room
        measures["sum of correlations above average_correlation"] = scale * sums, 0.0
    return measures


def correlations(rows: Floats) -> Floats:
    """float64[N, N] Pearson correlations; 0 for an instrument that never moved."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(np.atleast_2d(np.corrcoef(rows.T)))


def scenario_rows(book: Book, matters: NDArray[np.bool_]) -> dict[int, Floats]:
    """Lookback -> float64[S, N], the rows in which each symbol of `matters` has a return; other gaps are 0."""
    limits, scenarios = book.limits, {}
    specs = [s.lookback for s in (limits.var, limits.cvar, limits.correlation) if s is not None]
    if limits.max_volatility is not None or value_of(limits, "average_correlation") is not None:
        specs.append(limits.volatility_lookback)
    for lookback in specs:
        rows = book.returns[-lookback:]
        if not np.isfinite(rows).all():
            rows = np.nan_to_num(rows[np.isfinite(rows[:, matters]).all(axis=1)])
        scenarios[lookback] = rows
    return scenarios


def breaches(book: Book, verdict: Verdict, rng: np.random.Generator, partial: int = 60) -> list[str]:
    """Every way in which a verdict breaks the guarantee; empty when it keeps it."""
    orders = orders_of(book, verdict.lots)
    if not orders.adding.any():
        return []
    return state_breaches(book, orders, fill_states(rng, orders, partial))[0]


def state_breaches(book: Book, orders: Orders, fills: Floats) -> tuple[list[str], float]:
    """The limits that some fill state on the way or the state at the end breaks, and the largest share of a limit that
    a state on the way uses."""
    limits, money = book.limits, CLOSE * abs(book.account.equity)
    s = States(book, orders, fills, at_worst=True)
    base = States(book, orders, np.where(orders.adding, 0.0, fills), at_worst=True)
    wrong, use = _measure_breaches(book, orders, fills, at_worst=True)
    floor = limits.cash_reserve * book.account.equity - limits.max_cash_debit * s.equity
    # states in which no sale has filled yet are among them
    if ((s.cash < floor - money) & (np.where(orders.adding, fills, 0.0) > 0).any(axis=1)).any():
        wrong.append("cash on the way")
    if (s.equity <= 0).any():
        wrong.append("equity")
    if not limits.allow_short and ((s.exposure < -money) & (s.exposure < base.exposure - money)).any():
        wrong.append("short")
    wrong += _counted_breaches(book, orders, s, base)
    full = orders.lots[None, :]
    end = States(book, orders, full, at_worst=False)
    wrong += [f"{breach} at the end" for breach in _measure_breaches(book, orders, full, at_worst=False)[0]]
    bought = (orders.lots[orders.adding] > 0).any()
    if bought and end.cash[0] < limits.cash_reserve * book.account.equity - money:
        wrong.append("cash at the end")
    return wrong, use


def _measure_breaches(book: Book, orders: Orders, fills: Floats, at_worst: bool) -> tuple[list[str], float]:
    """Limits as shares of equity. A state beyond one breaks it unless the same state without the new orders, or what is
    held, is beyond it too and measures no less in currency. Where what is held is beyond it, the same state without the
    new orders need not be: an open order may add to the measure or earn equity when it fills."""
    money = CLOSE * abs(book.account.equity)
    s, base, held = (
        States(book, orders, lots, at_worst)
        for lots in (fills, np.where(orders.adding, 0.0, fills), np.zeros((1, len(orders.lots))))
    )
    baselines = [(numerators(book, state), state.equity) for state in (base, held)]
    wrong, use = [], 0.0
    for name, (value, bound) in numerators(book, s).items():
        cap = bound * s.room * s.equity
        allowed = np.full(len(value), -np.inf)
        breached = False
        for measures, equity in reversed(baselines):
            beyond = measures[name][0] > bound * s.room * equity - money
            breached = breached | beyond
            allowed = np.maximum(allowed, np.where(breached, measures[name][0], -np.inf))
        bad = (value > cap + money) & (value > allowed + money)
        if bad.any():
            wrong.append(f"{name}: {(value / s.equity)[bad].max():.6f} over {bound}")
        free = allowed == -np.inf
        if bound > 0.0 and free.any():
            use = max(use, float((value / np.maximum(cap, money))[free].max()))
    return wrong + _pair_breaches(book, s, (base, held), money), use


def _counted_breaches(book: Book, orders: Orders, s: States, base: States) -> list[str]:
    """Limits in lots of what adds risk, and in orders: with one that adds, all of a basket count."""
    limits, volume, wrong = book.limits, book.ctx.volume_lots, []
    sent, account = int(orders.new.sum()), book.account
    rate = None if limits.order_rate is None else limits.order_rate.orders
    for name, used, cap in (
        ("open orders", account.open_orders, limits.max_open_orders),
        ("order rate", account.recent_orders, rate),
        ("orders per day", account.session_orders, limits.max_orders_per_day),
    ):
        if cap is not None and orders.adding.any() and used + sent > cap:
            wrong.append(name)
    new = orders.sym[orders.adding]
    sizes = np.abs(orders.lots[orders.adding])
    if limits.max_share_of_volume is not None and (sizes > limits.max_share_of_volume * volume[new] + CLOSE).any():
        wrong.append("share of volume")
    if limits.liquidity is not None:
        cap = limits.liquidity.days * limits.liquidity.participation * volume * book.px
        grown = np.abs(s.exposure) > np.abs(base.exposure).max(axis=0) + CLOSE
        if ((np.abs(s.exposure) > cap * (1 + CLOSE) + CLOSE) & grown)[:, new].any():
            wrong.append("liquidity")
    if book.account.blocked is not None and book.account.blocked[new].any():
        wrong.append("blocked")
    return wrong


def _pair_breaches(book: Book, s: States, baselines: tuple[States, ...], money: float) -> list[str]:
    """Pairs that move together, on each combination of sides that lose together."""
    spec, n = book.limits.correlation, len(book.px)
    if spec is None or n < 2:
        return []
    rows = scenario_rows(book, s.matters)[spec.lookback]
    with np.errstate(divide="ignore", invalid="ignore"):
        rho, wrong = np.corrcoef(rows.T), []
    least = spec.min_weight * s.room
    joint = 0.0 if spec.strict else spec.joint_weight * s.room

    def beyond(a: Floats, b: Floats, equity: Floats, near: float) -> NDArray[np.bool_]:
        return (np.minimum(a, b) > least * equity + near) & (a + b > joint * equity + near)

    for i in range(n):
        for j in range(i):
            for si, sj in product((1, -1), repeat=2):
                if not rho[i, j] * si * sj > spec.threshold:
                    continue
                a, b = si * s.exposure[:, i], sj * s.exposure[:, j]
                bad = beyond(a, b, s.equity, money)
                for other in baselines:
                    x, y = si * other.exposure[:, i], sj * other.exposure[:, j]
                    bad &= ~(beyond(x, y, other.equity, -money) & (a <= x + money) & (b <= y + money))
                if bad.any():
                    wrong.append(f"pair {i} {j}")
    return wrong
