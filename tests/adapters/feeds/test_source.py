"""The contract of sources, on every wrapper and on the vendors that need no pandas (Yahoo keeps it in its own
module)."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from quantd.adapters.feeds.bars.rows import ActionRow, Rows
from quantd.adapters.feeds.source import Source, SourceError
from quantd.adapters.feeds.wrappers.cache import Cached
from quantd.adapters.feeds.wrappers.fallback import Fallback
from quantd.adapters.feeds.wrappers.retry import Retried
from quantd.trading.instruments import NANO, Instrument, Universe
from tests.support.memory_source import Recorded, keeps_its_promises, market

PAIR = Universe((Instrument("AAA", calendar="24/7"), Instrument("BBB", calendar="24/7")), calendar="24/7")
T0 = 1_704_290_400
START, END = T0 * NANO, (T0 + 3600) * NANO


def truth() -> Rows:
    """An hour of minutes of both; the second symbol misses every fifth."""
    stamps = [(T0 + 60 * k) * NANO for k in range(60)]
    both = market([*stamps, *(ts for k, ts in enumerate(stamps) if k % 5)], [0] * 60 + [1] * 48)
    both.volume[:] = np.arange(len(both)) % 7 + 1
    return both


def recorded() -> Recorded:
    day = START - START % (86_400 * NANO)
    return Recorded(truth(), listed=[ActionRow(day, 0, "split", 2, 1, 0)])


WRAPPERS: dict[str, Callable[[Path], Source]] = {
    "itself": lambda _: recorded(),
    "cached": lambda folder: Cached(recorded(), PAIR, "1m", folder),
    "cached twice": lambda folder: Cached(Cached(recorded(), PAIR, "1m", folder / "a"), PAIR, "1m", folder / "b"),
    "retried": lambda _: Retried(_unsteady(), first_s=0.001),
    "fallback": lambda _: Fallback([_unsteady(), recorded()], PAIR),
    "all of them": lambda folder: Cached(
        Fallback([Retried(_unsteady(), first_s=0.001), recorded()], PAIR), PAIR, "1m", folder
    ),
}  # fmt: skip


def _unsteady() -> Recorded:
    source = recorded()
    source.failing = [SourceError("recorded", "busy")] * 3
    return source


@pytest.mark.requirement("R-011")
@pytest.mark.parametrize("wrapper", WRAPPERS)
async def test_a_wrapper_keeps_the_contract_of_what_it_wraps(tmp_path: Path, wrapper: str) -> None:
    await keeps_its_promises(WRAPPERS[wrapper](tmp_path), truth(), START, END)
