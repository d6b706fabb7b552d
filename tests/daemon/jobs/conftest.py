"""Deliveries are tried again after hundredths of a second."""

import pytest

from quantd.daemon.jobs import alert_delivery


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alert_delivery, "FIRST_S", 0.02)
    monkeypatch.setattr(alert_delivery, "LONGEST_S", 0.05)
