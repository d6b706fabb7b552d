"""The recipe of a build: which modules are compiled, by which compiler, with which checks and flags.

A change of this file makes every build stale.
"""

from typing import Final, NamedTuple

MODULES: Final = (
    "quantd.trading.integers",
    "quantd.trading.fill_prices",
    "quantd.trading.ledger.book",
    "quantd.risk.pretrade.gate_bounds",
    "quantd.risk.pretrade.loops",
    "quantd.risk.pretrade.scenes",
    "quantd.risk.pretrade.standing",
    "quantd.risk.pretrade.pairs",
    "quantd.risk.pretrade.worst_losses",
    "quantd.risk.pretrade.forms",
    "quantd.risk.pretrade.judge",
    "quantd.daemon.engine.planning.lots",
    "quantd.adapters.brokers.paper.bar_fills",
)
"""Modules that are compiled, all or none."""


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

INNER_LOOPS: Final[tuple[InnerLoop, ...]] = (
    InnerLoop(_LOOPS, "Loops._sum_above", "Loops.sum_above"),
    InnerLoop(_LOOPS, "Loops._count_above", "Loops.count_above"),
    InnerLoop(_LOOPS, "Loops._nth", "Loops.nth"),
    InnerLoop(_LOOPS, "Loops._sum_worst", "Loops.sum_worst"),
    InnerLoop(_LOOPS, "Loops._add_losses", "Loops.losses"),
    InnerLoop(_LOOPS, "Loops._add_order", "Loops.add_order"),
    InnerLoop(_LOOPS, "Loops._copy", "Loops.copy"),
    InnerLoop(_LOOPS, "Loops._add_scaled", "Loops.add_scaled"),
    InnerLoop(_LOOPS, "Loops._factors", "Loops.factors"),
    InnerLoop(_LOOPS, "Loops._add_corners", "Loops.corners"),
    InnerLoop(_LOOPS, "Loops._add_row", "Loops.product"),
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
    "initializedcheck": "False",
}
CHECKED_DIRECTIVES: Final = {**DIRECTIVES, "initializedcheck": "True"}
"""Directives of the checked build, in which inner loops keep their bounds checks too."""

INNER_DIRECTIVES: Final = ("boundscheck(False)",)

C_FLAGS: Final = (
    "-O3", "-g0", "-fPIC", "-pthread", "-DNDEBUG", "-fwrapv", "-fno-strict-aliasing", "-w",
    # the bits of a sum must not depend on the processor or on the compiler
    "-fno-fast-math", "-ffp-contract=off",
    # these two change flags of the processor, not values
    "-fno-math-errno", "-fno-trapping-math",
)  # fmt: skip
"""Come after the words of CC, so that no flag there replaces them."""

VARIANTS: Final = {"release": DIRECTIVES, "checked": CHECKED_DIRECTIVES}
