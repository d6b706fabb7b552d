"""Repeats failed requests with growing, jittered pauses until a deadline.

A failure that a repeat cannot correct is raised at once. The delay that a vendor asks for is added to the pause,
because an earlier request would be refused again. If the pause would end after the deadline, the failure is raised
instead.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from quantd.adapters.feeds.bars.rows import ActionRow, Rows
from quantd.adapters.feeds.source import Source, SourceError
from quantd.adapters.feeds.wrappers.wrapper import Forwarding

if TYPE_CHECKING:
    from tenacity import RetryCallState

T = TypeVar("T")

Report = Callable[[SourceError, int, float], None]


class Retried(Forwarding):
    """A source whose temporary failures are retried.

    The pause is the `after_s` that the vendor asks for, plus `first_s`, doubled with each failure up to `longest_s` and
    multiplied by a random factor from 0.5 to 1.5. A failure is raised at once if its `again` is False, or if its pause
    would end more than `deadline_s` seconds after the first attempt. Before another attempt, `report` is called with
    the failure, the number of failures so far, and the pause in seconds.
    """

    def __init__(
        self,
        source: Source,
        *,
        deadline_s: float = 120.0,
        first_s: float = 0.5,
        longest_s: float = 30.0,
        report: Report = lambda error, failures, pause_s: None,
    ) -> None:
        """Wrap a source.

        Times are in seconds: `deadline_s` since the first attempt, `first_s` and `longest_s` for the pauses. `report`
        gets the failure, the number of failures and the pause.
        """
        super().__init__(source)
        self._report = report
        self._deadline_s, self._first_s, self._longest_s = deadline_s, first_s, longest_s

    async def bars(self, start_ns: int, end_ns: int) -> Rows:
        """Return the wrapped source's bars. Raises the last SourceError when retrying has failed."""
        return await self._retried(self._source.bars, start_ns, end_ns)

    async def actions(self, start_ns: int, end_ns: int) -> list[ActionRow]:
        """Return the wrapped source's actions. Raises the last SourceError when retrying has failed."""
        return await self._retried(self._source.actions, start_ns, end_ns)

    async def _retried(self, call: Callable[[int, int], Awaitable[T]], start_ns: int, end_ns: int) -> T:
        """Call again after each temporary failure, until the deadline; the last failure is raised."""
        from tenacity import AsyncRetrying, retry_if_exception, stop_before_delay

        attempts = AsyncRetrying(
            retry=retry_if_exception(lambda error: isinstance(error, SourceError) and error.again),
            wait=self._pause_s,
            stop=stop_before_delay(self._deadline_s),
            before_sleep=self._reported,
            reraise=True,
        )
        return await attempts(call, start_ns, end_ns)

    def _reported(self, state: "RetryCallState") -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        if isinstance(error, SourceError):
            self._report(error, state.attempt_number, state.upcoming_sleep)

    def _pause_s(self, state: "RetryCallState") -> float:
        from tenacity import wait_random

        error = state.outcome.exception() if state.outcome is not None else None
        asked_s = error.after_s if isinstance(error, SourceError) else 0.0
        usual_s = min(self._first_s * 2.0 ** min(state.attempt_number - 1, 30), self._longest_s)
        return asked_s + wait_random(0.5 * usual_s, 1.5 * usual_s)(state)
