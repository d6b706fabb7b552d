"""The gate: which part of a basket complies with every limit, in closed form.

`Gate.judge` reads: split, settle, caps, counts, history, then pairs, one common factor, and weights and pairs once more
at the equity that is left. Comparisons are written so that NaN refuses.
"""

from math import inf, nan, sqrt

from quantd.risk.pretrade.bounds import BY_SIDE, CASH, MASK, NET, ROOM, TRADED, Bounds, Cap, Family, Form, Row, Tail
from quantd.risk.pretrade.loops import Loops, Sides
from quantd.risk.pretrade.scenes import TOO_FEW, UNKNOWN, Losses, Scene, Spread
from quantd.risk.pretrade.standing import SLACK, Basket, Factor, Standing
from quantd.trading.buffers import Floats, Ints, floats, whole_numbers

UNLINKED = 0
LINKED = 1
NOT_KNOWN = -1


class Gate:
    """Decides the baskets of books of `n` symbols, one after another."""

    n: int
    loops: Loops
    basket: Basket
    flight: Standing
    """The worst while orders are in flight."""
    after: Standing
    """After all fills; used by rules with two states."""
    factor: Factor
    bounds: Bounds
    scene: Scene
    rooms: Floats
    """Room of each count."""
    heavy: bool
    """Whether a position that is asked for may weigh too much."""
    paired: bool
    """Whether a pair may weigh too much."""
    order: Ints
    sides: Ints
    """Symbols, from n on their long sides, whose weight matters for pairs."""
    taken: Floats
    """float64[2N]: exposure of each side with the orders accepted so far."""
    fall: Floats
    rise: Floats
    groups: Floats
    sized: Sides
    corners: Sides
    squared: float
    crossed: float
    ordered: float
    width: int
    """The most scenarios for which there is room."""
    lossy: Floats
    base: Floats
    adding: Floats
    now: Floats
    spare: Floats
    alone: Floats

    def __init__(self, n: int, loops: Loops, counts: int) -> None:
        self.n, self.loops = n, loops
        self.basket = Basket(n)
        self.flight, self.after = Standing(self.basket, False), Standing(self.basket, True)
        self.factor = Factor(n)
        self.rooms, self.order = floats(counts), whole_numbers(n)
        self.sides, self.taken = whole_numbers(2 * n), floats(2 * n)
        self.fall, self.rise, self.groups = floats(n), floats(n), floats(n + 1)
        self.sized, self.corners = Sides(n), Sides(n)
        self.width = -1
        self.widen(0)

    def widen(self, scenarios: int) -> None:
        """Room for so many scenarios."""
        if scenarios <= self.width:
            return
        self.width = scenarios
        self.lossy, self.base, self.adding = floats(scenarios), floats(scenarios), floats(scenarios)
        self.now, self.spare, self.alone = floats(scenarios), floats(scenarios), floats(scenarios)

    def judge(
        self,
        bounds: Bounds,
        scene: Scene,
        caps: list[Cap],
        run: bool,
        cash: float,
        equity: float,
        up_cash: float,
        open_loss: float,
        derived: bool,
        open_gain: float,
        traded: float,
    ) -> bool:
        """Decide the basket: `basket.size` and `basket.reduced` are what passes, `basket.reason` what cut each symbol.

        `derived`: `open_loss` follows from `up_cash` and the collars. Without `run` only reducing orders pass. Returns
        False where the scenario rows depend on the symbols that are left: then it is called again, with a scene of them.
        """
        self.bounds, self.scene = bounds, scene
        basket: Basket = self.basket
        basket.px = scene.px
        money: float = cash + equity + up_cash + open_gain + traded
        if not derived:
            money += open_loss
        basket.split(scene.barred, bounds.not_finite, bounds.zero_crossing)
        if not money - money == 0.0:
            basket.known = False
        refusal: int = 0
        if not run:
            refusal = bounds.switch
        elif not basket.known:
            refusal = bounds.not_finite
        elif not equity > 0.0:
            refusal = bounds.equity
        if refusal != 0 or basket.adding == 0:
            for k in range(self.n):
                if basket.size[k] > 0.0:
                    basket.reason[k] = refusal
                    basket.size[k] = 0.0
            return True
        basket.near, basket.changes = SLACK * equity, 0
        self.heavy = self.paired = False
        self.settle(cash, equity, up_cash, open_loss, derived, open_gain, traded)
        self.cap(caps)
        left: int = self.count()
        if left > 0:
            if scene.rows == UNKNOWN:
                return False
            if scene.rows == TOO_FEW or scene.any_short:
                left = self.history()
        if left > 0:
            self.shrink()
        return True

    def shrink(self) -> None:
        """Pairs, the common factor, and weights and pairs once more at the equity that it leaves."""
        bounds: Bounds = self.bounds
        two: bool = bounds.two_states
        if bounds.pairs:
            self.clip(self.flight, False)
            if two:
                self.clip(self.after, False)
        self.scale()
        if self.heavy:
            self.weigh_again()
        if self.paired:
            self.clip(self.flight, True)
            if two:
                self.clip(self.after, True)
        if two:
            self.settled_cash()

    def settle(
        self,
        cash: float,
        equity: float,
        up_cash: float,
        open_loss: float,
        derived: bool,
        open_gain: float,
        traded: float,
    ) -> None:
        """The states of the book without the adding orders: the range of exposures, equity and cash."""
        bounds: Bounds = self.bounds
        basket: Basket = self.basket
        flight: Standing = self.flight
        after: Standing = self.after
        paid: float = bounds.paid
        covered: float = bounds.covered
        fee: float = bounds.fee
        opened: float = 0.0
        closed: float = 0.0
        covers: float = 0.0
        sales: float = 0.0
        two: bool = bounds.two_states
        for k in range(self.n):
            price: float = basket.px[k]
            position: float = basket.lots[k]
            more: float = basket.up[k]
            less: float = basket.down[k]
            back: float = basket.reduced[k]
            low: float = position - less
            high: float = position + more
            opened += more * price
            closed += less * price
            if back > 0.0:
                high += back
                covers += back * price
            else:
                low += back
                sales -= back * price
            flight.low[k] = -(low * price)
            flight.high[k] = high * price
            if two:
                exposed: float = (low + high - position) * price
                after.low[k] = -exposed
                after.high[k] = exposed
        worst: float = opened * paid
        extra: float = up_cash - opened
        loss: float = open_loss
        if derived:
            loss = (worst if worst > extra else extra) + closed * (bounds.sold + fee)
        lowest: float = equity - loss
        turned: float = covers + sales
        spent: float = up_cash - cash + bounds.reserve * equity
        # largest permitted cash debit: a share of the equity left by all open orders, less what a sale of this basket
        # costs of that share beyond what it brings
        debit: float = bounds.debit
        lost: float = sales * covered
        owed: float = debit * lost - (sales - lost)
        owed = (owed if owed > 0.0 else 0.0) - debit * (lowest - covers * covered)
        turnover: float = traded + opened + closed + turned
        flight.equity = lowest - turned * covered
        flight.before = equity + open_gain
        flight.slip = paid
        flight.spent = spent + covers * (1.0 + covered) + owed
        flight.traded = turnover
        flight.wider = 1.0 + bounds.in_flight
        flight.now = equity
        flight.sums()
        if two:
            settled: float = equity - (opened + closed) * fee
            after.equity = settled - turned * fee
            after.before = settled
            after.slip = fee
            after.spent = spent + covers * (1.0 + fee) - sales * (1.0 - fee) - closed * (1.0 - fee)
            after.traded = turnover
            after.wider = 1.0
            after.now = settled
            after.sums()

    # ---- caps of single orders ---------------------------------------------------------------------------------------

    def cap(self, caps: list[Cap]) -> None:
        """Apply the caps in their order."""
        basket: Basket = self.basket
        for each in caps:
            cap: Cap = each
            if cap.kind == MASK:
                for k in range(self.n):
                    bar: float = cap.buys[k] if basket.wish[k] > 0.0 else cap.sells[k]
                    if bar > 0.0:
                        code: int = int(bar)
                        basket.cap(k, 0.0, code)
            elif cap.kind == ROOM:
                for k in range(self.n):
                    own: float = basket.size[k]
                    if own > 0.0:
                        most: float
                        if basket.wish[k] > 0.0:
                            most = cap.buys[k] - (
                                cap.held * basket.lots[k] + cap.same * basket.up[k] + cap.other * basket.down[k]
                            )
                        else:
                            most = cap.sells[k] - (
                                cap.same * basket.down[k] + cap.other * basket.up[k] - cap.held * basket.lots[k]
                            )
                        if not own <= most:
                            basket.cap(k, most, cap.code)
            else:
                self.weigh()

    def weigh(self) -> None:
        """|position| <= weight x equity, with equity reduced by the order's own worst price."""
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
                    least: float = self.lots_of_weight(self.after, k, self.after.equity)
                    most = most if most <= least else least
                basket.cap(k, most, bounds.weight_code)

    def too_heavy(self, state: Standing) -> bool:
        """Whether a position could weigh too much in this state."""
        state.reach()
        bound: float = self.bounds.weight * state.wider
        return not state.heaviest <= bound * state.left + self.basket.near

    def lots_of_weight(self, state: Standing, k: int, equity: float) -> float:
        """Lots up to which a position weighs at most its share of `equity`, less its own slippage."""
        bound: float = self.bounds.weight * state.wider
        price: float = self.basket.px[k]
        own: float = state.long[k] if self.basket.wish[k] > 0.0 else state.short[k]
        return (bound * equity + self.basket.near - own) / (price + bound * (state.slip * price))

    def weigh_again(self) -> None:
        """Check weights at the lowest equity of the whole basket."""
        basket: Basket = self.basket
        flight: Standing = self.flight
        after: Standing = self.after
        two: bool = self.bounds.two_states
        flight.reach()
        left: float = flight.left
        settled: float = 0.0
        if two:
            after.reach()
            settled = after.left
        for k in range(self.n):
            own: float = basket.size[k]
            if own > 0.0:
                price: float = basket.px[k]
                most: float = self.lots_of_weight(flight, k, left + flight.slip * price * own)
                if two:
                    least: float = self.lots_of_weight(after, k, settled + after.slip * price * own)
                    most = most if most <= least else least
                basket.cap(k, most, self.bounds.weight_code)

    def count(self) -> int:
        """Keep the largest notionals, as many as each count permits beside the reductions. Returns how many are left."""
        basket: Basket = self.basket
        left: int = basket.left()
        for c in range(len(self.bounds.counts)):
            room: float = self.rooms[c] - basket.reductions
            if not room > 0.0:  # NaN leaves none
                room = 0.0
            if left <= room:
                continue
            found: int = basket.by_value(self.order, self.bounds.names)
            kept: int = int(room)
            for place in range(kept, found):
                k: int = self.order[place]
                basket.size[k] = 0.0
                basket.reason[k] = self.bounds.counts[c]
            basket.changes += 1
            left = kept
        return left

    def history(self) -> int:
        """Refuse symbols with too few returns, and all where one of them is held or the scenario rows are too few.
        Returns how many are left."""
        basket: Basket = self.basket
        scene: Scene = self.scene
        refused: bool = scene.rows == TOO_FEW
        if scene.any_short:
            for k in range(self.n):
                carried: bool = basket.lots[k] != 0.0 or basket.up[k] != 0.0 or basket.down[k] != 0.0
                if scene.short[k] > 0.0 and carried:
                    refused = True
        for k in range(self.n):
            if refused or (scene.any_short and scene.short[k] > 0.0):
                basket.cap(k, 0.0, self.bounds.history)
        return basket.left()

    # ---- linked pairs ------------------------------------------------------------------------------------------------

    def linked(self, one: int, other: int) -> int:
        """Whether two sides lose together."""
        a: int = one % self.n
        b: int = other % self.n
        if a == b:
            return UNLINKED
        link: float = self.scene.links[a, b]
        if link == 0.0:
            return UNLINKED
        if link == 2.0:
            return LINKED
        if link > 2.0:
            return NOT_KNOWN
        return LINKED if (link > 0.0) == ((one < self.n) == (other < self.n)) else UNLINKED

    def link(self, sides: int) -> None:
        """Have the links between the first `sides` of `sides` at hand."""
        scene: Scene = self.scene
        missing: bool = not scene.has_links
        if not missing:
            for a in range(sides):
                for b in range(a):
                    if self.linked(self.sides[a], self.sides[b]) == NOT_KNOWN:
                        missing = True
        if missing:
            scene.ask_links(self.sides, sides)

    def clip(self, state: Standing, final: bool) -> None:
        """Cut adding lots so that every pair complies, larger notionals first.

        Without `final`, equity falls by accepted orders and the order itself, so that a single order gets the most.
        With it, equity is the lowest of the whole basket.
        """
        basket: Basket = self.basket
        bounds: Bounds = self.bounds
        n: int = self.n
        state.reach()
        near: float = basket.near
        low: float = state.left
        least: float = bounds.least * state.wider
        joint: float = bounds.joint * state.wider
        # no two together weigh more than the heaviest twice
        if 2.0 * state.heaviest <= joint * low:
            return
        edge: float = least * low + near
        most_of_two: float = joint * low + near
        sides: int = 0
        first: float = 0.0
        second: float = 0.0
        for side in range(2 * n):
            weight: float = state.full_short[side] if side < n else state.full_long[side - n]
            if weight > edge:
                self.sides[sides] = side
                sides += 1
                if weight > first:
                    second = first
                    first = weight
                elif weight > second:
                    second = weight
        if sides < 2 or not first + second > most_of_two:
            return
        self.link(sides)
        if not self.beyond(state, sides, most_of_two):
            return
        self.paired = True
        for a in range(sides):
            own_side: int = self.sides[a]
            self.taken[own_side] = state.short[own_side] if own_side < n else state.long[own_side - n]
        found: int = basket.by_value(self.order, bounds.names)
        equity: float = low if final else state.equity
        for place in range(found):
            k: int = self.order[place]
            lot: float = basket.px[k]
            own: float = basket.size[k]
            slip: float = 0.0 if final else state.slip * lot
            at: int = n + k if basket.wish[k] > 0.0 else k
            most: float = own
            reached: float = state.full_short[at] if at < n else state.full_long[at - n]
            if reached > edge:
                for b in range(sides):
                    partner: int = self.sides[b]
                    if self.linked(at, partner) != LINKED:
                        continue
                    alone: float = (least * equity + near - self.taken[at]) / (lot + least * slip)
                    both: float = self.taken[at] + self.taken[partner]
                    shared: float = (joint * equity + near - both) / (lot + joint * slip)
                    # the partner is too small to matter, and stays so while equity falls by this order
                    free: float = equity * least + near - self.taken[partner]
                    small: float = 0.0
                    if free >= 0.0:
                        small = free / (least * slip) if least * slip > 0.0 else inf
                    best: float = alone if alone >= shared else shared
                    best = best if best >= small else small
                    most = most if most <= best else best
                most = basket.whole(most)
                self.taken[at] += most * lot
                if most < own:
                    basket.size[k] = most
                    basket.reason[k] = bounds.correlation
                    basket.changes += 1
            equity -= most * slip

    def beyond(self, state: Standing, sides: int, most_of_two: float) -> bool:
        """Whether a linked pair weighs too much with all adding orders."""
        for a in range(sides):
            for b in range(a):
                one: int = self.sides[a]
                other: int = self.sides[b]
                if self.linked(one, other) == LINKED:
                    weight: float = state.full_short[one] if one < self.n else state.full_long[one - self.n]
                    beside: float = state.full_short[other] if other < self.n else state.full_long[other - self.n]
                    if weight + beside > most_of_two:
                        return True
        return False

    def quotient(self, value: float, bound: float) -> float:
        """value / bound; a bound of 0 asks for all the equity there is."""
        if bound > 0.0:
            return value / bound
        return inf if value > 0.0 else nan

    def side_now(self, state: Standing, side: int) -> float:
        """What stands on a side, negative on the other one."""
        return state.stands(side - self.n) if side >= self.n else -state.stands(side)

    def pair_equity(self, state: Standing) -> float:
        """Least equity at which existing pairs comply at their largest."""
        n: int = self.n
        near: float = self.basket.near
        least: float = self.bounds.least * state.wider
        joint: float = self.bounds.joint * state.wider
        edge: float = least * state.left
        enough: float = state.now + near
        sides: int = 0
        for side in range(2 * n):
            weight: float = state.short[side] if side < n else state.long[side - n]
            if weight > edge:
                self.sides[sides] = side
                sides += 1
        self.link(sides)
        need: float = 0.0
        for a in range(sides):
            one: int = self.sides[a]
            large: float = state.short[one] if one < n else state.long[one - n]
            now: float = self.side_now(state, one)
            for b in range(a):
                other: int = self.sides[b]
                if self.linked(one, other) != LINKED:
                    continue
                both: float = state.short[other] if other < n else state.long[other - n]
                beside: float = self.side_now(state, other)
                # a pair that breaches already is not made to comply by refusing others; one of which nothing is held,
                # or that an open order makes larger, is not such a pair
                small: float = self.quotient(now if now < beside else beside, least)
                sum_now: float = self.quotient(now + beside, joint)
                grows: bool = large > now + near or both > beside + near
                if grows or not (small > enough and sum_now > enough):
                    lesser: float = self.quotient(large if large < both else both, least)
                    together: float = self.quotient(large + both, joint)
                    lesser = lesser if lesser < together else together
                    need = need if need >= lesser else lesser
        return need

    # ---- the common factor -------------------------------------------------------------------------------------------

    def scale(self) -> None:
        """One factor for all adding orders: the least over rows, families, tails and forms; lots are rounded down.

        A limit that the present positions breach caps the orders that grow its numerator, and no others. A limit that
        only open orders could breach leaves no order that lowers equity.
        """
        basket: Basket = self.basket
        factor: Factor = self.factor
        while basket.left() > 0:
            factor.begin()
            self.scale_in(self.flight)
            if self.bounds.two_states and not factor.capped:
                self.scale_in(self.after)
            if not factor.capped:
                break
            # what is breached already caps single orders, which leaves fewer lots each time
            for k in range(self.n):
                basket.cap(k, factor.ceiling[k], factor.cap_code)
        else:
            return
        if factor.code != 0:
            for k in range(self.n):
                own: float = basket.size[k]
                kept: float = basket.floor(own * factor.value)
                if kept < own:
                    basket.reason[k] = factor.code
                    basket.size[k] = kept
            basket.changes += 1

    def scale_in(self, state: Standing) -> None:
        """The factor of one state, until a breached limit caps single orders."""
        factor: Factor = self.factor
        state.reach()
        for row in self.bounds.rows:
            self.row(state, row)
            if factor.capped:
                return
        for family in self.bounds.families:
            self.family(state, family)
            if factor.capped:
                return
        self.tails(state)
        if factor.capped:
            return
        for at in range(len(self.bounds.forms)):
            self.form(state, self.bounds.forms[at], self.scene.spreads[at])
            if factor.capped:
                return

    def row(self, state: Standing, row: Row) -> None:
        """A linear limit."""
        basket: Basket = self.basket
        factor: Factor = self.factor
        settled: bool = state.settled
        near: float = basket.near
        bound: float = row.settled_bound if settled else row.bound
        used: float = 0.0
        growth: float = 0.0
        if row.kind == BY_SIDE or row.kind == NET:
            used = self.held(state, row)
        if row.by_symbol:
            for k in range(self.n):
                if basket.size[k] > 0.0:
                    growth += row.load(settled, k, basket.wish[k] > 0.0) * (basket.size[k] * basket.px[k])
        else:
            growth = row.load(settled, 0, False) * state.more_short + row.load(settled, 0, True) * state.more_long
        if row.kind == TRADED:
            used = state.traded
        elif row.kind == CASH:
            used = state.spent
        if row.code == self.bounds.equity:
            used = self.names_equity(state)
        if used + growth <= bound * state.left + near:
            return
        if self.breached(state, row, bound):
            # all that is bought or sold takes from equity
            factor.bar(row.code)
            for k in range(self.n):
                if basket.size[k] > 0.0:
                    if row.load(settled, k, basket.wish[k] > 0.0) > 0.0 or row.code == self.bounds.equity:
                        factor.stop(k)
            return
        growth += bound * (state.equity - state.left)
        if growth > 0.0:
            factor.take((bound * state.equity + near - used) / growth, row.code)

    def held(self, state: Standing, row: Row) -> float:
        """What a row of sides or of net exposure holds, at its largest."""
        net: bool = row.kind == NET
        if not row.by_symbol:
            if net:
                return row.short * state.sum_low + row.long * state.sum_high
            return row.short * state.sum_short + row.long * state.sum_long
        used: float = 0.0
        for k in range(self.n):
            used += row.shorts[k] * (state.low[k] if net else state.short[k])
        for k in range(self.n):
            used += row.longs[k] * (state.high[k] if net else state.long[k])
        return used

    def breached(self, state: Standing, row: Row, bound: float) -> bool:
        """Whether a row is already breached.

        Exposures count as held: an open order that could exceed the bound leaves no equity to lower. Net exposure, cash
        and turnover count at their largest, because only orders on the same side add to them.
        """
        near: float = self.basket.near
        sizes: float = 0.0
        others: float = 0.0
        if row.kind == TRADED:
            others = state.traded
        elif row.kind == CASH:
            others = state.spent
        elif row.kind == NET:
            others = self.held(state, row)
        elif row.kind == BY_SIDE:
            for k in range(self.n):
                now: float = state.stands(k)
                sizes += row.load(False, k, not now < 0.0) * (-now if now < 0.0 else now)
        return not (sizes <= bound * state.now + near and others <= bound * state.before + near)

    def names_equity(self, state: Standing) -> float:
        """Least equity at which existing weights and pairs comply at their largest."""
        low: float = 0.0
        if self.heavy:
            # what is beyond the tighter limit already may still keep the wider one
            low = self.weight_equity(state, self.bounds.first_weight * state.wider, low)
            low = self.weight_equity(state, self.bounds.second_weight * state.wider, low)
        if self.paired:
            need: float = self.pair_equity(state)
            low = low if low >= need else need
        return low

    def weight_equity(self, state: Standing, bound: float, low: float) -> float:
        """Least equity, at least `low`, at which existing weights comply with `bound`; a negative one is off."""
        if not bound > 0.0:
            return low
        largest: float = 0.0
        enough: float = bound * state.now + self.basket.near
        for k in range(self.n):
            now: float = state.stands(k)
            if -now <= enough and state.short[k] > largest:
                largest = state.short[k]
            if now <= enough and state.long[k] > largest:
                largest = state.long[k]
        return largest / bound if largest / bound > low else low

    def family(self, state: Standing, family: Family) -> None:
        """The gross exposure of each group."""
        basket: Basket = self.basket
        factor: Factor = self.factor
        near: float = basket.near
        bound: float = family.settled_bound if state.settled else family.bound
        # both sides of a symbol are at most twice the heaviest side
        if 2.0 * family.largest * state.heaviest <= bound * state.left:
            return
        for label in range(family.groups + 1):
            self.groups[label] = 0.0
        for k in range(self.n):
            self.groups[family.labels[k]] += state.full_short[k] + state.full_long[k]
        for label in range(1, family.groups + 1):
            if self.groups[label] <= bound * state.left + near:
                continue
            now: float = 0.0
            used: float = 0.0
            growth: float = 0.0
            for k in range(self.n):
                if family.labels[k] == label:
                    stands: float = state.stands(k)
                    now += -stands if stands < 0.0 else stands
                    used += state.short[k] + state.long[k]
                    growth += basket.size[k] * basket.px[k]
            if not now <= bound * state.now + near:
                factor.bar(family.code)
                for k in range(self.n):
                    if family.labels[k] == label and basket.size[k] > 0.0:
                        factor.stop(k)
                if factor.capped:
                    return
                continue
            growth += bound * (state.equity - state.left)
            if growth > 0.0:
                factor.take((bound * state.equity + near - used) / growth, family.code)

    # ---- losses ------------------------------------------------------------------------------------------------------

    def book_losses(self, state: Standing, losses: Losses, out: Floats, book: bool, orders: bool) -> None:
        """Worst losses of each scenario: of the book without the adding orders, of these, or of both.

        A range of exposures from `low` to `high` loses at most max(r, 0) (high - low) - r high.
        """
        basket: Basket = self.basket
        for k in range(self.n):
            below: float = 0.0
            above: float = 0.0
            if book:
                below = state.low[k]
                above = state.high[k]
            if orders and basket.size[k] > 0.0:
                if basket.wish[k] > 0.0:
                    above += basket.size[k] * basket.px[k]
                else:
                    below += basket.size[k] * basket.px[k]
            self.fall[k] = -above
            self.rise[k] = below + above
        self.loops.losses(out, losses.size, losses.returns, losses.first, self.fall, self.rise)

    def measure(self, mean: bool, m: int, row: Floats, size: int) -> float:
        """VaR, or with `mean` the mean of the m worst losses."""
        edge: float = self.loops.nth(row, self.spare, size, size - m)
        if not mean:
            return edge
        return edge + self.loops.sum_above(row, size, edge) / m

    def tail_factor(self, mean: bool, m: int, size: int, target: float, fall: float, adding: Floats) -> float:
        """Largest factor f (of a mean: at most 1) with measure(base + f adding) <= target - f fall.

        VaR is the m-th worst loss, and scenario s complies up to (target - base_s) / (adding_s + fall), so VaR complies
        up to the m-th smallest of these. The mean of the worst is the largest mean over m scenarios, each linear in f.
        Newton's method starts at f = 1 with the worst set, goes down to where that set complies, and repeats until no
        other set is worse. Each step is exact and the sets are finite (W. Dinkelbach, On nonlinear fractional
        programming, 1967).
        """
        loops: Loops = self.loops
        if not mean:
            loops.factors(self.now, self.base, adding, size, target, fall)
            return loops.nth(self.now, self.spare, size, m - 1)
        factor: float = 1.0
        while factor > 0.0:
            loops.add_scaled(self.now, self.base, adding, size, factor)
            edge: float = loops.nth(self.now, self.spare, size, size - m)
            room: float = target - loops.sum_worst(self.base, self.now, size, edge, m) / m
            growth: float = loops.sum_worst(adding, self.now, size, edge, m) / m + fall
            step: float = inf if room >= 0.0 else -inf
            if growth > 0.0:
                step = room / growth
            if step >= factor * (1.0 - SLACK):
                return factor
            factor = step
        return 0.0

    def tails(self, state: Standing) -> None:
        """VaR, expected shortfall and stress: the worst losses of scenarios <= bound x equity."""
        near: float = self.basket.near
        number: int = -1
        lost: bool = False
        deviation: float = 0.0
        mean: float = 0.0
        for at in range(len(self.bounds.tails)):
            tail: Tail = self.bounds.tails[at]
            losses: Losses = self.scene.losses[at]
            bound: float = tail.bound * state.wider / tail.scale
            if losses.number != number:
                number, lost, deviation, mean = losses.number, False, 0.0, 0.0
                for k in range(self.n):
                    both: float = state.full_short[k] + state.full_long[k]
                    deviation += losses.deviation[k] * both
                    mean += losses.mean[k] * both
            # no book of these exposures can lose more
            if losses.beyond * deviation + mean <= bound * state.left:
                continue
            if not losses.known:
                self.scene.ask_returns()
            target: float = bound * state.left + near
            size: int = losses.size
            if not lost:
                lost = True
                self.book_losses(state, losses, self.lossy, True, True)
            if not tail.mean:
                if self.loops.count_above(self.lossy, size, target) < losses.worst:
                    continue
            else:
                # an upper bound at any edge (R. Rockafellar and S. Uryasev, Optimization of conditional VaR, 2000)
                edge: float = 0.75 * target
                if edge + self.loops.sum_above(self.lossy, size, edge) / losses.worst <= target:
                    continue
                if self.measure(True, losses.worst, self.lossy, size) <= target:
                    continue
            self.tail_binds(state, tail, losses, bound)
            if self.factor.capped:
                return

    def tail_binds(self, state: Standing, tail: Tail, losses: Losses, bound: float) -> None:
        """A factor where the book complies without the orders; else caps of the orders that add to its losses."""
        basket: Basket = self.basket
        factor: Factor = self.factor
        near: float = basket.near
        size: int = losses.size
        m: int = losses.worst
        self.book_losses(state, losses, self.base, True, False)
        self.book_losses(state, losses, self.adding, False, True)
        for k in range(self.n):
            self.fall[k] = -state.stands(k)
            self.rise[k] = 0.0
        self.loops.losses(self.now, size, losses.returns, losses.first, self.fall, self.rise)
        present: float = self.measure(tail.mean, m, self.now, size)
        if present <= bound * state.now + near:
            target: float = bound * state.equity + near
            fall: float = bound * (state.equity - state.left)
            factor.take(self.tail_factor(tail.mean, m, size, target, fall, self.adding), tail.code)
            return
        # breached already: no order may make it larger, alone or with others
        present += near
        factor.bar(tail.code)
        for k in range(self.n):
            if basket.size[k] > 0.0:
                self.cap_losses(losses, tail.mean, k, present)
                if basket.whole(factor.ceiling[k]) < basket.size[k]:
                    factor.capped = True
        if not factor.capped:
            factor.take(self.tail_factor(tail.mean, m, size, present, 0.0, self.adding), tail.code)

    def cap_losses(self, losses: Losses, mean: bool, k: int, present: float) -> None:
        """The lots of one order whose losses leave the measure at most at `present`."""
        basket: Basket = self.basket
        loops: Loops = self.loops
        size: int = losses.size
        m: int = losses.worst
        buys: bool = basket.wish[k] > 0.0
        loops.copy(self.now, self.base, size)
        loops.add_order(self.now, size, losses.returns, k, losses.first, basket.px[k], buys)
        if self.measure(mean, m, self.now, size) <= present:
            loops.clear(self.alone, size)
            loops.add_order(self.alone, size, losses.returns, k, losses.first, basket.size[k] * basket.px[k], buys)
            part: float = self.tail_factor(mean, m, size, present, 0.0, self.alone)
            self.factor.ceiling[k] = part * basket.size[k]
        else:
            self.factor.ceiling[k] = 0.0

    # ---- quadratic forms ---------------------------------------------------------------------------------------------

    def form(self, state: Standing, form: Form, spread: Spread) -> None:
        """The root of sum C_ij e_i e_j <= bound x equity, each entry at its worst corner.

        With outer sizes y and inner sizes z of each range, by side, the largest sum is at most y'My - z'Wz
        (`Loops.corners`), and equal while no range crosses zero.
        """
        basket: Basket = self.basket
        factor: Factor = self.factor
        near: float = basket.near
        bound: float = form.settled_bound if state.settled else form.bound
        allowed: float = bound * state.left + near
        if not spread.identity:
            deviation: float = 0.0
            for k in range(self.n):
                deviation += spread.deviation[k] * (state.full_short[k] + state.full_long[k])
            # no correlation can make it more than the sum of deviations
            if deviation <= allowed:
                return
            if not spread.known:
                self.scene.ask_matrices()
        else:
            gross: float = state.sum_long + state.sum_short + state.more_long + state.more_short
            # the sum of squares is at most the heaviest times the sum
            if state.heaviest * gross <= allowed * allowed and allowed >= 0.0:
                return
        self.add_corners(state, spread)
        base: float = self.squared
        cross: float = self.crossed
        square: float = self.ordered
        if allowed >= 0.0 and base + 2.0 * cross + square <= allowed * allowed:
            return
        squares: float = self.present_squares(state, spread)
        if not sqrt(0.0 if squares <= 0.0 else squares) - bound * state.now <= near:
            # whatever moves at all adds to it
            factor.bar(form.code)
            for k in range(self.n):
                if basket.size[k] > 0.0 and (spread.identity or spread.matrix[k, k] > 0.0):
                    factor.stop(k)
            return
        target: float = bound * state.equity + near
        fall: float = bound * (state.equity - state.left)
        # (square - fall^2) f^2 + 2 (cross + target fall) f - (target^2 - base) = 0, the smaller positive root
        a: float = square - fall * fall
        b: float = cross + target * fall
        c: float = target * target - base
        root: float = b * b + a * c
        found: float = 0.0
        if c > 0.0 and target > 0.0:
            found = c / (b + sqrt(0.0 if root <= 0.0 else root))
        factor.take(found, form.code)

    def add_corners(self, state: Standing, spread: Spread) -> None:
        """The largest form of the book in `squared`, of the orders in `ordered`, and of both together in `crossed`."""
        basket: Basket = self.basket
        loops: Loops = self.loops
        of: Sides = self.sized
        n: int = self.n
        for k in range(n):
            of.short[k], of.long[k] = state.short[k], state.long[k]
            of.less[k] = of.more[k] = 0.0
            if basket.size[k] > 0.0:
                if basket.wish[k] > 0.0:
                    of.more[k] = basket.size[k] * basket.px[k]
                else:
                    of.less[k] = basket.size[k] * basket.px[k]
        if spread.identity:
            self.add_squares()
            return
        for k in range(n):
            # an order against its own position can take the inner size to zero
            of.under[k] = -state.high[k] if state.high[k] < 0.0 and not of.more[k] > 0.0 else 0.0
            of.over[k] = -state.low[k] if state.low[k] < 0.0 and not of.less[k] > 0.0 else 0.0
        sums: Sides = self.corners
        loops.corners(sums, spread.matrix, of, n, state.sum_short + state.more_short > 0.0)
        self.squared = loops.dot(sums.short, of.short, n) + loops.dot(sums.long, of.long, n)
        self.squared -= loops.dot(sums.under, of.under, n) + loops.dot(sums.over, of.over, n)
        self.crossed = loops.dot(sums.short, of.less, n) + loops.dot(sums.long, of.more, n)
        self.ordered = loops.dot(sums.less, of.less, n) + loops.dot(sums.more, of.more, n)

    def add_squares(self) -> None:
        """The same of the identity: sums over the short sides, then over the long ones."""
        of: Sides = self.sized
        base: float = 0.0
        cross: float = 0.0
        square: float = 0.0
        for k in range(self.n):
            base += of.short[k] * of.short[k]
            cross += of.less[k] * of.short[k]
            square += of.less[k] * of.less[k]
        for k in range(self.n):
            base += of.long[k] * of.long[k]
            cross += of.more[k] * of.long[k]
            square += of.more[k] * of.more[k]
        self.squared, self.crossed, self.ordered = base, cross, square

    def present_squares(self, state: Standing, spread: Spread) -> float:
        """The form of the book as it stands, exact."""
        found: float = 0.0
        for k in range(self.n):
            self.fall[k] = state.stands(k)
        if spread.identity:
            for k in range(self.n):
                found += self.fall[k] * self.fall[k]
            return found
        self.loops.product(self.rise, spread.matrix, self.fall, self.n)
        return self.loops.dot(self.rise, self.fall, self.n)

    # ---- the rest ----------------------------------------------------------------------------------------------------

    def settled_cash(self) -> None:
        """Cut buys where short sales, cut after the factor, bring less proceeds."""
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
