"""Every bound of the example book of docs/risk/limits.md follows from the sentences of that page, and the gate passes
exactly that much.

The expectations are plain Python, written from the page alone: `Book` and `FORMULAS` have no code of the limits.
"""

import re
import tomllib
from collections.abc import Callable, Iterator
from itertools import combinations, product
from math import ceil, exp, pi, sqrt
from statistics import NormalDist, correlation, mean
from textwrap import dedent
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import pytest

from quantd.daemon.engine.state.live_caps import Allowance
from quantd.risk.limits.catalogue import (
    DAY_NS,
    EXTRA,
    FIELDS,
    LIMITS,
    AccountCap,
    Correlation,
    Limits,
    Liquidity,
    Protective,
    Rate,
    Stress,
    Tail,
    override,
)
from quantd.risk.limits.values import held_values
from quantd.risk.measures.stress import Shock
from quantd.risk.monitor.realised import Realised
from quantd.risk.pretrade.baskets import worst_nano
from quantd.risk.pretrade.gate import Account, Context
from quantd.risk.pretrade.headroom import most_under, sent
from quantd.risk.protective import guards, levels
from quantd.risk.switch import losses as losses_of
from quantd.risk.switch import observe
from quantd.risk.switch_state import Switch
from quantd.trading.instruments import MICRO, NANO
from tests.support.checkout import ROOT
from tests.support.risk_books import make_context

PAGE: Final = (ROOT / "docs/risk/limits.md").read_text(encoding="utf-8")
EXAMPLE: Final = PAGE.split("\n## An example book\n", 1)[1].split("\n## ", 1)[0]

Table = dict[str, Any]


