"""The closed list of reasons to doubt a result, the heaviest first.

What can go wrong: a result is printed with the reason to doubt it at the end, or without it. So every result is checked
for every reason of this list, and the first line of its output states the worst doubt. A doubt that depends on the
market alone is computed once for all points of a sweep.
"""

from collections.abc import Callable
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

from quantd.adapters.feeds.recorded.replay import Replay
from quantd.research.doubts import price_doubts, result_doubts
from quantd.research.doubts.doubt import Doubt
from quantd.research.doubts.evidence import Evidence


class DoubtKind(NamedTuple):
    """A kind of doubt: its weight, and `find`, whose docstring states what it looks for.

    `find` returns a clause in words, and an empty text where there is nothing to doubt. `of_market` is True where the
    clause depends on the market and on `Evidence.reads_after` alone, so that the points of a sweep share it.
    """

    kind: str
    weight: int
    find: Callable[[Evidence], str]
    of_market: bool = False


KINDS: Final = (
    DoubtKind("in_sample", 100, result_doubts.in_sample),
    DoubtKind("foresight", 95, result_doubts.foreknown),
    DoubtKind("ratio", 90, result_doubts.beyond_belief),
    DoubtKind("bars", 80, price_doubts.rejected_bars, of_market=True),
    DoubtKind("dead_symbol", 70, price_doubts.dead_symbols),
    DoubtKind("last_day", 60, price_doubts.last_day, of_market=True),
    DoubtKind("size", 50, result_doubts.cut_sizes),
    DoubtKind("late_prices", 45, price_doubts.late_prices),
    DoubtKind("dividends", 40, price_doubts.absent_dividends, of_market=True),
    DoubtKind("benchmark", 30, result_doubts.ruinous_benchmark),
    DoubtKind("survivors", 20, result_doubts.survivors),
    DoubtKind("cash_rate", 10, result_doubts.idle_cash),
)
"""All kinds, the heaviest first. docs/research/doubts.md has a row for each."""


_MARKET_TEXTS: Final[WeakKeyDictionary[Replay, dict[tuple[str, int], str]]] = WeakKeyDictionary()
"""The texts of the kinds with `of_market`, by feed, then by (kind, `Evidence.reads_after`)."""


def _market_text(kind: DoubtKind, evidence: Evidence) -> str:
    """Return the text of a kind of doubt that depends on the market only.

    The text is cached for the feed and the first bar that the run uses.
    """
    texts, key = _MARKET_TEXTS.setdefault(evidence.assembly.feed, {}), (kind.kind, evidence.reads_after)
    if key not in texts:
        texts[key] = kind.find(evidence)
    return texts[key]


def doubts_of(evidence: Evidence) -> tuple[Doubt, ...]:
    """Return the reasons to doubt a run, the heaviest first."""
    texts = ((kind, _market_text(kind, evidence) if kind.of_market else kind.find(evidence)) for kind in KINDS)
    return tuple(Doubt(kind.kind, text, kind.weight) for kind, text in texts if text)
