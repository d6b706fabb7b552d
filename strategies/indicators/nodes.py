"""A small language of columns: an indicator is defined once, and computed bar by bar or over whole histories.

A node is a column derived from other columns: a field of the bars, a function of the same row, an earlier row, a window
measure, or a recursion. `first` is the index of the first bar with a value. `settled` is the number of bars after which
the initial value has no more than the share SETTLED in a value.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from math import ceil, log
from typing import Final, Literal, TypeAlias

import numpy as np

from quantd.strategies.indicators import windows
from quantd.strategies.indicators.windows import Kernel
from quantd.trading.market import Floats

SETTLED: Final = 1e-6
"""Remaining share of a recursion's initial value at which it counts as settled."""

LONGEST: Final = 400
"""Maximum number of characters of a formula that is stored as text; a longer one is stored as its hash."""


@dataclass(frozen=True, slots=True, eq=False)
class _Column:
    """The common part of nodes. Nodes can be added, subtracted and multiplied with each other and with numbers."""

    key: str
    """The formula as text; nodes with equal keys are the same node."""
    args: tuple["Node", ...] = ()
    first: int = 0
    settled: int = 0

    def __add__(self, other: "Node | float") -> "Point":
        return _binary("+", np.add, self, other)  # type: ignore[arg-type]

    def __sub__(self, other: "Node | float") -> "Point":
        return _binary("-", np.subtract, self, other)  # type: ignore[arg-type]

    def __mul__(self, other: "Node | float") -> "Point":
        return _binary("*", np.multiply, self, other)  # type: ignore[arg-type]

    def __radd__(self, other: float) -> "Point":
        return self + other

    def __rmul__(self, other: float) -> "Point":
        return self * other

    def __rsub__(self, other: float) -> "Point":
        return point(f"({other:g} - {self.key})", lambda x: other - x, self)  # type: ignore[arg-type]

    def __neg__(self) -> "Point":
        return point(f"-{self.key}", np.negative, self)  # type: ignore[arg-type]


class Field(_Column):
    """A node that is an input column, by name."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Point(_Column):
    """A node that is a function of the values of other nodes in the same row; a NaN among them gives NaN."""

    function: Callable[..., Floats]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Lag(_Column):
    """A node with the value of another node `back` bars ago."""

    back: int


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Window(_Column):
    """A node that applies a kernel (such as a mean) to the newest `width` values of other nodes."""

    kernel: Kernel
    width: int


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Recursion(_Column):
    """A node y = decay y + gain x of another node x, without a value before the bar `first`.

    On the right side, y is the previous value. The initial value is `scale` times the sum of x over the bars `begin` to
    `first`, both included. The bars of each instrument are counted from 0.
    """

    decay: float
    gain: float
    begin: int
    scale: float


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Adaptive(_Column):
    """A node y = y + c (x - y), a mean whose coefficient c changes from bar to bar; `args` are the nodes of x and c.

    On the right side, y is the previous value. The initial value is the x of bar number `seed`.
    """

    seed: int


Node: TypeAlias = Field | Point | Lag | Window | Recursion | Adaptive


def _latest_settled(nodes: tuple[Node, ...]) -> int:
    """Return after how many bars no node depends on its starting point (`settled`)."""
    return max((n.settled for n in nodes), default=0)


def _stored_key(key: str) -> str:
    """Return the key of a node, or the key's hash if it is longer than LONGEST."""
    return key if len(key) <= LONGEST else f"#{blake2b(key.encode(), digest_size=12).hexdigest()}"


def point(key: str, function: Callable[..., Floats], *args: Node) -> Point:
    """Return a node that applies `function` to the values of `args` in the same row; `key` names it."""
    return Point(_stored_key(key), args, max(a.first for a in args), _latest_settled(args), function=function)


def _binary(sign: str, function: np.ufunc, first: Node, second: Node | float) -> Point:
    if isinstance(second, (int, float)):
        number = float(second)
        return point(f"({first.key} {sign} {number:.17g})", lambda x: function(x, number), first)
    return point(f"({first.key} {sign} {second.key})", function, first, second)


def _divide(over: Floats, under: Floats) -> Floats:
    quotient = np.zeros(np.broadcast_shapes(over.shape, under.shape))
    return np.divide(over, under, out=quotient, where=under != 0.0)


def ratio(over: Node, under: Node) -> Point:
    """Return over / under; 0 where `under` is 0, as in TA-Lib."""
    return point(f"({over.key} / {under.key})", _divide, over, under)


def absolute(x: Node) -> Point:
    """Return |x|."""
    return point(f"|{x.key}|", np.abs, x)


def logarithm(x: Node) -> Point:
    """Return the natural logarithm of x."""
    return point(f"ln({x.key})", np.log, x)


def root(x: Node) -> Point:
    """Return the square root of x; negative rounding errors count as 0."""
    return point(f"sqrt({x.key})", lambda v: np.sqrt(np.maximum(v, 0.0)), x)


def squared(x: Node) -> Point:
    """Return x squared."""
    return point(f"{x.key}^2", np.square, x)


def larger(x: Node, y: Node) -> Point:
    """Return the larger of x and y."""
    return point(f"max({x.key}, {y.key})", np.maximum, x, y)


def positive(x: Node) -> Point:
    """Return x where it is above 0, else 0."""
    return point(f"pos({x.key})", lambda v: np.maximum(v, 0.0), x)


