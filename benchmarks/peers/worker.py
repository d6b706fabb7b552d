"""One side of the comparison, in a process of its own: python worker.py SIDE [--interpreted]

Each line of standard input is a case and a file of bars. The answer is a JSON line: CPU seconds of the run, orders, and
equity at the end. Only the run is timed: bars, engine and strategy exist before. The environment of the peers holds no
quantd, and each side imports its own library only.
"""

import gc
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Run = Callable[[], Any]
Result = Callable[[Any], tuple[int, float]]
"""(orders, equity at the end), from what a run returned."""

CASH = 10_000_000.0
COST = 2e-4
"""Commission and slippage of 1 bp each."""

EVERY = 21
FIRST = 63
"""Row of the first decision on every side: before it the limits of quantd have too few returns, and refuse orders."""
FAST, SLOW = 10, 30
WEIGHT = 0.3
"""Of the one symbol when it is bought."""
SHARE = {"daily": 0.98, "roomy": 0.45}
"""Case -> invested share of rotating weights: with the smaller one cash pays for every purchase without a sale."""


# ---- decisions: the same on every side -------------------------------------------------------------


def equal_weights(days: int, symbols: int) -> np.ndarray:
    """Weights decided at each close, float64[days, symbols]; NaN where nothing is decided."""
    weights = np.full((days, symbols), np.nan)
    weights[FIRST::EVERY] = 1.0 / symbols
    return weights


def rotating_weights(days: int, symbols: int, share: float) -> np.ndarray:
    """The weights of `benchmarks.engine.Rotating`, with the sum `share`: other ones at every close."""
    phase = np.arange(1, days + 1)[:, None]
    weights = 1.0 + 0.5 * np.sin(np.arange(symbols) * 1.7 + phase * 2.1)
    weights *= share / weights.sum(axis=1, keepdims=True)
    weights[:FIRST] = np.nan
    return weights


def weights_of(case: str, days: int, symbols: int) -> np.ndarray:
    """The weights of a case, float64[days, symbols]."""
    return rotating_weights(days, symbols, SHARE[case]) if case in SHARE else equal_weights(days, symbols)


# ---- quantd ----------------------------------------------------------------------------------------


def quantd(case: str, file: str) -> tuple[Run, Result]:
    from msgspec.structs import replace

    from benchmarks.engine import LIMITS, Rotating, market, shell, timeline
    from quantd.risk.limits.catalogue import override
    from quantd.strategies.policies import POLICIES
    from quantd.trading.events import Tick

    class Roomy(Rotating):
        """The weights of `Rotating` with a smaller sum."""

        def act(self, view: Any, memory: Any) -> tuple[np.ndarray, Any]:
            weights, memory = super().act(view, memory)
            return weights * (SHARE["roomy"] / SHARE["daily"]), memory

    class Quiet:
        """Buys once, and then targets its current weight."""

        lookback = 2

        def act(self, view: Any, memory: Any) -> tuple[np.ndarray, Any]:
            return view.weights if view.weights.any() else np.array([WEIGHT]), memory

    class Crossing:
        """Holds the symbol while the short moving average is above the long one."""

        lookback = SLOW

        def act(self, view: Any, memory: Any) -> tuple[np.ndarray, Any]:
            prices = np.cumprod(1.0 + view.returns(SLOW)[:, 0])
            above = prices[-FAST:].mean() > prices.mean()
            if above == view.weights.any():
                return view.weights, memory
            return np.array([WEIGHT if above else 0.0]), memory

    three = [
        POLICIES["equal_weight"]({}),
        POLICIES["inverse_volatility"]({"lookback": 63}),
        POLICIES["momentum"]({"lookback": 126}),
    ]
    policies, every = {
        "monthly": ([POLICIES["equal_weight"]({})], EVERY),
        "daily": ([Rotating()], 1),
        "roomy": ([Roomy()], 1),
        "three": (three, 1),
        "quiet": ([Quiet()], 1),
        "crossing": ([Crossing()], 1),
    }[case]
    days, symbols = np.load(file)["close"].shape
    block, universe, sessions = market(symbols, days)
    first = block.ts_event[FIRST]
    items = [
        replace(item, due=()) if isinstance(item, Tick) and item.ts < first else item
        for item in timeline(block, every, len(policies))
    ]
    # one symbol may be the whole book: no other side has a limit of a position
    limits = LIMITS if symbols > 1 else override(LIMITS, max_position_weight=1.0)
    body = shell(universe, sessions, policies, True, limits)

    def run() -> Any:
        if hasattr(body, "take_all"):
            for at in range(0, len(items), 512):  # as in `quantd backtest`
                body.take_all(items[at : at + 512])
            return body
        for item in items:  # an older checkout
            body.take(item)
        return body

    return run, lambda body: (body.tally.orders, body.state.equity_micro / 1e6)


