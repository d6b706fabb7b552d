"""Makes the risk gate's inputs: the `Bounds` (limits) of a set of rules, and the `Scene` (market) of a sample under
them.

What can go wrong: the code of a limit in an installed package raises an error. The orders that add risk are then
refused, and the run goes on. A fault in a built-in limit stops the step instead.

Inputs that stay the same are made once: `Prepared` for a set of rules, `Market` for a sample, and `Market.with_rows`
for the symbols that remain in a basket. Returns by symbol, covariances and links are made when the gate asks for them,
because few baskets need them.
"""

from math import sqrt
from operator import itemgetter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from quantd.risk.limits.catalogue import EXTRA, LIMIT_OF, Reason
from quantd.risk.limits.context import Bools, Context, Floats, Scenarios
from quantd.risk.limits.context import Spread as Covariance
from quantd.risk.limits.correlation import joint_bound, links_of
from quantd.risk.limits.kinds import Cap as CapOf
from quantd.risk.limits.kinds import OfNotional, OfVolume, Refused, Room, Weighed
from quantd.risk.limits.kinds import Row as Linear
from quantd.risk.limits.ruleset import Rules
from quantd.risk.limits.settings import reserved
from quantd.risk.pretrade import gate_bounds as kinds
from quantd.risk.pretrade.gate_bounds import Bounds, Cap, Family, Form, Row, Tail
from quantd.risk.pretrade.scenes import READY, TOO_FEW, UNKNOWN, Losses, Scene, Spread
from quantd.trading.number_types import float_zeros

_HELD: Final = {
    "side": kinds.BY_SIDE, "net": kinds.NET, "traded": kinds.TRADED, "cash": kinds.CASH, "nothing": kinds.NOTHING
}  # fmt: skip

ENDLESS: Final = 1e300
"""A bound that no exposure reaches."""


_OPEN: Final = {"none": (0.0, 0.0), "side": (1.0, 0.0), "both": (1.0, 1.0)}
"""`open` of a room -> whether open lots on the same side, and on the other side, count (1.0) or not (0.0)."""

_FLOAT: Final = np.dtype(np.float64)


def buffer_of(values: Any) -> Any:
    """Return the values as a buffer that compiled code accepts: float64, contiguous by rows, writable. Other arrays
    are copied."""
    if type(values) is np.ndarray and values.dtype is _FLOAT:
        flags = values.flags
        if flags.c_contiguous and flags.writeable:
            return values.data
    return np.require(values, np.float64, ["C", "W"]).data


def _view(values: NDArray[Any]) -> Any:
    """Return a buffer on the memory of `values`; later changes of `values` are visible in it."""
    return values.data


def refusing(code: int) -> None:
    """Decide, in an `except` block, what happens after a limit's code raised an error.

    The error is raised again for a built-in limit. For a limit without a field of `Limits`, such as one of an installed
    package, the function returns, and the caller refuses the orders that add risk.
    """
    if LIMIT_OF.get(code) not in EXTRA:
        raise