def negative(x: Node) -> Point:
    """Return -x where it is below 0, else 0."""
    return point(f"neg({x.key})", lambda v: np.maximum(-v, 0.0), x)


def sign(x: Node) -> Point:
    """Return the sign of x: -1, 0 or 1."""
    return point(f"sign({x.key})", np.sign, x)


def lag(x: Node, back: int) -> Lag:
    """Return the value of x `back` bars ago."""
    return Lag(_stored_key(f"{x.key}[-{back}]"), (x,), x.first + back, x.settled + back, back=back)


def change(x: Node, back: int = 1) -> Point:
    """Return x less its value `back` bars ago."""
    return x - lag(x, back)


def growth(x: Node, back: int = 1) -> Point:
    """Return x over its value `back` bars ago, less 1."""
    earlier = lag(x, back)
    # 0 / 0 counts as 0, so 1 is subtracted only where the earlier value is not 0
    return point(f"({x.key} / {earlier.key} - 1)", lambda now, then: _divide(now, then) - (then != 0.0), x, earlier)


def window(kernel: Kernel, width: int, *args: Node) -> Window:
    """Return a node that applies `kernel` to the newest `width` values of `args`."""
    names = ", ".join(a.key for a in args)
    first = max(a.first for a in args) + width - 1
    key, settled = _stored_key(f"{kernel.name}({names}, {width})"), _latest_settled(args) + width - 1
    return Window(key, args, first, settled, kernel=kernel, width=width)


def total(x: Node, width: int) -> Window:
    """Return the sum of the newest `width` values of x."""
    return window(windows.weighted("sum", np.ones(width)), width, x)


def mean(x: Node, width: int) -> Window:
    """Return the mean of the newest `width` values of x."""
    return window(windows.weighted("mean", np.full(width, 1.0 / width)), width, x)


def highest(x: Node, width: int) -> Window:
    """Return the maximum of the newest `width` values of x."""
    return window(windows.HIGHEST, width, x)


def lowest(x: Node, width: int) -> Window:
    """Return the minimum of the newest `width` values of x."""
    return window(windows.LOWEST, width, x)


def deviation(x: Node, width: int, ddof: Literal[0, 1] = 0) -> Point:
    """Return the standard deviation of the newest `width` values of x, with the divisor `width` - `ddof`."""
    return root(window(windows.SAMPLE_VARIANCE if ddof else windows.VARIANCE, width, x))


def _recursion(x: Node, kind: str, decay: float, gain: float, begin: int, seed: int, scale: float) -> Recursion:
    """Return the node of y[t] = decay y[t - 1] + gain x[t] for bars t after the bar `seed`.

    At `seed`, y is `scale` times the sum of x from the bar `begin` on. `decay` is below 1. `kind` is the first part of
    the node's key.
    """
    # relative to the first value of x, so that equal recursions have equal keys
    key = f"{kind}({x.key}, {decay:.17g}, {begin - x.first}..{seed - x.first})"
    settled = x.settled + (seed - x.first) + ceil(log(SETTLED) / log(decay))
    return Recursion(_stored_key(key), (x,), seed, settled, decay=decay, gain=gain, begin=begin, scale=scale)


def ema(x: Node, period: int, *, seed_at: int | None = None) -> Recursion:
    """Return the exponential mean of x with alpha = 2 / (period + 1), initialised with the mean of `period` values.

    The last of these values has the index `seed_at` among the values of x, by default period - 1.
    """
    seed = x.first + (period - 1 if seed_at is None else seed_at)
    alpha = 2.0 / (period + 1.0)
    return _recursion(x, "ema", 1.0 - alpha, alpha, seed - period + 1, seed, 1.0 / period)


def wilder(x: Node, period: int) -> Recursion:
    """Return Wilder's mean of x: alpha = 1 / period, initialised with the mean of `period` values."""
    alpha = 1.0 / period
    return _recursion(x, "wilder", 1.0 - alpha, alpha, x.first, x.first + period - 1, alpha)


def wilder_sum(x: Node, period: int) -> Recursion:
    """Return Wilder's sum: x plus the previous sum times 1 - 1 / `period`, initialised with period - 1 values."""
    return _recursion(x, "wilder_sum", 1.0 - 1.0 / period, 1.0, x.first, x.first + period - 2, 1.0)


def adaptive(x: Node, coefficient: Node, slowest: float) -> Adaptive:
    """Return a mean (Adaptive) whose coefficient in each bar is the node `coefficient`, which is at least `slowest`.

    The initial value of the mean is the x of the bar before the first coefficient.
    """
    seed = coefficient.first - 1
    settled = _latest_settled((x, coefficient)) + ceil(log(SETTLED) / log(1.0 - slowest))
    key = _stored_key(f"adaptive({x.key}, {coefficient.key})")
    return Adaptive(key, (x, coefficient), coefficient.first, settled, seed=seed)


def ordered(nodes: list[Node]) -> list[Node]:
    """Return `nodes` and all nodes that they depend on, each once, dependencies first."""
    by_key: dict[str, Node] = {}

    def visit(node: Node) -> None:
        if node.key not in by_key:
            for arg in node.args:
                visit(arg)
            by_key[node.key] = node

    for node in nodes:
        visit(node)
    return list(by_key.values())
