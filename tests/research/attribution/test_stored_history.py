"""The history of a stored run, from its journal alone: the money of each book is the engine's at every sample."""

import pytest

from quantd.adapters.store.handle import read_only
from quantd.research.attribution.profit import profit, residual
from quantd.research.attribution.stored_history import StoredHistory
from quantd.research.runs.stored_run import RunUnusable
from quantd.trading.codec import decode
from quantd.trading.effects import Valued
from tests.recorded_runs import archive
from tests.recorded_runs.features import FEATURES
from tests.recorded_runs.replaying import parts_at_end, runs_of


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in FEATURES if name != "carry_over"])
def test_each_recorded_run_paper_or_live_has_an_attribution_that_adds_up(name: str) -> None:
    with archive.opened(archive.path_of(name)) as (folder, _):
        records = read_only(folder / "state")
        for run in runs_of(records):
            history = StoredHistory(parts_at_end(folder, records, run), records, run).newest()
            entries = [decode(data) for _, data in records.entries(run, 1)]
            valued = [effect for entry in entries for effect in entry.effects if isinstance(effect, Valued)]
            assert [round(equity * 1e6) for equity in history.equity] == [sample.equity_micro for sample in valued]
            assert abs(residual(history, profit(history))).max() < 1e-6


@pytest.mark.long
def test_a_run_that_continues_another_account_has_none_and_says_so() -> None:
    with archive.opened(archive.path_of("carry_over")) as (folder, _):
        records = read_only(folder / "state")
        first, second, *_ = runs_of(records)
        assert StoredHistory(parts_at_end(folder, records, first), records, first).newest().intervals > 0
        with pytest.raises(RunUnusable, match="the run has no attribution: the history's books have"):
            StoredHistory(parts_at_end(folder, records, second), records, second).newest()
