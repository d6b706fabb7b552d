"""Makes the `Bounds` of a set of rules, and the `Scene` of a sample under them."""

from collections.abc import Sequence
from math import sqrt
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from quantd.risk.limits.catalogue import EXTRA, LIMIT_OF, Reason
from quantd.risk.limits.context import Bools, Context, Floats, Scenarios
from quantd.risk.limits.context import Spread as Covariance
from quantd.risk.limits.correlation import joint_bound, links_of
from quantd.risk.limits.kinds import Cap as CapOf
from quantd.risk.limits.kinds import Refused, Room, Weighed
from quantd.risk.limits.kinds import Row as Linear
from quantd.risk.limits.ruleset import Rules
from quantd.risk.limits.settings import reserved
from quantd.risk.pretrade import gate_bounds as kinds
from quantd.risk.pretrade.gate_bounds import Bounds, Cap, Family, Form, Row, Tail
from quantd.risk.pretrade.scenes import READY, TOO_FEW, UNKNOWN, Losses, Scene, Spread

_HELD: Final = {
    "side": kinds.BY_SIDE, "net": kinds.NET, "traded": kinds.TRADED, "cash": kinds.CASH, "nothing": kinds.NOTHING
}  # fmt: skip

ENDLESS: Final = 1e300
"""A bound that no exposure reaches."""


def _buffer(values: Any) -> Any:
    """A buffer that compiled code takes: of float64, by rows, and writable. Others are copied."""
    return np.require(values, np.float64, ["C", "W"]).data


def _view(values: NDArray[Any]) -> Any:
    """A buffer that stays as new as `values`."""
    return values.data


def refusing(code: int) -> None:
    """To call where a function of a limit has raised: a limit without a field of `Limits`, as those of installed
    packages, refuses; any other raises on."""
    if LIMIT_OF.get(code) not in EXTRA:
        raise


def bounds_of(rules: Rules) -> Bounds:
    """The limits of `rules`, as the gate walks them."""
    limits, found = rules.limits, Bounds()
    adding, reducing = reserved(limits.collar), reserved(limits.reduce_collar)
    found.paid = (1.0 + adding) * (1.0 + rules.fee) - 1.0
    found.covered = (1.0 + reducing) * (1.0 + rules.fee) - 1.0
    found.fee, found.sold = rules.fee, max(adding, reducing)
    found.in_flight, found.reserve, found.debit = limits.in_flight, limits.cash_reserve, limits.max_cash_debit
    found.weight = 0.0 if rules.weight is None else rules.weight
    found.first_weight, found.second_weight = [*rules.weights, -1.0, -1.0][:2]
    spec = limits.correlation
    found.pairs = spec is not None
    found.least, found.joint = (0.0, 0.0) if spec is None else (spec.min_weight, joint_bound(spec))
    found.rows = [_row(row, rules.size) for row in rules.rows]
    found.cash_row = next(row for row in found.rows if row.code == Reason.CASH)
    found.families = [
        Family(f.reason, f.names, f.largest, f.labels.data, f.bound, f.settled_bound) for f in rules.families
    ]
    found.tails = [Tail(t.reason, t.mean, t.bound, t.scale) for t in rules.tails]
    found.forms = [Form(q.reason, _root(q.bound, q.scale), _root(q.settled_bound, q.scale)) for q in rules.quads]
    found.counts = np.array([int(count.reason) for count in rules.counts], dtype=np.int64).data
    names = np.empty(rules.size, dtype=np.int64)
    names[sorted(range(rules.size), key=rules.universe.symbols.__getitem__)] = np.arange(rules.size)
    found.names, found.two_states = names.data, rules.two_states
    found.weight_code, found.not_finite, found.zero_crossing = (
        rules.weight_code,
        Reason.NOT_FINITE,
        Reason.ZERO_CROSSING,
    )
    found.switched, found.equity, found.history = Reason.SWITCH, Reason.EQUITY, Reason.HISTORY
    found.correlation, found.cash = Reason.CORRELATION, Reason.CASH
    return found


