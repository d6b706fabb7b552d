"""Pauses after refusals: an order that the venue refuses, or a stop that it ends, is not sent again at once.

What can go wrong: a refusal that lasts (day trading, least cost, an asset that does not trade) would be repeated at
every bar, once a symbol. That hides other alerts, and a venue locks out a client that goes on.

A pause belongs to a symbol, a side and the words of the refusal, without their numbers. It lasts 1, 2, 4 .. 60 minutes.
The side is `add`, `reduce` or `stop`: a lack of buying power must not keep a position from being sold. The first
refusal of a run raises one alert, other words another one, and the end of the run an INFO.

A reduction pauses like a purchase, and its alert is CRITICAL. Rejected: to try an exit at every bar. A venue that
refuses an exit twice does so for a cause that no further order removes, and only a person can act on it. An operator's
`flatten` and an order by hand are sent at once, whatever the pause. A stop that pauses at the venue is still watched
by the daemon.
"""

import re
from collections.abc import Collection, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from quantd.daemon.engine.safety.alerts import alert
from quantd.daemon.engine.state import HOUSE, State
from quantd.daemon.engine.stops.records import Retry, Side
from quantd.trading.effects import Effect
from quantd.trading.instruments import NANO
from quantd.trading.market import Floats
from quantd.trading.orders import OrderState

FIRST_NS: Final = 60 * NANO
"""The first pause; doubled with each refusal."""

LONGEST_NS: Final = 60 * FIRST_NS

FORGOTTEN_NS: Final = 3_600 * NANO
"""Time after a possible attempt when a run of refusals is forgotten."""

MOST_WORDS: Final = 8
"""Maximum number of different words of one symbol and side; all others share one pause."""

LONGEST_WORDS: Final = 160

OTHER_WORDS: Final = "other words"

NAMES: Final[dict[Side, str]] = {
    "add": "orders that add to it", "reduce": "orders that reduce it", "stop": "stops at the venue",
}  # fmt: skip

_STANDING: Final = (OrderState.WORKING, OrderState.PARTIAL)

_VARYING: Final = re.compile(r"\S*\d\S*")


def words_of(reason: str) -> str:
    """The words of a refusal without what varies: numbers, identifiers, instants."""
    return _VARYING.sub("#", reason.lower())[:LONGEST_WORDS].strip() or "no reason given"


def side_of(state: State, symbol: int, lots: float) -> Side:
    """The side of an order of the house in signed lots, by its present position."""
    held = state.ledger.house.held[symbol]
    return "reduce" if held * lots < 0 and abs(lots) <= abs(held) else "add"


def pause_after(state: State, agent: int, symbol: int, side: Side, words: str) -> Retry:
    """Count one more refusal, and begin its pause."""
    alike = [key for key in state.retries if key[:3] == (agent, symbol, side)]
    if (agent, symbol, side, words) not in alike and len(alike) >= MOST_WORDS:
        words = OTHER_WORDS
    key = agent, symbol, side, words
    times = state.retries[key].times + 1 if key in state.retries else 1
    retry = state.retries[key] = Retry(agent, symbol, times, state.now + _pause_ns(times), side, words)
    return retry


def refused(state: State, agent: int, symbol: int, side: Side, reason: str) -> list[Effect]:
    """Pause after an order that the venue refused; an alert for the first of its words."""
    retry = pause_after(state, agent, symbol, side, words_of(reason))
    if retry.times > 1:
        return []
    who = "" if reason.startswith("not sent: ") else "rejected by the venue: "
    text = (
        f"{who}{reason or 'no reason given'}; {NAMES[side]} pause, for 1 minute at first and up to 60 while this lasts"
    )
    return [alert(state, "CRITICAL" if side == "reduce" else "WARNING", "refusal", text, symbol=symbol)]


def taken(state: State, agent: int, symbol: int, side: Side) -> list[Effect]:
    """End the pauses of a side after an order that the venue carried out."""
    return _end(state, [key for key in state.retries if key[:3] == (agent, symbol, side)], "the venue takes {} again")


def settle_retries(state: State) -> list[Effect]:
    """At a tick: end the pauses of orders that have stood as long as the last pause, and those that nothing repeats.

    A venue may accept an order and refuse it a moment later, so that an acceptance alone ends nothing.
    """
    standing = {
        (HOUSE, work.basket.sym[row], side_of(state, work.basket.sym[row], work.lots[row]))
        for work in state.working.values()
        for row, now in enumerate(work.state)
        if now in _STANDING
    }
    standing |= {
        (state.rests[key].agent, work.basket.sym[row], "stop")
        for key, work in state.stops.items()
        for row, now in enumerate(work.state)
        if now in _STANDING
    }
    stood = [
        key
        for key, retry in state.retries.items()
        if key[:3] in standing and retry.words and state.now - retry.at >= _pause_ns(retry.times)
    ]
    effects = _end(state, stood, "the venue takes {} again")
    old = [key for key, retry in state.retries.items() if state.now >= retry.at + FORGOTTEN_NS]
    return [*effects, *_end(state, old, "{} were not refused for an hour")]


def try_at_once(state: State, symbols: Collection[int] | None = None) -> None:
    """End the present pauses of reductions, of some symbols or of all; the count of refusals goes on.

    An operator's command ends them, and another size of what can be closed, since a further order is then another one.
    """
    for retry in state.retries.values():
        if retry.side == "reduce" and (symbols is None or retry.symbol in symbols):
            retry.at = min(retry.at, state.now)


def pausing(state: State, lots: Floats) -> NDArray[np.bool_] | None:
    """bool[N] of the house's orders, float64[N] signed lots, that pause now; None for none."""
    pauses = np.zeros(len(lots), dtype=np.bool_)
    for (agent, symbol, side, _), retry in state.retries.items():
        if agent == HOUSE and lots[symbol] and state.now < retry.at and side_of(state, symbol, lots[symbol]) == side:
            pauses[symbol] = True
    return pauses if pauses.any() else None


def stop_pauses(state: State, agent: int, symbol: int) -> bool:
    """Whether no stop may be sent for a position at present."""
    return any(key[:3] == (agent, symbol, "stop") and state.now < retry.at for key, retry in state.retries.items())


def _pause_ns(times: int) -> int:
    return min(FIRST_NS * 2 ** min(times - 1, 10), LONGEST_NS)


def _end(state: State, keys: Sequence[tuple[int, int, Side, str]], text: str) -> list[Effect]:
    """Drop pauses, with one INFO for each symbol and side that an alert told of."""
    gone = [state.retries.pop(key) for key in keys]
    refusals: dict[tuple[int, Side], int] = {}
    for retry in gone:
        if retry.words:
            refusals[retry.symbol, retry.side] = refusals.get((retry.symbol, retry.side), 0) + retry.times
    return [
        alert(
            state,
            "INFO",
            "refusal",
            f"{text.format(NAMES[side])}, after {times} refusal{'s' if times > 1 else ''}",
            symbol=symbol,
        )
        for (symbol, side), times in refusals.items()
    ]