def bounds_of(rules: Rules) -> Bounds:
    """Return the limits of `rules` in the form that the gate reads.

    `paid` is the largest cost of a buy above the mark with fees, as a fraction of the mark, `covered` the same cost of
    an order that reduces a position. `sold` is the largest fraction by which a sale may bring less than the mark.
    Attributes such as `equity` and `history` are codes of reasons and no bounds.
    """
    limits, bounds = rules.limits, Bounds()
    adding, reducing = reserved(limits.collar), reserved(limits.reduce_collar)
    bounds.paid = (1.0 + adding) * (1.0 + rules.fee) - 1.0
    bounds.covered = (1.0 + reducing) * (1.0 + rules.fee) - 1.0
    bounds.fee, bounds.sold = rules.fee, max(adding, reducing)
    bounds.in_flight, bounds.reserve, bounds.debit = limits.in_flight, limits.cash_reserve, limits.max_cash_debit
    bounds.weight = 0.0 if rules.weight is None else rules.weight
    # -1: no such bound
    bounds.first_weight, bounds.second_weight = [*rules.weights, -1.0, -1.0][:2]
    correlation = limits.correlation
    bounds.pairs = correlation is not None
    bounds.least, bounds.joint = (
        (0.0, 0.0) if correlation is None else (correlation.min_weight, joint_bound(correlation))
    )
    bounds.rows = [_row(row, rules.size) for row in rules.rows]
    bounds.cash_row = next(row for row in bounds.rows if row.code == Reason.CASH)
    bounds.families = [
        Family(family.reason, family.names, family.largest, family.labels.data, family.bound, family.settled_bound)
        for family in rules.families
    ]
    bounds.tails = [Tail(tail.reason, tail.mean, tail.bound, tail.scale) for tail in rules.tails]
    bounds.forms = [
        Form(quadratic.reason, _root(quadratic.bound, quadratic.scale), _root(quadratic.settled_bound, quadratic.scale))
        for quadratic in rules.quads
    ]
    bounds.counts = np.array([int(count.reason) for count in rules.counts], dtype=np.int64).data
    names = np.empty(rules.size, dtype=np.int64)
    # names[k] is the rank of symbol k by name
    names[sorted(range(rules.size), key=rules.universe.symbols.__getitem__)] = np.arange(rules.size)
    bounds.names, bounds.two_states = names.data, rules.two_states
    bounds.weight_code, bounds.not_finite, bounds.zero_crossing = (
        rules.weight_code,
        Reason.NOT_FINITE,
        Reason.ZERO_CROSSING,
    )
    bounds.switched, bounds.equity, bounds.history = Reason.SWITCH, Reason.EQUITY, Reason.HISTORY
    bounds.correlation, bounds.cash = Reason.CORRELATION, Reason.CASH
    return bounds


def _root(bound: float, scale: float) -> float:
    """Return the bound on sqrt(form) that corresponds to `bound` on sqrt(scale x form); ENDLESS for scale 0, with
    which sqrt(scale x form) is 0."""
    return bound / sqrt(scale) if scale > 0.0 else ENDLESS


def _row(row: Linear, n: int) -> Row:
    """Return a linear limit in the form that the gate reads; equal coefficients of all symbols become one number."""
    gate_row = Row(row.reason, _HELD[row.kind], row.bound, row.settled_bound)
    coefficients = [load[side] for load in (row.load, row.settled_load) for side in (slice(n), slice(n, None))]
    gate_row.by_symbol = not all(np.ptp(side) == 0.0 for side in coefficients)
    gate_row.per_short, gate_row.per_long, gate_row.settled_short, gate_row.settled_long = (
        float(side[0]) for side in coefficients
    )
    gate_row.short_loads, gate_row.long_loads, gate_row.settled_short_loads, gate_row.settled_long_loads = map(
        buffer_of, coefficients
    )
    return gate_row


