"""Each lot that is missing has one cause of one table."""

from quantd.daemon.engine.core import lacks
from quantd.daemon.engine.state.causes import OF_CODE, OF_END
from quantd.research.runs.asked import Asked
from quantd.risk.limits.catalogue import Reason
from quantd.trading.orders import ENDED, OrderState


def test_every_reason_rule_and_end_is_a_cause_once():
    rules = {lacks.WAITS, lacks.LOTS, lacks.SMALL, lacks.SCALED, lacks.EXIT, lacks.NEAR}
    assert OF_CODE.keys() == {int(reason) for reason in Reason if reason} | rules
    assert sorted(OF_CODE) == list(range(1, lacks.CODES))
    assert OF_END.keys() == ENDED - {OrderState.FILLED}
    keys = [cause.key for code, cause in OF_CODE.items() if code in rules] + [cause.key for cause in OF_END.values()]
    assert len({*keys}) == len(keys)
    assert not {*keys} & {cause.key for code, cause in OF_CODE.items() if code not in rules}
    assert all(cause.key and cause.group and cause.text for cause in (*OF_CODE.values(), *OF_END.values()))


def test_the_sum_is_printed_where_more_than_two_hundredths_are_missing():
    assert Asked(1.0, 0.981, {"lots": 0.019}).text() == ""
    assert Asked(1.0, 0.9, {"limits": 0.06, "lots": 0.037, "cash": 0.003}).text() == (
        "asked 1.00, held 0.90 on average: limits 0.06, lots 0.04"
    )
