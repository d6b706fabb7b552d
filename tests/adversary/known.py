"""Faults of the gate that this search has found and that are not mended yet, each with its own test in
`test_adversary.py`. A breach that one of them explains is counted apart. An entry goes the day its fault does.
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from risk.gate import Verdict
from tests.adversary.judge import MIXED
from tests.risk_cases import Book

Explains = Callable[[Book, Verdict, str], bool]


def _narrow_estimate(book: Book, verdict: Verdict, wrong: str) -> bool:
    """Without `open_loss` open sales are taken to cost `reduce_collar`, also those that were sent with a wider `collar`."""
    a, limits = book.account, book.limits
    return a.open_loss is None and a.down is not None and limits.collar > limits.reduce_collar


def _lots_unknown(book: Book, verdict: Verdict, wrong: str) -> bool:
    """Lots that are not a number pass on where another order is cut at zero."""
    return bool(np.isnan(verdict.lots).any())


def _sale_far_below(book: Book, verdict: Verdict, wrong: str) -> bool:
    """A resting sale far below the mark takes more from what may be owed than it brings in cash."""
    debit = book.limits.max_cash_debit
    return wrong == "cash on the way" and any(
        lots < 0.0 and worst < debit * (book.px[k] - worst) for k, lots, worst in book.open
    )


def _mixed_states(book: Book, verdict: Verdict, wrong: str) -> bool:
    """A limit that no state breaks is taken for breached, by an exposure of one state over the equity of another;
    then what does not add to it passes, and takes the equity that kept it."""
    return wrong.endswith(MIXED)


KNOWN: Final[dict[str, Explains]] = {
    "open sales estimated too narrowly": _narrow_estimate,
    "lots that are not a number": _lots_unknown,
    "a resting sale far below the mark": _sale_far_below,
    "breached only by two states together": _mixed_states,
}


def explained(book: Book, verdict: Verdict, wrong: str) -> str:
    """The known fault that is behind a breach, or ""."""
    return next((name for name, explains in KNOWN.items() if explains(book, verdict, wrong)), "")