class Prepared:
    """Inputs of the gate for a set of rules that do not depend on the sample."""

    def __init__(self, rules: Rules) -> None:
        """Convert the parts that are the same at every sample."""
        self.rules: Final = rules
        self.bounds: Final = bounds_of(rules)
        zeros = float_zeros(rules.size)
        self.none_barred: Final = zeros
        self.identity: Final = Spread(True, zeros)  # the identity matrix, for limits on squared weights
        self.fixed: Final = [
            # fixed scenarios need no returns of a lookback, hence {}; [1:] is the number of worst losses that count
            None if tail.fixed is None else _losses(tail.fixed, *tail.of({})[1:], number)
            for number, tail in enumerate(rules.tails)
        ]
        """Losses of the tails whose scenarios never change."""
        self.desks: Final[list[Any]] = []
        """Gates that are free."""
        self._steps: list[tuple[int, int, CapOf, Cap | None]] = []

    def parts(self, ctx: Context) -> list[tuple[int, Cap]]:
        """Return (place, cap) of the limits on single orders at a sample, sorted by place (order of
        application)."""
        rules, caps = self.rules, []
        if not self._steps:
            self._steps = self._lasting(ctx)
        for place, code, cap, prepared_cap in self._steps:
            if prepared_cap is None:
                try:
                    step = cap(ctx, rules)
                except Exception:  # raised again, unless the limit is of an installed package: then it refuses all
                    refusing(code)
                    step = _refuse_all(rules.size)
                if step is None:
                    continue
                prepared_cap = _cap(code, step, rules.size)
            caps.append((place, prepared_cap))
        return caps

    def _lasting(self, ctx: Context) -> list[tuple[int, int, CapOf, Cap | None]]:
        """Return (place, code, function, cap) of all limits on single orders; the place is the order of
        application, and the cap is None unless it is the same at every sample.

        Caps that are the same at every sample and restrict nothing are omitted.
        """
        steps: list[tuple[int, int, CapOf, Cap | None]] = []
        rules = self.rules
        for (place, code, cap), lasting in zip(rules.caps, rules.lasting, strict=True):
            if isinstance(cap, OfVolume | OfNotional):
                prepared_cap = _product(code, cap, rules)
            elif lasting:
                step = cap(ctx, rules)
                prepared_cap = None if step is None else _cap(code, step, rules.size)
            else:
                steps.append((place, code, cap, None))
                continue
            if prepared_cap is not None:
                steps.append((place, code, cap, prepared_cap))
        return steps


def _product(code: int, cap: OfVolume | OfNotional, rules: Rules) -> Cap | None:
    """Return the cap that the gate multiplies by volumes or divides by prices of the sample; None for a limit that
    is off.

    `most` is a share of the volume or the largest notional. `held`, `same` and `other` are 1.0 where the position and
    open orders on the same or the other side count, else 0.0. `paid` is the price of a buy as a multiple of the mark.
    """
    zeros = float_zeros(rules.size)
    if isinstance(cap, OfVolume):
        part = cap.part(rules.limits)
        if part is None:
            return None
        gate_cap = Cap(kinds.VOLUME, code, zeros, zeros)
        gate_cap.most, gate_cap.held = part, float(cap.held)
        gate_cap.same, gate_cap.other = _OPEN[cap.open]
        return gate_cap
    notional = cap.lots(rules.limits)
    if notional is None:
        return None
    gate_cap = Cap(kinds.NOTIONAL, code, zeros, zeros)
    gate_cap.most, gate_cap.paid = notional
    return gate_cap


def _losses(source: Scenarios, worst: int, number: int) -> Losses:
    """Return the losses of a tail limit over `source`, with their returns by symbol.

    `worst` is how many worst losses count. `number` identifies the scenarios: limits over the same scenarios share it.
    """
    size = len(source)
    losses = Losses(
        buffer_of(source.most_deviation()), buffer_of(source.mean_size()), source.beyond(worst), size, worst, number
    )
    losses.returns, losses.ready = buffer_of(source.by_symbol), True
    return losses


def _refuse_all(n: int) -> Refused:
    """Return the refusal of every one of `n` symbols."""
    every = np.ones(n, dtype=np.bool_)
    return Refused(every, every)


def _cap(code: int, step: Refused | Room | Weighed, n: int) -> Cap:
    """Convert the result of a limit's function to the form that the gate reads: permitted lots, refused sides, or the
    weight limit."""
    match step:
        case Room():
            gate_cap = Cap(kinds.ROOM, code, buffer_of(step.sells), buffer_of(step.buys))
            gate_cap.held = float(step.held)
            gate_cap.same, gate_cap.other = _OPEN[step.open]
            return gate_cap
        case Refused():
            sides = np.zeros((2, n))
            if step.sells is not None:
                sides[0, step.sells] = code
            if step.buys is not None:
                sides[1, step.buys] = code
            return Cap(kinds.MASK, 0, _view(sides[0]), _view(sides[1]))  # the sides have the code, hence 0
        case Weighed():
            zeros = float_zeros(n)
            return Cap(kinds.WEIGHT, code, zeros, zeros)


