"""The short way through the gate: a basket in which no order crosses zero.

It passes a basket that keeps every limit whole, or of a book without shorts cut by one linear limit, in a few dozen
operations; of anything else it says nothing, and the long way decides. What it passes is what the long way passes.
"""

from math import inf, isfinite, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantd.risk.limits.case import SLACK, Account
from quantd.risk.limits.catalogue import Correlation, Reason
from quantd.risk.limits.context import Bools, Context, Floats, Scenarios
from quantd.risk.limits.ruleset import Rules
from quantd.risk.measures.portfolio import least, most, total
from quantd.risk.pairs import joint_bound

Codes = NDArray[np.int8]


class Ready(NamedTuple):
    """What a set of limits needs of one context: that nothing is missing in it, and its scenarios by lookback."""

    scenarios: dict[int, Scenarios]
    order_value: float
    """Value of an order that no share of volume refuses; NaN where a volume is unknown."""
    position_value: float
    """Value of a position that can be sold in time, whatever it is of."""


def ready(ctx: Context, rules: Rules) -> Ready | None:
    """Made once per context and set of limits; None where a price, a return or a tick is missing or old."""
    key = id(rules)
    if key not in ctx.ready:
        # an entry holds its rules, so that their id cannot come to mean others
        ctx.ready[key] = rules, _ready(ctx, rules)
    found: Ready | None = ctx.ready[key][1]
    return found


def _ready(ctx: Context, rules: Rules) -> Ready | None:
    limits = rules.limits
    if not (ctx.all_priced and ctx.youngest_ns >= 0 and ctx.oldest_ns <= limits.max_price_age_ns):
        return None
    for collar in (limits.collar, limits.reduce_collar):
        if ctx.off_grid(collar, rules.ticks, rules.widest_tick) is not None:
            return None
    whole = ctx.whole(rules.lookbacks, limits.min_history)
    if whole is None:
        return None
    if not rules.weighs_volume:
        return Ready(whole, inf, inf)
    if not ctx.volumes_known:
        return None
    thinnest = least(ctx.volume_lots * ctx.px)
    share, spec = limits.max_share_of_volume, limits.liquidity
    return Ready(
        whole,
        inf if share is None else share * thinnest,
        inf if spec is None else spec.days * spec.participation * thinnest,
    )


class Basket:
    """What fills can make of a book and of a basket in which no order crosses zero, in currency.

    `adding` and `moved` float64[N] are the sizes of the orders that add, and of everything that may fill; `high`
    float64[N] every position at its highest, `long` and `short` its size on either side at its largest (`short` None
    for a book without), `size` both.
    """

    __slots__ = (
        "adding", "adds", "before", "buys", "cash_used", "equity", "heaviest", "high", "long", "low", "moved", "near",
        "short", "size", "traded", "used", "wanted",
    )  # fmt: skip

    def __init__(self, ctx: Context, account: Account, rules: Rules, wanted: Floats, sided: bool) -> None:
        px, up, down = ctx.px, account.up, account.down
        value = wanted * px
        worth = account.lots * px
        self.wanted = wanted
        opened = closed = 0.0
        risen = fallen = None
        if up is not None:
            risen = up * px
            opened = total(risen)
        if down is not None:
            fallen = down * px
            closed = total(fallen)
        if sided:
            covers, sales = self._sides(value, worth, risen, fallen)
        else:
            covers, sales = self._long_only(value, worth, risen, fallen)
        up_loss = max(opened * rules.paid_slip, account.up_cash - opened)
        loss = account.open_loss
        if loss is None:
            loss = up_loss + closed * (max(rules.limits.collar, rules.limits.reduce_collar) + rules.fee)
        self.before = account.equity + account.open_gain
        """Equity by which a limit is breached already."""
        self.equity = account.equity - loss - (covers + sales) * rules.covered_slip
        """At its lowest before the orders that add; `low` after them."""
        self.low = self.equity - self.adds * rules.paid_slip
        self.near = SLACK * account.equity
        self.traded = account.traded + opened + closed + covers + sales
        self.cash_used = account.up_cash + rules.limits.cash_reserve * account.equity - account.cash
        self.cash_used += covers * (1.0 + rules.covered_slip)

    def _long_only(
        self, value: Floats, worth: Floats, risen: Floats | None, fallen: Floats | None
    ) -> tuple[float, float]:
        """Values of the orders that cover a short (none here) and that sell what is held."""
        self.adding = np.maximum(value, 0.0)
        self.moved = np.abs(value)
        self.buys = self.adds = total(self.adding)
        sales = total(self.moved) - self.buys
        if risen is not None:
            worth, self.moved = worth + risen, self.moved + risen
        if fallen is not None:
            self.moved = self.moved + fallen
        self.used = total(worth)
        """Exposure without the orders that add."""
        self.high = self.long = self.size = worth + self.adding
        self.short: Floats | None = None
        self.heaviest = most(self.long)
        return 0.0, sales

    def _sides(self, value: Floats, worth: Floats, risen: Floats | None, fallen: Floats | None) -> tuple[float, float]:
        reducing = np.where(value * worth < 0.0, value, 0.0)
        adding = value - reducing
        covered = np.maximum(reducing, 0.0)
        sold = covered - reducing
        bought = np.maximum(adding, 0.0)
        shorted = bought - adding
        high, low = worth + covered, worth - sold
        if risen is not None:
            high = high + risen
        if fallen is not None:
            low = low - fallen
        self.adding = bought + shorted
        self.high = high + bought
        self.moved = high - low + self.adding
        self.long = np.maximum(high, 0.0) + bought
        self.short = np.maximum(-low, 0.0) + shorted
        self.size = self.long + self.short
        self.buys, self.adds = total(bought), total(self.adding)
        self.used = 0.0
        self.heaviest = max(most(self.long), most(self.short))
        return total(covered), total(sold)

    def sound(self) -> bool:
        """Whether it adds something, leaves equity, and is finite: a sum with anything that is not finite is not."""
        numbers = (self.low, self.before, self.used, self.traded, self.cash_used, total(self.size))
        return self.adds > 0.0 and self.low >= 0.0 and isfinite(sum(numbers))


