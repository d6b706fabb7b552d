"""Gate calls, recorded on request for explanations and previews.

The engine only appends to it; no decision depends on it, and it is in no snapshot.
"""

from dataclasses import dataclass

from quantd.risk.limits.catalogue import Limits
from quantd.risk.pretrade.gate import Account, Context, Verdict
from quantd.trading.market import Floats


@dataclass(frozen=True, slots=True)
class Judged:
    """One gate call. `book` is an agent's number or HOUSE, `asked` float64[N] signed lots, `switch` the gate's mode.

    The house follows the agents whose baskets it nets.
    """

    book: int
    ctx: Context
    account: Account
    asked: Floats
    limits: Limits
    switch: int
    verdict: Verdict


class HouseVerdicts(list[Judged]):
    """A record that reads some of the house's gate calls only: then the fold goes on, and tells those.

    `reads` says whether the next one is read.
    """

    reads: bool = True
