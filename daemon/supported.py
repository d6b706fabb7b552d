"""What a configuration may ask for that this version does not do yet: refused, with the line, never ignored."""

from collections.abc import Iterator

from quantd.daemon.config import Config, Mistake

JOBS = frozenset(
    {
        "rebalance",
        "snapshot",
        "flatten",
        "risk_report",
        "daily_report",
        "reconcile",
        "backup",
        "compact",
        "reallocate",
        "promote",
        "retrain",
    }
)
"""What a schedule can do in this version."""


def not_yet(config: Config) -> list[Mistake]:
    """A mistake for each thing that is configured and not built."""
    return list(_not_yet(config))


def _not_yet(config: Config) -> Iterator[Mistake]:
    mistake = config.source.mistake
    later = "this version does not do it yet"
    for k, schedule in enumerate(config.schedules):
        if schedule.do not in JOBS:
            known = ", ".join(sorted(JOBS))
            yield mistake(("schedules", k, "do"), f'= "{schedule.do}": {later}', f"it does {known}")
