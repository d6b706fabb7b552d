"""Number of examples of a property, by the hypothesis profile."""

from hypothesis import settings

QUICK_SHARE = 4
FEWEST = 3


def examples(count: int) -> int:
    """`count` under every profile but "quick", which runs a quarter of them and at least three."""
    if settings.get_current_profile_name() != "quick":
        return count
    return min(count, max(FEWEST, count // QUICK_SHARE))