class Market:
    """The market of one context under a set of rules, with `scenarios` by lookback, where they are known.

    `complete` is True if no symbol lacks returns, `few` if the scenarios are known to be too few. `parts` are (order of
    application, cap), if already computed.
    """

    __slots__ = ("_by_rows", "_parts", "_prepared", "caps", "scenarios", "scene")

    def __init__(
        self,
        ctx: Context,
        prepared: Prepared,
        scenarios: dict[int, Scenarios] | None,
        *,
        complete: bool,
        few: bool = False,
        parts: list[tuple[int, Cap]] | None = None,
    ) -> None:
        """Convert the market of one sample.

        `scenarios` is None in two cases: with `few` there are too few returns; without it the rows of returns depend on
        the orders, and are not known yet. `complete` is True if no symbol lacks returns. `parts` are the caps (limits
        on each order by itself) of this sample, if already converted. `rare` computes, on demand, the arrays that few
        baskets need.
        """
        self._prepared: Final = prepared
        self.scenarios: Final = scenarios
        self._by_rows: Final[dict[tuple[int, ...], Market]] = {}
        rows = READY if scenarios is not None else TOO_FEW if few else UNKNOWN
        rare = RareArrays(prepared.rules, scenarios)
        self.scene: Final = Scene(buffer_of(ctx.px), _barred(ctx, prepared), rows, rare)
        self.scene.volume = buffer_of(ctx.volume_lots)
        if scenarios is not None:
            _add_statistics(self.scene, rare, scenarios, prepared)
        lacking = None if complete else _short(ctx, prepared.rules)
        if lacking is not None:
            self.scene.lacking, self.scene.any_lacking = buffer_of(lacking), True
        self._parts: Final = prepared.parts(ctx) if parts is None else parts
        self.caps: Final = [cap for _, cap in self._parts]

    def barred(self, bars: list[tuple[int, int, Refused]]) -> list[Cap]:
        """Return the limits on single orders, merged with the refusals from the state of an account, sorted by place.

        A refusal is (place, code, refusal); the place is the order of application.
        """
        n = self._prepared.rules.size
        masks = [(place, _cap(code, refused, n)) for place, code, refused in bars]
        return [cap for _, cap in sorted([*self._parts, *masks], key=itemgetter(0))]

    def with_rows(self, ctx: Context, carried: Bools, lots: Floats) -> "tuple[Market, bool]":
        """Return (market restricted to the rows of returns that all `carried` symbols and all symbols with `lots` have,
        whether fewer symbols may have more rows).

        `ctx` must be the context of this market.
        """
        rules = self._prepared.rules
        least = rules.limits.min_history
        windows = {k: ctx.window(k, least) for k in rules.lookbacks}
        lacking = np.zeros(len(lots), dtype=np.bool_)
        for window in windows.values():
            if window.short is not None:
                lacking |= window.short
        scenarios: dict[int, Scenarios] = {}
        # a position without enough returns leaves no scenarios
        if not (carried & lacking).any():
            matters = carried | ((lots > 0.0) & ~lacking)
            scenarios = {k: window.scenarios(matters) for k, window in windows.items()}
        too_few = not all(k in scenarios and len(scenarios[k]) >= least for k in windows)
        key = () if too_few else tuple(map(id, scenarios.values()))
        if key not in self._by_rows:
            self._by_rows[key] = Market(
                ctx, self._prepared, None if too_few else scenarios, complete=False, few=too_few, parts=self._parts
            )
        gaps = not too_few and not all(window.complete or window.uniform for window in windows.values())
        return self._by_rows[key], gaps


def _barred(ctx: Context, prepared: Prepared) -> Any:
    """Return float64[N]: the reason code why no order may reduce a position in the symbol; 0 if one may."""
    rules = prepared.rules
    off_grid = ctx.off_grid(rules.limits.reduce_collar, rules.ticks, rules.widest_tick)
    if off_grid is None and ctx.all_priced:
        return prepared.none_barred
    codes = np.zeros(rules.size)
    if not ctx.all_priced:
        codes[~ctx.priced] = Reason.PRICE_MISSING
    if off_grid is not None:
        codes[off_grid] = Reason.WORST_PRICE
    return codes.data


