"""Commands that train policies and inspect models."""

from typing import Final

HELPERS: Final = ("agent_lines", "artifact_files", "bench_inference", "decision_output", "plan_options")
"""Modules of this package that are no command."""
