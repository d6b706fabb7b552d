"""Index of the requested trades that a limit cut or refused, of all plans of a run.

A refused trade was never an order: it is one number of an array in the plan of a decision. To count refused trades, all
plans must be read, and a plan of 500 symbols and 20 agents has 250 kB. So each plan is read once: the index has a row
of 39 bytes for each trade that was cut, and a query reads only the plans that are newer than the last query.

- The store may delete old plans: their trades leave the index at the next query.
- A page key names a plan and a position among its trades, so that newer plans move no row to another page.
- Rejected: a table of the store. It would be a second copy of the plans, with more rows than orders.

Queries come from several threads: while one reads the plans, the other threads wait.
"""

import re
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from quantd.adapters.store.queries import END, Reader
from quantd.adapters.store.read_models import Decision, Page
from quantd.daemon.views.addresses import AskedLine, ints, judged, line_of, lots_passed
from quantd.daemon.views.limit_rows import reasons_with

CutGroup = Literal["all", "cut", "refused"]
"""All trades of the index, the trades of which a part passed the limits, or those of which nothing passed."""

Rows = npt.NDArray[np.void]
Mask = npt.NDArray[np.bool_]

READ: Final = 50
"""Number of plans that are read from the store at once."""

ROW: Final = np.dtype(
    [
        ("seq", "<i8"), ("k", "<i8"), ("ts", "<i8"), ("ordinal", "<i4"), ("owner", "<i4"), ("column", "<i4"),
        ("reason", "i1"), ("bought", "?"), ("refused", "?"),
    ]
)  # fmt: skip
"""One cut trade: `seq` and `k` are step and effect of its plan, `ts` its instant, `ordinal` counts the plans of a step.

`owner` is the index of the limits' owner, `column` the index of the symbol, `reason` the code of the limit.
"""

_ADDRESS: Final = re.compile(r"d(\d{1,18})(?:\.(\d{1,4}))?(:.*)?")


class TradeQuery(NamedTuple):
    """Conditions on trades: since <= instant < until, the symbol (None: any), and `search` in upper or lower case.

    `search` is a part of a symbol, owner, side or limit, or an address (d4812, d4812.2 or d4812:SPY).
    """

    since: int = 0
    symbol: str | None = None
    search: str = ""
    until: int = END


