"""Each plan of the fold keeps the guarantee of the gate; the oracle sees one that does not."""

from collections.abc import Iterator

import pytest

from quantd.daemon.runtime.loop import Shell
from quantd.risk.limits.catalogue import override
from quantd.risk.pretrade.gate import Verdict
from quantd.trading.market import Floats
from tests.proofs.adversary import folded


@pytest.mark.long
@pytest.mark.requirement("R-166")
def test_no_state_after_a_plan_of_the_fold_breaks_a_limit() -> None:
    """The long form: python -m tests.proofs.adversary.folded --intents 200000."""
    tally = folded.Tally()
    for seed in (0, 1):
        folded.judge_world(seed, tally)
    assert tally.wrong == []
    assert min(tally.intents / 10, tally.cut, tally.states / 100) > 200


@pytest.mark.long
def test_a_plan_that_was_made_for_looser_limits_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    planned = folded.verdicts

    def stricter(shell: Shell, before: dict[int, Floats | None]) -> Iterator[tuple[int, Floats, Verdict]]:
        for book, asked, verdict in planned(shell, before):
            half = override(verdict._limits, max_gross_exposure=0.25)
            yield book, asked, Verdict(verdict.lots, verdict.reason, verdict._ctx, verdict._account, half)

    monkeypatch.setattr(folded, "verdicts", stricter)
    tally = folded.Tally()
    folded.judge_world(0, tally)
    assert len(tally.wrong) > 20
