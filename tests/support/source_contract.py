"""What every source promises, whatever is behind it: one check for all vendors and wrappers."""

import numpy as np

from quantd.adapters.feeds.bars.rows import Rows, joined, within
from quantd.adapters.feeds.source import Source
from tests.support.memory_source import same


async def keeps_its_promises(source: Source, truth: Rows, start_ns: int, end_ns: int) -> None:
    """`truth` are the bars of [start_ns, end_ns), symbol by symbol in time order; `source` is closed in the end.

    Half-open ranges that fit together, types and shapes, exact money beside floats, no bar of a time that was not asked
    for.
    """
    assert source.name
    assert source.stamps in ("session", "open", "close")
    assert isinstance(source.adjusted, bool)
    stamps = np.unique(truth.ts)
    middle = int(stamps[len(stamps) // 2])
    answers = [await source.bars(start_ns, end_ns)]
    parts = [
        await source.bars(begin, end) for begin, end in ((start_ns, middle), (middle, middle + 1), (middle + 1, end_ns))
    ]
    answers.append(joined(parts))
    assert parts[1].ts.tolist() == [middle] * int((truth.ts == middle).sum()), "a range of one instant holds its bars"
    assert not (parts[0].ts >= middle).any()
    assert not (parts[2].ts <= middle).any()
    for rows in answers:
        assert same(_plain(rows), _plain(within(truth, start_ns, end_ns)))
        for name in Rows.__slots__:
            kind = np.int64 if name in {"ts", "column", "open_nano", "close_nano", "source"} else np.float64
            assert getattr(rows, name).dtype == kind, name
            assert getattr(rows, name).shape == (len(rows),)
        np.testing.assert_allclose(rows.open_nano / 1e9, rows.open, rtol=1e-15)
    for action in await source.actions(start_ns, end_ns):
        assert start_ns <= action.day_ns < end_ns
        assert action.day_ns % 86_400_000_000_000 == 0
        assert (action.cash_nano > 0) == (action.kind == "dividend")
        assert action.numerator > 0
        assert action.denominator > 0
    await source.close()
    await source.close()


def _plain(rows: Rows) -> Rows:
    """Without saying whose they are."""
    kept = {name: getattr(rows, name) for name in Rows.__slots__}
    return Rows(**{**kept, "source": np.zeros(len(rows), dtype=np.int64)})
