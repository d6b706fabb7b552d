"""What is asked is held or named, over random books and for plain portfolios over the bundled bars."""

from tests.proofs.intent.strangers import NAMED, found, rows
from tests.proofs.intent.worlds import drawn, played


def test_what_is_asked_is_held_or_named():
    assert [(number, fault) for number in range(200) for fault in played(drawn(23, number))] == []


def test_what_a_stranger_asks_is_held_or_named(tmp_path):
    for row in rows(tmp_path):
        figures = found(row, tmp_path)
        assert figures.gap <= row.bound or figures.causes.get("not named", 0.0) <= NAMED, (row.name, figures)
        assert abs(figures.gain - 1.0) < 0.03, (row.name, figures)
