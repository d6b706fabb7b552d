"""Number of examples of a property, by the hypothesis profile."""

import os

from hypothesis import settings

SHARE = 4
FEWEST = 3


def examples(count: int) -> int:
    """The number of examples: `count` by hand; a quarter, and at least three, in continuous integration, which draws
    the same ones each time, and under the profile "quick"."""
    few = settings.get_current_profile_name() == "quick" or os.environ.get("CI")
    return min(count, max(FEWEST, count // SHARE)) if few else count
