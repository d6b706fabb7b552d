"""The keys of limits that a configuration accepts are those of the records, each within its bounds."""

import pytest
from pydantic import TypeAdapter, ValidationError

from quantd.daemon.assembly.limit_keys import limit_keys
from quantd.risk.limits.catalogue import EXTRA, FIELDS

KEYS = {key.attribute: key for key in limit_keys()}


@pytest.mark.requirement("R-264")
def test_every_field_has_a_key_but_those_that_live_the_venue_and_the_broker_set() -> None:
    outside_fields = {"fee_bp", "max_account_notional", "ramp", "max_orders_per_day", "buying_power", "no_borrow"}
    outside_fields |= {"volatile_exposure"}  # [risk.regime] sets it
    exact = {"max_order_notional_micro": "max_order_notional"}  # exact money in the file, a float in the gate
    assert {exact.get(name, name) for name in KEYS} == (FIELDS | EXTRA.keys()) - outside_fields


@pytest.mark.parametrize("name", sorted(KEYS))
def test_a_value_out_of_bounds_is_refused(name: str) -> None:
    accepted = TypeAdapter(KEYS[name].annotation)
    for wrong in (
        -1,
        "-1",
        10**15,
        {"limit": -1.0, "days": -1.0, "orders": 0, "stop_loss": 2.0, "threshold": 2.0},
        [{}],
    ):
        with pytest.raises(ValidationError):
            accepted.validate_python(wrong)