def engine() -> str:
    """How the engine runs."""
    try:
        from quantd.engine_build.state import label
    except ImportError:  # an older checkout
        return "no build"
    return label()


# ---- peers -----------------------------------------------------------------------------------------


def frames(file: str) -> dict[str, Any]:
    import pandas as pd

    bars = np.load(file)
    index = pd.DatetimeIndex(bars["ts"].astype("datetime64[ns]"))
    names = [f"S{k:03d}" for k in range(bars["close"].shape[1])]
    return {name: pd.DataFrame(bars[name], index=index, columns=names) for name in ("open", "high", "low", "close")}


def bt(case: str, file: str) -> tuple[Run, Result]:
    """bt decides on a row and trades at its price: it gets the opens, and each decision one row later."""
    import bt as library
    import pandas as pd

    prices = frames(file)["open"]
    weights = pd.DataFrame(weights_of(case, *prices.shape), index=prices.index, columns=prices.columns)
    target = weights.shift(1).dropna()
    strategy = library.Strategy("peer", [library.algos.WeighTarget(target), library.algos.Rebalance()])
    test = library.Backtest(
        strategy, prices, initial_capital=CASH, commissions=lambda q, p: abs(q) * p * COST, integer_positions=True,
        progress_bar=False,
    )  # fmt: skip

    def run() -> Any:
        test.run()
        return test

    return run, lambda test: (len(test.strategy.get_transactions()), float(test.strategy.values.iloc[-1]))


def vectorbt(case: str, file: str) -> tuple[Run, Result]:
    import vectorbt as library

    table = frames(file)
    close = table["close"]
    weights = weights_of(case, *close.shape)
    size = np.vstack((np.full((1, close.shape[1]), np.nan), weights[:-1]))

    def run() -> Any:
        return library.Portfolio.from_orders(
            close, size=size, size_type="targetpercent", price=table["open"], val_price=table["open"], fees=1e-4,
            slippage=1e-4, init_cash=CASH, cash_sharing=True, group_by=True, call_seq="auto", size_granularity=1.0,
            freq="1D",
        )  # fmt: skip

    return run, lambda portfolio: (len(portfolio.order_records), float(portfolio.value().iloc[-1]))


