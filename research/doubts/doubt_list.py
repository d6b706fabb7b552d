"""The closed list of reasons to doubt a result, the heaviest first.

What can go wrong: a result is printed with the reason to doubt it at the end, or without it. So every result is checked
for every reason of this list, and the first line of its output states the worst doubt. A doubt that depends on the
market alone is computed once for all points of a sweep.
"""

from collections.abc import Callable
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

from quantd.adapters.feeds.recorded.replay import Replay
from quantd.research.doubts import market_harm, price_doubts, result_doubts
from quantd.research.doubts.doubt import Doubt, Found
from quantd.research.doubts.evidence import Evidence


class DoubtKind(NamedTuple):
    """A kind of doubt: its weight, and `find`, whose docstring states what it looks for.

    `find` returns a clause in words, and an empty text where there is nothing to doubt. Where it can measure the harm,
    it returns `Found`, and the doubt weighs as much as the harm, if that is more than the weight of its kind.
    `of_market` is True where the clause depends on the market and on `Evidence.reads_after` alone, so that the points
    of a sweep share it.
    """

    kind: str
    weight: int
    find: Callable[[Evidence], str | Found]
    of_market: bool = False


KINDS: Final = (
    DoubtKind("in_sample", 100, result_doubts.in_sample),
    DoubtKind("foresight", 95, result_doubts.foreknown),
    DoubtKind("ratio", 90, result_doubts.beyond_belief),
    DoubtKind("currencies", 85, price_doubts.several_currencies),
    DoubtKind("bars", 80, price_doubts.rejected_bars, of_market=True),
    DoubtKind("dead_symbol", 70, price_doubts.dead_symbols),
    DoubtKind("last_day", 60, price_doubts.last_day, of_market=True),
    DoubtKind("files", 55, result_doubts.opened_files),
    DoubtKind("size", 50, result_doubts.cut_sizes),
    DoubtKind("volume", 48, result_doubts.beyond_volume),
    DoubtKind("debit", 47, result_doubts.borrowed_cash),
    DoubtKind("opens", 46, market_harm.repeated_opens),
    DoubtKind("late_prices", 45, price_doubts.late_prices),
    DoubtKind("shifted_symbol", 44, market_harm.shifted_symbols),
    DoubtKind("filled_symbol", 43, market_harm.filled_symbols),
    DoubtKind("dividends_twice", 42, market_harm.double_dividends),
    DoubtKind("dividends", 40, price_doubts.absent_dividends, of_market=True),
    DoubtKind("unpaid_dividends", 38, market_harm.unpaid_dividends),
    DoubtKind("benchmark", 30, result_doubts.ruinous_benchmark),
    DoubtKind("cash_rate", 10, result_doubts.idle_cash),
    DoubtKind("survivors", 5, result_doubts.survivors),
)
"""All kinds, the heaviest first by the weight of the kind. docs/research/lookahead.md has a row for each."""


_MARKET_TEXTS: Final[WeakKeyDictionary[Replay, dict[tuple[str, int], Found]]] = WeakKeyDictionary()
"""The texts of the kinds with `of_market`, by feed, then by (kind, `Evidence.reads_after`)."""


def _market_text(kind: DoubtKind, evidence: Evidence) -> Found:
    """Return what a kind of doubt that depends on the market only has found.

    It is cached for the feed and the first bar that the run uses.
    """
    texts, key = _MARKET_TEXTS.setdefault(evidence.assembly.feed, {}), (kind.kind, evidence.reads_after)
    if key not in texts:
        texts[key] = _found(kind, evidence)
    return texts[key]


def _found(kind: DoubtKind, evidence: Evidence) -> Found:
    """Return what a kind of doubt has found, without a harm where the kind measures none."""
    found = kind.find(evidence)
    return found if isinstance(found, Found) else Found(found)


def doubts_of(evidence: Evidence) -> tuple[Doubt, ...]:
    """Return the reasons to doubt a run, the heaviest first."""
    found = ((kind, (_market_text if kind.of_market else _found)(kind, evidence)) for kind in KINDS)
    doubts = [Doubt(kind.kind, part.text, part.weight(kind.weight)) for kind, part in found if part.text]
    return tuple(sorted(doubts, key=lambda doubt: -doubt.weight))
