"""The short way through the gate: a book that holds nothing short, has nothing open and sells nothing short.

It passes a basket that keeps every limit whole, or cut by one linear limit, in about twenty operations; of
anything else it says nothing, and the long way decides. What it passes is what the long way passes.
"""

from math import isfinite, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from risk.case import SLACK, Account
from risk.context import Bools, Context, Floats, Scenarios
from risk.limits import Correlation, Reason
from risk.measures import tail_count
from risk.pairs import joint_bound
from risk.rules import Rules

Codes = NDArray[np.int8]


class Ready(NamedTuple):
    """What a set of limits needs of one context: that nothing is missing in it, and its scenarios by lookback."""

    scenarios: dict[int, Scenarios]
    linked: Bools | None
    """bool[N, N], which instruments move together when both are held; None where none do."""
    links_known: bool


def ready(ctx: Context, rules: Rules) -> Ready | None:
    """Made once per context and set of limits; None where a price, a return or a tick is missing or old."""
    key = id(rules)
    if key not in ctx.ready:
        # an entry holds its rules, so that their id cannot come to mean others
        ctx.ready[key] = rules, _ready(ctx, rules)
    found: Ready | None = ctx.ready[key][1]
    return found


def _ready(ctx: Context, rules: Rules) -> Ready | None:
    limits, spec = rules.limits, rules.limits.correlation
    if not (ctx.all_priced and ctx.youngest_ns >= 0 and ctx.oldest_ns <= limits.max_price_age_ns):
        return None
    for collar in (limits.collar, limits.reduce_collar):
        if ctx.off_grid(collar, rules.ticks, rules.widest_tick) is not None:
            return None
    whole = ctx.whole(rules.lookbacks, limits.min_history)
    if whole is None:
        return None
    if spec is None:
        return Ready(whole, None, True)
    scenarios = whole[spec.lookback]
    if not scenarios.small():
        return Ready(whole, None, False)
    links = scenarios.linked(spec.threshold)
    return Ready(whole, None if links is None else links[rules.size :, rules.size :], True)


def plain(ctx: Context, account: Account, asked: Floats, rules: Rules, reason: Codes) -> Floats | None:
    """float64[N] signed lots that pass, and the limit that cut them in `reason`; None: ask the long way."""
    if not (rules.plain and account.up is None and account.down is None and account.equity > 0.0):
        return None
    if account.up_cash or account.open_loss is not None or account.repeated is not None or account.blocked is not None:
        return None
    px, held = ctx.px, account.lots
    wanted = np.trunc(asked)
    after = held + wanted
    # an order that crosses zero or goes short leaves something below it
    if not (min(held.tolist()) >= 0.0 and min(after.tolist()) >= 0.0):
        return None
    value = wanted * px
    bought = np.maximum(value, 0.0)
    buys, total = sum(bought.tolist()), sum(value.tolist())
    worth = held * px
    long = worth + bought
    exposure = sum(worth.tolist())
    # a sum with anything that is not finite is not
    if not isfinite(account.cash + account.equity + account.traded + buys + total + exposure):
        return None
    # what only reduces needs no scenarios
    market = ready(ctx, rules) if buys > 0.0 else None
    if market is None or (rules.counts and not _few(rules, account, bought)):
        return None
    tolerance = SLACK * account.equity
    sales = buys - total
    equity = account.equity - sales * rules.covered_slip
    low = equity - buys * rules.paid_slip
    if not (low >= 0.0 and _names_keep(ctx, rules, market, wanted, bought, long, low, tolerance)):
        return None
    if not _scenarios_keep(rules, market, long, value, low, tolerance):
        return None
    cut = _rows_factor(rules, account, (exposure, sales + account.traded), buys, equity, low, tolerance)
    if cut is None:
        return None
    factor, code = cut
    if factor >= 1.0 - SLACK:
        return wanted
    kept = np.floor(wanted * (factor * (1.0 + SLACK)) + SLACK)
    adding = wanted > 0.0
    reason[(kept < wanted) & adding] = code
    return np.where(adding, kept, wanted)


def _few(rules: Rules, account: Account, bought: Floats) -> bool:
    """Whether so many orders may be open, and may be sent."""
    limits, count = rules.limits, int(np.count_nonzero(bought))
    if limits.max_open_orders is not None and not account.open_orders + count <= limits.max_open_orders:
        return False
    return limits.order_rate is None or account.recent_orders + count <= limits.order_rate.orders


