"""Random worlds for `compare_engines.py`: a market, rules, policies, costs and events of one run, from a seed.

It uses only constructors that exist in both engines of a comparison. The same seed gives the same world in both.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from msgspec.structs import replace

from quantd.adapters.brokers.paper.broker import Paper
from quantd.daemon.engine.agents.capital_shares import CapitalRules, Regime
from quantd.daemon.engine.agents.promotion_rule import PromotionRules
from quantd.daemon.engine.planning.live_caps import Allowance
from quantd.daemon.engine.planning.parents import Execution
from quantd.daemon.engine.settings import AgentRules, Rules
from quantd.daemon.engine.snapshot import in_force
from quantd.daemon.policies.loading import load
from quantd.risk.limits.catalogue import (
    PROFILES,
    Correlation,
    Limits,
    Liquidity,
    Protective,
    Rate,
    Stress,
    Tail,
    override,
)
from quantd.risk.measures.stress import Shock
from quantd.trading.events import (
    Action,
    Condition,
    Correction,
    Flow,
    ForeignFound,
    Halted,
    Limited,
    NotFound,
    Operator,
    Reconciled,
    Reloaded,
    Started,
    Stopping,
    Tick,
    Unknown,
    Wished,
)
from quantd.trading.execution import RATE_ONE, Costs
from quantd.trading.instruments import MICRO, NANO, Instrument, Universe
from quantd.trading.market import Block, MarketSlice
from quantd.trading.orders import Cause, ForeignOrder, OrderBasket, Reports
from quantd.trading.ports import Policy
from quantd.trading.sessions import DAY_NS, Sessions
from quantd.trading.view import HOLD, Hold, Memory, Noted, View

HOUR_NS: Final = 3_600_000_000_000
MINUTE_NS: Final = HOUR_NS // 60
FIRST_DAY: Final = 19_000
"""Days since 1970 of the first session, a Saturday in January 2022."""

THAW: Final = "thaw"
"""An item that saves the run and continues it from the snapshot in new objects."""

BUST: Final = "bust"
"""An item by which the venue cancels or corrects the last fill."""

SECTORS: Final = ("technology", "energy", "bonds", "")


@dataclass
class World:
    """All inputs of one run.

    `items` are in order of time: market items, other events, functions of the state to an event, THAW and BUST.
    """

    seed: int
    rules: Rules
    costs: Costs
    items: list[Any]
    policies: list[Policy]
    interval_ns: int
    auctions: bool
    faults: float
    """Probability that the venue loses or rejects a basket."""
    together: bool
    """Whether the engine takes consecutive items of the market in one call."""
    hits: set[str] = field(default_factory=set)
    """Features that only a policy sees."""

    def venue(self, shadow: int = -1) -> Paper:
        """A new simulated venue of the house, or of a shadow."""
        sessions = [self.rules.sessions[k] for k in self.rules.calendar] if self.auctions else ()
        if shadow < 0 and self.faults:
            return UnreliablePaper(self.rules.universe, self.costs, sessions, self.faults, self.seed)
        return Paper(self.rules.universe, self.costs, sessions)


class UnreliablePaper(Paper):
    """A simulated venue that does not answer, never receives or rejects some baskets, and loses, repeats or reorders
    some reports."""

    def __init__(self, universe: Universe, costs: Costs, sessions: Any, faults: float, seed: int) -> None:
        super().__init__(universe, costs, sessions)
        self.faults, self.seed = faults, seed

    def fill_terms(self) -> None:
        """No kernel knows what this venue does."""

    def submit(self, basket: OrderBasket, rows: Any = None) -> Any:
        draw = random.Random(f"{self.seed}|{basket.sample}|{basket.n}|{rows is None}").random() / self.faults
        every = list(range(len(basket.sym))) if rows is None else list(rows)
        if draw >= 1.0:
            return super().submit(basket, rows)
        if draw < 0.3:  # received, without an answer
            super().submit(basket, rows)
            return [Unknown(basket.sample, basket.n, basket.ts, every, "no answer")]
        if draw < 0.6:  # never received
            return [Unknown(basket.sample, basket.n, basket.ts, every, "no connection")]
        if draw < 0.8 and rows is None:
            nothing = [0] * len(every)
            causes = [int(Cause.REJECTED)] * len(every)
            return [
                Reports(basket.sample, basket.n, basket.ts, every, nothing, nothing, nothing, nothing, causes, "no")
            ]
        return [*super().submit(basket, rows), *self.query(basket.sample, basket.n, every)]

    def on_slice(self, market: MarketSlice) -> Any:
        return self._disturbed(super().on_slice(market), market.ts_event)

    def on_time(self, ts: int, opened: Any = ()) -> Any:
        return self._disturbed(super().on_time(ts, opened), ts + 1)

    def _disturbed(self, news: Any, ts: int) -> Any:
        """The reports, some in reverse order, repeated, or lost until the next query."""
        if not news:
            return news
        draw = random.Random(f"{self.seed}|{ts}").random() / self.faults
        if draw < 0.3:
            return news[::-1]
        if draw < 0.6:
            return [*news, *news]
        if draw < 1.0:
            parts = [self.query(each.sample, each.n, each.row)[::-1] for each in news]
            return news[1:] if draw < 0.8 else [report for part in parts for report in part]
        return news

    def query(self, sample: int, n: int, rows: Any) -> Any:
        """A basket that was never received is not found, whatever its age."""
        if (sample, n) not in self._known:
            return [NotFound(sample, n, self._ts, list(rows))]
        return super().query(sample, n, rows)


class RandomWeights:
    """A policy of random weights of one style. The weights depend on the seed and the number of samples only."""

    lookback = 2

    def __init__(self, world: "World | None", seed: int, style: str, level: float, faults: float) -> None:
        self.world, self.seed, self.style, self.level, self.faults = world, seed, style, level, faults
        self.uses_bars = style == "bars"

    def _hit(self, name: str) -> None:
        if self.world is not None:
            self.world.hits.add(f"policy: {name}")

    def act(self, view: View, memory: Memory) -> tuple[Any, Memory]:
        rng = np.random.default_rng((self.seed, view.sample))
        n = view.universe.size
        if self.faults and rng.random() < self.faults:
            return self._fault(int(rng.integers(6)), n, memory)
        if self.style == "memory":
            count = memory.get("count", np.zeros(1)) + 1.0
            memory = {"count": count, "last": view.weights.copy()}
            self._hit("memory")
        return self._weights(view, rng, n), memory

    def _fault(self, kind: int, n: int, memory: Memory) -> tuple[Any, Memory]:
        weights = np.full(n, self.level / n)
        if kind == 0:
            self._hit("raises")
            raise RuntimeError("the policy fails")
        if kind == 1:
            self._hit("returns NaN")
            weights[0] = np.nan
            return weights, memory
        if kind == 2:
            self._hit("returns too many weights")
            return np.full(n + 1, 0.1), memory
        if kind == 3:
            self._hit("leverage too high")
            return weights * 1e4, memory
        if kind == 4:
            self._hit("note")
            return Noted(weights, "a note", warns=bool(self.seed % 2)), memory
        self._hit("holds")
        return HOLD, memory

    def _weights(self, view: View, rng: np.random.Generator, n: int) -> np.ndarray | Hold:
        if self.style == "quiet" and view.weights.any():
            return view.weights
        weights = rng.exponential(size=n) * (rng.random(n) < 0.7)
        total = float(weights.sum())
        weights = weights * (self.level / total) if total > 0 else weights
        if self.style == "short":
            weights = weights * rng.choice((1.0, 1.0, -1.0), n)
        if self.style == "nudge":
            return 0.8 * view.weights + 0.2 * weights
        if self.style == "trend" and view.sample > 6:
            past = np.nan_to_num(view.returns(5).sum(axis=0))
            weights = np.where(past > 0, weights, 0.0)
        if self.style == "synchronous" and view.sample > 6:
            past = np.nan_to_num(view.synchronous(5).sum(axis=0))
            weights = np.where(past < 0, weights, 0.2 * weights)
            self._hit("synchronous returns")
        if self.style == "bars" and view.sample > 6:
            bars = view.bars(5)
            weights = np.where(np.nan_to_num(bars.high[-1] - bars.low[-1]) > 0.01 * view.prices, weights, 0.0)
            self._hit("bars")
        if self.style == "in and out" and rng.random() < 0.3:
            return np.zeros(n)
        return weights


STYLES: Final = (
    "long", "short", "nudge", "trend", "in and out", "quiet", "memory", "bars", "synchronous",
)  # fmt: skip

BUILT_IN: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("equal_weight", {}),
    ("inverse_volatility", {"lookback": 20}),
    ("momentum", {"lookback": 30}),
    ("risk_parity", {"lookback": 30}),
    ("min_variance", {"lookback": 30}),
    ("mean_variance", {"lookback": 30}),
    ("max_diversification", {"lookback": 30}),
    ("max_sharpe", {"lookback": 30}),
    ("black_litterman", {"lookback": 30}),
    ("grouped", {"lookback": 30}),
    ("hrp", {"lookback": 30}),
    ("min_cvar", {"lookback": 30}),
    ("kelly", {"lookback": 30}),
    ("merton", {"lookback": 30}),
    ("signals", {"features": {"momentum_20": 1.0, "rsi_14": -0.5}, "top": 3}),
    ("buy_and_hold", {}),
    ("hold", {}),
    ("momentum_tilted", {}),
    ("dynamic", {}),
    ("ensemble", {"members": [{"policy": "equal_weight"}, {"policy": "momentum", "params": {"lookback": 20}}]}),
    (
        "regime_switched",
        {"bull": {"policy": "equal_weight"}, "bear": {"policy": "hold"}, "volatile": {"policy": "inverse_volatility"}},
    ),
)


def _kind(draw: random.Random) -> tuple[int, bool]:
    """Number of symbols, and whether little but trading happens: the first draws of a world."""
    return 40 if draw.random() < 0.03 else draw.randint(1, 12), draw.random() < 0.3


def is_bare(seed: int) -> bool:
    """Whether a world has few limits, and nothing happens in it but trading."""
    return seed % 2 == 1 and _kind(random.Random(seed))[1]


def world_of(seed: int) -> World:
    """The world of a seed."""
    draw = random.Random(seed)
    rng = np.random.default_rng(seed)
    size, calm = _kind(draw)
    intraday = not calm and draw.random() < 0.4
    length = int(60 + 340 * draw.random() ** (2 if calm else 6)) if not intraday else draw.randint(8, 25)
    interval = draw.choice((30, 60, 60, 120)) * MINUTE_NS if intraday else DAY_NS
    calendars = _calendars(draw, length, calm)
    names = sorted(calendars)
    of_column = [draw.choice(names) if draw.random() < 0.5 else "X" for _ in range(size)]
    sectors = SECTORS if draw.random() < 0.3 else SECTORS[:3]
    instruments = tuple(_instrument(draw, k, name, sectors, calm) for k, name in enumerate(of_column))
    groups = (("first", tuple(each.symbol for each in instruments[: max(1, size // 2)])),)
    universe = Universe(instruments, calendar="X", benchmark=instruments[0].symbol, groups=groups)
    sessions = tuple(calendars[name] for name in names)
    calendar = tuple(names.index(name) for name in of_column)
    block, actions = _market(draw, rng, universe, sessions, calendar, interval, length, calm)
    rules = _rules(draw, universe, sessions, calendar, names.index("X"), interval)
    rules = _calmed(rules) if calm else rules
    bare = is_bare(seed)
    rules = _bare(rules, protected=seed % 4 == 3) if bare else rules
    costs = _costs(draw)
    world = World(
        seed=seed,
        rules=rules,
        costs=replace(costs, slippage_noise=0.0, impact=0.0) if bare else costs,
        items=[],
        policies=[],
        interval_ns=interval,
        auctions=draw.random() < 0.5 or rules.execution.style in ("open", "close"),
        faults=0.0 if calm else draw.choice((0.0, 0.0, 0.0, 0.05, 0.3)),
        together=draw.random() < 0.9,
    )
    world.rules = rules = replace(rules, borrow_bp_annual=0.0 if calm else world.costs.borrow_bp_annual)
    styles = tuple(style for style in STYLES if not (calm and style == "bars"))
    world.policies = [_policy(draw, world, k, styles) for k in range(len(rules.agents) + len(rules.shadows))]
    lookbacks = [each.lookback for each in world.policies]
    most = max([60, *lookbacks, *_lookbacks(rules)])
    bars = any(getattr(each, "uses_bars", False) for each in world.policies)
    shadows = tuple(replace(each, lookback=most, keep_bars=bars) for each in rules.shadows)
    world.rules = rules = replace(rules, lookback=most, keep_bars=bars, shadows=shadows)
    world.items = _timeline(draw, world, block, actions, names.index("X"), calm)
    return world


def _lookbacks(rules: Rules) -> list[int]:
    found = []
    for each in (rules, *rules.shadows):
        for limits in (each.house, *(agent.limits for agent in each.agents)):
            found += [spec.lookback for spec in (limits.var, limits.cvar, limits.correlation) if spec is not None]
            found.append(limits.volatility_lookback)
    return found


# ---- market --------------------------------------------------------------------------------------


def _calendars(draw: random.Random, length: int, calm: bool) -> dict[str, Sessions]:
    """The house's calendar X with weekends, holidays and half days, and sometimes two others; never in a calm world."""
    days = [FIRST_DAY + k for k in range(int(length * 1.6) + 60)]
    weekdays = [day for day in days if (day + 3) % 7 < 5 and draw.random() > 0.02]
    half = {day for day in weekdays if draw.random() < 0.03}
    found = {"X": _sessions("X", weekdays, 14.5, lambda day: 18.0 if day in half else 21.0)}
    if calm:
        return found
    if draw.random() < 0.4:
        found["Y"] = _sessions("Y", [d for d in weekdays if draw.random() > 0.02], 8.0, lambda day: 16.5)
    if draw.random() < 0.4:
        found["24/7"] = _sessions("24/7", days, 0.0, lambda day: 24.0)
    return found


