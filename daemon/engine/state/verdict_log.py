"""A log of gate calls (checks of orders against limits), recorded on request for explanations and previews.

The engine only appends to the log; no decision depends on it, and it is in no snapshot.
"""

from dataclasses import dataclass

from quantd.risk.limits.catalogue import Limits
from quantd.risk.pretrade.gate import Account, Context, Verdict
from quantd.trading.market import Floats


@dataclass(frozen=True, slots=True)
class Judged:
    """One gate call (a check of orders). `book` is an agent's index or HOUSE, `asked` float64[N] signed lots, `switch`
    the kill switch state at which the lots were checked.

    In a log, the call of the whole account follows the calls of the agents whose baskets it nets.
    """

    book: int
    ctx: Context
    account: Account
    asked: Floats
    limits: Limits
    switch: int
    verdict: Verdict


class HouseVerdicts(list[Judged]):
    """A log that needs only some gate calls (checks of orders) of the whole account.

    Unlike a log of all calls, it does not turn off the fold, the engine's compiled fast path. `reads` is True while the
    next gate call of the house is to be appended.
    """

    reads: bool = True
