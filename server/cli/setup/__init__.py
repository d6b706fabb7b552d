"""Checks before a start."""

from typing import Final

HELPERS: Final = (
    "bench_api",
    "doctor_checks",
    "doctor_live",
    "readiness",
    "redteam_cases",
    "redteam_copy",
    "redteam_judge",
    "redteam_run",
    "rehearsal",
)
"""Modules of this package that are no command."""