def nautilus(case: str, file: str) -> tuple[Run, Result]:
    """nautilus_trader fills a market order at the close it was decided on, with one commission of 2 bp."""
    from decimal import Decimal

    from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
    from nautilus_trader.config import LoggingConfig, StrategyConfig
    from nautilus_trader.model.currencies import USD
    from nautilus_trader.model.data import Bar, BarType
    from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
    from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
    from nautilus_trader.model.instruments import Equity
    from nautilus_trader.model.objects import Money, Price, Quantity
    from nautilus_trader.trading.strategy import Strategy

    venue = Venue("SIM")
    name = InstrumentId(Symbol("S000"), venue)
    equity = Equity(
        instrument_id=name, raw_symbol=Symbol("S000"), currency=USD, price_precision=2,
        price_increment=Price.from_str("0.01"), lot_size=Quantity.from_int(1), ts_event=0, ts_init=0,
        maker_fee=Decimal(str(COST)), taker_fee=Decimal(str(COST)),
    )  # fmt: skip
    kind = BarType.from_str("S000.SIM-1-DAY-LAST-EXTERNAL")
    bars = np.load(file)
    columns = (bars[field][:, 0].tolist() for field in ("open", "high", "low", "close"))
    data = [
        Bar(kind, *(Price(value, 2) for value in values), Quantity.from_int(10_000_000), ts, ts)
        for ts, *values in zip(bars["ts"].tolist(), *columns, strict=True)
    ]

    class Peer(Strategy):  # type: ignore[misc]
        def on_start(self) -> None:
            self.window: list[float] = []
            self.bars = 0
            self.lots = 0
            self.subscribe_bars(kind)

        def weight(self, close: float) -> float | None:
            """The target weight; None to hold."""
            self.bars += 1
            self.window.append(close)
            del self.window[:-SLOW]
            if self.bars <= FIRST:
                return None
            if case == "quiet":
                return None if self.lots else WEIGHT
            above = sum(self.window[-FAST:]) / FAST > sum(self.window) / SLOW
            return WEIGHT if above else 0.0

        def on_bar(self, bar: Any) -> None:
            close = float(bar.close)
            weight = self.weight(close)
            if weight is None or (case == "crossing" and (weight > 0.0) == (self.lots > 0)):
                return
            account = self.portfolio.account(venue)
            lots = int(float(account.balance_total(USD)) * weight / close) if weight else 0
            change, self.lots = lots - self.lots, lots
            side = OrderSide.BUY if change > 0 else OrderSide.SELL
            self.submit_order(self.order_factory.market(name, side, Quantity.from_int(abs(change))))

    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True), run_analysis=False))
    engine.add_venue(
        venue, oms_type=OmsType.NETTING, account_type=AccountType.CASH, base_currency=USD,
        starting_balances=[Money(CASH, USD)],
    )  # fmt: skip
    engine.add_instrument(equity)
    engine.add_data(data)
    engine.add_strategy(Peer(StrategyConfig(strategy_id="peer-1")))
    last = float(bars["close"][-1, 0])

    def run() -> Any:
        engine.run()
        return engine

    def result(engine: Any) -> tuple[int, float]:
        cash = float(engine.portfolio.account(venue).balance_total(USD))
        position = float(engine.portfolio.net_position(name))
        figures = engine.cache.orders_total_count(), cash + position * last
        engine.dispose()
        return figures

    return run, result


def backtesting(case: str, file: str) -> tuple[Run, Result]:
    from backtesting import Backtest, Strategy

    table = frames(file)
    bars = table["close"].rename(columns={"S000": "Close"})
    bars = bars.assign(Volume=1e7, **{field.title(): table[field]["S000"] for field in ("open", "high", "low")})

    def mean(values: Any, length: int) -> Any:
        return np.convolve(values, np.ones(length) / length)[: len(values)]

    class Peer(Strategy):  # type: ignore[misc]
        def init(self) -> None:
            if case == "crossing":
                self.fast, self.slow = (self.I(mean, self.data.Close, length, plot=False) for length in (FAST, SLOW))

        def next(self) -> None:
            if len(self.data) <= FIRST:
                return
            if case == "quiet":
                if not self.position:
                    self.buy(size=WEIGHT)
            else:
                above = self.fast[-1] > self.slow[-1]
                if above and not self.position:
                    self.buy(size=WEIGHT)
                elif not above and self.position:
                    self.position.close()

    test = Backtest(bars, Peer, cash=CASH, commission=COST, finalize_trades=True)
    return test.run, lambda stats: (int(stats["# Trades"]) * 2, float(stats["Equity Final [$]"]))


SIDES = {"quantd": quantd, "bt": bt, "vectorbt": vectorbt, "nautilus_trader": nautilus, "backtesting.py": backtesting}


def main() -> None:
    side = sys.argv[1]
    word = ""
    if side == "quantd":
        word = engine()
    answers = sys.stdout
    sys.stdout = sys.stderr  # what a library prints is no answer
    print(json.dumps({"ready": word}), file=answers, flush=True)
    for line in sys.stdin:
        case, bars = line.split()
        run, result = SIDES[side](case, bars)
        gc.collect()
        gc.freeze()
        began = time.process_time()
        output = run()
        took = time.process_time() - began
        gc.unfreeze()
        orders, equity = result(output)
        print(json.dumps({"seconds": took, "orders": orders, "equity": equity}), file=answers, flush=True)


if __name__ == "__main__":
    main()
