"""Several sources for one market: the first healthy one answers, and a recovered primary source is used again.

Sources are not mixed: all bars of a symbol in an answer are of one source. `Rows.source` is the index of the source.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar

import numpy as np

from quantd.adapters.calendars import ALWAYS_OPEN
from quantd.adapters.feeds.bars.rows import ActionRow, Rows, from_source, joined
from quantd.adapters.feeds.source import PartialAnswer, Source, SourceError
from quantd.adapters.feeds.wrappers.health import Health, order
from quantd.trading.instruments import Universe

T = TypeVar("T")

TRIAL_S: Final = 30.0
"""Time limit of a background request to an unhealthy source."""


class Fallback:
    """A source that asks `sources` in order of preference; all are of one universe and one interval. `clock` returns
    seconds.

    Raises ValueError for a mix of raw and adjusted prices, or of conventions of stamps. In a 24/7 market a session's
    date equals its open, so that these two conventions may be mixed.
    """

    def __init__(
        self, sources: Sequence[Source], universe: Universe, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Compare the conventions of all sources with the first one's. Raises ValueError if they cannot be mixed.

        Raw and adjusted prices cannot be mixed, nor stamps of opens and of closes. Stamps of session dates and of opens
        can be mixed in a market that never closes, because both are then the same instant.
        """
        first = sources[0]
        always_open = all(i.calendar == ALWAYS_OPEN for i in universe.instruments)
        for other in sources[1:]:
            if other.adjusted != first.adjusted:
                kinds = ("raw", "adjusted")
                raise ValueError(
                    f"{first.name} has {kinds[first.adjusted]} prices and {other.name} {kinds[other.adjusted]} ones: "
                    "one cannot replace the other; choose raw prices of both sources"
                )
            if other.stamps != first.stamps and not (always_open and "close" not in (other.stamps, first.stamps)):
                raise ValueError(
                    f'{first.name} dates bars by "{first.stamps}" and {other.name} by "{other.stamps}": '
                    "one cannot replace the other; choose sources with the same stamps"
                )
        self._sources, self._universe, self._clock = tuple(sources), universe, clock
        self._healths = [Health() for _ in sources]
        self._trials: dict[int, asyncio.Task[None]] = {}
        self.name: Final = "+".join(source.name for source in sources)
        self.stamps: Final = first.stamps
        self.adjusted: Final = first.adjusted

    async def bars(self, start_ns: int, end_ns: int) -> Rows:
        """Return the bars of the first source that answers; the next sources supply missing symbols.

        Raises SourceError with the text of each source, and PartialAnswer for symbols that no source has.

        `index` is the position of a source in the order of preference. `incomplete` is True once a source answered with
        some symbols only.
        """
        answers: list[Rows] = []
        missing_columns = set(range(self._universe.size))
        refusals: list[SourceError] = []
        incomplete = False
        for index in order(self._healths):
            try:
                rows = await self._answer(index, lambda source: source.bars(start_ns, end_ns))
                answered = missing_columns
            except PartialAnswer as error:
                refusals.append(error)
                incomplete, rows = True, error.rows
                answered = missing_columns - {self._universe.index[symbol] for symbol in error.missing}
            except SourceError as error:
                refusals.append(error)
                continue
            from_this_source = np.array([column in answered for column in range(self._universe.size)])
            answers.append(from_source(rows.take(from_this_source[rows.column]), index))
            missing_columns = missing_columns - answered
            if not missing_columns:
                break
        self._try_unhealthy(start_ns, end_ns)
        if not missing_columns:
            return joined(answers)
        if incomplete:
            symbols = [self._universe.symbols[column] for column in sorted(missing_columns)]
            raise PartialAnswer(self.name, joined(answers), symbols, "; ".join(str(refusal) for refusal in refusals))
        raise self._joined_error(refusals)

    async def actions(self, start_ns: int, end_ns: int) -> list[ActionRow]:
        """Return the actions of the first source that answers. Raises SourceError where none does."""
        refusals = []
        for index in order(self._healths):
            try:
                return await self._answer(index, lambda s: s.actions(start_ns, end_ns))
            except SourceError as error:
                refusals.append(error)
        raise self._joined_error(refusals)

    async def close(self) -> None:
        """Cancel the running trials of sources, and close every source."""
        trials = list(self._trials.values())
        for trial in trials:
            trial.cancel()
        await asyncio.gather(*trials, return_exceptions=True)
        for source in self._sources:
            await source.close()

    async def _answer(self, index: int, request: Callable[[Source], Awaitable[T]]) -> T:
        """Send a request to one source, and note in its health whether it answered."""
        health = self._healths[index]
        try:
            answer = await request(self._sources[index])
        except PartialAnswer as error:
            if len(error.rows):
                health.answered()  # an unknown symbol is no failure of the source
            else:
                health.failed(self._clock())
            raise
        except SourceError as error:
            health.failed(self._clock(), hopeless=not error.again, after_s=error.after_s)
            raise
        health.answered()
        return answer

    def _try_unhealthy(self, start_ns: int, end_ns: int) -> None:
        """Repeat the request, in the background, to unhealthy sources that are preferred to the one in use.

        Their answers are discarded and only change the health scores.
        """
        first_in_order = order(self._healths)[0]
        for index in range(first_in_order):
            if self._healths[index].may_be_tried(self._clock()) and index not in self._trials:
                trial = asyncio.create_task(self._trial(index, start_ns, end_ns))
                self._trials[index] = trial
                trial.add_done_callback(partial(self._trials.pop, index))

    async def _trial(self, index: int, start_ns: int, end_ns: int) -> None:
        with suppress(SourceError):
            try:
                async with asyncio.timeout(TRIAL_S):
                    await self._answer(index, lambda s: s.bars(start_ns, end_ns))
            except TimeoutError:
                self._healths[index].failed(self._clock())

    def _joined_error(self, refusals: Sequence[SourceError]) -> SourceError:
        if len(refusals) == 1:
            return refusals[0]
        waits = [error.after_s for error in refusals if error.again]
        what = "no source answers: " + "; ".join(str(error) for error in refusals)
        return SourceError(self.name, what, again=bool(waits), after_s=min(waits, default=0.0))
