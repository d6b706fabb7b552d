"""Each lot that is missing has one cause of one table."""

from quantd.daemon.engine.core import lacks
from quantd.daemon.engine.state.causes import OF_CODE, UNFILLED
from quantd.research.runs.asked import Asked
from quantd.risk.limits.catalogue import Reason


def test_every_reason_and_rule_is_a_cause_once():
    rules = {lacks.WAITS, lacks.LOTS, lacks.SMALL, lacks.SCALED, lacks.EXIT, lacks.NEAR}
    assert OF_CODE.keys() == {int(reason) for reason in Reason if reason} | rules
    assert sorted(OF_CODE) == list(range(1, lacks.CODES))
    keys = [cause.key for code, cause in OF_CODE.items() if code in rules]
    assert len({*keys}) == len(keys)
    assert not {*keys} & {cause.key for code, cause in OF_CODE.items() if code not in rules}
    assert all(cause.key and cause.group and cause.text for cause in OF_CODE.values())
    assert UNFILLED not in {cause.group for cause in OF_CODE.values()}


def test_the_sum_is_printed_where_more_than_two_hundredths_are_missing():
    assert Asked(1.0, 0.981, {"lots": 0.019}).text() == ""
    assert Asked(1.0, 0.9, {"limits": 0.06, "lots": 0.037, "cash": 0.003}).text() == (
        "asked 1.00, held 0.90 on average: limits 0.06, lots 0.04"
    )
