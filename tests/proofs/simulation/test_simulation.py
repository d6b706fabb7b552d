"""Simulated trading days with faults, in short form; `make prove-long` runs the long one."""

import os
import subprocess
import sys

import pytest

from quantd.daemon.runtime import journal
from tests.proofs.simulation.runner import simulate
from tests.support.checkout import ROOT
from tests.support.examples import examples


@pytest.mark.long
def test_no_promise_is_broken_in_simulated_days_with_faults() -> None:
    days = faults = seed = 0
    while days < examples(400):
        outcome = simulate(seed)
        assert not outcome.violations, f"seed {seed}: {outcome.violations}"
        days, faults, seed = days + outcome.days, faults + sum(outcome.faults.values()), seed + 1
    assert faults > 5 * days, "the faults did not happen"


@pytest.mark.long
def test_a_crash_at_any_effect_boundary_breaks_no_promise() -> None:
    seed = 7
    reference = simulate(seed)
    assert reference.boundaries > 200
    for boundary in range(1, reference.boundaries + 1, reference.boundaries // examples(25)):
        outcome = simulate(seed, crash_at=frozenset({boundary}))
        assert not outcome.violations, f"seed {seed}, boundary {boundary}: {outcome.violations}"
        assert outcome.faults["crash"] > 0


def test_a_restart_that_asks_the_venue_for_nothing_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "unanswered", lambda state: [])
    assert any("nobody asks" in violation for violation in simulate(0).violations)


@pytest.mark.long
def test_two_processes_with_other_hash_seeds_have_the_same_digests() -> None:
    command = [sys.executable, "-m", "tests.proofs.simulation", "--digests", "6", "--seed", "24"]
    runs = [
        subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed}, stdout=subprocess.PIPE)
        for seed in ("1", "2")
    ]
    first, second = (run.communicate(timeout=200)[0].split() for run in runs)
    assert len(set(first)) == 6
    assert first == second
