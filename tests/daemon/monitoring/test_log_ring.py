"""The ring of the newest log lines: bounded, searched, and never a fault of its own."""

import io
import logging
from collections.abc import Iterator

import pytest
import structlog

from quantd.daemon.monitoring import log_ring
from quantd.daemon.monitoring.log_ring import KEPT, RING, LogRing
from quantd.daemon.monitoring.metrics import configure
from tests.support.command_line import restored


@pytest.fixture
def logs() -> Iterator[None]:
    with restored():
        configure(stream=io.StringIO())
        yield


def test_lines_of_the_daemon_and_of_libraries_are_kept_as_text_without_control_characters(logs: None) -> None:
    structlog.get_logger("quantd.test").warning("ring.tested", agent="a\x1b[31m", number=3)
    logging.getLogger("library").error("it %s", "failed")
    (other, daemon_line), total, more = RING.page("", logging.WARNING, 2)
    assert (daemon_line.level, daemon_line.logger, daemon_line.text) == (
        "WARNING",
        "quantd.test",
        "ring.tested agent=a\\x1b[31m number=3",
    )
    assert (other.level, other.text) == ("ERROR", "it failed")
    assert total >= 2
    assert daemon_line.number < other.number
    assert more == (total > 2)


def test_a_search_and_a_level_find_the_newest_first_and_pages_follow(logs: None) -> None:
    ring = LogRing()
    for k in range(30):
        ring.handle(logging.makeLogRecord({"name": "n", "levelname": "INFO" if k % 2 else "ERROR", "msg": f"line {k}"}))
    page, total, more = ring.page("LINE", logging.ERROR, 10)
    assert ([line.text for line in page], total, more) == ([f"line {k}" for k in range(28, 8, -2)], 15, True)
    next_page, total, more = ring.page("line", logging.ERROR, 10, page[-1].number)
    assert ([line.text for line in next_page], total, more) == ([f"line {k}" for k in range(8, -1, -2)], 15, False)
    assert ring.page("nothing", 0, 10) == ([], 0, False)


def test_the_ring_is_bounded_in_lines_and_in_the_length_of_a_line() -> None:
    ring = LogRing()
    for _ in range(KEPT + 5):
        ring.handle(logging.makeLogRecord({"name": "n", "levelname": "INFO", "msg": "x" * 5_000}))
    page, total, _ = ring.page("", 0, 1)
    assert (total, len(page[0].text), page[0].number) == (KEPT, log_ring.LONGEST, KEPT + 5)
