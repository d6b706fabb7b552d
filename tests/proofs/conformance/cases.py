"""The cases of the conformance suite by name, and how one is played. Each group of them is a module in `groups`."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import Struct

from tests.proofs.conformance.rig import NotOffered, Rig
from tests.proofs.conformance.scene import Scene

Run = Callable[[Scene], Awaitable[None]]

LONGEST_S: Final = 90.0
"""A case that takes longer hangs."""


class Case(Struct, frozen=True):
    """One case: `name` is its sentence, `group` where it stands in the table, `venue` the only one that it is about."""

    group: str
    name: str
    run: Run
    venue: str = ""


CASES: Final[dict[str, Case]] = {}


def add(group: str, name: str, run: Run, venue: str = "") -> None:
    """Register a case."""
    assert name not in CASES, f"two cases have the name {name!r}"
    CASES[name] = Case(group, name, run, venue)


def case(group: str, venue: str = "") -> Callable[[Run], Run]:
    """Register a case; its function's name is its sentence."""

    def register(run: Run) -> Run:
        add(group, getattr(run, "__name__", "").replace("_", " "), run, venue)
        return run

    return register


async def play(case: Case, rig: Rig) -> None:
    """Play one case at a venue of its own. Raises NotOffered with the reason why it cannot exist there."""
    why = rig.lacks(case.name)
    if why:
        raise NotOffered(why)
    try:
        async with asyncio.timeout(LONGEST_S):
            await rig.start()
            scene = Scene(rig)
            try:
                await rig.listened()
                await case.run(scene)
                await scene.finish()
            finally:
                await scene.close()
    finally:
        await rig.stop()
