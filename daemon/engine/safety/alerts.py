"""Alerts for operators, as effects of a step."""

from collections.abc import Sequence
from itertools import compress
from typing import Final

from quantd.daemon.engine.state import HOUSE, State
from quantd.risk.limits.catalogue import FLOORS, ON_BREACH
from quantd.risk.monitor.levels import CRITICAL, Crossing
from quantd.risk.switch import STATE_LIMITS
from quantd.trading.effects import Level, LimitMoved, Publish, Refusal, Refused

LEVELS: Final[tuple[Level, ...]] = ("INFO", "INFO", "WARNING", "CRITICAL")
"""Level of an alert by the level of `quantd.risk.monitor.levels`."""

CALM_SAMPLES: Final = 42
"""Samples within which a level that recurs raises no new alert: two months of daily bars."""

NAMED: Final = 12
"""The largest number of limits named in the text of one alert."""

RATIOS: Final = frozenset({"min_sharpe"})
"""Limits that are plain numbers; all other limits are fractions."""


def alert(
    state: State, level: Level, kind: str, text: str, *, agent: int | str = HOUSE, symbol: int = -1, **measured: float
) -> Publish:
    """An alert about an agent (by index or name) or the whole account. `symbol` is a column, -1 for none; `measured`
    may have the `value` and the `bound` of a limit."""
    if isinstance(agent, int):
        agent = "" if agent == HOUSE else state.rules.agents[agent].name
    return Publish(
        ts=state.now,
        level=level,
        kind=kind,
        text=text,
        symbol="" if symbol < 0 else state.universe.symbols[symbol],
        agent=agent,
        value=measured.get("value"),
        bound=measured.get("bound"),
    )


def refuse_command(
    state: State, code: Refusal, kind: str, why: str, *, before: str = "", level: Level = "WARNING"
) -> tuple[Publish, Refused]:
    """The effects of a command that is refused: an alert, whose text is `before` and the reason `why`, and the record
    of the refusal with its code."""
    return alert(state, level, kind, before + why), Refused(code, why)


def level_effects(state: State, crossings: Sequence[tuple[int, Crossing]]) -> list[LimitMoved | Publish]:
    """The record of the limits whose alert level changed at an instant, and at most one alert about them.

    `crossings` are (book, crossing) pairs. A crossing is (key of the limit, level before, level after, value, bound).
    """
    if not crossings:
        return []
    news = [_is_news(state, book, crossing) for book, crossing in crossings]
    moves = [(book, *crossing, reported) for (book, crossing), reported in zip(crossings, news, strict=True)]
    return [LimitMoved(state.now, moves), *_limit_alert(state, list(compress(crossings, news)))]


def _limit_alert(state: State, news: list[tuple[int, Crossing]]) -> list[Publish]:
    """One alert about the (book, crossing) pairs whose level rose at this instant; an empty list without pairs.

    A crossing is (key of the limit, level before, level after, value, bound). The house is the whole account.
    The alert has level, kind, agent and value of the limit with the highest level. The text names up to NAMED limits.
    """
    if not news:
        return []
    news.sort(key=lambda pair: -pair[1][2])  # the highest new level first
    texts: dict[int, dict[str, list[str]]] = {}
    for book, (key, _, _, value, bound) in news[:NAMED]:
        texts.setdefault(book, {}).setdefault(_use(key, value, bound), []).append(_name(key))
    each_book = {
        book: "; ".join(f"{' and '.join(names)} {use}" for use, names in limits_by_use.items())
        for book, limits_by_use in texts.items()
    }
    parts = [
        f"{text} (house)"
        if book == HOUSE
        else text
        if len(each_book) == 1
        else f"{state.rules.agents[book].name}: {text}"
        for book, text in each_book.items()
    ]
    if len(news) > NAMED:
        parts.append(f"and {len(news) - NAMED} more")
    book, (key, _, after, value, bound) = news[0]
    return [alert(state, LEVELS[after], f"limit_{key}", "; ".join(parts), agent=book, value=value, bound=bound)]


def _is_news(state: State, book: int, crossing: Crossing) -> bool:
    """Whether a crossing, a change of a limit's alert level, raises an alert; records the samples at which levels end.

    A level that recurs within CALM_SAMPLES belongs to the earlier event. Losses and breaches of the limits of the whole
    account always raise an alert. A limit of ON_BREACH, which reports breaches only, raises none
    below CRITICAL.
    """
    key, before, after, _, _ = crossing
    # for each level above 0 the number of the sample at which it ended last
    ended = state.watch.ended[book + 1].setdefault(key, [-CALM_SAMPLES] * CRITICAL)
    for level in range(after, before):  # the levels that end with a fall
        ended[level] = state.sample_no
    if after < before or (key in ON_BREACH and after < CRITICAL):
        return False
    if (book == HOUSE and after == CRITICAL) or key in STATE_LIMITS:
        return True
    return state.sample_no - ended[after - 1] >= CALM_SAMPLES


def _name(key: str) -> str:
    """A limit's name in words: its key without max_ or min_."""
    return key.removeprefix("max_").removeprefix("min_").replace("_", " ")


def _use(key: str, value: float, bound: float) -> str:
    """A limit's measured value and its bound as text."""
    if key in FLOORS:
        written = "{:.2f}" if key in RATIOS else "{:.1%}"
        return f"{written.format(value)}, where at least {written.format(bound)} is wanted"
    return f"{value:.1%} is {value / bound if bound else 1.0:.0%} of its limit {bound:.1%}"
