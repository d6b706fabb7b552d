"""A person's answers about suspicious bars, and which bars are used under them.

A bar whose price is out of all proportion is a bad print or a real crash. Rejecting all of them cuts real crises out of
a backtest; using all of them trades bad prints. So each needs an answer: for all bars (`[feed] spikes`), or by date and
symbol (`[feed] exceptions`), which wins. Bars without an answer are left out of the slices and listed as open, so that
a run that was recorded before such answers existed replays with the bars of its record.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from quantd.adapters.feeds.bars.announced_actions import ActionFault
from quantd.adapters.feeds.bars.checks import Checked, Reason, Reasons
from quantd.adapters.feeds.bars.rows import Rows
from quantd.adapters.feeds.bars.stamps import Placed
from quantd.trading.market import Bools, Ints, Jump

Answer = Literal["real", "reject"]

Spikes = Literal["stop", "real", "reject"]


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers about suspicious prices. `spikes` answers for all bars, `listed` for (column, session day in ns).

    `jumps_real` accepts every new level that no action explains; its first bars are then real too. So are those of a
    crash that its trade proves, unless `spikes` rejects bars. Without `first_bars` they are left out, as every version
    did whose records have no answers about levels; a run goes on with the bars of its record.
    """

    spikes: Spikes = "reject"
    jumps_real: bool = False
    listed: Mapping[tuple[int, int], Answer] = field(default_factory=dict)
    first_bars: bool = True

    def about(self, column: int, day: int) -> Answer | None:
        """Return the answer about the prices of a symbol on a date; None without one."""
        return self.listed.get((column, day))


@dataclass(frozen=True, slots=True)
class Settled:
    """Checked bars under answers: `reason` int8[R] is GOOD for the bars to use, which `real` suspicious ones are too.

    `real`, `listed` (those of them that have a line of their own) and `unanswered` are numbers of suspicious bars.
    `jumps` are those of the check without the ones that are listed as real. `open_jumps` and `faults` need a person;
    `real_shifts` were accepted. Shifts are dated by their first bars. `unlike` names the bars that are used, or left
    out, against [feed] spikes; it is empty where the bars are those of the general rule.
    """

    reason: Reasons
    real: Ints
    listed: Ints
    unanswered: Ints
    jumps: tuple[Jump, ...]
    open_jumps: tuple[Jump, ...]
    real_shifts: tuple[Jump, ...]
    faults: tuple[ActionFault, ...]
    unlike: str = ""

    @property
    def good(self) -> Bools:
        """bool[R] of the bars to use."""
        good: Bools = self.reason == Reason.GOOD
        return good


NOTHING: Final = Answers()


def settle(checked: Checked, rows: Rows, placed: Placed, answers: Answers = NOTHING) -> Settled:
    """Return which of R checked bars are used under `answers`, and what needs an answer."""
    column, event = rows.column, placed.ts_event
    days = _days(checked, rows, placed)
    faulty = {(fault.symbol, ts) for fault in checked.faults for ts in fault.explains}
    suspicious = checked.reason == Reason.SPIKE
    real = suspicious & (answers.spikes == "real")
    settled: Bools = suspicious & (answers.spikes != "stop")
    listed = np.zeros_like(real)
    for k in np.flatnonzero(suspicious).tolist():
        answer = answers.about(int(column[k]), int(placed.day[k]))
        if answer is not None:
            real[k], settled[k], listed[k] = answer == "real", True, True
        settled[k] |= (int(column[k]), int(event[k])) in faulty
    open_jumps, real_shifts = list[Jump](), list[Jump]()
    for shift in checked.shifts:
        place, level = (shift.jump.symbol, shift.first_ts), list(shift.rows)
        answer = answers.about(shift.jump.symbol, days[place])
        settled[level] = True
        crash = shift.crash and answers.spikes != "reject"
        if answer == "real" or ((answers.jumps_real or (crash and answers.first_bars)) and answer is None):
            real[level] |= answer == "real" or answers.first_bars
            listed[level] = answer == "real"
            real_shifts.append(shift.dated)
        elif place not in faulty:
            open_jumps.append(shift.dated)
    jumps = tuple(jump for jump in checked.jumps if answers.about(jump.symbol, days[jump.symbol, jump.ts]) != "real")
    if not answers.jumps_real:
        open_jumps += [jump for jump in jumps if (jump.symbol, jump.ts) not in faulty]
    against = np.flatnonzero(suspicious & (real != (answers.spikes == "real")))
    return Settled(
        reason=np.where(real, Reason.GOOD, checked.reason).astype(np.int8),
        real=np.flatnonzero(real),
        listed=np.flatnonzero(real & listed),
        unanswered=np.flatnonzero(suspicious & ~settled),
        jumps=jumps,
        open_jumps=tuple(sorted(open_jumps, key=lambda jump: (jump.ts, jump.symbol))),
        real_shifts=tuple(real_shifts),
        faults=tuple(
            fault
            for fault in checked.faults
            if answers.about(fault.symbol, days[fault.symbol, fault.ts_event]) != "real"
        ),
        unlike=" ".join(sorted(f"{column[k]}:{event[k]}={int(real[k])}" for k in against.tolist())),
    )


def _days(checked: Checked, rows: Rows, placed: Placed) -> dict[tuple[int, int], int]:
    """Return the session day of each (column, `ts_event`) at which a level changes or an action is at fault."""
    wanted = {(jump.symbol, jump.ts) for jump in checked.jumps}
    wanted |= {(shift.jump.symbol, shift.first_ts) for shift in checked.shifts}
    wanted |= {(fault.symbol, fault.ts_event) for fault in checked.faults}
    near = np.flatnonzero(np.isin(placed.ts_event, np.array([ts for _, ts in wanted], dtype=np.int64)))
    days = {(int(rows.column[k]), int(placed.ts_event[k])): int(placed.day[k]) for k in near.tolist()}
    return {place: days[place] for place in wanted}
