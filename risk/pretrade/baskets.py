"""Order baskets from verdicts of the risk gate: the only place that builds orders."""

from collections.abc import Sequence
from math import floor

import numpy as np

from quantd.risk.limits.case import Account
from quantd.risk.limits.catalogue import Limits
from quantd.risk.limits.context import Context, Floats
from quantd.risk.limits.ruleset import rules_of
from quantd.risk.pretrade.gate import Verdict
from quantd.trading.number_types import read_floats, read_ints
from quantd.trading.orders import Kind, OrderBasket


def worst_nano(ctx: Context, lots: Floats, limits: Limits, held: Floats | None = None) -> list[int]:
    """Return the marketable limit price of each order in `lots` (float64[N] signed), exact in nano-currency; 0 without
    lots.

    The price is mark x (1 + collar) for a buy, rounded down to the tick, and mark x (1 - collar) for a sell, rounded
    up. `held` are the account's lots: orders that reduce them have the collar `reduce_collar`, at a stale price at most
    `flatten_collar`.
    """
    against = np.zeros(len(lots)) if held is None else held
    marks, age = read_ints(ctx.prices_nano), read_ints(ctx.age_ns)
    return rules_of(limits, ctx.universe).collars.prices(read_floats(lots), read_floats(against), marks, age)


def basket_of_columns(
    sample: int, n: int, ts: int, columns: Sequence[list[int]], values: dict[str, tuple[float, float]],
    kind: Kind = Kind.LIMIT, cause: str = "",
) -> OrderBasket:  # fmt: skip
    """Return the orders of one `kind` that have passed through the risk gate.

    `sample` is the time (ns UTC) of the sample behind the decision, and `ts` the present time (ns UTC). `sample` and
    the integer `n` together identify the basket. `columns` are the lists of symbols (columns of the universe), signed
    lots, worst prices (nano-currency), expiries (ns UTC) and reason codes; the basket takes them without a copy.
    `values` are the recorded values of the verdict's limits, empty where no log reads them. `cause` is the id of the
    proposal that the orders carry out.
    """
    sym, lots, worst, end, reason = columns
    kinds = [] if kind == Kind.LIMIT else [int(kind)] * len(sym)
    return OrderBasket(sample, n, ts, sym, lots, worst, end, reason, values, kinds, cause=cause)


def stop_basket(
    verdict: Verdict,
    ctx: Context,
    account: Account,
    limits: Limits,
    lots: Floats,
    stops: Sequence[int],
    *,
    sample: int,
    n: int,
    ts: int,
) -> OrderBasket | None:
    """Return the lots of a verdict (`lots` float64[N] signed) as stop orders, good till cancelled; None without any.

    `stops` are trigger prices by column, nano-currency, rounded to the tick towards the market. The worst price of each
    order is `reduce_collar` beyond the trigger. Columns that do not reduce a position, or whose lots did not all pass,
    are omitted. `sample` is the time (ns UTC) of the sample behind the decision, and `n` the number of the basket.
    """
    # all lots passed, on the side that was asked for, and they reduce the position
    passed_whole = (np.abs(lots) <= np.abs(verdict.lots)) & (lots * verdict.lots > 0.0) & (lots * account.lots < 0.0)
    collar = rules_of(limits, ctx.universe).collars.reducing
    sym, trigger, worst = [], [], []
    for k in passed_whole.nonzero()[0].tolist():
        tick, buys = ctx.universe.instruments[k].tick_nano, lots[k] > 0.0
        trigger_nano = stops[k] // tick * tick if buys else -(-stops[k] // tick) * tick
        limit = collar.price(k, bool(buys), trigger_nano)
        if trigger_nano > 0 and limit > 0:
            sym.append(k)
            trigger.append(trigger_nano)
            worst.append(limit)
    if not sym:
        return None
    return OrderBasket(
        sample=sample,
        n=n,
        ts=ts,
        sym=sym,
        lots=[floor(lots[k]) for k in sym],
        worst_nano=worst,
        end=[0] * len(sym),
        values=verdict.recorded,
        kind=[int(Kind.STOP)] * len(sym),
        stop_nano=trigger,
    )
