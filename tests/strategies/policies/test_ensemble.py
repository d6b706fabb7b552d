"""The ensemble as an agent has it: loaded, asked, failing in part, remembered."""

from pathlib import Path

import numpy as np
import pytest

from quantd.daemon.policies.loading import PolicyError, answer, load, probe
from quantd.trading.effects import Ask
from tests.support.policies import made, market, view_of, walk, weights_in

TWO = [{"policy": "equal_weight"}, {"policy": "momentum", "params": {"lookback": 20}}]
FIXED = [
    {"policy": "fixed_mix", "params": {"weights": {"A": 0.8}}},
    {"policy": "fixed_mix", "params": {"weights": {"B": 0.4}}},
]


def first(params, prices, folder=Path()):
    policy = made("ensemble", params, folder)
    return answer(policy, Ask(0, 0, view_of(prices, policy.lookback), {}))


@pytest.mark.requirement("R-079")
def test_the_mean_of_two_mixes_is_the_mix_between_them():
    np.testing.assert_allclose(weights_in(first({"members": FIXED}, market(1, 3, 40))), [0.4, 0.2, 0.0])


def test_its_lookback_is_the_longest_of_its_members():
    deep = [
        {"policy": "ensemble", "params": {"members": [*TWO, {"policy": "risk_parity", "params": {"lookback": 300}}]}}
    ]
    assert made("ensemble", {"members": [*TWO, *deep]}).lookback == 300


@pytest.mark.parametrize("combine", ["mean", "median", "performance", "agreement"])
def test_asked_twice_and_after_a_restart_it_answers_the_same_to_the_bit(combine):
    prices = market(3, 4, 90)
    params = {"members": TWO, "combine": combine, "window": 20}
    policy = made("ensemble", params)
    rows = [(row, said) for row, said, _ in walk(policy, prices, every=3)]
    assert all(not said.failed for _, said in rows)
    again = [(row, said) for row, said, _ in walk(made("ensemble", params), prices, every=3)]
    assert rows == again
    assert probe(policy, view_of(prices, policy.lookback)) == ""


@pytest.mark.requirement("R-079")
def test_performance_moves_weight_to_the_member_that_earned_more_after_costs():
    up = np.full((80, 2), 0.0)
    up[:, 0], up[:, 1] = 0.01, -0.01
    prices = 100.0 * np.cumprod(1.0 + up, axis=0)
    params = {"members": FIXED, "combine": "performance", "window": 40, "measure": "return", "shrink": 0.0}
    *_, (_, last, _) = walk(made("ensemble", params), prices)
    np.testing.assert_allclose(weights_in(last), [0.8, 0.0])


def test_costs_of_turnover_count_against_a_member(tmp_path):
    (tmp_path / "swing.py").write_text(
        "def act(view, memory):\n"
        "    turn = 1.0 - float(memory['turn']) if 'turn' in memory else 1.0\n"
        "    import numpy as np\n"
        "    return [turn * 0.8, (1.0 - turn) * 0.8], {'turn': np.array(turn)}\n"
    )
    rises = 100.0 * np.cumprod(np.full((80, 2), 1.001), axis=0)
    members = [{"policy": "swing.py:act"}, {"policy": "fixed_mix", "params": {"weights": {"A": 0.4}}}]
    params = {"members": members, "combine": "performance", "window": 40, "measure": "return", "shrink": 0.0}
    *_, (_, free, _) = walk(made("ensemble", {**params, "cost_bp": 0.0}, tmp_path), rises)
    *_, (_, dear, _) = walk(made("ensemble", {**params, "cost_bp": 100.0}, tmp_path), rises)
    assert weights_in(free).sum() > 0.6
    np.testing.assert_allclose(weights_in(dear), [0.4, 0.0])


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("def act(view):\n    return view.nothing\n", "AttributeError"),
        ("def act(view):\n    return [float('nan'), 0, 0]\n", "ValueError"),
        ("def act(view):\n    return [0.5]\n", "ValueError"),
        ("def act(view):\n    raise SystemExit('bye')\n", "SystemExit"),
    ],
)
def test_a_member_that_fails_loses_its_vote_with_a_warning_and_the_others_trade_on(tmp_path, source, kind):
    (tmp_path / "bad.py").write_text(source)
    members = [*FIXED, {"policy": "bad.py:act", "name": "mine"}]
    said = first({"members": members}, market(1, 3, 40), tmp_path)
    np.testing.assert_allclose(weights_in(said), [0.4, 0.2, 0.0])
    assert said.warns
    assert said.note == f"mine fails ({kind}): left out"


