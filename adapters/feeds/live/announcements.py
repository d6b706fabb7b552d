"""Corporate actions from a vendor's repeated lists: each is emitted once, before the prices that it affects."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from quantd.adapters.feeds.bars.merge import timed
from quantd.adapters.feeds.bars.rows import ORDER, ActionRow
from quantd.trading.events import Action
from quantd.trading.instruments import Universe
from quantd.trading.sessions import Sessions


class Announcements:
    """The actions that a vendor lists for a feed that emits everything later than `after` (ns UTC).

    `queried_until` is the instant (ns UTC) up to which the vendor has answered with the actions of all session opens,
    None before the first answer.
    """

    def __init__(self, after: int, universe: Universe, sessions: Mapping[str, Sessions]) -> None:
        self.queried_until: int | None = None
        self.known: list[Action] = []
        """All actions, dated by their true opens, in order: the checks of prices need them."""
        self._after: Final = after
        self._universe: Final = universe
        self._sessions: Final = sessions
        self._due: list[Action] = []
        self._listed: dict[tuple[int, int, str], Counter[Action]] = {}

    def add(self, listed: Sequence[ActionRow], opens_until: int, emitted_until: int) -> None:
        """Add a vendor's list of all actions that take effect at an open up to `opens_until` (ns UTC); new ones become
        due.

        Items up to `emitted_until` (ns UTC) have left the feed, so that a correction of earlier actions comes too late.

        A vendor lists the actions of one date, symbol and kind together as one group, with the number of times that
        each is listed. If an action of a group is missing from a later list, the vendor has corrected the group.
        `known` has all actions in order of their opens, `_due` the actions still to emit.
        """
        groups: dict[tuple[int, int, str], Counter[Action]] = {}
        ordered = sorted(listed, key=lambda action: (action.day_ns, action.column, ORDER[action.kind]))
        for action in timed(ordered, self._universe, self._sessions):
            groups.setdefault((action.key, action.symbol, action.kind), Counter())[action] += 1
        for group, now_listed in groups.items():
            listed_before = self._listed.get(group, Counter())
            if not listed_before <= now_listed:
                if any(action.ts <= emitted_until for action in listed_before):
                    continue  # corrected after it was emitted: it is not emitted twice
                self._due = [action for action in self._due if action not in listed_before]
                self.known = [action for action in self.known if action not in listed_before]
                listed_before = Counter()
            self._listed[group] = now_listed
            for action in (now_listed - listed_before).elements():
                self.known.append(action)
                if action.ts > self._after:
                    # a late announcement is emitted now: lots and marks must not stay wrong
                    self._due.append(replace(action, ts=max(action.ts, emitted_until + 1)))
        for actions in (self._due, self.known):
            # on one day a dividend precedes a split: it is paid on the old shares
            actions.sort(key=lambda action: (action.ts, action.key, action.symbol, ORDER[action.kind]))
        self.queried_until = opens_until if self.queried_until is None else max(self.queried_until, opens_until)

    def take(self, before: int) -> list[Action]:
        """Return and remove the actions earlier than `before`, in order."""
        count = sum(a.ts < before for a in self._due)
        due_now, self._due = self._due[:count], self._due[count:]
        return due_now

    def holds(self, action: Action) -> bool:
        """Whether an action, dated by its true open, is still to emit."""
        return any(replace(due, ts=action.ts) == action for due in self._due)