def _names_keep(
    ctx: Context, rules: Rules, market: Ready, wanted: Floats, bought: Floats, long: Floats, low: float, near: float
) -> bool:
    """Whether every limit of a name, a pair or a sector is kept, with equity as low as the basket can make it."""
    limits, spec = rules.limits, rules.limits.correlation
    if rules.weight is not None and not max(long.tolist()) <= rules.weight * low + near:
        return False
    if spec is not None and not _pairs_keep(spec, market, long, low, near):
        return False
    if rules.members is not None:
        room = rules.member_bounds * low - rules.members.dot(long)
        if not min(room.tolist()) >= -near:
            return False
    most = limits.max_order_notional
    if most is not None and not max(bought.tolist()) * (1.0 + limits.collar) <= most:
        return False
    return not rules.weighs_volume or _volumes_keep(ctx, rules, wanted, long)


def _volumes_keep(ctx: Context, rules: Rules, wanted: Floats, long: Floats) -> bool:
    """Whether orders are small beside the volume, and positions that are added to can be sold in time."""
    limits = rules.limits
    if not ctx.volumes_known:
        return False
    share, spec = limits.max_share_of_volume, limits.liquidity
    if share is not None and np.count_nonzero(wanted > share * ctx.volume_lots):
        return False
    if spec is None:
        return True
    slow = long > spec.days * spec.participation * ctx.volume_lots * ctx.px
    return not np.count_nonzero(slow & (wanted > 0.0))


def _pairs_keep(spec: Correlation, market: Ready, long: Floats, low: float, near: float) -> bool:
    """Whether no two that move together, both above the least weight, weigh more than they may together."""
    joint = joint_bound(spec) * low + near
    # no two together weigh more than the heaviest twice
    if (market.links_known and market.linked is None) or 2.0 * max(long.tolist()) <= joint:
        return True
    if market.linked is None:
        return False
    heavy = (long > spec.min_weight * low + near).nonzero()[0]
    weight = long[heavy]
    beyond = market.linked[heavy[:, None], heavy] & (np.add.outer(weight, weight) > joint)
    return not np.count_nonzero(beyond)


def _scenarios_keep(rules: Rules, market: Ready, long: Floats, value: Floats, low: float, near: float) -> bool:
    """Whether tails and forms are kept with each symbol at its own worst: bought, not sold, or held as it is."""
    n = rules.size
    for quad in rules.quads:
        most = quad.bound / sqrt(quad.scale) * low + near
        if quad.matrices is None or quad.deviation is None:
            if not float(long.dot(long)) <= most * most:
                return False
            continue
        scenarios = market.scenarios[quad.lookback]
        # no correlation can make it more than the sum of deviations
        if float(quad.deviation(scenarios)[n:].dot(long)) <= most:
            continue
        if not float(long.dot(quad.matrices(scenarios)[0].dot(long))) <= most * most:
            return False
    if not rules.tails:
        return True
    moved = np.abs(value)
    lookback = confidence = 0.0
    for limit in rules.tails:
        # several limits in a row look at the same tail
        if limit.lookback != lookback or limit.confidence != confidence:
            lookback, confidence = limit.lookback, limit.confidence
            losses = market.scenarios[limit.lookback].losses_of(long, moved)
            rank = len(losses) - tail_count(len(losses), confidence)
            losses.partition(rank)
            tail = losses[rank:]
        if not float(limit.measure(tail)) <= limit.bound / limit.scale * low + near:
            return False
    return True


def _rows_factor(
    rules: Rules, account: Account, used: tuple[float, float], buys: float, equity: float, low: float, near: float
) -> tuple[float, Reason] | None:
    """The factor on the purchases that keeps what is linear, and whose it is; None where one is breached already.

    `used` is what is used without them: exposure, turnover. `equity` before them, `low` after.
    """
    factor, code = 1.0, Reason.NONE
    everything = (*used, rules.limits.cash_reserve * account.equity - account.cash)
    for kind, reason, bound, per_buy in rules.long_rows:
        held, need = everything[kind], per_buy * buys
        if held + need <= bound * low + near:
            continue
        if not held <= bound * account.equity + near:
            return None
        fraction = (bound * equity + near - held) / (need + bound * (equity - low))
        if not fraction >= 0.0:
            fraction = 0.0
        if fraction < factor:
            factor, code = fraction, reason
    return factor, code
