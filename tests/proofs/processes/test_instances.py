"""Two daemons over one PostgreSQL and one MQTT broker: neither sees the other."""

import time
from pathlib import Path

import pytest

from tests.proofs.processes.instances import fleet


@pytest.mark.long
def test_two_instances_share_a_database_and_a_broker_and_each_trades_as_if_alone(tmp_path: Path) -> None:
    with fleet(tmp_path, 2, "20/s") as both:
        both.wait(within_s=120)
        time.sleep(1.0)
        assert both.living() == []
        both.stop()
        assert both.ended() == []
        assert both.alerts() > 0
