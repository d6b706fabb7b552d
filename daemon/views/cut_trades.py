"""Index of the requested trades that a limit cut or refused, of all plans of a run.

A refused trade was never an order: it is one number of an array in the plan of a round. A count of such trades needs
all plans, and a plan of 500 symbols and 20 agents has 250 kB. So each plan is read once: the index has a row of 39
bytes for each trade that was cut, and a question reads only the plans that are newer than those of the last one.

- The store may delete old plans: their trades leave the index at the next question.
- A key names a plan and a place among its trades, so that newer plans move no row to another page.
- Rejected: a table of the store, as a second copy of what the plans have, with more rows than orders.

Questions come from threads: one reads the plans, and the others wait for it.
"""

import re
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from quantd.adapters.store.queries import END, Reader
from quantd.adapters.store.read_models import Decision, Page
from quantd.daemon.views.addresses import AskedLine, ints, judged, line_of
from quantd.daemon.views.limit_rows import reasons_with

CutGroup = Literal["all", "cut", "refused"]
"""All such trades, those of which a part passed the limits, or those of which nothing passed."""

Rows = npt.NDArray[np.void]
Mask = npt.NDArray[np.bool_]

READ: Final = 50
"""Plans that one query reads."""

ROW: Final = np.dtype(
    [
        ("seq", "<i8"), ("k", "<i8"), ("ts", "<i8"), ("ordinal", "<i4"), ("owner", "<i4"), ("column", "<i4"),
        ("reason", "i1"), ("bought", "?"), ("refused", "?"),
    ]
)  # fmt: skip
"""Plan, its number in its step, number of the limit's owner, column of the symbol, code of the limit."""

_ADDRESS: Final = re.compile(r"d(\d{1,18})(?:\.(\d{1,4}))?(:.*)?")


class Asked(NamedTuple):
    """Conditions: since <= instant < until, a symbol, and a text in any case.

    A symbol, an owner, a side or a limit contains the text, or it is an address (d4812, d4812.2 or d4812:SPY).
    """

    since: int = 0
    symbol: str | None = None
    search: str = ""
    until: int = END


