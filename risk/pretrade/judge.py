"""The gate's decision, in closed form: the lots of each order with which the basket complies with every limit.

What can go wrong: one cut is computed at an equity that later cuts change. Fees and slippage lower equity, every bound
is a share of equity, and each accepted order lowers it. The steps of `Gate.judge` therefore have the following order,
which must not be changed.

- `split` separates reductions from the orders that add risk. It must come before `settle`, which counts the reductions
  as fills.
- `settle` makes the states of the book: one while orders are open and, if a limit is wider during that time, a second
  one after all fills.
- `cap` and `count` cut single orders, which needs no scenarios. Then `history` refuses symbols with too few returns.
- `shrink` cuts orders by the limit on pairs, scales all by one factor, and then checks weights and pairs once more. The
  first check of an order allowed only for its own costs; the second takes the equity that the whole basket leaves.

One factor, instead of a share for each order, keeps the result independent of the order of the symbols. All measures
grow with the lots, so that the smallest of the limits' factors complies with every limit.

If the present positions exceed a limit, the orders that add to it are capped and no others. If only open orders could
exceed a limit, each order that adds to it or lowers equity is refused (docs/decisions/009). Comparisons are written so
that NaN refuses.
"""

from quantd.risk.limits.case import SLACK
from quantd.risk.pretrade.forms import Forms
from quantd.risk.pretrade.gate_bounds import (
    BY_SIDE,
    CASH,
    MASK,
    NET,
    NOTIONAL,
    TRADED,
    VOLUME,
    WEIGHT,
    Bounds,
    Cap,
    Family,
    Row,
)
from quantd.risk.pretrade.loops import Loops
from quantd.risk.pretrade.pairs import Pairs
from quantd.risk.pretrade.scenes import TOO_FEW, UNKNOWN, Scene
from quantd.risk.pretrade.standing import Basket, Factor, Standing
from quantd.risk.pretrade.worst_losses import Tails
from quantd.trading.number_types import Floats, Ints, float_zeros, int_zeros