class CutTrades:
    """The trades of one run that limits cut, oldest first."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._rows: Rows = np.empty(0, ROW)
        self._owners: dict[str, int] = {}
        self._last = 0, -1
        self._ordinal = 0
        """The ordinal of the newest plan among the plans of its step."""

    def page(
        self, reader: Reader, group: CutGroup, asked: TradeQuery, limit: int, before: Sequence[int] = ()
    ) -> Page[AskedLine]:
        """At most `limit` trades older than the key `before`, the newest first, of one `group` (cut, refused or all).

        A key is (step, effect, position among the trades of this plan). The index has the newest trades last.
        """
        with self._lock:
            self._read_new_plans(reader)
            row_indices = np.flatnonzero(self._matches(reader, asked) & self._in_group(group))
            if before:
                row_indices = row_indices[: np.searchsorted(row_indices, self._row_of(before))]
            page_indices = row_indices[-limit:][::-1]
            rows, keys = self._rows[page_indices], [self._key_of(row_index) for row_index in page_indices.tolist()]
            owners = list(self._owners)
        decisions = reader.decisions_of({(int(row["seq"]), int(row["k"])): int(row["ordinal"]) for row in rows})
        parts = {
            plan: {judgement.who: judgement for judgement in judged(decision)} for plan, decision in decisions.items()
        }
        lines: list[AskedLine] = []
        line_keys: list[tuple[int, ...]] = []
        for row, key in zip(rows, keys, strict=True):
            plan = int(row["seq"]), int(row["k"])
            if plan in decisions:  # else the store has deleted it meanwhile
                judgement = parts[plan][owners[row["owner"]]]
                lines.append(line_of(reader, decisions[plan], judgement, int(row["column"])))
                line_keys.append(key)
        return Page(lines, line_keys, len(row_indices) > limit)

    def totals(self, reader: Reader, asked: TradeQuery) -> dict[str, int]:
        """Group of cut trades -> number of its trades that meet the conditions `asked`."""
        with self._lock:
            self._read_new_plans(reader)
            fitting = self._matches(reader, asked)
            groups: tuple[CutGroup, ...] = ("all", "cut", "refused")
            return {group: int(np.count_nonzero(fitting & self._in_group(group))) for group in groups}

    def _read_new_plans(self, reader: Reader) -> None:
        """Add the plans since the last query to the index, and drop the rows of plans that the store has deleted."""
        oldest = reader.decisions_after((0, -1), 1)
        row_chunks = [self._rows[np.searchsorted(self._rows["seq"], oldest[0][1].seq if oldest else END) :]]
        while plans := reader.decisions_after(self._last, READ, self._ordinal):
            row_chunks += [self._rows_of(k, decision) for k, decision in plans]
            self._last, self._ordinal = (plans[-1][1].seq, plans[-1][0]), plans[-1][1].ordinal
        self._rows = np.concatenate(row_chunks) if len(row_chunks) > 1 else row_chunks[0]

    def _rows_of(self, k: int, decision: Decision) -> Rows:
        """The rows of a decision, effect `k` of its entry: one for each trade that limits cut or refused.

        A trade is one symbol of an agent or of the whole account; of a refused trade no lots are allowed.
        """
        chunks = [np.empty(0, ROW)]
        for judgement in judged(decision):
            asked = ints(judgement.asked)
            allowed = lots_passed(decision.plan, judgement.asked, judgement.verdicts)
            cut_columns = np.flatnonzero(asked != allowed)
            rows = np.empty(len(cut_columns), ROW)
            rows["seq"], rows["k"], rows["ts"] = decision.seq, k, decision.plan.ts
            rows["ordinal"], rows["column"] = decision.ordinal, cut_columns
            rows["owner"] = self._owners.setdefault(judgement.who, len(self._owners))
            rows["reason"] = np.frombuffer(judgement.verdicts.reason, dtype=np.int8)[cut_columns]
            rows["bought"], rows["refused"] = asked[cut_columns] > 0, allowed[cut_columns] == 0
            chunks.append(rows)
        return np.concatenate(chunks)

    def _in_group(self, group: CutGroup) -> Mask:
        refused: Mask = self._rows["refused"]
        return np.ones(len(refused), bool) if group == "all" else refused if group == "refused" else ~refused

    def _matches(self, reader: Reader, asked: TradeQuery) -> Mask:
        """For each row of the index, whether its trade meets all conditions."""
        rows, columns = self._rows, reader.run.universe.index
        matching: Mask = (rows["ts"] >= asked.since) & (rows["ts"] < asked.until)
        if asked.symbol is not None:
            matching = matching & (rows["column"] == columns.get(asked.symbol, -1))
        text = asked.search.lower()
        if not text:
            return matching
        # `bought` is 0 or 1, the index in this tuple
        sides = [bought for bought, side in enumerate(("sell", "buy")) if text in side]
        contained = (
            np.isin(rows["column"], _containing(text, columns))
            | np.isin(rows["owner"], _containing(text, self._owners))
            | np.isin(rows["reason"], reasons_with(text))
            | np.isin(rows["bought"], sides)
        )
        return matching & (contained | self._at_address(text, columns))

    def _at_address(self, text: str, columns: Mapping[str, int]) -> Mask:
        """For each row of the index, whether its trade belongs to the plan and the symbol that an address names.

        An address without a symbol fits all symbols, and d4812 alone all plans of journal entry 4812. A `text` that is
        no address fits no row.
        """
        address = _ADDRESS.fullmatch(text)
        if address is None:
            return np.zeros(len(self._rows), bool)
        matching: Mask = self._rows["seq"] == int(address[1])
        if address[2] or address[3]:
            matching = matching & (self._rows["ordinal"] == int(address[2] or 1))
        if address[3]:
            # the group begins with the colon
            symbol_columns = [column for name, column in columns.items() if name.lower().startswith(address[3][1:])]
            matching = matching & np.isin(self._rows["column"], symbol_columns)
        return matching

    def _key_of(self, row_index: int) -> tuple[int, int, int]:
        row = self._rows[row_index]
        seq, k = int(row["seq"]), int(row["k"])
        return seq, k, row_index - self._row_of((seq, k, 0))

    def _row_of(self, key: Sequence[int]) -> int:
        """The index of the row with this key, or the index at which it would be inserted."""
        seq, k, position = key
        first, end = (int(np.searchsorted(self._rows["seq"], seq, side)) for side in ("left", "right"))
        first, end = (first + int(np.searchsorted(self._rows["k"][first:end], k, side)) for side in ("left", "right"))
        return min(first + position, end)


def _containing(text: str, numbers: Mapping[str, int]) -> list[int]:
    """The values in `numbers` (name -> number) whose name contains `text`, which is in lower case."""
    return [number for name, number in numbers.items() if text in name.lower()]
