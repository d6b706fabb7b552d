"""Two runs of one assembly: without a break, and taken up again and again from a snapshot."""

from typing import Final

from quantd.daemon.assembly.parts import Assembly
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.runtime.timeline import instants

EVERY: Final = 25
"""Instants between two snapshots."""


def straight_and_restored(assembly: Assembly) -> tuple[Shell, Shell]:
    """Return the run without a break, and one that a new shell goes on with after every EVERY instants."""
    straight, restored = assembly.shell(), assembly.shell()
    for number, instant in enumerate(instants(assembly.items()), 1):
        for item in instant:
            straight.take(item)
            restored.take(item)
        if number % EVERY == 0:
            snapshot, restored = restored.keep(), assembly.shell()
            restored.restore(assembly.rules, snapshot)
    return straight, restored