def test_where_all_members_fail_the_ensemble_fails_and_names_file_and_line(tmp_path):
    (tmp_path / "bad.py").write_text("def act(view):\n    return 1 / 0\n")
    said = first({"members": [{"policy": "bad.py:act"}] * 2}, market(1, 3, 40), tmp_path)
    assert said.weights is None
    assert "bad.py:act #1: ZeroDivisionError: division by zero at bad.py:2" in said.failed


def test_a_member_that_failed_keeps_its_memory(tmp_path):
    (tmp_path / "some.py").write_text(
        "import numpy as np\n"
        "def act(view, memory):\n"
        "    n = float(memory['n']) + 1 if 'n' in memory else 1.0\n"
        "    if n == 3.0 and 'again' not in memory:\n"
        "        raise ValueError('third')\n"
        "    return [n / 100, 0, 0], {'n': np.array(n)}\n"
    )
    members = [{"policy": "some.py:act"}, {"policy": "equal_weight", "params": {"invested": 0.0}}]
    weights = [
        weights_in(said)[0] for _, said, _ in walk(made("ensemble", {"members": members}, tmp_path), market(1, 3, 8))
    ]
    np.testing.assert_allclose(weights, [0.005, 0.01, 0.0, 0.0, 0.0, 0.0, 0.0])


def test_a_member_that_buys_once_keeps_its_own_book_not_the_ensembles():
    members = [{"policy": "buy_and_hold"}, {"policy": "equal_weight", "params": {"invested": 0.0}}]
    rises = 100.0 * np.cumprod(np.tile([1.02, 1.0], (30, 1)), axis=0)
    *_, (_, last, _) = walk(made("ensemble", {"members": members}), rises)
    lots = np.array([1.02**28, 1.0])
    np.testing.assert_allclose(weights_in(last), lots / lots.sum() / 2)


def test_the_word_of_a_member_is_passed_on_under_its_name(tmp_path):
    members = [
        {"policy": "ensemble", "name": "inner", "params": {"members": [*FIXED, {"policy": "bad.py:act"}]}},
        FIXED[0],
    ]
    (tmp_path / "bad.py").write_text("def act(view):\n    return view.nothing\n")
    said = first({"members": members}, market(1, 3, 40), tmp_path)
    assert said.note == "inner: bad.py:act fails (AttributeError): left out"
    assert said.warns


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({}, "ensemble: params.members has 0; name 2 to 32 policies, such as"),
        ({"members": [FIXED[0], {"name": "x"}]}, "ensemble: params.members[1]: object missing required field policy"),
        ({"members": [{"polcy": "x"}]}, "ensemble: params.members[0]: object contains unknown field polcy"),
        ({"members": [*FIXED, {"policy": "momentu"}]},
        "params.members[2].policy: there is no policy 'momentu'; did you mean 'momentum'?"),
        ({"members": [FIXED[0], {"policy": "momentum", "params": {"lokback": 3}}]},
        "params.members[1].params: momentum has no parameter 'lokback'"),
        (
            {"members": [FIXED[0], {"policy": "ensemble", "params": {"members": [FIXED[0], {"policy": "x"}]}}]},
            "params.members[1].params.members[1].policy: there is no policy 'x'",
        ),
        ({"members": FIXED, "combine": "vote"}, "ensemble: combine = 'vote': invalid enum value 'vote'"),
        ({"members": FIXED, "quorun": 1}, "ensemble has no parameter 'quorun'; did you mean 'quorum'?"),
        ({"members": [*FIXED, *FIXED, FIXED[0]], "window": 1000, "combine": "performance"},
        "ensemble: window = 1000: with 5 members it may be 800"),
    ],
)  # fmt: skip
def test_a_wrong_member_is_named_by_its_path(params, text):
    with pytest.raises(PolicyError) as refused:
        load("ensemble", params, Path())
    assert str(refused.value).startswith(text)


def test_nesting_without_end_is_refused():
    params = {"members": FIXED}
    for _ in range(5):
        params = {"members": [{"policy": "ensemble", "params": params}, FIXED[0]]}
    with pytest.raises(PolicyError, match=r"members\[0\]\.policy: 'ensemble' is nested more than 4 composites deep"):
        load("ensemble", params, Path())
