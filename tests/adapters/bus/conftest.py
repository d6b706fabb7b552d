"""A broker for each test, and no subscriber after it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mqtt import Mosquitto, Subscriber


@pytest.fixture(autouse=True)
def _no_subscriber_outlives_its_test() -> Iterator[None]:
    yield
    Subscriber.close_all()


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path).start()
    yield broker
    broker.stop()
