"""One stored run: its account, orders, fills, decisions and alerts as frames, and why each order was made."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl

from quantd.adapters.store.queries import Reader
from quantd.daemon.assembly.parts import Parts
from quantd.daemon.recovery.replay import slices_of
from quantd.daemon.recovery.state_at import Refolder
from quantd.daemon.views.addresses import AddressWrong, find
from quantd.daemon.views.explanation import Explanation, explain
from quantd.daemon.views.explanation_text import why_lines
from quantd.daemon.views.rows import decision_line
from quantd.research.python_api import frames
from quantd.trading.exit_codes import USAGE, ExplainedError


class NotFound(ExplainedError, LookupError):
    """A run has no order, decision or symbol of this name. The text names the nearest ones."""

    exit_code = USAGE


@dataclass(frozen=True, slots=True)
class Why:
    """The explanation of one order or refusal; `str()` is the text of `quantd why`."""

    explanation: Explanation

    def __str__(self) -> str:
        return "\n".join(why_lines(self.explanation))

    def __repr__(self) -> str:
        return str(self)


class Run:
    """One stored run. Frames are read at the first access; `refresh()` reads again a run that still continues."""

    def __init__(
        self, where: str | Path, folder: Path, name: str | None = None, parts: Parts | None = None, keeps: object = None
    ) -> None:
        """Opens the run `name`, the newest without it, of the store `where`. `keeps` lives as long as this object, such
        as a temporary folder of the store."""
        self._where, self._folder, self._parts, self._keeps = where, folder, parts, keeps
        self._reader = Reader.open(where, name)

    @property
    def name(self) -> str:
        """The id of the run in its store."""
        return self._reader.run.run

    @property
    def mode(self) -> str:
        """The mode of the run: paper, live, shadow or backtest."""
        return self._reader.run.mode

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols of the universe. Arrays with one element for each symbol are in this order."""
        return self._reader.run.universe.symbols

    @property
    def agents(self) -> tuple[str, ...]:
        """The names of the agents with a book."""
        return self._reader.run.agents

    @cached_property
    def equity(self) -> pl.DataFrame:
        """The account, one row per sample: ts, equity, cash, gross, drawdown."""
        return frames.stored_equity_frame(self._reader.equity())

    @cached_property
    def books(self) -> pl.DataFrame:
        """The equity of each agent's book (part of the account), one row per sample and book: ts, book, equity."""
        return frames.stored_books_frame(self._reader.equity(), self.agents)

    @cached_property
    def fills(self) -> pl.DataFrame:
        """The fills, one row each: ts, order, symbol, side, quantity, price, fee, agents."""
        return frames.stored_fills_frame(self._reader.fills())

    @cached_property
    def orders(self) -> pl.DataFrame:
        """The orders, one row each: ts, order, symbol, side, quantity, limit, state, filled, reason, agents, note."""
        return frames.orders_frame(self._reader.orders())

    @cached_property
    def decisions(self) -> pl.DataFrame:
        """The decisions, one row per agent and symbol: weight, requested and allowed quantity, limit that cut them."""
        universe = self._reader.run.universe
        lines = (decision_line(d.plan, universe, d.agents, d.address) for d in self._reader.decisions())
        return frames.decisions_frame(lines)

    @cached_property
    def alerts(self) -> pl.DataFrame:
        """The alerts, one row each: ts, level, kind, text, symbol, agent, value, bound."""
        return frames.alerts_frame(self._reader.alerts())

    def why(self, what: str) -> Why:
        """Explain an order (its id), a decision (d4812:QQQ) or the newest decision about a symbol.

        Raises NotFound, whose text names the nearest ones.
        """
        try:
            decision = find(self._reader, what)
        except AddressWrong as error:
            raise NotFound(str(error)) from None
        records = self._reader.records
        assert records is not None
        # replays the journal up to the decision, and computes the orders of the decision again
        refolder = Refolder(records, self.name, self._folder, parts=self._parts)
        slices = self._parts.slices if self._parts is not None else slices_of(records, self.name, self._folder)
        return Why(explain(decision, refolder, slices))

    def refresh(self) -> "Run":
        """Return the same run, read again from its store."""
        return Run(self._where, self._folder, self.name, self._parts)

    def __repr__(self) -> str:
        return f"Run {self.name} ({self.mode}), {len(self.symbols)} symbols, agents {', '.join(self.agents)}"


def open_run(state: str | os.PathLike[str] = "state", run: str | None = None, *, url: str = "") -> Run:
    """Open a stored run for reading: the one named `run`, or the newest.

    `state` is a state folder of `quantd run`, or `state/backtests`. `url` is the database, where `[store] url` names
    one. Another process may write to the run meanwhile. Raises Error where there is no run.
    """
    folder = Path(state)
    return Run(url or folder, folder, run)
