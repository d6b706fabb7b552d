"""Policies over a universe by date: a policy sees the members of the day, and holds nothing else.

What can go wrong: a policy ranks or holds an instrument that is no member on that day. So its view has the columns
(instruments) of the members only. Arrays in a policy's memory may have an element for each column. So the policy begins
with an empty memory whenever the members change.
"""

from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np

from quantd.strategies.policies.members import Around, Question, noted, unpacked
from quantd.trading.instruments import Membership, Universe
from quantd.trading.market import Floats
from quantd.trading.sessions import DAY_NS
from quantd.trading.view import Hold, Memory, Noted, PartView, View, own_memory, under

INSIDE: Final = "members"
"""Prefix in an agent's memory for the entries of the policy that decides for the members."""

COLUMNS: Final = "member_columns"
"""Name in the memory of the entry with the columns that the policy saw last."""

MOST_UNIVERSES: Final = 64
"""Maximum number of stored universes. They are stored because policies prepare themselves for each new universe."""


def members_of(membership: Membership, view: View) -> tuple[int, ...]:
    """Return the column indices of the universe's members at the date of the view's newest sample."""
    day = view.sample_time - 1  # a session that ends at midnight belongs to the day before
    return membership.at(day - day % DAY_NS)


@dataclass(frozen=True, slots=True)
class MembersOfDay(Around):
    """Calls `policy` with the columns (instruments) of the day's members, and gives other columns no weight.

    The policy begins with an empty memory whenever the members change, because its arrays may have an element for each
    column.
    """

    membership: Membership
    _universes: dict[tuple[int, ...], Universe] = field(default_factory=dict)

    def act(self, view: View, memory: Memory) -> tuple[Floats | Hold | Noted, Memory]:
        """Implements `Policy.act`: the weights of the policy in the columns of the members, zero in others; all cash on
        a day without members.

        The memory has the columns that the policy saw (COLUMNS), and the policy's own memory under INSIDE.
        """
        columns = members_of(self.membership, view)
        if not columns:
            return np.zeros(view.universe.size), {}
        column_array = np.array(columns, dtype=np.float64)
        (question,) = self.questions(view, memory)
        answer, remembered = self.policy.act(question.view, question.memory)
        weights, note, warns = unpacked(answer)
        new_memory = {COLUMNS: column_array, **under(INSIDE, remembered)}
        if isinstance(weights, Hold):
            return noted(weights, [(note, warns)]), new_memory
        all_weights = np.zeros(view.universe.size)
        all_weights[list(columns)] = weights
        return noted(all_weights, [(note, warns)]), new_memory

    def questions(self, view: View, memory: Memory) -> list[Question]:
        """Return what the inner policy sees: the columns of the members; nothing on a day without members."""
        columns = members_of(self.membership, view)
        if not columns:
            return []
        previous_columns = memory.get(COLUMNS)
        same_members = previous_columns is not None and np.array_equal(
            previous_columns, np.array(columns, dtype=np.float64)
        )
        members_view = PartView(view, self._universe(view.universe, columns), columns)
        return [Question("", self.policy, members_view, own_memory(memory, INSIDE) if same_members else {})]

    def _universe(self, universe: Universe, columns: tuple[int, ...]) -> Universe:
        part = self._universes.get(columns)
        if part is None:
            if len(self._universes) >= MOST_UNIVERSES:
                self._universes.clear()
            part = self._universes[columns] = part_of(universe, columns)
        return part


@dataclass(frozen=True, slots=True)
class MembersOnly(Around):
    """Sets to zero the weights that sizing or rebalancing rules gave to instruments that are no members of the day."""

    membership: Membership

    def act(self, view: View, memory: Memory) -> tuple[Floats | Hold | Noted, Memory]:
        """Implements `Policy.act`: the weights of the policy, with zero in the columns of instruments that are no
        members.
        """
        answer, remembered = self.policy.act(view, memory)
        weights, note, warns = unpacked(answer)
        if not isinstance(weights, Hold):
            columns = list(members_of(self.membership, view))
            member_weights = np.zeros(len(weights))
            member_weights[columns] = weights[columns]
            weights = member_weights
        return noted(weights, [(note, warns)]), remembered


def part_of(universe: Universe, columns: tuple[int, ...]) -> Universe:
    """Return the universe of some columns, with the groups and the benchmark restricted to these columns."""
    part_instruments = tuple(universe.instruments[column] for column in columns)
    symbols = {instrument.symbol for instrument in part_instruments}
    groups = ((name, tuple(symbol for symbol in members if symbol in symbols)) for name, members in universe.groups)
    return msgspec.structs.replace(
        universe,
        instruments=part_instruments,
        benchmark=universe.benchmark if universe.benchmark in symbols else "",
        groups=tuple((name, members) for name, members in groups if members),
    )
