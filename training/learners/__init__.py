"""Reinforcement learners.

A learner is declared by a record: its name, settings and algorithm. The records of the bundled learners import no
torch; `algorithms` and the modules that learners share do.
"""

from typing import Final

from quantd.records import modules

HELPERS: Final = (
    "algorithms", "cloning", "distributions", "joint_replay", "network_plan", "optimisers", "record", "replay",
    "rollout",
)  # fmt: skip
"""Modules of this package that learners share."""


def names() -> tuple[str, ...]:
    """Return the names of the learners, in alphabetical order; no learner is imported."""
    return tuple(sorted(modules(__name__)))
