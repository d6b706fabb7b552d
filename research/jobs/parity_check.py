"""Compares each day of a run with a backtest of the same bars, and with the uncompiled engine, during trading.

What can go wrong: a run and its backtest that both trade nothing are equal, which is no result. Such a day once read "0
decisions, all as in a backtest". So an alert names the cause where every order expired, or where nothing was ordered
because an equal share of the symbols is below `min_trade`, the least weight change that is traded. A day without orders
in a run that trades stays without an alert.

Each comparison runs in a separate process. The first compares the decisions with a backtest. The second replays the day
with the uncompiled engine, from the newest snapshot before the day, and compares the steps of both engines.
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
    """The process that compares a run with a backtest or replays it has failed. The text is its last line on stderr."""


class Folded(msgspec.Struct):
    """The fields that this module reads from the output of `quantd replay --json`.

    `compared` is the number of steps. `difference` describes the first step that differs, and `same` is True where no
    step differs.
    """

    same: bool
    compared: int
    difference: str


def _date_before(day: str) -> str:
    """Return the date before `day`. A replay of `day` starts there, because a session may begin the evening before."""
    return (date.fromisoformat(day) - timedelta(days=1)).isoformat()


def untraded_text(orders: Mapping[str, int] | None, small: Sequence[str]) -> str:
    """Return why a run that never traded gives no comparison, with the remedy; empty where the run traded or still may.

    A run and its backtest that both trade nothing are equal, which shows nothing. `orders` has the number of orders by
    state, and is None where an order was filled. `small` has a line of text for each agent for which an equal share of
    all symbols is below its `min_trade`, the least weight change that is traded.
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
    """The daily comparisons of one running daemon. `folder` is its state folder, and `store` this folder or a URL."""

    service: Service
    folder: Path
    store: str | Path

    async def work(self, run: JobRun) -> str:
        """Compare the day of the newest sample, and return the result as text.

        An alert is raised where the run never traded, where decisions differ, and where the interpreted engine differs.
        """
        sample = self.service.shell.state.sample
        if not sample:
            return "nothing was sampled yet"
        day = session_date(sample - 1).isoformat()
        replay_text = await self._replay_text(day)
        comparison = await self._parity(day)
        # before the comparison is read: two runs that traded nothing are equal
        if untraded := untraded_text(await asyncio.to_thread(self._order_counts), small_shares(self.service.config)):
            self.service.alert(f"parity of {day}: {untraded}")
            return f"{day}: {untraded}; {replay_text}"
        if comparison.same:
            return f"{day}: {comparison.decisions} decisions, all as in a backtest; {replay_text}"
        worst_causes = {cause for row in comparison.worst for cause in row.causes}
        causes = ", ".join(f"{cause} {money}" for cause, money in comparison.money.items() if cause in worst_causes)
        text = (
            f"parity of {day}: {comparison.different} of {comparison.decisions} decisions differ from a backtest of "
            f"the same bars, worth {comparison.total} ({causes}); "
            f"quantd replay {comparison.run} --against backtest --day {day}"
        )
        self.service.alert(text)
        return f"{text}; {replay_text}"

    def _order_counts(self) -> dict[str, int] | None:
        """Return the number of the run's orders in the store by state; None where an order was filled."""
        reader = Reader.open(self.store, self.service.run)
        return None if reader.fills(last=1) else reader.order_counts()

    async def _replay_text(self, day: str) -> str:
        """Replay the day with the interpreted engine, from the newest snapshot before it. Returns the result as text.

        An alert names the first step that differs. Raises ComparisonFailed where the replay has no result.
        """
        arguments = [
            "replay",
            self.service.run,
            "--uncompiled",
            "--from",
            _date_before(day),
            "--json",
            *self._locations(),
        ]
        _, output, error = await output_of(arguments, {"QUANTD_UNCOMPILED": "1"})
        try:
            comparison = msgspec.json.decode(output, type=Folded)
        except msgspec.DecodeError:
            raise ComparisonFailed(error) from None
        if comparison.same:
            return f"{comparison.compared} steps as in the interpreted engine"
        text = f"the interpreted engine: {comparison.difference}"
        self.service.alert(f"parity of {day}: {text}; quantd replay {self.service.run} --uncompiled")
        return text

    def _locations(self) -> list[str]:
        """Return the command-line options that name the configuration, the state folder and the store's URL."""
        options = ["--config", str(self._config_file()), "--state", str(self.folder)]
        if isinstance(self.store, str):
            options += ["--set", f"store.url={self.service.config.store.url}"]
        return options

    def _config_file(self) -> Path:
        return Path(self.service.config.source.file).resolve()

    async def _parity(self, day: str) -> Parity:
        """Run `quantd replay --against backtest` for one day. Raises ComparisonFailed where the command fails."""
        arguments = ["replay", self.service.run, "--against", "backtest", "--day", day, "--json", *self._locations()]
        _, output, error = await output_of(arguments)
        try:
            return msgspec.json.decode(output, type=Parity)
        except msgspec.DecodeError:
            raise ComparisonFailed(error) from None