def _sessions(name: str, days: list[int], opens: float, close_of: Callable[[int], float]) -> Sessions:
    return Sessions(
        name,
        "UTC",
        tuple(day * DAY_NS for day in days),
        tuple(day * DAY_NS + int(opens * HOUR_NS) for day in days),
        tuple(day * DAY_NS + int(close_of(day) * HOUR_NS) for day in days),
    )


def _instrument(draw: random.Random, k: int, calendar: str, sectors: tuple[str, ...], calm: bool) -> Instrument:
    coin = calendar == "24/7"
    return Instrument(
        f"{'C' if coin else 'S'}{k:02d}",
        lot_nano=10 if coin else NANO if calm else draw.choice((NANO, NANO, NANO, NANO, NANO // 1000)),
        tick_nano=draw.choice((NANO // 100, NANO // 100, NANO // 1000, NANO // 20)),
        calendar=calendar,
        sector=draw.choice(sectors),
        asset=draw.choice(("", "", "", "gold")),
    )


def _market(
    draw: random.Random,
    rng: np.random.Generator,
    universe: Universe,
    sessions: tuple[Sessions, ...],
    calendar: tuple[int, ...],
    interval: int,
    length: int,
    calm: bool,
) -> tuple[Block, list[Action]]:
    """Bars of `length` sessions of the house's calendar, and corporate actions."""
    house = next(each for each in sessions if each.name == "X")
    end = house.close_ns[length - 1]
    spans: dict[tuple[int, int, int], list[int]] = {}
    for column, row in enumerate(calendar):
        own = sessions[row]
        for day, opens, closes in zip(own.day_ns, own.open_ns, own.close_ns, strict=True):
            if closes > end:
                break
            ts = opens
            while ts < closes:
                after = min(ts + interval, closes) if interval < DAY_NS else closes
                key = day if interval >= DAY_NS else after
                spans.setdefault((after, ts, key), []).append(column)
                ts = after
    order = sorted(spans)
    rows, size = len(order), universe.size
    listed = np.zeros((rows, size), dtype=bool)
    for t, span in enumerate(order):
        listed[t, spans[span]] = True
    wild = draw.choice((0.004, 0.01, 0.01, 0.02, 0.04))
    drift = draw.choice((0.0, 0.0, 0.001, -0.002))
    moves = rng.standard_t(4, (rows, 1)) * wild * draw.choice((0.2, 0.8, 2.0)) + rng.standard_t(4, (rows, size)) * wild
    moves = np.clip(np.where(listed, moves + drift, 0.0), -0.4, 0.4)
    if draw.random() < 0.2 and size > 1:
        moves[:, 1] = moves[:, 0]  # two instruments that move as one
    first = np.exp(rng.uniform(np.log(2), np.log(500), size))
    if draw.random() < 0.1:
        first[0] = draw.choice((0.5, 90_000.0))
    for column, each in enumerate(universe.instruments):
        if each.lot_nano < NANO // 1000:
            first[column] = draw.choice((3_000.0, 60_000.0))
    fresh = listed & (rng.random((rows, size)) > (-1.0 if calm else draw.choice((0.0, 0.0, 0.01, 0.1))))
    for column in range(0 if calm else size):
        if draw.random() < 0.1:
            fresh[: int(rows * draw.random() * 0.5), column] = False
        if draw.random() < 0.1:
            start = draw.randrange(rows)
            fresh[start : start + draw.randint(3, 40), column] = False
    factor, actions = np.ones((rows, size)), []
    for _ in range(draw.choice((0, 0, 1) if calm else (0, 0, 1, 2, 4))):
        actions += _action(draw, order, sessions, calendar, factor, fresh, first)
    path = np.exp(moves.cumsum(axis=0)) * first
    whole = draw.random() < 0.7
    close = np.clip(np.round(path * factor, 2 if whole else 4), 0.01, 5e5)
    gap = rng.normal(0, wild * 0.5, close.shape)
    before = np.vstack([first[None], path[:-1]]) * factor
    open_ = np.clip(np.round(before * np.exp(gap), 2 if whole else 4), 0.01, 5e5)
    high = np.round(np.maximum(open_, close) * (1 + np.abs(rng.normal(0, wild / 2, close.shape))), 4)
    low = np.maximum(
        np.round(np.minimum(open_, close) * (1 - np.abs(rng.normal(0, min(wild / 2, 0.1), close.shape))), 4), 0.005
    )
    volume = np.round(np.exp(rng.normal(np.log(draw.choice((2e3, 1e5, 1e7))), 1.0, close.shape)))
    if draw.random() < 0.2:
        volume[rng.random(volume.shape) < 0.1] = 0.0
    columns = [np.where(fresh, each, np.nan) for each in (open_, high, low, close, volume)]
    if draw.random() < 0.1:
        columns[4][rng.random(volume.shape) < 0.1] = np.nan
    stamps = [np.array([span[part] for span in order], dtype=np.int64) for part in range(3)]
    block = Block(
        ts_open=stamps[1], ts_event=stamps[0], key=stamps[2], open=columns[0], high=columns[1], low=columns[2],
        close=columns[3], volume=columns[4], fresh=fresh,
    )  # fmt: skip
    return block, actions


def _action(
    draw: random.Random,
    order: list[tuple[int, int, int]],
    sessions: tuple[Sessions, ...],
    calendar: tuple[int, ...],
    factor: np.ndarray,
    fresh: np.ndarray,
    first: np.ndarray,
) -> list[Action]:
    """One corporate action at the open of a session; bars from there on show it."""
    column = draw.randrange(len(calendar))
    own = sessions[calendar[column]]
    at = draw.randrange(5, max(6, len(own.day_ns) // 2))
    ts, key = own.open_ns[at], own.day_ns[at]
    after = next((t for t, span in enumerate(order) if span[1] >= ts), len(order))
    kind = draw.choice(("split", "split", "dividend", "dividend", "delisting"))
    if kind == "split":
        numerator, denominator = draw.choice(((2, 1), (3, 2), (1, 10), (7, 3)))
        factor[after:, column] *= denominator / numerator
        return [Action(ts, key, column, "split", numerator, denominator)]
    if kind == "dividend":
        return [Action(ts, key, column, "dividend", cash_nano=int(first[column] * draw.choice((0.001, 0.02)) * NANO))]
    if draw.random() < 0.8:
        fresh[after:, column] = False
    return [Action(ts, key, column, "delisting", cash_nano=draw.choice((0, int(first[column] * NANO))))]


# ---- rules ---------------------------------------------------------------------------------------


def _costs(draw: random.Random) -> Costs:
    rare = draw.random
    return Costs(
        commission_bp=draw.choice((0.0, 1.0, 10.0)),
        slippage_bp=draw.choice((0.0, 1.0, 20.0)),
        spread_bp=draw.choice((0.0, 0.0, 3.0)),
        impact=50.0 if rare() < 0.2 else 0.0,
        participation=draw.choice((0.01, 0.1)) if rare() < 0.35 else 0.0,
        borrow_bp_annual=100.0 if rare() < 0.3 else 0.0,
        latency_ns=draw.choice((HOUR_NS, 30 * HOUR_NS, 1_000_000)) if rare() < 0.2 else 0,
        seed=draw.randrange(100),
        commission_min_micro=2 * MICRO if rare() < 0.2 else 0,
        slippage_noise=0.5 if rare() < 0.2 else 0.0,
    )


def _tail(draw: random.Random, low: float, high: float) -> Tail:
    return Tail(
        limit=_between(draw, low, high),
        method=draw.choice(("historical", "historical", "historical", "filtered", "parametric", "ewma")),
        confidence=draw.choice((0.9, 0.95, 0.99)),
        horizon=draw.choice((1, 1, 5)),
        lookback=draw.choice((30, 60)),
    )


def _between(draw: random.Random, low: float, high: float) -> float:
    """A number between two, even in logarithm."""
    return float(low * (high / low) ** draw.random())


def _limits(draw: random.Random, universe: Universe, interval: int, fee_bp: float) -> Limits:
    """A set of limits, each key on in some worlds, tight or loose."""
    share = draw.choice((0.0, 0.1, 0.25, 0.5))

    def on() -> bool:
        return draw.random() < share

    symbols = universe.symbols
    base = PROFILES[draw.choice(("research", "balanced", "aggressive"))] if draw.random() < 0.2 else Limits()
    keys: dict[str, Any] = {
        "max_price_age_ns": interval * draw.choice((2, 4)) + 2 * DAY_NS,
        "min_history": draw.choice((5, 20)),
        "fee_bp": fee_bp,
        "allow_short": draw.random() < 0.6,
    }
    options: dict[str, Callable[[], Any]] = {
        "collar": lambda: _between(draw, 0.005, 0.2),
        "reduce_collar": lambda: _between(draw, 0.01, 0.3),
        "flatten_collar": lambda: _between(draw, 0.01, 0.3),
        "in_flight": lambda: _between(draw, 0.005, 0.3),
        "max_cash_debit": lambda: _between(draw, 0.01, 1.0),
        "cash_reserve": lambda: _between(draw, 0.005, 0.3),
        "duplicate_window_ns": lambda: draw.choice((0, MINUTE_NS, 2 * DAY_NS)),
        "restricted": lambda: (draw.choice(symbols),),
        "max_position_weight": lambda: _between(draw, 0.03, 0.9),
        "max_gross_exposure": lambda: _between(draw, 0.2, 2.0),
        "max_net_exposure": lambda: _between(draw, 0.1, 1.2),
        "max_leverage": lambda: _between(draw, 0.3, 2.0),
        "max_sector_weight": lambda: _between(draw, 0.1, 0.9),
        "group_caps": lambda: (("first", _between(draw, 0.1, 0.9)),),
        "max_concentration": lambda: _between(draw, 0.1, 0.9),
        "max_herfindahl": lambda: _between(draw, 0.1, 0.9),
        "max_order_notional": lambda: _between(draw, 1e3, 1e6),
        "max_share_of_volume": lambda: _between(draw, 0.001, 0.5),
        "liquidity": lambda: Liquidity(_between(draw, 0.1, 20.0), _between(draw, 0.02, 0.5)),
        "max_turnover": lambda: _between(draw, 0.05, 2.0),
        "order_rate": lambda: Rate(draw.randint(1, 30), draw.choice((MINUTE_NS, DAY_NS, 7 * DAY_NS))),
        "max_open_orders": lambda: draw.randint(1, 30),
        "max_orders_per_day": lambda: draw.randint(1, 30),
        "max_volatility": lambda: _between(draw, 0.05, 0.8),
        "volatility_lookback": lambda: draw.choice((30, 60)),
        "var": lambda: _tail(draw, 0.005, 0.1),
        "cvar": lambda: _tail(draw, 0.008, 0.15),
        "stress": lambda: Stress(_between(draw, 0.05, 0.6), _shocks(draw, symbols)),
        "correlation": lambda: Correlation(
            threshold=_between(draw, 0.2, 0.95),
            joint_weight=_between(draw, 0.1, 0.8),
            min_weight=0.03,
            lookback=draw.choice((30, 60)),
            strict=draw.random() < 0.2,
        ),
        "protective": lambda: _protective(draw),
        "max_drawdown": lambda: _between(draw, 0.03, 0.5),
        "max_daily_loss": lambda: _between(draw, 0.01, 0.3),
        "max_weekly_loss": lambda: _between(draw, 0.02, 0.4),
        "max_realised_volatility": lambda: _between(draw, 0.05, 0.6),
        "min_diversification": lambda: _between(draw, 0.05, 0.9),
        "min_sharpe": lambda: _between(draw, 0.1, 3.0),
    }
    keys.update({name: make() for name, make in options.items() if on()})
    keys.setdefault("volatility_lookback", 60)
    limits = override(base, **keys)
    for name in ("var", "cvar", "correlation"):
        spec = getattr(limits, name)
        if spec is not None and spec.lookback > 60:
            limits = override(limits, **{name: replace(spec, lookback=60)})
    return limits


def _shocks(draw: random.Random, symbols: tuple[str, ...]) -> tuple[Shock, ...]:
    found = [Shock("crash", {"technology": -0.5, "bonds": 0.05, "*": -0.3}), Shock("rally", {"*": 0.25})]
    if draw.random() < 0.5:
        found.append(Shock("one", {"*": 0.0}, {draw.choice(symbols): -0.8}))
    if draw.random() < 0.2:
        found.append(Shock("known for one sector", {"technology": -0.4}))
    return tuple(found)


def _protective(draw: random.Random) -> Protective:
    return Protective(
        stop_loss=_between(draw, 0.01, 0.2) if draw.random() < 0.8 else None,
        take_profit=_between(draw, 0.02, 0.4) if draw.random() < 0.6 else None,
        trailing=draw.random() < 0.4,
        cooldown=draw.choice((0, 1, 5)),
        at_venue=draw.random() < 0.4,
    )


def _rules(
    draw: random.Random,
    universe: Universe,
    sessions: tuple[Sessions, ...],
    calendar: tuple[int, ...],
    house_calendar: int,
    interval: int,
) -> Rules:
    cash = draw.choice((20_000, 100_000, 1_000_000, 10_000_000)) * MICRO
    count = draw.choice((1, 1, 2, 3, 4))
    fee_bp = draw.choice((0.0, 1.0, 10.0))
    house = _limits(draw, universe, interval, fee_bp)
    cuts = sorted(draw.random() for _ in range(count - 1))
    parts = [b - a for a, b in zip([0.0, *cuts], [*cuts, 1.0], strict=True)]
    spent = draw.choice((1.0, 1.0, 0.9))
    agents = tuple(
        AgentRules(
            f"a{k}",
            int(cash * part * spent),
            house if draw.random() < 0.3 else _agent_limits(draw, house, universe, interval, fee_bp),
            min_trade=draw.choice((0.0, 0.0, 0.005, 0.05)),
            scheduled=draw.random() < 0.8,
        )
        for k, part in enumerate(parts)
    )
    rules = Rules(
        universe,
        sessions,
        calendar,
        agents,
        house,
        cash,
        daily=interval >= DAY_NS,
        good_till_cancelled=draw.random() < 0.3,
        follow_ups=draw.choice((0, 1, 2, 2, 2)),
        rearm_samples=draw.choice((0, 5, 21)),
        flatten_on=draw.choice(((), (), ("drawdown",), ("daily_loss", "weekly_loss"))),
        max_failures=draw.choice((1, 3)),
        volume_lookback=draw.choice((3, 20)),
        house_calendar=house_calendar,
        differences=draw.choice(("", "fence", "a0")),
        cash_tolerance_micro=draw.choice((0, MICRO)),
        execution=_execution(draw, interval < DAY_NS),
        live=_allowance(draw, cash) if draw.random() < 0.1 else None,
    )
    if count > 1 and draw.random() < 0.4:
        rules = replace(rules, capital=_capital(draw, rules, parts))
    if draw.random() < 0.2:
        rules = _with_shadows(draw, rules, interval, fee_bp)
    return rules


def _calmed(rules: Rules) -> Rules:
    """The rules without most of what asks, accrues or measures at each sample: many samples of such a world are
    quiet."""

    def calmed(limits: Limits) -> Limits:
        off = dict.fromkeys(("max_realised_volatility", "min_sharpe", "min_diversification", "liquidity"))
        tails = {name: getattr(limits, name) for name in ("var", "cvar")}
        plain = {name: tail and replace(tail, method="historical") for name, tail in tails.items()}
        guard = limits.protective and replace(limits.protective, trailing=False, at_venue=False)
        return override(limits, **off, **plain, protective=guard)

    agents = tuple(replace(each, limits=calmed(each.limits), scheduled=True) for each in rules.agents)
    return replace(
        rules,
        agents=agents,
        house=calmed(rules.house),
        execution=Execution(),
        live=None,
        shadows=(),
        challenges=(),
        promotion=None,
        seats=(),
    )


def _bare(rules: Rules, *, protected: bool) -> Rules:
    """The rules without limits of one order and of time: many plans of such a world are made in batches. Those that are
    `protected` have limits of volume and protective levels, as those of profiles."""
    names = ["max_order_notional", "max_turnover", "order_rate", "max_orders_per_day", "stress"]
    if not protected:
        names += ["protective", "max_share_of_volume"]

    def bare(limits: Limits) -> Limits:
        found = override(limits, **{name: None for name in names if hasattr(limits, name)})
        if found.protective is None:
            return found
        return override(found, protective=replace(found.protective, trailing=False, at_venue=False))

    agents = tuple(replace(each, limits=bare(each.limits)) for each in rules.agents)
    return replace(rules, agents=agents, house=bare(rules.house))


def _agent_limits(draw: random.Random, house: Limits, universe: Universe, interval: int, fee_bp: float) -> Limits:
    limits = _limits(draw, universe, interval, fee_bp)
    for name in ("var", "cvar"):
        own, other = getattr(limits, name), getattr(house, name)
        if own is not None and other is not None:
            limits = override(limits, **{name: replace(own, method=other.method)})
    return limits


def _execution(draw: random.Random, intraday: bool) -> Execution:
    """Mostly marketable; orders that are executed over time rarely fill on daily bars."""
    if draw.random() < 0.6:
        return Execution()
    styles = ("chase", "twap", "vwap", "participation", "open", "close")
    style = draw.choice(styles if intraday or draw.random() < 0.15 else styles[4:])
    return Execution(
        style=style,
        over_ns=draw.choice((HOUR_NS, 5 * HOUR_NS)),
        slices=draw.choice((2, 6)),
        participation=draw.choice((0.01, 0.1)),
        every_ns=draw.choice((MINUTE_NS, HOUR_NS)),
        step_bp=draw.choice((5.0, 50.0)),
        most=draw.choice((1, 5)),
    )


def _allowance(draw: random.Random, cash: int) -> Allowance:
    return Allowance(
        account_micro=draw.choice((None, cash // 2)),
        order_micro=draw.choice((None, cash // 10)),
        orders_per_day=draw.choice((None, 5)),
        ramp_days=draw.choice((0, 20)),
        ramp_from=draw.choice((0.1, 1.0)),
    )


def _capital(draw: random.Random, rules: Rules, parts: list[float]) -> CapitalRules:
    count = len(rules.agents)
    base = tuple(part / sum(parts) for part in parts)
    even = tuple([1.0 / count] * count)
    return CapitalRules(
        method=draw.choice(("fixed", "equal_risk", "performance", "regime")),
        agents=tuple(range(count)),
        base=base,
        lookback=draw.choice((20, 60)),
        shrink=draw.choice((0.0, 0.5)),
        floor=draw.choice((0.0, 0.1)),
        ceiling=draw.choice((0.9, 1.0)),
        max_step=draw.choice((0.1, 1.0)),
        regimes=(Regime("calm", 0.0, base), Regime("wild", 0.2, even)),
        benchmark=draw.choice((-1, 0)),
    )


def _with_shadows(draw: random.Random, rules: Rules, interval: int, fee_bp: float) -> Rules:
    """The rules with one or two shadows, of which one may challenge an agent."""
    shadows, challenges = [], []
    for k in range(draw.choice((1, 2))):
        limits = _limits(draw, rules.universe, interval, fee_bp)
        if limits.protective is not None:
            limits = override(limits, protective=replace(limits.protective, at_venue=False))
        capital = rules.agents[0].capital_micro
        own = AgentRules(f"s{k}", capital, limits, scheduled=True)
        house = override(Limits(), fee_bp=fee_bp, max_price_age_ns=limits.max_price_age_ns)
        shadows.append(
            replace(
                rules,
                agents=(own,),
                house=house,
                cash_micro=capital,
                flatten_on=(),
                differences="",
                live=None,
                capital=None,
                first_seat=len(rules.agents) + k,
                shadows=(),
                challenges=(),
                promotion=None,
            )
        )
        challenges.append(draw.randrange(len(rules.agents)) if draw.random() < 0.7 else -1)
    promotion = PromotionRules(
        samples=20, confidence=draw.choice((0.5, 0.95)), measure=draw.choice(("sharpe", "return")),
        max_drawdown_ratio=3.0, looks=8, resamples=200,
    )  # fmt: skip
    seats = tuple(each.name for each in rules.agents) + tuple(each.agents[0].name for each in shadows)
    shadows = [replace(each, seats=seats) for each in shadows]
    return replace(rules, shadows=tuple(shadows), challenges=tuple(challenges), promotion=promotion, seats=seats)


def _policy(draw: random.Random, world: World, k: int, styles: tuple[str, ...]) -> Policy:
    if draw.random() < 0.2:
        name, params = draw.choice(BUILT_IN)
        world.hits.add(f"policy: {name}")
        return load(name, params, Path())
    faults = draw.choice((0.0, 0.0, 0.0, 0.03, 0.2))
    level = draw.choice((0.5, 0.95, 1.0, 1.0, 1.5))
    return RandomWeights(world, world.seed * 10 + k, draw.choice(styles), level, faults)


# ---- time ----------------------------------------------------------------------------------------


def _timeline(
    draw: random.Random, world: World, block: Block, actions: list[Action], house_calendar: int, calm: bool
) -> list[Any]:
    """All items in order of time; of one instant: bars, actions, ticks, other events."""
    rules = world.rules
    house = rules.sessions[house_calendar]
    last = block.ts_event[-1]
    found: list[tuple[int, int, int, Any]] = []

    def add(ts: int, rank: int, item: Any) -> None:
        found.append((ts, rank, len(found), item))

    for row in range(len(block)):
        add(block.ts_event[row], 0, MarketSlice(block, row))
    for action in actions:
        add(action.ts, 1, action)
    samples = _sample_times(house, rules, world.interval_ns, last)
    warm = draw.choice((0, 0, 10, 30))
    everyone = tuple(range(len(world.policies)))
    often = (1, 2, 5, 21) if is_bare(world.seed) else (5, 21, 21) if calm else (1, 2, 5, 5, 10, 21)
    every = [draw.choice(often) for _ in everyone]
    earns = not calm and draw.random() < 0.4
    jobs = 0.0 if calm else draw.choice((0.0, 0.05))
    for k, (ts, key, final) in enumerate(samples):
        due = tuple(a for a in everyone if k % every[a] == 0)
        named = tuple(
            job for job in ("reallocate", "promote", "snapshot", "flatten")
            if draw.random() < (jobs if job != "flatten" else jobs / 10)
        )  # fmt: skip
        rate = round(draw.choice((0.03, -0.01)) * RATE_ONE) if earns else None
        add(ts, 2, Tick(ts, True, key, final, due, named, k < warm, (), rate))
    if not calm and draw.random() < 0.3:  # decisions and timers between samples
        for _ in range(draw.randint(5, 40)):
            ts = draw.randrange(samples[0][0], max(last, samples[0][0] + 1))
            ts -= ts % MINUTE_NS
            if all(ts != each[0] for each in samples):
                add(ts, 2, Tick(ts, due=everyone if draw.random() < 0.5 else ()))
    for _ in range(draw.choice((0, 0, 1) if calm else (0, 0, 1, 2, 6, 12))):
        ts = draw.randrange(first := samples[min(warm, len(samples) - 1)][0], max(last, first + 1))
        for shift, event in _events(draw, rules, ts):
            add(ts + shift, 3, event)
    for _ in range(draw.choice((0, 0, 1, 3))):
        add(draw.randrange(samples[0][0], max(last, samples[0][0] + 1)) // DAY_NS * DAY_NS + 12 * HOUR_NS, 4, THAW)
    if draw.random() < 0.1:
        add(draw.randrange(samples[0][0], max(last, samples[0][0] + 1)), 3, BUST)
    found.sort(key=lambda each: each[:3])
    started = Started(
        ts=block.ts_open[0], run="r", version="", lock="", config="", feed="", symbols=rules.universe.symbols,
        artifacts={}, blas="",
    )  # fmt: skip
    return [started, *_merged([each[3] for each in found])]


def _merged(items: list[Any]) -> list[Any]:
    """The items, with the ticks of one instant as one."""
    seen: set[int] = set()
    kept = []
    for item in items:
        if type(item) is Tick:
            if item.ts in seen:
                continue
            seen.add(item.ts)
        kept.append(item)
    return kept


def _sample_times(house: Sessions, rules: Rules, interval: int, last: int) -> list[tuple[int, int, int]]:
    """(instant, key, final) of each sample."""
    found = []
    for day, opens, closes in zip(house.day_ns, house.open_ns, house.close_ns, strict=True):
        if closes > last:
            break
        if interval >= DAY_NS:
            final = max(own.close_ns[own.row_of_day[day]] for own in rules.sessions if day in own.row_of_day)
            found.append((closes, day, max(final, closes)))
            continue
        ts = opens
        while ts < closes:
            ts = min(ts + interval, closes)
            found.append((ts, ts, ts))
    return found


def _at_venue(state: Any) -> list[int]:
    """Lots of the house, and those that are known not to be ours."""
    return [own + other for own, other in zip(state.ledger.house.lots, state.fenced[0], strict=True)]


def _events(draw: random.Random, rules: Rules, ts: int) -> list[tuple[int, Any]]:
    """Events that begin at `ts`: (delay, event)."""
    agent = draw.choice(("", draw.choice([each.name for each in rules.agents])))
    column = draw.randrange(rules.universe.size)
    wait = draw.randint(1, 20) * DAY_NS
    later = ts + wait
    back = Operator(later, "resume", "again", "ops", agent)
    match draw.randrange(14):
        case 0:
            return [(0, Operator(ts, "halt", "test", "ops", agent)), (wait, back)]
        case 1:
            return [(0, Operator(ts, "reduce", "test", "ops", agent)), (wait, back)]
        case 2:
            return [(0, Operator(ts, "flatten", "test", "ops")), (wait, Operator(later, "resume", "again", "ops"))]
        case 3:
            amount = int(rules.cash_micro * draw.choice((0.1, -0.05, -0.5)))
            return [(0, Flow(ts, amount, "ops", agent=agent, id=f"f{ts}", reason="test"))]
        case 4:
            return [(0, Halted(ts, column, True, "news")), (wait, Halted(later, column, False))]
        case 5:
            down, up = draw.choice(((1, 0), (0, 1), (NANO, 10 * NANO), (50 * NANO, 60 * NANO)))
            return [(0, Limited(ts, column, down, up)), (wait, Limited(later, column, 0, 0))]
        case 6:
            what = draw.choice(("feed", "broker", "store", "clock", "bars"))
            up = Condition(later, what, True, "test")
            return [(0, Condition(ts, what, False, "test")), (wait, up), (wait, Operator(later, "resume", "a", "ops"))]
        case 7:
            name = agent or rules.agents[0].name
            stop, target = draw.choice(((0, 0), (NANO, 1000 * NANO)))
            return [(0, Wished(ts, name, column, draw.choice((-50, 10, 500)), "test", "ops", stop, target))]
        case 8:
            house = _limits(draw, rules.universe, DAY_NS, rules.house.fee_bp)
            for name in ("var", "cvar", "correlation"):  # the history is as long as the first rules need
                house = override(house, **{name: getattr(rules.house, name)})
            new = replace(rules, house=house, follow_ups=draw.choice((0, 2)))
            return [(0, Reloaded(ts, "other", ("risk",), in_force(new)))]
        case 9:
            lots = [0] * rules.universe.size
            lots[column] = draw.choice((0, 3, -2))
            return [(0, Correction(ts, lots, draw.choice((0, MICRO)), draw.choice(("fence", "a0")), "test", "ops"))]
        case 10:
            lots = [0] * rules.universe.size
            power = draw.choice((None, rules.cash_micro // 3))
            unlent = draw.choice(((), (column,), tuple(range(rules.universe.size))))
            if draw.random() < 0.5:  # as if the account were empty at the venue
                return [(0, Reconciled(ts, lots, draw.choice((None, rules.cash_micro)), power, unlent=unlent))]
            return [(0, lambda state: Reconciled(ts, _at_venue(state), None, power, unlent=unlent))]
        case 11:
            foreign = ForeignOrder("other", column, draw.choice((-20, 20)), 100 * NANO)
            return [(0, ForeignFound(ts, (foreign,))), (wait, ForeignFound(later, ()))]
        case 12:
            return [(0, Flow(ts, 1234567, kind="dividend", id=f"d{ts}", symbol=column))]
        case _:
            return [(0, Stopping(ts, draw.random() < 0.5, "test"))]
