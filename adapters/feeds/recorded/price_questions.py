"""Texts of the prices that a person must decide about, each with remedies that can be typed as they stand.

Every line that is offered for a file of actions or exceptions is complete: with it, the next run has no question about
that date and symbol. A question about an action says what the prices show instead (no split, the reverse ratio, another
date), because the wrong remedy, for example one more split, would hide the fault.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from quantd.adapters.feeds.bars.announced_actions import ActionFault
from quantd.adapters.feeds.bars.checks import BadBar
from quantd.adapters.feeds.bars.dividends import UNIT
from quantd.adapters.feeds.recorded.misfit import MOST_LINES, listed
from quantd.adapters.feeds.recorded.replay import OpenQuestions
from quantd.trading.display_text import session_date
from quantd.trading.instruments import NANO, Universe
from quantd.trading.market import Jump
from quantd.trading.sessions import Sessions

HEADER: Final = "date,symbol,answer"
"""First line of a file of exceptions."""


class Questions:
    """The texts of open questions about the prices of a universe."""

    def __init__(self, questions: OpenQuestions, universe: Universe, sessions: Mapping[str, Sessions]) -> None:
        self.questions: Final = questions
        self._universe: Final = universe
        self._sessions: Final = sessions

    def lines(self) -> list[str]:
        """Return every question and its remedies for a run with a configuration; empty without a question."""
        return [*self._jump_lines(), *self._fault_lines(), *self._bar_lines()]

    def report(self) -> dict[str, list[dict[str, object]]]:
        """Return every question as a document: lists by kind; each entry has the text and the line or remedies."""
        open_ = self.questions
        return {
            "jumps": [{"text": self.jump_text(jump), "action": self.action_line(jump)} for jump in open_.jumps],
            "actions": [
                {"text": self.fault_text(fault), "remedies": self.fault_remedies(fault)} for fault in open_.faults
            ],
            "suspicious": [{"text": self.bar_text(bar), "exception": self.exception_line(bar)} for bar in open_.bars],
        }

    def jump_text(self, jump: Jump) -> str:
        """Return a jump in words: symbol, date, both prices and the nearest ratio."""
        return (
            f"{self._universe.symbols[jump.symbol]} opened at {jump.after_nano / NANO:.10g} on "
            f"{self.day_of(jump.symbol, jump.ts)}, after {jump.before_nano / NANO:.10g}: near a "
            f"{jump.numerator}:{jump.denominator} split, and no action announces one"
        )

    def action_line(self, jump: Jump, ratio: str = "") -> str:
        """Return the line for an actions file that announces the split, with `ratio` or else the nearest ratio."""
        symbol, nearest = self._universe.symbols[jump.symbol], f"{jump.numerator}:{jump.denominator}"
        return f"{self.day_of(jump.symbol, jump.ts)},{symbol},split,{ratio or nearest},"

    def fault_text(self, fault: ActionFault) -> str:
        """Return the text about an action that the prices do not show: the action, and what they show instead."""
        symbol, day = self._universe.symbols[fault.symbol], self.day_of(fault.symbol, fault.ts_event)
        action, prices = (
            fault.action,
            f"it opened at {fault.after_nano / NANO:.10g}, after {fault.before_nano / NANO:.10g}",
        )
        if action.kind == "dividend" and fault.reading in ("repeated", "unit"):
            return self._doubt_text(fault, f"{symbol} pays a dividend of {action.cash_nano / NANO:.10g} on {day}")
        if action.kind == "dividend":
            share = action.cash_nano / fault.before_nano
            size = "more than the price itself" if share >= 1 else f"{share:.0%} of the close before"
            return (
                f"{symbol} pays a dividend of {action.cash_nano / NANO:.10g} on {day}, {size}, and the price does not "
                f"show it: {prices}"
            )
        ratio = f"{action.numerator}:{action.denominator}"
        shown = {
            "absent": "the prices do not show it, as if they were adjusted for it already",
            "reversed": f"the prices show {action.denominator}:{action.numerator}: it is written the wrong way round",
            "another_date": "the prices show it on another date",
            "another_ratio": f"the prices show {fault.shown.numerator}:{fault.shown.denominator}",
        }[fault.reading]
        return f"{symbol} has a {ratio} split on {day} in the actions, and {shown}: {prices}"

    def _doubt_text(self, fault: ActionFault, statement: str) -> str:
        """Return the text about a dividend that another dividend or the price contradicts; `statement` begins it.

        UNIT is 100, the hundredths of a currency. `fault.shown` is the factor that corrects the amount, and
        `fault.other` the dividend by which it was judged, None for a price.
        """
        other, factor = fault.other, fault.shown
        other_text = f"{other.cash_nano / NANO:.10g} on {session_date(other.key)}" if other is not None else ""
        if fault.reading == "repeated":
            return f"{statement}, and {other_text}: one of them repeats the other"
        if other is not None and 1 in (factor.numerator, factor.denominator) and max(factor, 1 / factor) == UNIT:
            return (
                f"{statement}, {'a hundredth' if factor > 1 else 'a hundred times'} of the {other_text}: "
                "it is in another unit"
            )
        evidence = other_text or f"an open of {fault.after_nano / NANO:.10g} after {fault.before_nano / NANO:.10g}"
        return (
            f"{statement}, the day of a {factor.numerator}:{factor.denominator} split, "
            f"and it is paid on the shares before: beside {evidence} it is the amount for each share after it"
        )

    def fault_remedies(self, fault: ActionFault) -> list[str]:
        """Return the remedies for an action that the prices do not show."""
        action, symbol = fault.action, self._universe.symbols[fault.symbol]
        day = self.day_of(fault.symbol, fault.ts_event)
        announced_date = session_date(action.key)
        keep_both = f"the action and the prices are right: [feed] exceptions, {HEADER}: {day},{symbol},real"
        set_adjusted = "the prices are adjusted: [feed] adjusted = true, without actions (Python: adjusted=True)"
        if action.kind == "dividend":
            line = f"{announced_date},{symbol},dividend,,{action.cash_nano / NANO:.10g}"
            if fault.reading == "repeated" and fault.other is not None:
                first = f"{session_date(fault.other.key)},{symbol},dividend,,{fault.other.cash_nano / NANO:.10g}"
                return [
                    f"one of two is wrong: remove from the file of actions {line} (or {first})",
                    set_adjusted,
                    keep_both,
                ]
            if fault.reading == "unit":
                amount = action.cash_nano * fault.shown / NANO
                corrected_line = f"{announced_date},{symbol},dividend,,{float(amount):.10g}"
                return [f"in the file of actions, replace {line} by {corrected_line}", set_adjusted, keep_both]
            return [f"the dividend is wrong: correct or remove in the file of actions {line}", set_adjusted, keep_both]
        line = f"{announced_date},{symbol},split,{action.numerator}:{action.denominator},"
        if fault.reading == "reversed":
            corrected_line = f"{announced_date},{symbol},split,{action.denominator}:{action.numerator},"
        elif fault.reading == "another_ratio":
            corrected_line = f"{announced_date},{symbol},split,{fault.shown.numerator}:{fault.shown.denominator},"
        elif fault.reading == "another_date":
            # 1 ns after the open lies inside the session
            shown_date = self.day_of(fault.symbol, fault.shown_open + 1)
            corrected_line = f"{shown_date},{symbol},split,{action.numerator}:{action.denominator},"
        else:
            return [f"the prices hold it already: remove from the file of actions {line}", set_adjusted, keep_both]
        return [f"in the file of actions, replace {line} by {corrected_line}", keep_both]

    def bar_text(self, bar: BadBar) -> str:
        """Return a suspicious bar in words: symbol, date and prices."""
        day = self.day_of(self._universe.index[bar.symbol], bar.ts_event)
        return (
            f"{bar.symbol} on {day} is out of all proportion to the bars before: open {bar.open:.10g}, "
            f"high {bar.high:.10g}, low {bar.low:.10g}, close {bar.close:.10g}"
        )

    def exception_line(self, bar: BadBar) -> str:
        """Return the line for a file of exceptions that accepts a bar as real."""
        return f"{self.day_of(self._universe.index[bar.symbol], bar.ts_event)},{bar.symbol},real"

    def day_of(self, column: int, ts: int) -> str:
        """Return the date of the session that ends at or after `ts`, as 2020-08-31."""
        calendar = self._sessions[self._universe.instruments[column].calendar]
        session = min(int(np.searchsorted(calendar.closes, ts)), len(calendar.closes) - 1)
        return session_date(calendar.day_ns[session]).isoformat()

    def _jump_lines(self) -> list[str]:
        """Return the lines about unexplained jumps, with their remedies; none without a jump."""
        jumps = self.questions.jumps
        if not jumps:
            return []
        lines = [self.action_line(jump) for jump in jumps[:MOST_LINES]]
        return [
            *listed([self.jump_text(jump) for jump in jumps]), "  one of three remedies:",
            "  - the prices are adjusted for splits: [feed] adjusted = true, without actions (Python: adjusted=True)",
            f"  - it was a split: add to the file of [feed] actions: {'; '.join(lines)}",
            '  - the move was real: [feed] jumps = "real"',
        ]  # fmt: skip

    def _fault_lines(self) -> list[str]:
        lines: list[str] = []
        for fault in self.questions.faults[:MOST_LINES]:
            remedies = self.fault_remedies(fault)
            lines += [self.fault_text(fault), f"  one of {'two' if len(remedies) == 2 else 'three'} remedies:"]
            lines += [f"  - {remedy}" for remedy in remedies]
        hidden = len(self.questions.faults) - MOST_LINES
        return [*lines, *([f"and {hidden:,} more"] if hidden > 0 else [])]

    def _bar_lines(self) -> list[str]:
        """Return the lines about suspicious bars without an answer, with their remedies; none without such a bar."""
        bars = self.questions.bars
        if not bars:
            return []
        answers = "; ".join(dict.fromkeys(self.exception_line(bar) for bar in bars[:MOST_LINES]))
        return [
            *listed([self.bar_text(bar) for bar in bars]), "  one of three remedies:",
            '  - they happened, as in a crisis: [feed] spikes = "real"',
            '  - they are bad prints: [feed] spikes = "reject"',
            f'  - each by itself: [feed] exceptions = "FILE" with the lines {HEADER}; {answers} (or reject)',
        ]  # fmt: skip
