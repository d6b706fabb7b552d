"""A wrong parameter is refused in one sentence that names it, its value and the remedy."""

from collections.abc import Mapping

import pytest

from quantd.strategies.policies import POLICIES, ParamsError


@pytest.mark.parametrize(
    ("policy", "params", "text"),
    [
        ("momentum", {"lookbak": 5}, "momentum has no parameter 'lookbak'; did you mean 'lookback'?"),
        ("momentum", {"lookback": 1}, "momentum: lookback = 1: expected int >= 2"),
        ("momentum", {"lookback": 2.5}, "momentum: lookback = 2.5: expected int, got float"),
        ("momentum", {"lookback": True}, "momentum: lookback = True: expected int, got bool"),
        ("momentum", {"size": "equall"}, "momentum: size = 'equall': invalid enum value 'equall'"),
        ("risk_parity", {"lookback": 5001}, "risk_parity: lookback = 5001: expected int <= 5000"),
        ("inverse_volatility", {"invested": 1.5}, "inverse_volatility: invested = 1.5: expected float <= 1.0"),
        ("inverse_volatility", {"invested": float("nan")}, "inverse_volatility: invested = nan: expected float"),
        ("hold", {"lookback": 5}, "hold has no parameter 'lookback'; it takes none"),
        ("fixed_mix", {}, "fixed_mix needs weights, such as"),
        ("fixed_mix", {"weights": {"A": 0.7, "B": -0.5}}, "fixed_mix: weights add up to 1.2"),
        ("fixed_mix", {"weights": {"A": float("nan")}}, "fixed_mix: weights add up to nan"),
    ],
)
def test_a_wrong_parameter_is_named(policy: str, params: Mapping[str, object], text: str) -> None:
    with pytest.raises(ParamsError) as refused:
        POLICIES[policy](params)
    assert str(refused.value).startswith(text)


def test_a_right_parameter_is_read() -> None:
    assert POLICIES["momentum"]({"lookback": 40, "skip": 2}).lookback == 42
