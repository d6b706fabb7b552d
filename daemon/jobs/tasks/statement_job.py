"""The job `statement`: the newest day of the account, compared with the venue's own record, as files."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from quantd.adapters.store.journal.job_runs import JobRun
from quantd.daemon.jobs.tasks.account_differences import (
    KINDS,
    DayDifferences,
    Difference,
    DifferenceKind,
    VenueRecord,
    compared,
    simulated_record,
    starts_of,
)
from quantd.daemon.jobs.tasks.account_lines import AccountRecord, StatementDay, account_record
from quantd.daemon.jobs.tasks.account_statement import csv_text, difference_text
from quantd.daemon.runtime.service import Service
from quantd.daemon.views.overview import positions
from quantd.regular_file import MIB, NotRead, read_regular, write_whole
from quantd.trading.events import Condition
from quantd.trading.instruments import NANO
from quantd.trading.orders import money_text
from quantd.trading.ports import Broker, TradeRecord
from quantd.trading.sessions import Sessions

FOLDER: Final = "statements"
"""Folder of statements in the state folder."""

NAMED: Final = 5
"""Maximum number of differences that an alert names; their text has at most NAMED_CHARS characters."""

NAMED_CHARS: Final = 320

AGAIN_DAYS: Final = 31
"""Number of the newest days that are compared again while they differ."""

DOCUMENT_BYTES: Final = 16 * MIB
"""Maximum size of the document of a day."""

UNANSWERED: Final = "not compared: the venue did not answer"
"""Start of the reason in a document whose day is compared again."""

TRIES: Final = 3
"""Number of times that the venue's record is read while its cash moves during the reading."""


class HeldPosition(Struct, frozen=True):
    """A position of the whole account when the statement was made, as exact text."""

    symbol: str
    quantity: str
    mark: str
    value: str


class StatementFile(Struct, frozen=True):
    """The document of one day. `compared` is empty if the venue's record was compared, else the reason why not.

    `venue_cash` is the venue's cash at the close, empty where it is unknown.
    """

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
    venue_cash: str = ""


