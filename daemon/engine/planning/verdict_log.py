"""What a gate was asked and by whom, kept while somebody looks on: for explanations of the past and plans of the
present.

The engine only ever adds to it; nothing it decides depends on it, and it is in no snapshot.
"""

from dataclasses import dataclass

from quantd.risk.limits.catalogue import Limits
from quantd.risk.pretrade.gate import Account, Context, Verdict
from quantd.trading.market import Floats


@dataclass(frozen=True, slots=True)
class Judged:
    """One basket before one gate. `book` is an agent's number or HOUSE, `asked` float64[N] signed lots, `switch` what
    the gate was told. The house comes last, after the agents whose baskets it nets."""

    book: int
    ctx: Context
    account: Account
    asked: Floats
    limits: Limits
    switch: int
    verdict: Verdict