def _crosses(account: Account, wanted: Floats) -> bool:
    """Whether an order, with all that may fill before it, could take a position through zero."""
    return bool(np.count_nonzero((np.abs(wanted) > account.closable()) & (wanted * account.lots < 0.0)))


def plain(ctx: Context, account: Account, asked: Floats, rules: Rules, reason: Codes) -> Floats | None:
    """float64[N] signed lots that pass, and the limit that cut them in `reason`; None: ask the long way."""
    if not (rules.plain and account.equity > 0.0 and account.repeated is None and account.blocked is None):
        return None
    wanted = np.trunc(asked)
    # a purchase may be the last to fill: what an open sale takes must be held without it
    left = account.lots + np.minimum(wanted, 0.0)
    if account.down is not None:
        left -= account.down
    sided = not least(left) >= 0.0
    if sided:
        if not rules.limits.allow_short or _crosses(account, wanted):
            return None
    elif not most(wanted) > 0.0:
        # what only reduces needs no scenarios
        return None
    market = ready(ctx, rules)
    if market is None:
        return None
    basket = Basket(ctx, account, rules, wanted, sided)
    if not (basket.sound() and _keeps(ctx, account, rules, market, basket)):
        return None
    if basket.short is not None:
        return wanted if _rows_keep(rules, basket, basket.short) else None
    cut = _rows_factor(rules, basket)
    if cut is None:
        return None
    factor, code = cut
    if code == Reason.NONE:
        return wanted
    # sales stay as they are: what is rounded down from less of them is never more
    kept = np.minimum(wanted, np.floor(wanted * factor))
    reason[kept < wanted] = code
    return kept


def _keeps(ctx: Context, account: Account, rules: Rules, market: Ready, basket: Basket) -> bool:
    """Whether every limit that one linear factor cannot mend is kept."""
    return (
        _few(rules, account, basket)
        and (not rules.weighs_volume or _volumes_keep(ctx, account, rules, market, basket))
        and _names_keep(rules, market, basket)
        and _scenarios_keep(rules, market, basket)
    )


def _few(rules: Rules, account: Account, basket: Basket) -> bool:
    """Whether so many orders may be open, and may be sent."""
    if not rules.counts:
        return True
    sent = int(np.count_nonzero(basket.wanted))
    return all(count.used(account) + sent <= count.most for count in rules.counts)


def _volumes_keep(ctx: Context, account: Account, rules: Rules, market: Ready, basket: Basket) -> bool:
    """Whether orders are small beside the volume, and positions that are added to can be sold in time."""
    # an order and what is open before it are within what is held or moved by them
    if basket.heaviest <= market.position_value and most(basket.moved) <= market.order_value:
        return True
    if basket.short is not None:
        return False
    share, spec, wanted, volume = (
        rules.limits.max_share_of_volume,
        rules.limits.liquidity,
        basket.wanted,
        ctx.volume_lots,
    )
    if share is not None:
        room = share * volume
        for side in (account.up, account.down):
            if side is not None:
                room = room - side
        if np.count_nonzero(wanted > np.maximum(room, 0.0)):
            return False
    if spec is None:
        return True
    slow = basket.long > spec.days * spec.participation * volume * ctx.px
    return not np.count_nonzero(slow & (wanted > 0.0))