class Gate:
    """Decides which lots of a basket (the orders of one sample) pass, for books of `n` symbols, one basket after
    another.
    """

    n: int
    basket: Basket
    flight: Standing
    """The book at its worst while orders are open."""
    after: Standing
    """The book after all fills; used by rules with two states."""
    factor: Factor
    pairs: Pairs
    tails: Tails
    forms: Forms
    bounds: Bounds
    scene: Scene
    rooms: Floats
    """By limit on a number of orders: how many more it permits."""
    heavy: bool
    """Whether a position may weigh too much with its order."""
    order: Ints
    groups: Floats
    """Exposure of each group of a family."""

    def __init__(self, n: int, loops: Loops, counts: int) -> None:
        self.n, self.basket, self.factor = n, Basket(n), Factor(n)
        self.flight, self.after = Standing(self.basket, False), Standing(self.basket, True)
        self.pairs = Pairs(self.basket)
        self.tails, self.forms = Tails(self.basket, self.factor, loops), Forms(self.basket, self.factor, loops)
        self.rooms, self.order, self.groups = float_zeros(counts), int_zeros(n), float_zeros(n + 1)

    def judge(self, bounds: Bounds, scene: Scene, caps: list[Cap], run: bool) -> bool:
        """Decide the basket (the orders of one sample): `basket.size` and `basket.reduced` become the lots that pass,
        `basket.reason` the codes of the limits that reduced orders.

        Without `run` (the switch is not at RUN) only reducing orders pass. Returns False if the rows of returns depend
        on the symbols that still have orders: the caller then calls this method again, with a scene of these symbols.

        A scene is the market of one sample. `bounds.not_finite`, `bounds.equity` and the like are codes of reasons.
        """
        basket: Basket = self.basket
        self.bounds, self.scene, self.heavy = bounds, scene, False
        basket.px = scene.px
        basket.split(scene.barred, bounds.not_finite, bounds.zero_crossing)
        refusal: int = 0
        if not run:
            refusal = bounds.switched
        elif not basket.finite:
            refusal = bounds.not_finite
        elif not basket.equity > 0.0:
            refusal = bounds.equity
        if refusal != 0 or basket.adding == 0:
            basket.refuse(refusal)
            return True
        # the states below read `near` and remember `changes`: both are set before they begin
        basket.near, basket.changes = SLACK * basket.equity, 0
        self.pairs.begin(bounds, scene)
        self.tails.begin(bounds, scene)
        self.forms.begin(scene)
        self.settle()
        self.cap(caps)
        order_count: int = self.count()
        if order_count > 0:
            # only after the caps: the rows of returns depend on the orders that they leave
            if scene.rows == UNKNOWN:
                return False
            if scene.rows == TOO_FEW or scene.any_lacking:
                order_count = self.history()
        if order_count > 0:
            self.shrink()
        return True

    def settle(self) -> None:
        """Compute the book without the orders that add to positions, in each of its states (with open orders, and
        after all fills)."""
        self.flight.settle(self.bounds)
        if self.bounds.two_states:
            self.after.settle(self.bounds)

    def shrink(self) -> None:
        """Reduce the orders by the limits on pairs, then by the common factor, then by weights and pairs again at
        the equity after all orders.

        `flight` is the book while orders are open, `after` the book after all fills. In the last pass, `clip` (the
        limit on pairs) takes the equity that the whole basket leaves.
        """
        two_states: bool = self.bounds.two_states
        if self.bounds.pairs:
            self.pairs.clip(self.flight, False)
            if two_states:
                self.pairs.clip(self.after, False)
        self.scale()
        if self.heavy:
            self.weigh_again()
        if self.pairs.binding:
            self.pairs.clip(self.flight, True)
            if two_states:
                self.pairs.clip(self.after, True)
        if two_states:
            # last: any cut above may be of a short sale whose proceeds pay for a purchase
            self.settled_cash()

    def cap(self, caps: list[Cap]) -> None:
        """Apply the limits on single orders in their order. A mask refuses by side, `weigh` applies the weight limit,
        and `fit` the others. `basket.cap` reduces the lots of a symbol, with the code of the limit as reason."""
        basket: Basket = self.basket
        for cap_object in caps:
            cap: Cap = cap_object
            if cap.kind == MASK:
                for k in range(self.n):
                    # a mask has the reason code of a refused side, 0 for a permitted one
                    refusal_code: float = cap.buys[k] if basket.wish[k] > 0.0 else cap.sells[k]
                    if refusal_code > 0.0:
                        code: int = int(refusal_code)
                        basket.cap(k, 0.0, code)
            elif cap.kind == WEIGHT:
                self.weigh()
            else:
                self.fit(cap)

    def fit(self, cap: Cap) -> None:
        """Reduce each order to the lots that the limit `cap` still permits.

        Open orders and the position count against limits on positions, and not against limits on a single order.
        `basket.size` are unsigned lots of adding orders, `wish` the signed lots asked for, `lots` the positions, `up`
        and `down` the lots of open buys and sells. `cap.held`, `cap.same` and `cap.other` are 1.0 where the position
        and the open orders on the same or the other side count, else 0.0.
        """
        basket: Basket = self.basket
        px: Floats = basket.px
        volume: Floats = self.scene.volume
        kind: int = cap.kind
        bound: float = cap.most
        for k in range(self.n):
            size: float = basket.size[k]
            if size > 0.0:
                buys: bool = basket.wish[k] > 0.0
                most: float
                if kind == VOLUME:
                    most = bound * volume[k]
                elif kind == NOTIONAL:
                    most = bound / px[k]
                    if buys:
                        most /= cap.paid
                else:
                    most = cap.buys[k] if buys else cap.sells[k]
                if buys:
                    most -= cap.held * basket.lots[k] + cap.same * basket.up[k] + cap.other * basket.down[k]
                else:
                    most -= cap.same * basket.down[k] + cap.other * basket.up[k] - cap.held * basket.lots[k]
                if not size <= most:
                    basket.cap(k, most, cap.code)

    def weigh(self) -> None:
        """Reduce each order so that |position| <= weight x equity, where equity is reduced by the order's cost at its
        worst price. `flight` is the book while orders are open, `after` the book after all fills.
        """
        basket: Basket = self.basket
        bounds: Bounds = self.bounds
        heavy: bool = self.too_heavy(self.flight)
        if bounds.two_states and self.too_heavy(self.after):
            heavy = True
        if not heavy:
            return
        self.heavy = True
        for k in range(self.n):
            if basket.size[k] > 0.0:
                most: float = self.lots_of_weight(self.flight, k, self.flight.equity)
                if bounds.two_states:
                    settled_most: float = self.lots_of_weight(self.after, k, self.after.equity)
                    most = most if most <= settled_most else settled_most
                basket.cap(k, most, bounds.weight_code)

    def too_heavy(self, state: Standing) -> bool:
        """Whether a position could weigh too much in this state of the book."""
        state.reach()
        bound: float = self.bounds.weight * state.wider
        return not state.heaviest <= bound * state.equity_after + self.basket.near

    def lots_of_weight(self, state: Standing, k: int, equity: float) -> float:
        """Return the lots up to which the position in symbol `k` weighs at most its share of `equity`, where `equity`
        is reduced by the slippage of the order.
        """
        bound: float = self.bounds.weight * state.wider
        price: float = self.basket.px[k]
        exposure: float = state.longs[k] if self.basket.wish[k] > 0.0 else state.shorts[k]
        return (bound * equity + self.basket.near - exposure) / (price + bound * (state.slip * price))

    def weigh_again(self) -> None:
        """Check the weights of positions again, at the lowest equity that the whole basket leaves.

        `lots_of_weight` subtracts an order's own cost from the equity that it is given. That cost (`slip` x value) is
        therefore added first: `equity_after`, the equity after all orders, is already reduced by it.
        """
        basket: Basket = self.basket
        flight: Standing = self.flight
        after: Standing = self.after
        two_states: bool = self.bounds.two_states
        flight.reach()
        low_equity: float = flight.equity_after
        settled_equity: float = 0.0
        if two_states:
            after.reach()
            settled_equity = after.equity_after
        for k in range(self.n):
            size: float = basket.size[k]
            if size > 0.0:
                price: float = basket.px[k]
                most: float = self.lots_of_weight(flight, k, low_equity + flight.slip * price * size)
                if two_states:
                    settled_most: float = self.lots_of_weight(after, k, settled_equity + after.slip * price * size)
                    most = most if most <= settled_most else settled_most
                basket.cap(k, most, self.bounds.weight_code)

    def count(self) -> int:
        """Refuse the orders with the smallest notionals, so that each limit on a number of orders is met, reducing
        orders included. Returns how many adding orders remain.

        `rooms` has, by limit, how many more orders it permits. `changes` counts the cuts: results that were computed
        before the last cut are out of date.
        """
        basket: Basket = self.basket
        order_count: int = basket.left()
        for limit in range(len(self.bounds.counts)):
            room: float = self.rooms[limit] - basket.reductions
            if not room > 0.0:  # NaN leaves none
                room = 0.0
            if float(order_count) <= room:
                continue
            length: int = basket.by_value(self.order, self.bounds.names)
            permitted: int = int(room)
            for place in range(permitted, length):
                k: int = self.order[place]
                basket.size[k] = 0.0
                basket.reason[k] = self.bounds.counts[limit]
            basket.changes += 1
            order_count = permitted
        return order_count

    def history(self) -> int:
        """Refuse symbols with too few returns; all symbols are refused if such a symbol is held or the rows of returns
        are too few.

        `scene` is the market of the sample, and `lacking` is above 0 for a symbol with too few returns. Open orders
        count as held. Returns how many adding orders remain.
        """
        basket: Basket = self.basket
        scene: Scene = self.scene
        refused: bool = scene.rows == TOO_FEW
        if scene.any_lacking:
            for k in range(self.n):
                carried: bool = basket.lots[k] != 0.0 or basket.up[k] != 0.0 or basket.down[k] != 0.0
                if scene.lacking[k] > 0.0 and carried:
                    refused = True
        for k in range(self.n):
            if refused or (scene.any_lacking and scene.lacking[k] > 0.0):
                basket.cap(k, 0.0, self.bounds.history)
        return basket.left()

    def settled_cash(self) -> None:
        """Reduce buys to the cash after all fills. After all orders were scaled by the common factor, short sales may
        have been reduced further, and then bring less cash for the buys.

        `after` is the book after all fills: `more_long` and `more_short` are the values of its adding buys and sells,
        and `spent` is its cash in use without them, below 0 where cash is available. By unit of value, `settled_long`
        is what a buy uses and `settled_short`, below 0, what a sale brings. `near` is the tolerance for rounding.
        """
        basket: Basket = self.basket
        after: Standing = self.after
        row: Row = self.bounds.cash_row
        after.reach()
        spent: float = row.settled_long * after.more_long
        room: float = -after.spent - row.settled_short * after.more_short + basket.near
        if not room > 0.0:
            room = 0.0
        if spent <= room:
            return
        for k in range(self.n):
            if basket.size[k] > 0.0 and basket.wish[k] > 0.0:
                basket.cap(k, basket.size[k] * (room / spent), self.bounds.cash)

    def scale(self) -> None:
        """Scale all orders that add to positions by one factor: the smallest over linear limits (rows), limits by group
        (families), on tail losses and quadratic limits (forms). Lots are rounded down.

        If the present positions breach a limit, the orders that increase the limited exposure are capped, and no
        others. If only open orders could breach a limit, every order that lowers equity is refused.
        """
        basket: Basket = self.basket
        factor: Factor = self.factor
        while basket.left() > 0:
            factor.begin()
            # no breached limit caps single orders in either state of the book: the factor is valid
            if not (self.scale_in(self.flight) or (self.bounds.two_states and self.scale_in(self.after))):
                break
            # a limit is already breached and caps single orders. The factor so far is void: it was computed with lots
            # that are cut here. The loop ends, because lots only become fewer
            for k in range(self.n):
                basket.cap(k, factor.ceiling[k], factor.cap_code)
        else:
            # no order is left to scale
            return
        if factor.code != 0:
            for k in range(self.n):
                size: float = basket.size[k]
                scaled: float = basket.floor(size * factor.value)
                if scaled < size:
                    basket.reason[k] = factor.code
                    basket.size[k] = scaled
            basket.changes += 1

    def scale_in(self, state: Standing) -> bool:
        """Lower the common factor to what every limit permits in one state of the book. Returns True as soon as a
        breached limit caps single orders."""
        state.reach()
        for row in self.bounds.rows:
            if self.row(state, row):
                return True
        for family in self.bounds.families:
            if self.family(state, family):
                return True
        if self.tails.scale(state):
            return True
        for index in range(len(self.bounds.forms)):
            if self.forms.scale(state, self.bounds.forms[index], self.scene.spreads[index]):
                return True
        return False

    def row(self, state: Standing, row: Row) -> bool:
        """Lower the common factor to what a linear limit permits. Returns True if the limit is already breached, and so
        caps single orders.

        `exposure` is what counts against the limit before the adding orders and `added` what these add, both weighted
        with the limit's coefficients (`load`). The limit is exposure + added <= bound x equity.
        """
        basket: Basket = self.basket
        factor: Factor = self.factor
        settled: bool = state.settled
        tolerance: float = basket.near
        bound: float = row.settled_bound if settled else row.bound
        exposure: float = 0.0
        added: float = 0.0
        if row.kind == BY_SIDE or row.kind == NET:
            exposure = self.held(state, row)
        if row.by_symbol:
            for k in range(self.n):
                if basket.size[k] > 0.0:
                    added += row.load(settled, k, basket.wish[k] > 0.0) * (basket.size[k] * basket.px[k])
        else:
            # one coefficient for all symbols: that of the short side (False), then that of the long side (True)
            added = row.load(settled, 0, False) * state.more_short + row.load(settled, 0, True) * state.more_long
        if row.kind == TRADED:
            exposure = state.traded
        elif row.kind == CASH:
            exposure = state.spent
        if row.code == self.bounds.equity:
            exposure = self.names_equity(state)
        if exposure + added <= bound * state.equity_after + tolerance:
            return False
        if self.breached(state, row, bound):
            # every order that adds to the row is refused; for the row of equity every order, since each lowers equity
            factor.bar(row.code)
            for k in range(self.n):
                load: float = row.load(settled, k, basket.wish[k] > 0.0)
                if basket.size[k] > 0.0 and (load > 0.0 or row.code == self.bounds.equity):
                    factor.stop(k)
            return factor.capped
        # the orders lower equity, and so the bound
        added += bound * (state.equity - state.equity_after)
        if not added <= 0.0:  # NaN, where a value is beyond all floats, leaves none
            factor.take((bound * state.equity + tolerance - exposure) / added, row.code)
        return False

    def held(self, state: Standing, row: Row) -> float:
        """Return the largest exposure before the adding orders, for a linear limit by side or on net exposure.

        A symbol's exposure is from -`low` to `high`, over all fills of other orders; `shorts` and `longs` are
        the positive parts of `low` and `high`.
        """
        net: bool = row.kind == NET
        if not row.by_symbol:
            if net:
                return row.per_short * state.sum_low + row.per_long * state.sum_high
            return row.per_short * state.sum_short + row.per_long * state.sum_long
        exposure: float = 0.0
        for k in range(self.n):
            exposure += row.short_loads[k] * (state.low[k] if net else state.shorts[k])
        for k in range(self.n):
            exposure += row.long_loads[k] * (state.high[k] if net else state.longs[k])
        return exposure

    def breached(self, state: Standing, row: Row, bound: float) -> bool:
        """Whether a linear limit is already breached.

        Exposures by side count as they stand, without open orders: if only an open order could exceed the bound, the
        limit is not breached. Net exposure, cash and turnover count at their largest, because only orders on the same
        side add to them. `state.now` is the equity of the book as it stands, `state.before` the equity with the gains
        of open orders.
        """
        tolerance: float = self.basket.near
        sizes: float = 0.0
        one_sided: float = 0.0
        if row.kind == TRADED:
            one_sided = state.traded
        elif row.kind == CASH:
            one_sided = state.spent
        elif row.kind == NET:
            one_sided = self.held(state, row)
        elif row.kind == BY_SIDE:
            for k in range(self.n):
                position_value: float = state.stands(k)
                sizes += row.load(False, k, not position_value < 0.0) * (
                    -position_value if position_value < 0.0 else position_value
                )
        return not (sizes <= bound * state.now + tolerance and one_sided <= bound * state.before + tolerance)

    def names_equity(self, state: Standing) -> float:
        """Return the least equity at which existing weights and pairs comply with their limits at their largest
        exposures. `wider` is the factor by which bounds are wider in this state of the book."""
        least_equity: float = 0.0
        if self.heavy:
            # two bounds: a position that already exceeds the tighter one must still comply with the wider one
            least_equity = self.weight_equity(state, self.bounds.first_weight * state.wider, least_equity)
            least_equity = self.weight_equity(state, self.bounds.second_weight * state.wider, least_equity)
        if self.pairs.binding:
            pair_equity: float = self.pairs.equity(state)
            least_equity = least_equity if least_equity >= pair_equity else pair_equity
        return least_equity

    def weight_equity(self, state: Standing, bound: float, low: float) -> float:
        """Return the least equity, at least `low`, at which existing weights comply with `bound`; a negative bound
        is off. `shorts` and `longs` are the largest exposures over all fills of open orders, by symbol."""
        if not bound > 0.0:
            return low
        largest: float = 0.0
        enough: float = bound * state.now + self.basket.near
        for k in range(self.n):
            now: float = state.stands(k)
            # a side that breaches the bound already is omitted: no equity would make it comply
            if -now <= enough and state.shorts[k] > largest:
                largest = state.shorts[k]
            if now <= enough and state.longs[k] > largest:
                largest = state.longs[k]
        return largest / bound if largest / bound > low else low

    def family(self, state: Standing, family: Family) -> bool:
        """Lower the common factor to what a limit by group permits. Returns True if a group already breaches it, so
        that single orders are capped.

        A group is a label from 1 on; 0 is in no group. `full_short` and `full_long` are the largest exposures with all
        adding orders, `shorts` and `longs` the largest without them.
        """
        basket: Basket = self.basket
        factor: Factor = self.factor
        tolerance: float = basket.near
        bound: float = family.settled_bound if state.settled else family.bound
        # a quick bound: long and short side of a symbol together are at most twice the heaviest side
        if 2.0 * family.largest * state.heaviest <= bound * state.equity_after:
            return False
        for label in range(family.groups + 1):
            self.groups[label] = 0.0
        for k in range(self.n):
            self.groups[family.labels[k]] += state.full_short[k] + state.full_long[k]
        for label in range(1, family.groups + 1):
            if self.groups[label] <= bound * state.equity_after + tolerance:
                continue
            value_now: float = 0.0
            exposure: float = 0.0
            added: float = 0.0
            for k in range(self.n):
                if family.labels[k] == label:
                    position: float = state.stands(k)
                    value_now += -position if position < 0.0 else position
                    exposure += state.shorts[k] + state.longs[k]
                    added += basket.size[k] * basket.px[k]
            if not value_now <= bound * state.now + tolerance:
                factor.bar(family.code)
                for k in range(self.n):
                    if family.labels[k] == label and basket.size[k] > 0.0:
                        factor.stop(k)
                if factor.capped:
                    return True
                continue
            # the orders lower equity, and so the bound
            added += bound * (state.equity - state.equity_after)
            if not added <= 0.0:  # NaN, where a value is beyond all floats, leaves none
                factor.take((bound * state.equity + tolerance - exposure) / added, family.code)
        return False
