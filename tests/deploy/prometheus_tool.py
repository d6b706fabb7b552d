"""Prometheus' own checker of files."""

import subprocess

from tests.support.services import require


def promtool(*arguments: object, given: str = "") -> str:
    """What promtool prints; its exit code must be 0."""
    command = [require("prometheus")["promtool"], *map(str, arguments)]
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