def table_of(heading: str) -> list[list[str]]:
    """The rows of the table of the example whose first column has this heading."""
    lines = EXAMPLE.split(f"\n| {heading} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines]


def blocks() -> Iterator[Table]:
    """The indented blocks of the example, as TOML."""
    for block in re.findall(r"\n\n((?:    .*\n|\n(?=    ))+)", EXAMPLE):
        yield tomllib.loads(dedent(block))


SET, FLIGHT, PAST = blocks()
HEADS: Final = re.findall(r"(buy|sell) (\w+) (?=\|)", EXAMPLE.split("\n| one limit alone |")[1].split("\n")[0])
ORDERS: Final = [(name, 1 if side == "buy" else -1) for side, name in HEADS[: len(HEADS) // 2]]


class Symbol(NamedTuple):
    """A row of the page's first table, with the letters of the page."""

    name: str
    sector: str
    asset: str
    p: float
    q: float
    u: float
    d: float
    at: float
    V: float


def symbols() -> list[Symbol]:
    listed = []
    for name, sector, asset, price, position, order, volume in table_of("symbol"):
        side, lots, at = (re.match(r"(buy|sell) (\d+) at ([\d.]+)", order) or re.match("()()()", "")).groups()
        u, d = (float(lots) if side == want else 0.0 for want in ("buy", "sell"))
        listed.append(Symbol(name, sector, asset, float(price), float(position), u, d, float(at or 0), float(volume)))
    return listed


BOOK: Final = symbols()
NAMES: Final = [symbol.name for symbol in BOOK]


# ---- by hand, from the sentences of the page ------------------------------------------------------------------------


class Now(NamedTuple):
    """What the formulas of the page are about: one order of `x` lots in symbol `at`, in one of the two states."""

    low: list[float]
    high: list[float]
    long: list[float]
    short: list[float]
    E: float
    E0: float
    wider: float
    """1 + in_flight, or 1 after all fills."""
    k: float
    x: float
    at: int
    side: int
    after: bool
    given: Table

    @property
    def gross(self) -> list[float]:
        return [a + b for a, b in zip(self.long, self.short, strict=True)]

    @property
    def value(self) -> float:
        return self.x * BOOK[self.at].p


def states(given: Table, x: float, name: str, side: int) -> list[Now]:
    """In flight; and after all fills, where orders in flight may exceed limits or owe cash."""
    at, fee = NAMES.index(name), given["commission_bp"] / 10_000
    k = (1 + given["collar"]) * (1 + fee) - 1
    e0 = given["cash"] + sum(s.q * s.p for s in BOOK)
    lost = sum(s.u * max(s.at * (1 + fee) - s.p, 0) + s.d * max(s.p - s.at * (1 - fee), 0) for s in BOOK)
    value = x * BOOK[at].p
    bought = [value if j == at and side > 0 else 0.0 for j in range(len(BOOK))]
    sold = [value if j == at and side < 0 else 0.0 for j in range(len(BOOK))]
    moved = list(zip(BOOK, bought, sold, strict=True))
    wider = 1 + given.get("in_flight", 0.0)
    low = [(s.q - s.d) * s.p - v for s, _, v in moved]
    high = [(s.q + s.u) * s.p + v for s, v, _ in moved]
    long, short = [max(value, 0.0) for value in high], [max(-value, 0.0) for value in low]
    instants = [Now(low, high, long, short, e0 - lost - k * value, e0, wider, k, x, at, side, False, given)]
    if wider > 1 or given.get("max_cash_debit", 0.0) > 0:
        low = [(s.q + s.u - s.d) * s.p - v for s, _, v in moved]
        high = [(s.q + s.u - s.d) * s.p + v for s, v, _ in moved]
        long = [max((s.q + s.u - s.d) * s.p, 0.0) + v for s, v, _ in moved]
        short = [max(-(s.q + s.u - s.d) * s.p, 0.0) + v for s, _, v in moved]
        equity = e0 - fee * (sum((s.u + s.d) * s.p for s in BOOK) + value)
        instants.append(Now(low, high, long, short, equity, e0, 1.0, k, x, at, side, True, given))
    return instants


def returns_of(spec: Table) -> list[list[float]]:
    """The newest rows of the example's returns, a list for each symbol."""
    rows = spec.get("lookback", SET["volatility_lookback"])
    return [[r / 100 for r in SET["returns"][s.name][-rows:]] for s in BOOK]


def rescaled(series: list[float]) -> list[float]:
    variance = [mean(r * r for r in series)]
    for r in series:
        variance.append(0.94 * variance[-1] + 0.06 * r * r)
    return [r * sqrt(variance[-1] / v) for r, v in zip(series, variance, strict=False)]


def losses(now: Now, returns: list[list[float]]) -> list[float]:
    """The losses of all samples, the largest first."""
    rows = zip(*returns, strict=True)
    return sorted(
        (sum(max(-r * a, -r * b) for r, a, b in zip(row, now.low, now.high, strict=True)) for row in rows), reverse=True
    )


Matrix = list[list[float]]


def product_sum(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def centred(series: list[float]) -> list[float]:
    middle = mean(series)
    return [r - middle for r in series]


def sample(returns: list[list[float]], less: int = 1) -> Matrix:
    rows = [centred(series) for series in returns]
    return [[product_sum(a, b) / (len(a) - less) for b in rows] for a in rows]


def shrunk(returns: list[list[float]]) -> Matrix:
    b, n, s = sample(returns, 0), len(returns), len(returns[0])
    v = mean(b[i][i] for i in range(n))
    squares = sum(covariance * covariance for row in b for covariance in row)
    sizes = [sum(r * r for r in row) for row in zip(*map(centred, returns), strict=True)]
    noise = (sum(size * size for size in sizes) / s - squares) / (s * n)
    g = min(1, noise / (squares / n - v * v))
    return [[(1 - g) * b[i][j] + (g * v if i == j else 0) for j in range(n)] for i in range(n)]


def weighted(returns: list[list[float]]) -> Matrix:
    s = len(returns[0])
    weights = [0.94 ** (s - 1 - t) for t in range(s)]
    total = sum(weights)
    return [[sum(w * x * y for w, x, y in zip(weights, a, b, strict=True)) / total for b in returns] for a in returns]


def Q(c: Matrix, now: Now) -> float:  # noqa: N802
    """Each product at its largest; a symbol that can end on both sides counts as two."""
    parts = []
    for i, (low, high, long, short) in enumerate(zip(now.low, now.high, now.long, now.short, strict=True)):
        parts += [(i, -short, 0.0), (i, 0.0, long)] if short > 0.0 < long else [(i, low, high)]
    return sum(
        max(c[i][j] * a * b for a, b in ([(a, a) for a in e] if one is two else product(e, f)))
        for one in parts for two in parts for (i, *e), (j, *f) in [(one, two)]
    )  # fmt: skip


def tail(now: Now, spec: Table, average: bool) -> bool:
    returns, confidence, horizon = returns_of(spec), spec.get("confidence", 0.95), spec.get("horizon", 1)
    method = spec.get("method", "historical")
    bound = spec["limit"] * now.wider * now.E
    if method in ("historical", "filtered"):
        worst = losses(now, [rescaled(series) for series in returns] if method == "filtered" else returns)
        m = max(1, len(worst) - ceil(round(confidence * (len(worst) - 1), 9)))
        return sqrt(horizon) * (mean(worst[:m]) if average else worst[m - 1]) <= bound
    z = NormalDist().inv_cdf(confidence)
    factor = exp(-z * z / 2) / sqrt(2 * pi) / (1 - confidence) if average else z
    c = shrunk(returns) if method == "parametric" else weighted(returns)
    return factor * sqrt(horizon * Q(c, now)) <= bound


def pairs(now: Now, spec: Table) -> bool:
    returns = returns_of(spec)
    joint = 0.0 if spec.get("strict") else spec["joint_weight"]
    for i, j in combinations(range(len(BOOK)), 2):
        rho = correlation(returns[i], returns[j])
        for a, b in product((now.long, now.short), repeat=2):
            linked = rho > spec["threshold"] if a is b else -rho > spec["threshold"]
            small = min(a[i], b[j]) <= spec["min_weight"] * now.wider * now.E
            if linked and not (small or a[i] + b[j] <= joint * now.wider * now.E):
                return False
    return True


def average(now: Now, limit: float) -> bool:
    """An order in what is surely held on that side passes."""
    returns, order, value = returns_of({}), (now.at, now.side), [0.0] * len(BOOK)
    value[now.at] = now.value
    ends = [
        (i, now.low[i] + (value[i] if now.side < 0 else 0.0), now.high[i] - (value[i] if now.side > 0 else 0.0))
        for i in range(len(BOOK))
    ]
    sure = [(i, 1) for i, low, _ in ends if low > 0] + [(i, -1) for i, _, high in ends if high < 0]
    may = [(i, 1) for i, _, high in ends if high > 0] + [(i, -1) for i, low, _ in ends if low < 0]
    if order in sure or now.x == 0:
        return True
    before = [pair for pair in may if pair not in sure]
    other = [*before, order] if order not in before else before

    def less(one: tuple[int, int], two: tuple[int, int]) -> float:
        return one[1] * two[1] * correlation(returns[one[0]], returns[two[0]]) - limit * now.wider

    def terms(may: list[tuple[int, int]]) -> dict[tuple[int, int], tuple[float, float]]:
        """Of each symbol that may be held: `g` and `h`."""
        beside = {one: sum(max(less(one, two), 0.0) for two in may if two[0] != one[0]) for one in may}
        return {one: (sum(less(one, two) for two in sure), beside[one]) for one in may}

    pairs = sum(less(one, two) for one, two in combinations(sure, 2))
    if pairs + sum(max(g + h / 2, 0.0) for g, h in terms(before).values()) > 0:
        return sum(terms(other)[order]) <= 0
    return pairs + sum(max(g + h / 2, 0.0) for g, h in terms(other).values()) <= 0


def cash(now: Now, share: float) -> bool:
    given = now.given
    fee = given["commission_bp"] / 10_000
    cash_left = given["cash"] - sum(s.u * s.at * (1 + fee) for s in BOOK)
    reserve, debit = share * now.E0, given.get("max_cash_debit", 0.0)
    if now.after:
        proceeds = (1 - fee) * (sum(s.d * s.p for s in BOOK) + (now.value if now.side < 0 else 0.0))
        return cash_left + proceeds - (1 + fee) * (now.value if now.side > 0 else 0.0) >= reserve
    return now.side < 0 or cash_left - (1 + now.k) * now.value >= reserve - debit * now.E


def each_group(now: Now, labels: list[str], bound: float) -> bool:
    return all(
        sum(v for v, group in zip(now.gross, labels, strict=True) if group == label) <= bound * now.wider * now.E
        for label in set(labels) - {""}
    )


def grouped(now: Now, caps: list[Table]) -> bool:
    members = SET["groups"]
    return all(each_group(now, [g if n in members[g] else "" for n in NAMES], c) for g, c in map(dict.values, caps))


def stressed(now: Now, spec: Table) -> bool:
    moves = [SET["shocks"][name] for name in spec["scenarios"]]
    worst = losses(now, [[m.get(s.sector, m["*"]) for m in moves] for s in BOOK])[0]
    return worst <= spec["limit"] * now.wider * now.E


def sellable(now: Now, spec: Table) -> bool:
    symbol = BOOK[now.at]
    lots = symbol.q + symbol.u + now.x if now.side > 0 else -symbol.q + symbol.d + now.x
    return lots <= spec["days"] * spec.get("participation", 0.1) * symbol.V


OPEN: Final = sum(bool(s.u or s.d) for s in BOOK)
FORMULAS: Final[dict[str, Callable[[Now, Any], bool]]] = {
    "max_position_weight": lambda n, v: max(n.long + n.short) <= v * n.wider * n.E,
    "max_gross_exposure": lambda n, v: sum(n.gross) <= v * n.wider * n.E,
    "volatile_exposure": lambda n, v: sum(n.gross) <= v * n.wider * n.E,
    "max_net_exposure": lambda n, v: max(sum(n.high), -sum(n.low)) <= v * n.wider * n.E,
    "max_leverage": lambda n, v: sum(n.long) <= v * n.wider * n.E and sum(n.short) <= (v * n.wider - 1) * n.E,
    "max_sector_weight": lambda n, v: each_group(n, [s.sector for s in BOOK], v),
    "group_caps": grouped,
    "max_concentration": lambda n, v: (
        each_group(n, [s.asset for s in BOOK], v) and max(n.long + n.short) <= v * n.wider * n.E
    ),
    "max_herfindahl": lambda n, v: sum(e * e for e in n.long + n.short) <= v * n.wider * n.E**2 and n.E > 0,
    "max_order_notional": lambda n, v: n.value * (1 + SET["collar"] if n.side > 0 else 1) <= float(v),
    "max_share_of_volume": lambda n, v: n.x + BOOK[n.at].u + BOOK[n.at].d <= v * BOOK[n.at].V,
    "liquidity": sellable,
    "max_turnover": lambda n, v: SET["traded"] + sum((s.u + s.d) * s.p for s in BOOK) + n.value <= v * n.wider * n.E,
    "order_rate": lambda n, v: SET["sent_in_window"] + (n.x > 0) <= v["orders"],
    "max_open_orders": lambda n, v: OPEN + (n.x > 0) <= v,
    "max_orders_per_day": lambda n, v: SET["sent_in_session"] + (n.x > 0) <= v,
    "max_volatility": lambda n, v: sqrt(252 * Q(sample(returns_of({})), n)) <= v * n.wider * n.E,
    "var": lambda n, v: tail(n, v, False),
    "cvar": lambda n, v: tail(n, v, True),
    "correlation": pairs,
    "average_correlation": average,
    "stress": stressed,
    "restricted": lambda n, v: n.x == 0 or BOOK[n.at].name not in v,
    "no_borrow": lambda n, v: n.x == 0 or n.side > 0 or BOOK[n.at].name not in v,
    "allow_short": lambda n, v: v or n.x == 0 or n.side > 0,
    "max_account_notional": lambda n, v: sum(n.gross) <= float(v) * n.E / n.E0,
    "ramp": lambda n, v: sum(n.gross) <= (v["from"] + (1 - v["from"]) * (SET["session"] - 1) / v["days"]) * n.E,
    "buying_power": lambda n, v: (1 + n.k) * n.value <= float(v) * n.E / n.E0,
    "cash_reserve": cash,
}


def most_by_hand(key: str, value: Any, given: Table, name: str, side: int) -> int:
    """The largest order that complies in every state, with equity above 0."""

    def complies(x: int) -> bool:
        return all(round(now.E, 6) >= 0 and FORMULAS[key](now, value) for now in states(given, x, name, side))

    low, high = 0, 1
    while complies(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if complies(middle) else (low, middle)
    return low


# ---- by the gate ----------------------------------------------------------------------------------------------------

TYPES: Final[dict[str, Any]] = {
    "var": Tail, "cvar": Tail, "correlation": Correlation, "liquidity": Liquidity, "order_rate": Rate,
    "restricted": tuple[str, ...], "no_borrow": tuple[str, ...],
}  # fmt: skip


def limits_of(key: str, value: Any, given: Table) -> Limits:
    """The example's settings, with one limit."""
    e0 = given["cash"] + sum(s.q * s.p for s in BOOK)
    always = {name: given[name] for name in ALWAYS if name in given}
    settings = override(Limits(), fee_bp=given["commission_bp"], **always)
    if key == "ramp":
        return Allowance(ramp_days=value["days"], ramp_from=value["from"]).limits(settings, round(e0), given["session"])
    if key in ("max_account_notional", "buying_power"):
        value = AccountCap(float(value) / e0, float(value))
    elif key == "stress":
        value = Stress(
            value["limit"], tuple(Shock(scenario, moves=SET["shocks"][scenario]) for scenario in value["scenarios"])
        )
    elif key == "group_caps":
        value = tuple((group["group"], group["cap"]) for group in value)
    elif key == "max_order_notional":
        value = float(value)
    elif key in TYPES:
        value = msgspec.convert(value, TYPES[key])
    return override(settings, **{key: value})


ALWAYS: Final = (
    "collar", "reduce_collar", "min_history", "volatility_lookback", "in_flight", "max_cash_debit",
)  # fmt: skip


def market() -> Context:
    returns = np.array([SET["returns"][name] for name in NAMES]).T / 100
    return make_context(
        np.array([s.p for s in BOOK]), returns, NAMES,
        [s.sector for s in BOOK], [s.asset for s in BOOK], tuple((g, tuple(m)) for g, m in SET["groups"].items()),
        volume_lots=np.array([s.V for s in BOOK]),
    )  # fmt: skip


def account(ctx: Context, limits: Limits) -> Account:
    """The example's account, its open orders sent by quantd."""
    lots = np.array([s.q for s in BOOK])
    cash = SET["cash"]
    bare = Account(
        lots=lots, cash=cash, equity=cash + float(lots @ ctx.px), traded=SET["traded"],
        recent_orders=SET["sent_in_window"] - OPEN, session_orders=SET["sent_in_session"] - OPEN,
    )  # fmt: skip
    orders = np.array([s.u - s.d for s in BOOK])
    assert [p / NANO for p in worst_nano(ctx, orders, limits, lots)] == [s.at for s in BOOK]
    rated = override(limits, order_rate=Rate(9), max_orders_per_day=9)
    return sent(ctx, bare, orders, rated)


ROWS: Final = [(line[0].strip("`"), line[1:]) for line in table_of("one limit alone")]
CTX: Final = market()


@pytest.mark.requirement("R-272")
@pytest.mark.parametrize(("line", "cells"), ROWS, ids=[line for line, _ in ROWS])
def test_the_page_the_hand_and_the_gate_agree_on_the_largest_order(line: str, cells: list[str]) -> None:
    ((key, value),) = tomllib.loads(line).items()
    page = [int(cell.replace(",", "")) for cell in cells]
    given = [SET, SET | FLIGHT]
    by_hand = [most_by_hand(key, value, table, *order) for table in given for order in ORDERS]
    passed = []
    for table in given:
        limits = limits_of(key, value, table)
        book = account(CTX, limits)
        alone = "cash" if key == "cash_reserve" else key
        if key == "group_caps":
            alone = f"group_caps.{value[0]['group']}"
        for name, side in ORDERS:
            column = NAMES.index(name)
            passed.append(int(most_under(CTX, book, limits, alone, column, side).lots))
    assert page == by_hand == passed


def test_the_measures_of_losses_and_alerts_are_those_of_the_page() -> None:
    page = {key.strip("`"): float(value) for key, value in table_of("measure")}
    e0 = SET["cash"] + sum(s.q * s.p for s in BOOK)
    r = [(0.1 + 0.18 * ((7 * t) % 11 - 5)) / 100 for t in range(1, 61)]
    deviation = sqrt(
        sum(deviation_of_sample * deviation_of_sample for deviation_of_sample in centred(r)) / (len(r) - 1)
    )
    c, v = sample(returns_of({})), [s.q * s.p for s in BOOK]
    book = sqrt(sum(c[i][j] * a * b for i, a in enumerate(v) for j, b in enumerate(v)))
    by_hand = {
        "max_drawdown": 1 - e0 / PAST["highest_equity"],
        "max_daily_loss": 1 - e0 / PAST["before_day"],
        "max_weekly_loss": 1 - e0 / PAST["before_week"],
        "max_realised_volatility": sqrt(252) * deviation,
        "min_diversification": 1 - book / sum(sqrt(c[i][i]) * abs(a) for i, a in enumerate(v)),
        "min_sharpe": sqrt(252) * (mean(r) - 0.02 / 252) / deviation,
    }
    limits = override(Limits(), **dict.fromkeys(by_hand, 0.5), min_history=20, volatility_lookback=20)
    switch, monday = Switch(), 74 * DAY_NS
    for days, equity in ((-9, "highest_equity"), (-3, "before_week"), (0, "before_day")):
        observe(switch, round(PAST[equity] * MICRO), monday + days * DAY_NS, limits)
    observe(switch, round(e0 * MICRO), monday + DAY_NS, limits)
    realised, equity = Realised(), 1e15
    for daily_return in (0.0, *r):
        equity *= 1 + daily_return
        realised.add(round(equity), 10**15)
    measured = losses_of(switch, round(e0 * MICRO), limits)
    measured |= realised.values(limits) | held_values(CTX, account(CTX, limits), limits)
    assert {key: round(value, 6) for key, (value, _) in measured.items()} == {
        k: round(x, 6) for k, x in by_hand.items()
    }
    assert page == {key: round(value, 4) for key, value in by_hand.items()}


def test_the_exits_are_those_of_the_page() -> None:
    spec = tomllib.loads(re.search(r"`(protective = .*?)`", EXAMPLE)[1])["protective"]  # type: ignore[index]
    names, lots = list(PAST["entry"]), np.array([[s.q for s in BOOK if s.name in PAST["entry"]]])
    settings = guards([msgspec.convert(spec, Protective)])
    assert settings is not None
    cost = lots * np.array(list(PAST["entry"].values())) * MICRO
    exits = levels(settings, lots, cost, np.ones(len(names)), np.full(lots.shape, np.nan))
    by_hand = []
    for name, q in zip(names, lots[0], strict=True):
        stop, target = (1 - spec["stop_loss"], 1 + spec["take_profit"])
        if q < 0:
            stop, target = (1 + spec["stop_loss"], 1 - spec["take_profit"])
        by_hand.append([name, f"{PAST['entry'][name] * stop:.2f}", f"{PAST['entry'][name] * target:.2f}"])
    assert by_hand == table_of("position")
    assert [[f"{a:.2f}", f"{b:.2f}"] for a, b in zip(exits.stop[0], exits.target[0], strict=True)] == [
        row[1:] for row in by_hand
    ]


def test_every_limit_of_a_size_has_a_line_in_the_example() -> None:
    """A limit without a field in `Limits` has one as soon as its record has a formula for the page."""
    shown = {next(iter(tomllib.loads(line))) for line, _ in ROWS}
    extra = {key for key, limit in EXTRA.items() if limit.formula}
    with_bound = {key for key, limit in LIMITS.items() if limit.refusals and (key in FIELDS or key in extra)}
    no_size = {"protective", "max_price_age_ns", "duplicate_window_ns", "collar", "min_history"}
    remedy = "add a line to the example book of docs/risk/limits.md, and the formula by hand to FORMULAS"
    assert shown - {"cash_reserve"} == with_bound - no_size, remedy
    assert FORMULAS.keys() - {"cash_reserve"} == with_bound - no_size, remedy