class CutTrades:
    """The trades of one run that limits cut, oldest first."""

    def __init__(self) -> None:
        self._one = Lock()
        self._rows: Rows = np.empty(0, ROW)
        self._owners: dict[str, int] = {}
        self._last = 0, -1
        self._ordinal = 0
        """Number of the newest plan among those of its step."""

    def page(
        self, reader: Reader, group: CutGroup, asked: Asked, limit: int, before: Sequence[int] = ()
    ) -> Page[AskedLine]:
        """At most `limit` trades before a key, the newest first. A key is (step, effect, place among its trades)."""
        with self._one:
            self._take(reader)
            places = np.flatnonzero(self._fitting(reader, asked) & self._of(group))
            if before:
                places = places[: np.searchsorted(places, self._place_of(before))]
            shown = places[-limit:][::-1]
            rows, keys = self._rows[shown], [self._key_of(place) for place in shown.tolist()]
            owners = list(self._owners)
        decisions = reader.decisions_of({(int(row["seq"]), int(row["k"])): int(row["ordinal"]) for row in rows})
        parts = {plan: {part.who: part for part in judged(decision)} for plan, decision in decisions.items()}
        lines: list[AskedLine] = []
        line_keys: list[tuple[int, ...]] = []
        for row, key in zip(rows, keys, strict=True):
            plan = int(row["seq"]), int(row["k"])
            if plan in decisions:  # else the store has deleted it meanwhile
                part = parts[plan][owners[row["owner"]]]
                lines.append(line_of(reader, decisions[plan], part, int(row["column"])))
                line_keys.append(key)
        return Page(lines, line_keys, len(places) > limit)

    def totals(self, reader: Reader, asked: Asked) -> dict[str, int]:
        """The number of trades of each group."""
        with self._one:
            self._take(reader)
            fitting = self._fitting(reader, asked)
            groups: tuple[CutGroup, ...] = ("all", "cut", "refused")
            return {group: int(np.count_nonzero(fitting & self._of(group))) for group in groups}

    def _take(self, reader: Reader) -> None:
        """Read the plans since the last question, and forget those that the store has deleted."""
        oldest = reader.decisions_after((0, -1), 1)
        fresh = [self._rows[np.searchsorted(self._rows["seq"], oldest[0][1].seq if oldest else END) :]]
        while plans := reader.decisions_after(self._last, READ, self._ordinal):
            fresh += [self._rows_of(k, decision) for k, decision in plans]
            self._last, self._ordinal = (plans[-1][1].seq, plans[-1][0]), plans[-1][1].ordinal
        self._rows = np.concatenate(fresh) if len(fresh) > 1 else fresh[0]

    def _rows_of(self, k: int, decision: Decision) -> Rows:
        chunks = [np.empty(0, ROW)]
        for part in judged(decision):
            asked, allowed = ints(part.asked), ints(part.verdicts.allowed)
            cut = np.flatnonzero(asked != allowed)
            rows = np.empty(len(cut), ROW)
            rows["seq"], rows["k"], rows["ts"] = decision.seq, k, decision.plan.ts
            rows["ordinal"], rows["column"] = decision.ordinal, cut
            rows["owner"] = self._owners.setdefault(part.who, len(self._owners))
            rows["reason"] = np.frombuffer(part.verdicts.reason, dtype=np.int8)[cut]
            rows["bought"], rows["refused"] = asked[cut] > 0, allowed[cut] == 0
            chunks.append(rows)
        return np.concatenate(chunks)

    def _of(self, group: CutGroup) -> Mask:
        refused: Mask = self._rows["refused"]
        return np.ones(len(refused), bool) if group == "all" else refused if group == "refused" else ~refused

    def _fitting(self, reader: Reader, asked: Asked) -> Mask:
        rows, columns = self._rows, reader.run.universe.index
        fitting: Mask = (rows["ts"] >= asked.since) & (rows["ts"] < asked.until)
        if asked.symbol is not None:
            fitting = fitting & (rows["column"] == columns.get(asked.symbol, -1))
        text = asked.search.lower()
        if not text:
            return fitting
        sides = [number for number, side in enumerate(("sell", "buy")) if text in side]
        contained = (
            np.isin(rows["column"], _containing(text, columns))
            | np.isin(rows["owner"], _containing(text, self._owners))
            | np.isin(rows["reason"], reasons_with(text))
            | np.isin(rows["bought"], sides)
        )
        return fitting & (contained | self._addressed(text, columns))

    def _addressed(self, text: str, columns: Mapping[str, int]) -> Mask:
        """Trades of the plan or symbol that an address names."""
        address = _ADDRESS.fullmatch(text)
        if address is None:
            return np.zeros(len(self._rows), bool)
        fits: Mask = self._rows["seq"] == int(address[1])
        if address[2] or address[3]:
            fits = fits & (self._rows["ordinal"] == int(address[2] or 1))
        if address[3]:
            names = [column for name, column in columns.items() if name.lower().startswith(address[3][1:])]
            fits = fits & np.isin(self._rows["column"], names)
        return fits

    def _key_of(self, place: int) -> tuple[int, int, int]:
        row = self._rows[place]
        seq, k = int(row["seq"]), int(row["k"])
        return seq, k, place - self._place_of((seq, k, 0))

    def _place_of(self, key: Sequence[int]) -> int:
        """The place of a key, or where it would be."""
        seq, k, among = key
        first, end = (int(np.searchsorted(self._rows["seq"], seq, side)) for side in ("left", "right"))
        first, end = (first + int(np.searchsorted(self._rows["k"][first:end], k, side)) for side in ("left", "right"))
        return min(first + among, end)


def _containing(text: str, numbers: Mapping[str, int]) -> list[int]:
    """The numbers of the names that contain a text."""
    return [number for name, number in numbers.items() if text in name.lower()]