def saved_statement(folder: Path, run: str, day: date) -> StatementFile | None:
    """The document that the job wrote for a day of this run into a state folder; None if there is none."""
    try:
        data = read_regular(folder / FOLDER / f"statement-{day}.json", DOCUMENT_BYTES).data
        document = msgspec.json.decode(data, type=StatementFile)
    except (FileNotFoundError, NotRead, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return document if document.run == run else None


@dataclass(frozen=True, slots=True)
class StatementJob:
    """The statements of one service.

    `venue` is None for a simulated venue; `sessions` has the sessions of the run's calendar.
    """

    service: Service
    folder: Path
    venue: Broker | None = None
    sessions: Sessions | None = None

    async def work(self, run: JobRun) -> str:
        """Write the statement of the newest day, and raise an alert for differences; returns the result.

        Earlier days that differed, or whose venue did not answer, are compared again.
        """
        record = await asyncio.to_thread(self._record)
        if not record.days:
            return "nothing was sampled yet"
        newest = self._newest(record.days, run.due_ts)
        days = await asyncio.to_thread(self._due, record.days[: newest + 1])
        by_day, why_not_compared = await self.compared(record, days)
        csv_path = await asyncio.to_thread(self._write, record, days, by_day, why_not_compared, self._positions())
        day = record.days[newest]
        if why_not_compared:
            return f"{csv_path}: {len(day.lines)} lines, {why_not_compared}"
        text = self._announce(day, {day_date: by_day[day_date].differences for day_date in by_day})
        return text or f"{csv_path}: {len(day.lines)} lines, all as at the venue"

    def _record(self) -> AccountRecord:
        universe, store, run = self.service.shell.unsettled.universe, self.service.store, self.service.run
        return account_record(run, universe, store.entries(run, 1))

    def _newest(self, days: Sequence[StatementDay], due_ts: int) -> int:
        """The index of the newest day if its session has closed or it is the only day, else of the day before.

        A day without a known session counts as closed.
        """
        if self.sessions is not None and len(days) > 1:
            day = int(datetime.combine(days[-1].day, datetime.min.time(), UTC).timestamp()) * NANO
            row = self.sessions.row_of_day.get(day)
            if row is not None and self.sessions.close_ns[row] > max(days[-1].until_ns, due_ts):
                return len(days) - 2
        return len(days) - 1

    def _due(self, days: Sequence[StatementDay]) -> list[StatementDay]:
        """The days to write: the newest day, and earlier days that had differences or whose venue did not answer."""
        due_days = []
        for day in days[-AGAIN_DAYS:-1]:
            saved = saved_statement(self.folder, self.service.run, day.day)
            if saved is not None and (saved.differences or saved.compared.startswith(UNANSWERED)):
                due_days.append(day)
        return [*due_days, days[-1]]

    async def compared(
        self, record: AccountRecord, days: Sequence[StatementDay]
    ) -> tuple[dict[date, DayDifferences], str]:
        """The differences of each day, and the reason why the venue was not compared, empty if it was.

        A simulated venue (None) has its execution reports in the journal, and no account.
        """
        state = self.service.shell.state
        if self.venue is not None and not isinstance(self.venue, TradeRecord):
            return {}, "not compared: the venue lists no executions"
        # one day more: what was executed before a close may be booked after it
        window = record.days[max(record.days.index(days[0]) - 1, 0) :]
        venue = simulated_record(record, window)
        if self.venue is not None:
            try:
                # the venue is passed twice: as the broker of the account, and as the record of its trades
                venue = await self._venue_record(self.venue, self.venue, *starts_of(record, window))
            except ConnectionError as why:
                return {}, f"{UNANSWERED} ({why})"
        all_days = compared(record, venue, window, state.universe, state.venue.fenced[1])
        return {day.day: all_days[day.day] for day in days}, ""

    @staticmethod
    async def _venue_record(venue: Broker, executions: TradeRecord, start: int, payments_start: int) -> VenueRecord:
        """The venue's record. Its cash is None if it moved during each of TRIES readings. Raises ConnectionError."""
        for _ in range(TRIES):
            cash_before = (await venue.account()).cash_micro
            trades, flows = await executions.trades(start), await venue.flows(payments_start)
            if (await venue.account()).cash_micro == cash_before:
                return VenueRecord(trades, flows, cash_before)
        return VenueRecord(trades, flows, None)

    def _announce(self, newest: StatementDay, by_day: dict[date, list[Difference]]) -> str:
        """Raise an alert for each kind of difference, and end the alert of each kind that no day has any more.

        Returns the text of the alerts.
        """
        texts = []
        active = {incident.kind for incident in self.service.incidents.active()}
        for kind in KINDS:
            occurrences = [
                (day, difference)
                for day, differences in by_day.items()
                for difference in differences
                if difference.kind == kind
            ]
            if occurrences:
                texts.append(text := _alert_text(kind, occurrences))
                # False: the condition is down, that is, a day differs
                self._condition(kind, False, text)
            elif f"statement_{kind}" in active:
                text = f"{KINDS[kind][0]}: none any more in the compared days up to {newest.day}"
                self._condition(kind, True, text)
        return "; ".join(texts)

    def _condition(self, kind: DifferenceKind, up: bool, text: str) -> None:
        if self.service.over:  # nothing is committed any more: the difference is in the files only
            return
        now = self.service.shell.state.now
        self.service.inbox.command(Condition(now, "statement", up, text[:500], difference=kind))

    def _positions(self) -> list[HeldPosition]:
        """The present positions of the whole account, with their values at the marks, in the order of the universe."""
        state = self.service.shell.state
        rows = sorted(positions(state)[0], key=lambda row: state.universe.index[row.symbol])
        # "0": only books of agents that offset each other hold the symbol
        return [HeldPosition(row.symbol, row.qty, row.price, row.value) for row in rows if row.qty != "0"]

    def _write(
        self, record: AccountRecord, days: Sequence[StatementDay], by_day: dict[date, DayDifferences], unknown: str,
        held: list[HeldPosition],
    ) -> Path:  # fmt: skip
        """Write each day as CSV and as JSON, each file complete or not at all; returns the newest day's CSV.

        `unknown` is the reason if the venue was not compared, else empty: with a reason only the newest day is written,
        and the files of earlier days stay as they are. `held` are the present positions. `by_day` has the
        differences.
        """
        folder = self.folder / FOLDER
        folder.mkdir(exist_ok=True, mode=0o700)
        universe, run = self.service.shell.unsettled.universe, self.service.run
        for day in days[-1:] if unknown else days:
            differences, cash = by_day.get(day.day, DayDifferences([], None))
            document = StatementFile(
                run, day.day, universe.currency, money_text(day.opening_micro), money_text(day.closing_micro),
                money_text(day.equity_micro), len(day.lines), unknown, differences, self._held(day, days, held),
                "" if cash is None else money_text(cash),
            )  # fmt: skip
            lines = csv_text(run, universe, [day], {day.day: differences})
            for suffix, content in ((".csv", lines.encode()), (".json", msgspec.json.encode(document))):
                write_whole(folder / f"statement-{day.day}{suffix}", content, durable=False)
        return folder / f"statement-{days[-1].day}.csv"

    def _held(self, day: StatementDay, days: Sequence[StatementDay], held: list[HeldPosition]) -> list[HeldPosition]:
        """The positions for the document of a day.

        The newest day has the present positions, `held`; another day has the positions of its earlier document.
        """
        saved = None if day is days[-1] else saved_statement(self.folder, self.service.run, day.day)
        return held if saved is None else saved.positions


def _alert_text(kind: DifferenceKind, occurrences: Sequence[tuple[date, Difference]]) -> str:
    """The alert about the differences of one kind: the first ones by name, the number of further ones, the remedy."""
    meaning, remedy = KINDS[kind]
    named_texts: list[str] = []
    for day, difference in occurrences[:NAMED]:
        text = f"{day} {difference_text(difference)}"
        if named_texts and len("; ".join((*named_texts, text))) > NAMED_CHARS:
            break
        named_texts.append(text[:NAMED_CHARS])
    remainder = f"; and {len(occurrences) - len(named_texts)} more" if len(occurrences) > len(named_texts) else ""
    return f"{meaning}: {'; '.join(named_texts)}{remainder}. {remedy}"
