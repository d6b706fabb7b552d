"""The job `statement`: the newest day of the account, compared with the venue's own record, as files."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from quantd.adapters.store.job_runs import JobRun
from quantd.daemon.jobs.tasks.account_lines import AccountRecord, StatementDay, account_record
from quantd.daemon.jobs.tasks.account_statement import (
    Difference,
    Statement,
    csv_text,
    differing,
    differing_flows,
    executions_of,
    statement_of,
)
from quantd.daemon.runtime.service import Service
from quantd.trading.events import Condition
from quantd.trading.orders import money_text, price_text, quantity_text
from quantd.trading.ports import Broker, TradeRecord

FOLDER: Final = "statements"
"""Folder of statements in the state folder."""

NAMED: Final = 5
"""Differences that an alert names."""


class HeldPosition(Struct, frozen=True):
    """A position of the house when the statement was made, as exact text."""

    symbol: str
    quantity: str
    mark: str
    value: str


class StatementFile(Struct, frozen=True):
    """The document of one day. `compared` is empty when the venue's record was compared, else the reason."""

    run: str
    day: date
    currency: str
    opening: str
    closing: str
    equity: str
    lines: int
    compared: str
    differences: list[Difference]
    positions: list[HeldPosition]


@dataclass(frozen=True, slots=True)
class StatementJob:
    """The statements of one service; `venue` is None where the venue is simulated."""

    service: Service
    folder: Path
    venue: Broker | None = None

    async def work(self, run: JobRun) -> str:
        """Write the statement of the newest day, and raise an alert for differences; returns the result."""
        record = await asyncio.to_thread(self._record)
        if not record.days:
            return "nothing was sampled yet"
        day = record.days[-1]
        universe = self.service.shell.state.universe
        statement = await self.compared(record, statement_of(record, self.service.run, universe, day.day, day.day))
        place = await asyncio.to_thread(self._write, day, statement, self._positions())
        if statement.differences:
            named = "; ".join(difference_text(each) for each in statement.differences[:NAMED])
            text = f"statement of {day.day}: {len(statement.differences)} differences from the venue: {named}"
            if not self.service.over:  # the file has them, if nothing is committed any more
                self.service.inbox.command(Condition(self.service.shell.state.now, "statement", False, text[:500]))
            return text
        return f"{place}: {len(day.lines)} lines, {statement.compared or 'all as at the venue'}"

    def _record(self) -> AccountRecord:
        state, store, run = self.service.shell.state, self.service.store, self.service.run
        return account_record(run, state.universe, store.entries(run, 1))

    async def compared(self, record: AccountRecord, statement: Statement) -> Statement:
        """The statement of one day with its differences from the venue's record."""
        (day,) = statement.days
        universe = self.service.shell.state.universe
        ours = record.booked.get(day.day, [])
        if self.venue is None:
            return replace(statement, compared="", differences=differing(ours, record.reported[day.day], universe))
        if not isinstance(self.venue, TradeRecord):
            return replace(statement, compared="not compared: the venue lists no executions")
        try:
            trades, flows = await self.venue.trades(day.since_ns), await self.venue.flows(day.since_ns)
        except ConnectionError as why:
            return replace(statement, compared=f"not compared: the venue did not answer ({why})")
        theirs = executions_of([each for each in trades if each.ts <= day.until_ns], universe)
        moved = [each for each in flows if each.ts <= day.until_ns]
        found = [*differing(ours, theirs, universe), *differing_flows(record.flows, moved)]
        return replace(statement, compared="", differences=found)

    def _positions(self) -> list[HeldPosition]:
        state = self.service.shell.state
        found = []
        for column, lots in enumerate(state.ledger.house.lots):
            if lots:
                size, mark = state.universe.lot_nano[column], int(state.marks_nano[column])
                value = lots * size * mark // 10**12
                found.append(
                    HeldPosition(
                        state.universe.symbols[column], quantity_text(lots, size), price_text(mark), money_text(value)
                    )
                )
        return found

    def _write(self, day: StatementDay, statement: Statement, positions: Sequence[HeldPosition]) -> Path:
        """Write the day as CSV and as JSON, each complete or not at all."""
        folder = self.folder / FOLDER
        folder.mkdir(exist_ok=True, mode=0o700)
        document = StatementFile(
            statement.run, day.day, statement.currency, money_text(day.opening_micro), money_text(day.closing_micro),
            money_text(day.equity_micro), len(day.lines), statement.compared, statement.differences, list(positions),
        )  # fmt: skip
        lines = csv_text(statement, self.service.shell.state.universe).encode()
        for suffix, content in ((".csv", lines), (".json", msgspec.json.encode(document))):
            target = folder / f"statement-{day.day}{suffix}"
            unfinished = target.with_suffix(f"{suffix}.new")
            unfinished.write_bytes(content)
            unfinished.replace(target)
        return folder / f"statement-{day.day}.csv"


def difference_text(difference: Difference) -> str:
    """A difference on one line, with both sides."""
    ours, venues = difference.ours or "nothing", difference.venues or "nothing"
    return f"{difference.what}: here {ours}, at the venue {venues}"
