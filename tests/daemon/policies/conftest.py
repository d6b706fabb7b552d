"""Policies in processes of their own may take their time on a busy machine, unless a test is about the deadline."""

import pytest

from quantd.daemon.policies.deadline import Deadline
from quantd.daemon.policies.isolation import worker
from quantd.models.isolation import graph_process

PATIENT_S = 120.0
"""Seconds for an answer in place of five, the first of which also imports what the policy needs."""


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "LIMIT_S", PATIENT_S)
    monkeypatch.setattr(graph_process, "LIMIT_S", PATIENT_S)
    monkeypatch.setattr(Deadline.__init__, "__defaults__", (PATIENT_S,))
