"""Reads of one running service for the API: its present state, computed once per step, and its store, in a thread.

What can go wrong: many requests, large books or a slow disk keep the event loop from trading. So the overview is
computed once per step, and risk measures once per state of the account, however many requests ask for them. Risk
measures, queries of the store and work on copies of the state run in threads. Copies are made one at a time.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from quantd.adapters.store.queries import Reader
from quantd.adapters.store.store_errors import StoreError, StoreMismatch
from quantd.daemon.assembly.parts import Parts
from quantd.daemon.config import Config, store_url
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.snapshot import freeze, thaw
from quantd.daemon.runtime.service import Service
from quantd.daemon.views.overview import Overview, overview
from quantd.daemon.views.risk_measures import Assessed, house_measures, measures
from quantd.daemon.views.rows import shadow_books
from quantd.server.api.problems import Refused
from quantd.server.requests.proposals import remedy_of

T = TypeVar("T")


class RunReader:
    """Reads one running service and its store, whose files are in `folder`."""

    def __init__(self, service: Service, parts: Parts, config: Config, folder: Path) -> None:
        """`parts` are what the run was assembled from, and `folder` is the state folder."""
        self.service = service
        self.parts = parts
        self.config = config
        self.folder = folder
        self.names = [agent.name for agent in config.agents]
        self.where: str | Path = store_url(config.store.url) or folder
        self.predictions: Counter[str] = Counter()
        """Questions to models and methods: "hit" where the answer was cached, else "miss"."""
        self._reader: Reader | None = None
        self._latest: tuple[int, Overview] | None = None  # the number is the progress of the service
        self._assessed: dict[Callable[[State], Callable[[], Assessed]], tuple[tuple[int, int, int], Assessed]] = {}
        """Function that prepares measures (of every book, or of the house) -> (key of the account's state, measures).
        """
        self._turn = asyncio.Lock()

    def now(self) -> Overview:
        """The overview of the present state, computed once per step of the engine however many requests there are."""
        service = self.service
        if self._latest is None or self._latest[0] != service.progress or self._latest[1].status != service.status:
            self._latest = service.progress, overview(service, self.parts, service.config)
        return self._latest[1]

    async def assessed(self) -> Assessed:
        """Every risk measure of every book, computed once per state of the account however many requests there are.

        The computation runs in a thread, because it takes some tenths of a second with 500 symbols and 20 agents, and
        the event loop must trade.
        """
        return await self._measured(measures)

    async def house_assessed(self) -> Assessed:
        """The risk measures of the whole account. Where the measures of every book are computed already,
        all of them are returned.
        """
        return await self._measured(house_measures)

    async def _measured(self, inputs: Callable[[State], Callable[[], Assessed]]) -> Assessed:
        """The risk measures of the present state.

        `inputs` copies the data that they need, and returns the computation. The newest result is kept as long as the
        state of the account (`_account_key`) is the same.
        """
        async with self._turn:
            # measures of every book include those of the house
            for newest in (self._assessed.get(measures), self._assessed.get(inputs)):
                if newest is not None and newest[0] == self._account_key():
                    return newest[1]
            await self.service.settled()
            key, work = self._account_key(), inputs(self.service.shell.state)
            assessment = await asyncio.to_thread(work)
            self._assessed = {inputs: (key, assessment)}
            return assessment

    def _account_key(self) -> tuple[int, int, int]:
        """Return (instant, number of fills, number of open baskets), which changes whenever the state of the account
        changes.
        """
        shell = self.service.shell
        return shell.ts, shell.tally.fills, len(shell.state.working)

    def check_symbol(self, symbol: str | None) -> None:
        """Raises Refused for a symbol that the run has not: a list without rows would say that it did not trade."""
        state = self.service.shell.state
        if symbol is not None and symbol not in state.universe.index:
            raise Refused(404, "symbol", f"there is no symbol {symbol[:40]!r}. {remedy_of(symbol, state)}")

    async def read(self, function: Callable[[Reader], T]) -> T:
        """Query the store in a thread, because a slow disk must not block the loop.

        Raises Refused for an unknown run, and where the store fails.
        """

        def work() -> T:
            if self._reader is None:
                self._reader = Reader.open(self.where, self.service.run)
            return function(self._reader)

        try:
            return await asyncio.to_thread(work)
        except StoreMismatch as why:
            raise Refused(404, "not_found", str(why)) from None
        except StoreError as why:
            raise Refused(503, "store", str(why)) from None

    def beside(self, reader: Reader, since: int = 0) -> dict[int, dict[str, str]]:
        """Return instant of a sample (ns UTC) -> name of a shadow (simulated agent) -> equity of the shadow's book as
        text, from the instant `since` on.
        """
        return shadow_books(reader, [agent.name for agent in self.config.shadows], since)


class StateCopies:
    """Copies of the state of a running service, one at a time."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._turn = asyncio.Lock()

    async def result(self, work: Callable[[State], T]) -> T:
        """Return the result of `work` on a copy of the state, in a thread."""
        async with self._turn:
            await self._service.settled()
            state = self._service.shell.state
            rules, frozen = state.rules, freeze(state, ended=False)
            return await asyncio.to_thread(lambda: work(thaw(rules, frozen)))
