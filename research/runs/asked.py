"""What the policies of a run asked for, what was held of it, and why not the rest."""

from typing import Final

from msgspec import Struct

from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.causes import OF_CODE, UNFILLED

MATERIAL: Final = 0.02
"""The least missing share of equity that is named."""


class Asked(Struct, frozen=True):
    """Exposures `asked` for and `held` of it, on average over samples, as shares of the account's equity.

    A target is kept in lots from its decision on, so that a move of prices is nothing missing. `missing` has the parts
    of asked - held by group of `engine.state.causes`, the largest first.
    """

    asked: float = 0.0
    held: float = 0.0
    missing: dict[str, float] = {}

    @classmethod
    def of(cls, state: State) -> "Asked":
        """The averages of a run, at its end."""
        lacks = [agent.lacks for agent in state.agents]
        samples = max((book.samples for book in lacks), default=0)
        if not samples:
            return cls()
        asked, held = sum(book.asked for book in lacks) / samples, sum(book.held for book in lacks) / samples
        missing: dict[str, float] = {}
        for code, cause in OF_CODE.items():
            missing[cause.group] = missing.get(cause.group, 0.0) + sum(book.sums[code] for book in lacks) / samples
        missing[UNFILLED] = asked - held - sum(missing.values())
        return cls(asked, held, dict(sorted(missing.items(), key=lambda part: -part[1])))

    def text(self) -> str:
        """The sum as a clause; empty where less than MATERIAL is missing."""
        if self.asked - self.held <= MATERIAL:
            return ""
        parts = ", ".join(f"{group} {part:.2f}" for group, part in self.missing.items() if part >= 0.005)
        return f"asked {self.asked:.2f}, held {self.held:.2f} on average: {parts}"
