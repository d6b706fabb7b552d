"""Number of examples of a property, by the hypothesis profile."""

import os

from hypothesis import settings

QUICK_SHARE = 4
CI_SHARE = 2
FEWEST = 3


def examples(count: int) -> int:
    """The number of examples: `count` by hand, half of it in continuous integration, which draws the same ones each
    time, and a quarter under the profile "quick"; at least three."""
    share = QUICK_SHARE if settings.get_current_profile_name() == "quick" else CI_SHARE if os.environ.get("CI") else 1
    return min(count, max(FEWEST, count // share))
