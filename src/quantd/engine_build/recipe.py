"""The recipe of a build: which modules are compiled, by which compiler, with which checks and flags.

A change of this file makes every build stale.
"""

from typing import Final, NamedTuple

MODULES: Final = (
    "quantd.trading.integers",
    "quantd.trading.fill_prices",
    "quantd.trading.ledger.book",
    "quantd.trading.ledger.shares",
    "quantd.risk.limits.collars",
    "quantd.risk.switch_state",
    "quantd.trading.history.row_loops",
    "quantd.trading.history.rings",
    "quantd.trading.history.question",
    "quantd.risk.monitor.holdings",
    "quantd.risk.monitor.ceilings",
    "quantd.risk.monitor.equity_series",
    "quantd.risk.measures.market_loops",
    "quantd.risk.pretrade.gate_bounds",
    "quantd.risk.pretrade.loops",
    "quantd.risk.pretrade.scenes",
    "quantd.risk.pretrade.standing",
    "quantd.risk.pretrade.pairs",
    "quantd.risk.pretrade.worst_losses",
    "quantd.risk.pretrade.forms",
    "quantd.risk.pretrade.judge",
    "quantd.daemon.engine.core.lots",
    "quantd.daemon.engine.core.lacks",
    "quantd.adapters.brokers.paper.bar_fills",
    "quantd.daemon.engine.core.order_columns",
    "quantd.daemon.engine.core.limiter",
    "quantd.daemon.engine.core.book_columns",
    "quantd.daemon.engine.core.market_columns",
    "quantd.daemon.engine.core.digest_rows",
    "quantd.daemon.engine.core.sample_columns",
    "quantd.daemon.engine.core.venue_orders",
    "quantd.daemon.engine.core.agent_columns",
    "quantd.daemon.engine.core.round_plan",
    "quantd.daemon.engine.core.exit_orders",
    "quantd.daemon.engine.core.step_records",
    "quantd.daemon.engine.core.questions",
    "quantd.daemon.engine.core.fold",
)
"""Modules that are compiled, all or none."""

BUFFERS: Final = "quantd.engine_build.buffers"
"""The library with what Cython does for buffers, which all modules share. It has no source: Cython writes it."""

LIBRARIES: Final = (BUFFERS, *MODULES)
"""The libraries of a build."""

UNCOMPILED: Final = "QUANTD_UNCOMPILED"
CHECKED: Final = "QUANTD_CHECKED"
PURE_WHEEL: Final = "QUANTD_PURE_WHEEL"
VARIABLES: Final = (UNCOMPILED, CHECKED, PURE_WHEEL)
"""Variables of the environment: run the source, load the checked build, make a wheel without a build."""


class InnerLoop(NamedTuple):
    """A function without bounds checks. Its caller `checked_by` checks the lengths of every buffer that it indexes."""

    module: str
    function: str
    checked_by: str


_LOOPS: Final = "quantd.risk.pretrade.loops"
_MARKET: Final = "quantd.risk.measures.market_loops"

_ROWS: Final = "quantd.trading.history.row_loops"

INNER_LOOPS: Final[tuple[InnerLoop, ...]] = (
    InnerLoop(_ROWS, "RowLoops._returns", "RowLoops.returns"),
    InnerLoop(_ROWS, "RowLoops._count", "RowLoops.count_rows"),
    InnerLoop(_ROWS, "RowLoops._squares", "RowLoops.squares"),
    InnerLoop(_ROWS, "RowLoops._variances", "RowLoops.variances"),
    InnerLoop(_ROWS, "RowLoops._least_variances", "RowLoops.least_variances"),
    InnerLoop(_ROWS, "RowLoops._means", "RowLoops.means"),
    InnerLoop(_ROWS, "RowLoops._norms", "RowLoops.norms"),
    InnerLoop(_ROWS, "RowLoops._spread", "RowLoops.spread"),
    InnerLoop(_ROWS, "RowLoops._dot", "RowLoops.dot"),
    InnerLoop("quantd.risk.monitor.holdings", "Holdings._weigh", "Holdings.weigh"),
    InnerLoop(_LOOPS, "Loops._sum_above", "Loops.sum_above"),
    InnerLoop(_LOOPS, "Loops._count_above", "Loops.count_above"),
    InnerLoop(_LOOPS, "Loops._nth", "Loops.nth"),
    InnerLoop(_LOOPS, "Loops._sum_worst", "Loops.sum_worst"),
    InnerLoop(_LOOPS, "Loops._losses", "Loops.losses"),
    InnerLoop(_LOOPS, "Loops._add_order", "Loops.add_order"),
    InnerLoop(_LOOPS, "Loops._copy", "Loops.copy"),
    InnerLoop(_LOOPS, "Loops._add_scaled", "Loops.add_scaled"),
    InnerLoop(_LOOPS, "Loops._factors", "Loops.factors"),
    InnerLoop(_LOOPS, "Loops._add_corners", "Loops.corners"),
    InnerLoop(_LOOPS, "Loops._add_product", "Loops.product"),
    InnerLoop(_MARKET, "MarketLoops._add_rows", "MarketLoops.moments"),
    InnerLoop(_MARKET, "MarketLoops._transpose", "MarketLoops.transpose"),
)

CYTHON: Final = "3.3.1"
"""The version of Cython that builds; constraints.txt and pyproject.toml name the same."""

DIRECTIVES: Final = {
    "language_level": "3",
    "annotation_typing": "False",  # the declarations have the types; `k: int` would be a Python object
    "boundscheck": "True",
    "wraparound": "False",  # with boundscheck a negative index raises IndexError
    "cdivision": "False",  # `//` and `%` have Python's sign and raise ZeroDivisionError
    "overflowcheck": "True",
    "nonecheck": "True",
    "initializedcheck": "True",  # else a buffer that is not assigned yet ends the process
}

INNER_DIRECTIVES: Final = ("boundscheck(False)",)
"""Not in the checked build."""

C_FLAGS: Final = (
    "-g0", "-fPIC", "-pthread", "-DNDEBUG", "-fwrapv", "-fno-strict-aliasing", "-w",
    # the bits of a sum must not depend on the processor or on the compiler
    "-fno-fast-math", "-ffp-contract=off",
    # these two change flags of the processor, not values
    "-fno-math-errno", "-fno-trapping-math",
)  # fmt: skip
"""Come after the words of CC, so that no flag there replaces them."""

VARIANTS: Final = {"release": "-O3", "checked": "-O1"}
"""Kind of build -> level of optimisation. The checked build takes two thirds of the time, and a bit that depends on the
level is seen."""
