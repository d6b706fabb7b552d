"""A person's answers about suspicious bars, and which bars are used according to the answers.

A bar whose price is out of all proportion is a bad print (a wrong record) or a real crash. Rejecting all such bars cuts
real crises out of a backtest; using all of them trades bad prints. Each therefore needs an answer: one for all bars
(`[feed] spikes`), or one by date and symbol (`[feed] exceptions`), which has priority. Bars without an answer are left
out of the slices and listed as open, so that a run that was recorded before such answers existed replays with the same
bars.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from quantd.adapters.feeds.bars.announced_actions import ActionFault
from quantd.adapters.feeds.bars.checks import Checked, Reason, Reasons
from quantd.adapters.feeds.bars.rows import Rows
from quantd.adapters.feeds.bars.stamps import BarTimes
from quantd.trading.market import Bools, Ints, Jump

Answer = Literal["real", "reject"]

Spikes = Literal["stop", "real", "reject"]


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers about suspicious prices. `spikes` answers for all bars, `listed` for (column, session day in ns).

    `jumps_real` accepts every new price level that no action explains. The first bars of an accepted level are real
    too, and so are the first bars of a crash that its trading volume proves, unless `spikes` rejects bars. Without
    `first_bars` the first bars of a level are left out, as older versions did: a run recorded by an older version
    replays with the same bars only in this way.
    """

    spikes: Spikes = "reject"
    jumps_real: bool = False
    listed: Mapping[tuple[int, int], Answer] = field(default_factory=dict)
    first_bars: bool = True

    def about(self, column: int, day: int) -> Answer | None:
        """Return the person's answer about the prices of a symbol on a date (ns at 00:00 UTC); None without an
        answer."""
        return self.listed.get((column, day))


@dataclass(frozen=True, slots=True)
class Settled:
    """R checked bars after the answers of a person were applied: `reason` int8[R] is GOOD for each bar to use.

    `real`, `listed` and `unanswered` are rows of suspicious bars: accepted as real, accepted by a line of the file of
    exceptions, and without an answer. `jumps` are the apparent splits, except the ones listed as real. `open_jumps` and
    `faults` need a person's answer; `real_shifts` were accepted, each dated by the first bar of its level. `unlike`
    lists the bars that are used or omitted contrary to the setting [feed] spikes.
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
        """bool[R], True for each of the R bars that is to be used."""
        good: Bools = self.reason == Reason.GOOD
        return good


NOTHING: Final = Answers()


def settle(checked: Checked, rows: Rows, placed: BarTimes, answers: Answers = NOTHING) -> Settled:
    """Return which of R checked bars are used under a person's `answers`, and which questions remain.

    An answer about one bar has priority over the rules for all bars. A bar or jump that a faulty action explains is no
    question of its own.

    Days are in ns at 00:00 UTC. A spike is a suspicious price; a jump looks like an unannounced split; a shift is a new
    price level that no action explains. The arrays bool[R] mark bars: `suspicious`, `real` (used), `settled` (no
    question remains) and `listed` (answered one by one).
    """
    column, event = rows.column, placed.ts_event
    days = _days(checked, rows, placed)
    faulty = {(fault.symbol, ts) for fault in checked.faults for ts in fault.explains}
    suspicious = checked.reason == Reason.SPIKE
    real = suspicious & (answers.spikes == "real")
    settled: Bools = suspicious & (answers.spikes != "stop")
    listed = np.zeros_like(real)
    for row in np.flatnonzero(suspicious).tolist():
        answer = answers.about(int(column[row]), int(placed.day[row]))
        if answer is not None:
            real[row], settled[row], listed[row] = answer == "real", True, True
        settled[row] |= (int(column[row]), int(event[row])) in faulty
    open_jumps, real_shifts = list[Jump](), list[Jump]()
    for shift in checked.shifts:
        level_start, level_rows = (shift.jump.symbol, shift.first_ts), list(shift.rows)
        answer = answers.about(shift.jump.symbol, days[level_start])
        settled[level_rows] = True
        crash = shift.crash and answers.spikes != "reject"  # a crash that its volume proves needs no answer
        if answer == "real" or ((answers.jumps_real or (crash and answers.first_bars)) and answer is None):
            real[level_rows] |= answer == "real" or answers.first_bars
            listed[level_rows] = answer == "real"
            real_shifts.append(shift.dated)
        elif level_start not in faulty:
            open_jumps.append(shift.dated)
    jumps = tuple(jump for jump in checked.jumps if answers.about(jump.symbol, days[jump.symbol, jump.ts]) != "real")
    if not answers.jumps_real:
        open_jumps += [jump for jump in jumps if (jump.symbol, jump.ts) not in faulty]
    unlike_rule = np.flatnonzero(suspicious & (real != (answers.spikes == "real")))
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
        unlike=" ".join(sorted(f"{column[row]}:{event[row]}={int(real[row])}" for row in unlike_rule.tolist())),
    )


def _days(checked: Checked, rows: Rows, placed: BarTimes) -> dict[tuple[int, int], int]:
    """Return the session day (ns) of each (column, `ts_event`) at which the price level changes, or a split or
    dividend contradicts the prices."""
    changes = {(jump.symbol, jump.ts) for jump in checked.jumps}
    changes |= {(shift.jump.symbol, shift.first_ts) for shift in checked.shifts}
    changes |= {(fault.symbol, fault.ts_event) for fault in checked.faults}
    change_rows = np.flatnonzero(np.isin(placed.ts_event, np.array([ts for _, ts in changes], dtype=np.int64)))
    days = {(int(rows.column[row]), int(placed.ts_event[row])): int(placed.day[row]) for row in change_rows.tolist()}
    return {change: days[change] for change in changes}
