"""Several sources for one market: the first that is well answers, and the primary is taken back once it has proved
itself.

No bar is ever mixed: an answer is one source's, or where that one knows nothing of a symbol, that symbol's bars are all
another's. `Rows.source` says whose each bar is.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeVar

import numpy as np

from quantd.adapters.feeds.bars.rows import ActionRow, Rows, from_source, joined
from quantd.adapters.feeds.bars.stamps import Stamps
from quantd.adapters.feeds.source import PartialAnswer, Source, SourceError
from quantd.adapters.feeds.wrappers.health import Health, order
from quantd.trading.instruments import Universe

T = TypeVar("T")

TRIAL_S: Final = 30.0
"""A source that is only tried may take this long."""


class Fallback:
    """`sources` in the order of preference, over one universe and one interval. `clock` counts seconds.

    Sources of raw and of adjusted prices do not stand in for each other, nor sources that date bars differently (a
    session's date and the open of a 24/7 day are one): ValueError. `used` counts answers by source name.
    """

    def __init__(
        self, sources: Sequence[Source], universe: Universe, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        first = sources[0]
        always_open = all(i.calendar == "24/7" for i in universe.instruments)
        for other in sources[1:]:
            if other.adjusted != first.adjusted:
                kinds = ("raw", "adjusted")
                raise ValueError(
                    f"{first.name} has {kinds[first.adjusted]} prices and {other.name} {kinds[other.adjusted]} ones: "
                    "they cannot stand in for each other; choose raw prices of both"
                )
            if other.stamps != first.stamps and not (always_open and "close" not in (other.stamps, first.stamps)):
                raise ValueError(
                    f'{first.name} dates bars by "{first.stamps}" and {other.name} by "{other.stamps}": '
                    "they cannot stand in for each other; choose sources that date alike"
                )
        self._sources, self._universe, self._clock = tuple(sources), universe, clock
        self._healths = [Health() for _ in sources]
        self._trials: dict[int, asyncio.Task[None]] = {}
        self.used: Final[dict[str, int]] = {source.name: 0 for source in sources}

    @property
    def name(self) -> str:
        return "+".join(source.name for source in self._sources)

    @property
    def stamps(self) -> Stamps:
        return self._sources[0].stamps

    @property
    def adjusted(self) -> bool:
        return self._sources[0].adjusted

    @property
    def scores(self) -> dict[str, float]:
        """Health by source name, 0 to 1."""
        return {s.name: h.score for s, h in zip(self._sources, self._healths, strict=True)}

    async def bars(self, start_ns: int, end_ns: int) -> Rows:
        """The answer of the first source that has one; symbols that it lacks are asked of the next. Raises SourceError,
        which says what each source said, and PartialAnswer where no source knows a symbol."""
        parts: list[Rows] = []
        wanted = set(range(self._universe.size))
        refusals: list[SourceError] = []
        incomplete = False
        for number in order(self._healths):
            try:
                rows = await self._answer(number, lambda s: s.bars(start_ns, end_ns))
                answered = wanted
            except PartialAnswer as error:
                refusals.append(error)
                incomplete, rows = True, error.rows
                answered = wanted - {self._universe.index[symbol] for symbol in error.missing}
            except SourceError as error:
                refusals.append(error)
                continue
            self.used[self._sources[number].name] += 1
            ours = np.array([column in answered for column in range(self._universe.size)])
            parts.append(from_source(rows.take(ours[rows.column]), number))
            wanted = wanted - answered
            if not wanted:
                break
        self._try_the_resting(start_ns, end_ns)
        if not wanted:
            return joined(parts)
        if incomplete:
            symbols = [self._universe.symbols[column] for column in sorted(wanted)]
            raise PartialAnswer(self.name, joined(parts), symbols, "; ".join(str(e) for e in refusals))
        raise self._all_of(refusals)

    async def actions(self, start_ns: int, end_ns: int) -> list[ActionRow]:
        """Of the first source that has an answer. Raises SourceError."""
        refusals = []
        for number in order(self._healths):
            try:
                return await self._answer(number, lambda s: s.actions(start_ns, end_ns))
            except SourceError as error:
                refusals.append(error)
        raise self._all_of(refusals)

    async def close(self) -> None:
        trials = list(self._trials.values())
        for trial in trials:
            trial.cancel()
        await asyncio.gather(*trials, return_exceptions=True)
        for source in self._sources:
            await source.close()

    async def _answer(self, number: int, ask: Callable[[Source], Awaitable[T]]) -> T:
        health = self._healths[number]
        try:
            answer = await ask(self._sources[number])
        except PartialAnswer as error:
            if not len(error.rows):
                health.failed(self._clock())
            raise  # a symbol that it does not know is not the source's weakness
        except SourceError as error:
            health.failed(self._clock(), hopeless=not error.again, after_s=error.after_s)
            raise
        health.answered()
        return answer

    def _try_the_resting(self, start_ns: int, end_ns: int) -> None:
        """Ask preferred sources that rest the same question beside ours: nobody waits for the answer, and nobody uses
        it."""
        best = order(self._healths)[0]
        for number in range(best):
            if self._healths[number].may_be_tried(self._clock()) and number not in self._trials:
                trial = asyncio.create_task(self._trial(number, start_ns, end_ns))
                self._trials[number] = trial
                trial.add_done_callback(partial(self._tried, number))

    def _tried(self, number: int, _: asyncio.Task[None]) -> None:
        del self._trials[number]

    async def _trial(self, number: int, start_ns: int, end_ns: int) -> None:
        health = self._healths[number]
        try:
            async with asyncio.timeout(TRIAL_S):
                await self._sources[number].bars(start_ns, end_ns)
        except SourceError as error:
            if isinstance(error, PartialAnswer) and len(error.rows):
                health.answered()
            else:
                health.failed(self._clock(), hopeless=not error.again, after_s=error.after_s)
        except TimeoutError:
            health.failed(self._clock())
        else:
            health.answered()

    def _all_of(self, refusals: Sequence[SourceError]) -> SourceError:
        if len(refusals) == 1:
            return refusals[0]
        waits = [error.after_s for error in refusals if error.again]
        what = "no source answers: " + "; ".join(str(error) for error in refusals)
        return SourceError(self.name, what, again=bool(waits), after_s=min(waits, default=0.0))