def _short(ctx: Context, rules: Rules) -> Floats | None:
    """Return float64[N]: 1 for symbols with too few returns in any lookback; None if no symbol has too few."""
    least = rules.limits.min_history
    shorts = [ctx.window(k, least).short for k in rules.lookbacks]
    marked = [short for short in shorts if short is not None]
    return np.logical_or.reduce(marked).astype(np.float64) if marked else None


def _add_statistics(scene: Scene, rare: "RareArrays", scenarios: dict[int, Scenarios], prepared: Prepared) -> None:
    """Add the scenarios of the limits on tail losses and the covariances of the quadratic limits to a scene (a market).

    At first the scene has only the deviations and means from which bounds follow. `rare` adds returns and matrices if a
    basket needs them. Limits over the same scenarios with the same number of worst losses share one entry.
    """
    by_source: dict[tuple[int, int], Losses] = {}
    width = 0
    for number, (tail, fixed) in enumerate(zip(prepared.rules.tails, prepared.fixed, strict=True)):
        losses = fixed
        if losses is None:
            source, worst = tail.of(scenarios)
            losses = by_source.get((id(source), worst))
            if losses is None:
                losses = by_source[id(source), worst] = _of_sample(source, worst, number, rare.losses)
                rare.losses.append((losses, source))
        scene.losses.append(losses)
        if losses.size > width:
            width = losses.size
    scene.width = width
    for quad in prepared.rules.quads:
        if quad.spread is None:
            scene.spreads.append(prepared.identity)
            continue
        spread = quad.spread(scenarios[quad.lookback])
        form = Spread(False, buffer_of(spread.deviation()))
        rare.spreads.append((form, spread))
        scene.spreads.append(form)


def _of_sample(source: Scenarios, worst: int, number: int, earlier: list[tuple[Losses, Scenarios]]) -> Losses:
    """Return the losses of a tail limit, without returns by symbol.

    `number` identifies the scenarios. If an `earlier` tail limit has the same scenarios, its number is used instead.
    """
    for losses, earlier_source in earlier:
        if earlier_source is source:
            return Losses(losses.deviation, losses.mean, source.beyond(worst), losses.size, worst, losses.number)
    deviation, mean = buffer_of(source.most_deviation()), buffer_of(source.mean_size())
    return Losses(deviation, mean, source.beyond(worst), len(source), worst, number)


class RareArrays:
    """Computes the arrays of a scene that few baskets need."""

    __slots__ = ("_linked", "_rules", "_scenarios", "losses", "spreads")

    def __init__(self, rules: Rules, scenarios: dict[int, Scenarios] | None) -> None:
        self._rules: Final = rules
        self._scenarios: Final = scenarios
        self._linked: Bools | None = None
        self.losses: Final[list[tuple[Losses, Scenarios]]] = []
        self.spreads: Final[list[tuple[Spread, Covariance]]] = []

    def add_returns(self) -> None:
        """Add the returns of all sampled scenarios, by symbol."""
        for losses, source in self.losses:
            if not losses.ready:
                losses.returns, losses.ready = buffer_of(source.by_symbol), True

    def add_matrices(self) -> None:
        for form, spread in self.spreads:
            form.matrix, form.ready = buffer_of(spread.cov), True

    def add_links(self, sides: list[int]) -> Any:
        """Return float64[N, N], codes of correlated pairs of symbols: 1 linked on the same side, -1 on opposite sides,
        2 on both, 0 on neither. At least the pairs of symbols of `sides` have a code. Side k is symbol k held short,
        side N + k the same symbol held long. Symbols of earlier calls stay measured, so that the result only grows."""
        spec, size = self._rules.limits.correlation, self._rules.size
        assert spec is not None
        assert self._scenarios is not None
        measured = np.zeros(size, dtype=np.bool_)
        measured[[side % size for side in sides]] = True
        if self._linked is not None:
            measured |= self._linked
        self._linked = measured
        return buffer_of(links_of(self._scenarios[spec.lookback], measured, spec))