def _root(bound: float, scale: float) -> float:
    """The bound of a form's root before its scale; a form with scale 0 is always 0."""
    return bound / sqrt(scale) if scale > 0.0 else ENDLESS


def _row(row: Linear, n: int) -> Row:
    found = Row(row.reason, _HELD[row.kind], row.bound, row.settled_bound)
    sides = [each[side] for each in (row.load, row.settled_load) for side in (slice(n), slice(n, None))]
    found.by_symbol = not all(np.ptp(side) == 0.0 for side in sides)
    found.per_short, found.per_long, found.settled_short, found.settled_long = (float(side[0]) for side in sides)
    found.short_loads, found.long_loads, found.settled_short_loads, found.settled_long_loads = map(_buffer, sides)
    return found


class Market:
    """One context under one set of rules; with `scenarios` by lookback, where they are known. It makes the arrays that
    its `scene` asks for."""

    def __init__(
        self, ctx: Context, rules: Rules, scenarios: dict[int, Scenarios] | None, *, whole: bool, few: bool = False
    ) -> None:
        self.ctx: Final = ctx
        self.rules: Final = rules
        self.scenarios: Final = scenarios
        self._linked: Bools | None = None
        self._by_rows: Final[dict[tuple[int, ...], Market]] = {}
        rows = READY if scenarios is not None else TOO_FEW if few else UNKNOWN
        self.scene: Final = Scene(_buffer(ctx.px), _buffer(self._barred()), rows, self)
        self._sources: Final[list[Scenarios]] = []
        """Those of each tail."""
        self._covariances: Final[list[Covariance | None]] = []
        """Those of each form."""
        if scenarios is not None:
            self._statistics(scenarios)
        short = None if whole else self._short()
        if short is not None:
            self.scene.lacking, self.scene.any_lacking = _buffer(short), True
        self._steps: Final = [
            (place, code, found) for place, code, cap in rules.caps if (found := self._cap(code, cap)) is not None
        ]
        self.caps: Final = self._with(self._steps)

    def _cap(self, code: int, cap: CapOf) -> Refused | Room | Weighed | None:
        try:
            return cap(self.ctx, self.rules)
        except Exception:
            refusing(code)
            every = np.ones(self.rules.size, dtype=np.bool_)
            return Refused(every, every)

    def _barred(self) -> Floats:
        """Reason why no order may reduce each symbol; 0: none."""
        ctx, rules = self.ctx, self.rules
        found = np.zeros(rules.size)
        if not ctx.all_priced:
            found[~ctx.priced] = Reason.PRICE_MISSING
        bad = ctx.off_grid(rules.limits.reduce_collar, rules.ticks, rules.widest_tick)
        if bad is not None:
            found[bad] = Reason.WORST_PRICE
        return found

    def _short(self) -> Floats | None:
        """1 for symbols with too few returns of a lookback."""
        least = self.rules.limits.min_history
        shorts = [self.ctx.window(k, least).short for k in self.rules.lookbacks]
        marked = [short for short in shorts if short is not None]
        return np.logical_or.reduce(marked).astype(np.float64) if marked else None

    def _statistics(self, scenarios: dict[int, Scenarios]) -> None:
        """The scenarios of the tails, and the covariances of the forms, with what bounds them."""
        for tail in self.rules.tails:
            source, worst = tail.of(scenarios)
            # the number of the first tail over the same scenarios
            number = next((k for k, each in enumerate(self._sources) if each is source), len(self._sources))
            if number < len(self._sources):
                deviation, mean = self.scene.losses[number].deviation, self.scene.losses[number].mean
            else:
                deviation, mean = _buffer(source.most_deviation()), _buffer(source.mean_size())
            own = Losses(deviation, mean, source.beyond(worst), len(source), worst, number)
            self._sources.append(source)
            self.scene.losses.append(own)
            self.scene.width = max(self.scene.width, len(source))
            if tail.fixed is not None:
                own.returns, own.known = _buffer(source.by_symbol), True
        for quad in self.rules.quads:
            if quad.spread is None:
                self._covariances.append(None)
                self.scene.spreads.append(Spread(True, self.scene.px))
                continue
            spread = quad.spread(scenarios[quad.lookback])
            self._covariances.append(spread)
            self.scene.spreads.append(Spread(False, _buffer(spread.deviation())))

    def _with(self, steps: Sequence[tuple[int, int, Refused | Room | Weighed]]) -> list[Cap]:
        """The caps of some steps, in order; refusals that follow each other are one."""
        n, px = self.rules.size, self.scene.px
        found: list[Cap] = []
        masks: list[Floats] = []
        for _, code, step in steps:
            match step:
                case Refused():
                    sides = np.zeros(2 * n)
                    if step.sells is not None:
                        sides[:n][step.sells] = code
                    if step.buys is not None:
                        sides[n:][step.buys] = code
                    if found and found[-1].kind == kinds.MASK:
                        np.copyto(masks[-1], sides, where=masks[-1] == 0.0)
                    else:
                        masks.append(sides)
                        found.append(Cap(kinds.MASK, 0, _view(sides[:n]), _view(sides[n:])))
                case Room():
                    own = Cap(kinds.ROOM, code, _buffer(step.sells), _buffer(step.buys))
                    own.held = float(step.held)
                    own.same, own.other = {"none": (0.0, 0.0), "side": (1.0, 0.0), "both": (1.0, 1.0)}[step.open]
                    found.append(own)
                case Weighed():
                    found.append(Cap(kinds.WEIGHT, code, px, px))
        return found

    def barred(self, bars: list[tuple[int, int, Refused]]) -> list[Cap]:
        """The caps with (place, code, refusal) of what the state of an account refuses."""
        return self._with(sorted([*self._steps, *bars], key=lambda step: step[0]))

    def with_rows(self, carried: Bools, lots: Floats) -> "tuple[Market, bool]":
        """The market of the scenario rows that all carried symbols and all with `lots` have; and whether fewer symbols
        may have more rows."""
        least = self.rules.limits.min_history
        windows = {k: self.ctx.window(k, least) for k in self.rules.lookbacks}
        short = np.zeros(len(lots), dtype=np.bool_)
        for window in windows.values():
            if window.short is not None:
                short |= window.short
        found: dict[int, Scenarios] = {}
        if not (carried & short).any():
            matters = carried | ((lots > 0.0) & ~short)
            found = {k: window.scenarios(matters) for k, window in windows.items()}
        few = not all(k in found and len(found[k]) >= least for k in windows)
        key = () if few else tuple(map(id, found.values()))
        if key not in self._by_rows:
            self._by_rows[key] = Market(self.ctx, self.rules, None if few else found, whole=False, few=few)
        gaps = not few and not all(window.complete or window.uniform for window in windows.values())
        return self._by_rows[key], gaps

    def add_returns(self) -> None:
        """The returns of all sampled scenarios, by symbol."""
        for own, source in zip(self.scene.losses, self._sources, strict=True):
            if not own.known:
                own.returns, own.known = _buffer(source.by_symbol), True

    def add_matrices(self) -> None:
        """The covariances of the forms."""
        for own, spread in zip(self.scene.spreads, self._covariances, strict=True):
            if spread is not None:
                own.matrix, own.known = _buffer(spread.cov), True

    def add_links(self, sides: list[int]) -> None:
        """Which symbols are linked, at least of those of some sides."""
        spec = self.rules.limits.correlation
        assert spec is not None
        assert self.scenarios is not None
        wanted = np.zeros(self.rules.size, dtype=np.bool_)
        wanted[[side % self.rules.size for side in sides]] = True
        if self._linked is not None:
            wanted |= self._linked
        self._linked = wanted
        self.scene.links, self.scene.has_links = _buffer(links_of(self.scenarios[spec.lookback], wanted, spec)), True