def _names_keep(rules: Rules, market: Ready, basket: Basket) -> bool:
    """Whether every limit of a name, a pair or a family is kept, with equity as low as the basket can make it."""
    limits, spec, low, near = rules.limits, rules.limits.correlation, basket.low, basket.near
    if rules.weight is not None and not basket.heaviest <= rules.weight * low + near:
        return False
    notional = limits.max_order_notional
    if notional is not None and not most(basket.adding) * (1.0 + limits.collar) <= notional:
        return False
    for family in rules.families:
        # both sides of a symbol are at most twice the heaviest side
        if 2.0 * family.largest * basket.heaviest <= family.bound * low:
            continue
        if not most(family.sums(basket.size)[1:]) <= family.bound * low + near:
            return False
    # no two together weigh more than the heaviest twice
    if spec is None or 2.0 * basket.heaviest <= joint_bound(spec) * low:
        return True
    return basket.short is None and _pairs_keep(spec, market.scenarios[spec.lookback], basket.long, low, near)


def _pairs_keep(spec: Correlation, scenarios: Scenarios, long: Floats, low: float, near: float) -> bool:
    """Whether no two that move together, both above the least weight, weigh more than they may together."""
    if not scenarios.sample.small():
        return False
    links = scenarios.sample.linked(spec.threshold)
    if links is None:
        return True
    heavy = (long > spec.min_weight * low + near).nonzero()[0]
    weight = long[heavy]
    linked: Bools = links[heavy[:, None], heavy]
    beyond = linked & (np.add.outer(weight, weight) > joint_bound(spec) * low + near)
    return not np.count_nonzero(beyond)


def _scenarios_keep(rules: Rules, market: Ready, basket: Basket) -> bool:
    """Whether tails and forms are kept with each symbol at its own worst: bought, not sold, or held as it is."""
    long, short, size, low, near = basket.long, basket.short, basket.size, basket.low, basket.near
    for quad in rules.quads:
        bound = quad.bound / sqrt(quad.scale) * low + near
        if quad.spread is None:
            squares = float(long.dot(long)) + (0.0 if short is None else float(short.dot(short)))
            if not squares <= bound * bound:
                return False
            continue
        spread = quad.spread(market.scenarios[quad.lookback])
        # no correlation can make it more than the sum of deviations
        if float(spread.deviation().dot(size)) <= bound:
            continue
        if short is not None or not float(long.dot(spread.together.dot(long))) <= bound * bound:
            return False
    seen, tail = None, size
    for limit in rules.tails:
        scenarios, m = limit.of(market.scenarios)
        bound = limit.bound / limit.scale * low
        # no book of these exposures can lose more
        if float(scenarios.reach(m).dot(size)) <= bound:
            continue
        # several limits in a row look at the same tail
        if seen != (id(scenarios), m):
            seen = id(scenarios), m
            losses = scenarios.losses_of(basket.high, basket.moved)
            rank = len(losses) - m
            losses.partition(rank)
            tail = losses[rank:]
        if not float(limit.measure(tail)) <= bound + near:
            return False
    return True


def _rows_over(rules: Rules, basket: Basket) -> list[tuple[int, int, float, float]]:
    """What is linear and not kept with all purchases: `long_rows` of the rules."""
    low, near, buys = basket.low, basket.near, basket.buys
    used = (basket.used, basket.traded, basket.cash_used)
    return [row for row in rules.long_rows if not used[row[0]] + row[3] * buys <= row[2] * low + near]


def _rows_factor(rules: Rules, basket: Basket) -> tuple[float, int] | None:
    """The factor on the purchases that keeps what is linear, and whose it is; None where one is breached already."""
    factor, code = inf, int(Reason.NONE)
    for kind, reason, bound, per_buy in _rows_over(rules, basket):
        held, need = (basket.used, basket.traded, basket.cash_used)[kind], per_buy * basket.buys
        if not held <= bound * basket.before + basket.near:
            return None
        fraction = (bound * basket.equity + basket.near - held) / (need + bound * (basket.equity - basket.low))
        if fraction < factor:
            factor, code = max(fraction, 0.0), reason
    return factor, code


def _rows_keep(rules: Rules, basket: Basket, short: Floats) -> bool:
    """Whether everything linear is kept by a book with shorts."""
    borrowed, long = total(short), total(basket.long)
    high = total(basket.high)
    fee = 1.0 + rules.paid_slip
    values = (
        long + borrowed,
        high,
        # every position at its lowest is its highest less all that moves
        total(basket.moved) - high,
        long,
        borrowed,
        basket.traded + basket.adds,
        basket.cash_used + basket.buys * fee,
    )
    return all(values[kind] <= bound * basket.low + basket.near for kind, bound in rules.sided_rows)
