"""Compares each day of a run with a backtest of the same bars, and with the interpreted engine, beside trading.

What can go wrong: a run and its backtest that both trade nothing are equal, which is no result. Such a day once read "0
decisions, all as in a backtest". So an alert names the cause where every order expired, or where the shares are below
`min_trade` and nothing was ordered. A day without orders in a run that trades stays without an alert.

Both comparisons run in processes of their own. The compiled engine is compared with the interpreted one, from the
newest snapshot before the day.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import msgspec

from quantd.adapters.store.journal.job_runs import JobRun
from quantd.adapters.store.queries import Reader
from quantd.daemon.assembly.small_shares import small_shares
from quantd.daemon.jobs.tasks.command_process import output_of
from quantd.daemon.runtime.service import Service
from quantd.research.studies.parity import Parity
from quantd.trading.display_text import session_date
from quantd.trading.orders import OrderState


class ComparisonFailed(RuntimeError):
    """The process of a comparison ended without a result."""


class Folded(msgspec.Struct):
    """The part of the answer of `quantd replay --json` that is read here."""

    same: bool
    compared: int
    difference: str


def _before(day: str) -> str:
    """The date before: a session may begin in the evening."""
    return (date.fromisoformat(day) - timedelta(days=1)).isoformat()


def untraded_text(orders: Mapping[str, int] | None, small: Sequence[str]) -> str:
    """Return why a run that never traded is no result, with the remedy; empty for one that did, or may yet.

    A run and its backtest that both trade nothing are the same, and say nothing about each other. `orders` counts the
    orders by state, None where one was filled; `small` are the lines about `min_trade`.
    """
    if orders is None:
        return ""
    if expired := orders.get(OrderState.EXPIRED.name.lower(), 0):
        return (
            f"{expired} orders of the run expired, and none was ever filled. A volume of 0 fills nothing while "
            "[broker] participation or impact is above 0, and [risk] collar bounds the price. `quantd orders` has them"
        )
    return f"nothing was ordered since the run began. {small[0]}" if small and not orders else ""


@dataclass(frozen=True, slots=True)
class ParityCheck:
    """The comparisons of one service. `folder` is its state folder, `store` the folder again or a URL."""

    service: Service
    folder: Path
    store: str | Path

    async def work(self, run: JobRun) -> str:
        """Compare the day of the newest sample, and raise an alert where decisions differ; returns the result."""
        sample = self.service.shell.state.sample
        if not sample:
            return "nothing was sampled yet"
        day = session_date(sample - 1).isoformat()
        folded = await self._folded(day)
        comparison = await self._compared(day)
        if idle := untraded_text(await asyncio.to_thread(self._orders), small_shares(self.service.config)):
            self.service.alert(f"parity of {day}: {idle}")
            return f"{day}: {idle}; {folded}"
        if comparison.same:
            return f"{day}: {comparison.decisions} decisions, all as in a backtest; {folded}"
        named = {cause for row in comparison.worst for cause in row.causes}
        causes = ", ".join(f"{cause} {money}" for cause, money in comparison.money.items() if cause in named)
        text = (
            f"parity of {day}: {comparison.different} of {comparison.decisions} decisions differ from a backtest of "
            f"the same bars, worth {comparison.total} ({causes}); quantd study parity {comparison.run} --day {day}"
        )
        self.service.alert(text)
        return f"{text}; {folded}"

    def _orders(self) -> dict[str, int] | None:
        """The number of orders of the run by state, as far as the store has them; None where one was filled."""
        reader = Reader.open(self.store, self.service.run)
        return None if reader.fills(last=1) else reader.order_counts()

    async def _folded(self, day: str) -> str:
        """Replay the day with the interpreted engine, from the newest snapshot before it. Returns the result as text.

        An alert names the first step that differs. Raises ComparisonFailed where the replay does not end.
        """
        words = ["replay", self.service.run, "--uncompiled", "--from", _before(day), "--json", *self._places()]
        _, out, error = await output_of(words, {"QUANTD_UNCOMPILED": "1"})
        try:
            comparison = msgspec.json.decode(out, type=Folded)
        except msgspec.DecodeError:
            raise ComparisonFailed(error) from None
        if comparison.same:
            return f"{comparison.compared} steps as in the interpreted engine"
        text = f"the interpreted engine: {comparison.difference}"
        self.service.alert(f"parity of {day}: {text}; quantd replay {self.service.run} --uncompiled")
        return text

    def _places(self) -> list[str]:
        """The options that name configuration and store."""
        words = ["--config", str(self._config_file()), "--state", str(self.folder)]
        if isinstance(self.store, str):
            words += ["--set", f"store.url={self.service.config.store.url}"]
        return words

    def _config_file(self) -> Path:
        return Path(self.service.config.source.file).resolve()

    async def _compared(self, day: str) -> Parity:
        """Run `quantd study parity` for one day. Raises ComparisonFailed where the command fails."""
        words = ["study", "parity", self.service.run, "--day", day, "--json", *self._places()]
        _, out, error = await output_of(words)
        try:
            return msgspec.json.decode(out, type=Parity)
        except msgspec.DecodeError:
            raise ComparisonFailed(error) from None
