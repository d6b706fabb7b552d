"""Policies at the daemon's edge: found by name, and harmless whatever they do."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from quantd.daemon.policies.loading import MAX_LEVERAGE, PolicyError, answer, load, probe
from quantd.trading.codec import memory_of
from quantd.trading.effects import Ask
from quantd.trading.events import Decided
from quantd.trading.history import Ring
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.view import EMPTY_MEMORY, MEMORY_BYTES, Memory, Noted, View
from tests.support.examples import examples

SYMBOLS = ("SPY", "TLT", "GLD")


def view() -> View:
    ring = Ring(3, 20)
    draw = np.random.default_rng(5)
    prices = 100.0 * np.cumprod(1.0 + draw.normal(0.0, 0.01, (25, 3)), axis=0)
    for row in prices:
        ring.append(row)
    return View(
        universe=Universe(tuple(Instrument(s) for s in SYMBOLS)), ring=ring, prices=prices[-1].copy(),
        weights=np.array([0.2, 0.3, 0.1]), cash=0.4, equity=1e5, time=7, sample_time=7,
    )  # fmt: skip


def ask(memory: Memory = EMPTY_MEMORY, seen: View | None = None) -> Ask:
    return Ask(3, 1, seen or view(), memory)


def user(folder: Path, source: str, memory: Memory = EMPTY_MEMORY, seen: View | None = None) -> Decided:
    (folder / "value.py").write_text(source)
    return answer(load("value.py:act", {}, folder), ask(memory, seen))


def weights_in(decided: Decided) -> list[float]:
    assert decided.failed == ""
    assert decided.weights is not None
    return np.frombuffer(decided.weights, dtype="<f8").tolist()


def test_a_registered_name_is_found_and_answers(tmp_path: Path) -> None:
    decided = answer(load("equal_weight", {}, tmp_path), ask())
    assert weights_in(decided) == pytest.approx([1 / 3] * 3)
    assert (decided.round, decided.agent) == (3, 1)


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        ("[0.5, 0.25, 0.0]", [0.5, 0.25, 0.0]),
        ("(1, 0, 0)", [1.0, 0.0, 0.0]),
        ("view.weights", [0.2, 0.3, 0.1]),
        ("view.prices.astype('f4') * 0", [0.0, 0.0, 0.0]),
        ("{'GLD': 0.5, 'SPY': -0.25}", [-0.25, 0.0, 0.5]),
        ("__import__('pandas').Series([0.1, 0.2, 0.3], ['GLD', 'SPY', 'TLT'])", [0.2, 0.3, 0.1]),
        ("__import__('pandas').Series([0.1, 0.2, 0.3])", [0.1, 0.2, 0.3]),
        ("__import__('pandas').Series([0.1, 0.2, 0.3], view.universe.symbols).sort_values()", [0.1, 0.2, 0.3]),
        ("([0.1, 0.2, 0.3], {'n': [1.0]})", [0.1, 0.2, 0.3]),
    ],
)
def test_a_users_answer_may_be_an_array_a_sequence_or_weights_by_name(
    tmp_path: Path, returned: str, expected: list[float]
) -> None:
    assert weights_in(user(tmp_path, f"def act(view):\n    return {returned}\n")) == pytest.approx(expected)


def test_hold_is_an_answer_without_weights(tmp_path: Path) -> None:
    decided = user(tmp_path, "def act(view):\n    return 'hold'\n")
    assert (decided.weights, decided.failed) == (None, "")


HOSTILE = [
    ("raise ValueError('no prices today')", "ValueError: no prices today at value.py:2"),
    ("return [float('nan'), 0, 0]", "ValueError: the weight of SPY is nan (value.py)"),
    ("return [100, 0, 0]", "ValueError: weights add up to 100 times the book; 10 is the most"),
    ("return [6, -6, 0]", "ValueError: weights add up to 12 times the book"),
    ("return [0.5, 0.5]", "ValueError: weights have shape (2,); one number for each of the 3 symbols"),
    ("return [[0.1, 0.2, 0.3]]", "ValueError: weights have shape (1, 3)"),
    ("return 0.5", "ValueError: weights have shape ()"),
    ("return (w for w in [1, 0, 0])", "ValueError: weights are object, not numbers"),
    ("return ['a', 'b', 'c']", "ValueError: weights are <U1, not numbers"),
    ("return [True, False, False]", "ValueError: weights are bool, not numbers"),
    ("pass", "ValueError: act returned nothing; return the weights, or 'hold'"),
    ("return {'SPX': 1.0}", "ValueError: weights name 'SPX', which is not traded; did you mean 'SPY'?"),
    ("return {'SPY': True}", "ValueError: SPY has True; write a number"),
    (
        "return __import__('pandas').Series([0.1, 0.2, 0.3]).sort_values(ascending=False)",
        "ValueError: a series of weights has the symbols as its index: pd.Series(w, view.universe.symbols)",
    ),
    ("return {'SPY': 'much'}", "ValueError: could not convert string to float"),
    ("view.prices[0] = 1.0", "ValueError: assignment destination is read-only at value.py:2"),
    ("view.returns(5)[0, 0] = 9.0", "ValueError: assignment destination is read-only at value.py:2"),
    (
        "return view.returns(500)",
        "ValueError: returns(500): k must be between 1 and 20, the lookback of the run at value.py:2",
    ),
    ("return view.symbols", "AttributeError: the view has no 'symbols'; view.universe.symbols has the names"),
    ("return view.pricse", "AttributeError: the view has no 'pricse'; did you mean 'prices'? at value.py:2"),
    ("raise SystemExit(3)", "SystemExit: 3 at value.py:2"),
    ("raise BaseException", "BaseException at value.py:2"),
    ("return act(view)", "RecursionError: maximum recursion depth exceeded"),
    ("return [0, 0, 0], {'m': [0.0] * 9000}", "ValueError: memory is larger than 64 KiB with 'm'"),
    ("return [0, 0, 0], {'m%05d' % k: 1.0 for k in range(9000)}", "ValueError: memory is larger than 64 KiB with 'm"),
    ("return [0, 0, 0], {'m': 'text'}", "TypeError: memory 'm' is str; store integers, floats or arrays of"),
    ("return [0, 0, 0], {'m': [1, [2, 3]]}", "TypeError: memory 'm' is list; store integers, floats or arrays of"),
    ("return [0, 0, 0], {'m': 2**53 + 1}", "ValueError: memory 'm' is an integer beyond 2**53"),
    ("return [0, 0, 0], {1: 1.0}", "ValueError: memory has the name 1; write another text"),
    ("return [0, 0, 0], 7", "TypeError: act returned a memory of type int; return a dict of names to numbers"),
    ("raise type('E', (Exception,), {'__str__': lambda s: 1 / 0})()", "E: (its text cannot be read) at value.py:2"),
]


@pytest.mark.parametrize(("body", "reason"), HOSTILE)
def test_a_policy_that_misbehaves_fails_with_the_reason_and_harms_nobody(
    tmp_path: Path, body: str, reason: str
) -> None:
    kept = {"n": np.array([4.0])}
    decided = user(tmp_path, f"def act(view):\n    {body}\n", kept)
    assert decided.weights is None
    assert decided.failed.startswith(reason)
    assert memory_of(decided)["n"].tolist() == [4.0]


def test_a_long_reason_is_cut(tmp_path: Path) -> None:
    assert len(user(tmp_path, "def act(view):\n    raise ValueError('x' * 100_000)\n").failed) < 400


@pytest.mark.parametrize(
    "body",
    [
        "view.prices.flags.writeable = True; view.prices[:] = 0",
        "r = view.returns(5); r.flags.writeable = True; r[:] = 7",
        "r = view.returns(5); r = r if r.base is None else r.base; r.flags.writeable = True; r[:] = 7",
        "r = view.synchronous(5); r.flags.writeable = True; r[:] = 7",
        "r = view.deviation(5); r.flags.writeable = True; r[:] = 7",
        "r = view.covariance(5); r.flags.writeable = True; r[:] = 7",
        "view.weights.setflags(write=True); view.weights[:] = 9",
        "view.universe.index.clear(); view.universe.lot_nano[0] = 0",
        "view.prices = None; view.cash = 10.0",
    ],
)
def test_what_a_user_writes_into_a_view_stays_in_that_view(tmp_path: Path, body: str) -> None:
    seen = view()
    before = (seen.prices.copy(), seen.weights.copy(), seen.returns(20).copy(), dict(seen.universe.index))
    deviation, covariance = seen.deviation(5).copy(), seen.covariance(5).copy()
    decided = user(tmp_path, f"def act(view):\n    {body}\n    return [0.0, 0.0, 0.0]\n", seen=seen)
    assert decided.failed == ""
    np.testing.assert_array_equal(seen.prices, before[0])
    np.testing.assert_array_equal(seen.weights, before[1])
    np.testing.assert_array_equal(seen.returns(20), before[2])
    np.testing.assert_array_equal(seen.synchronous(20), before[2])
    np.testing.assert_array_equal(seen.deviation(5), deviation)
    np.testing.assert_array_equal(seen.covariance(5), covariance)
    assert (seen.universe.index, seen.cash) == (before[3], 0.4)
    assert seen.universe.lot_nano[0] > 0


def test_ctrl_c_is_not_a_policys_failure(tmp_path: Path) -> None:
    (tmp_path / "value.py").write_text("def act(view):\n    raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        answer(load("value.py:act", {}, tmp_path), ask())


@settings(max_examples=examples(100), deadline=None)
@given(row=hnp.arrays(np.float64, 3, elements=st.floats(allow_nan=True, allow_infinity=True, width=64)))
def test_an_answer_passes_exactly_when_it_is_finite_and_within_the_leverage(row: np.ndarray) -> None:
    class Fixed:
        lookback = 1

        def act(self, view: View, memory: Memory) -> tuple[np.ndarray, Memory]:
            return row, memory

    decided = answer(Fixed(), ask())
    with np.errstate(over="ignore"):
        allowed = bool(np.isfinite(row).all()) and float(np.abs(row).sum()) <= MAX_LEVERAGE
    assert (decided.failed == "") is allowed
    assert decided.weights == (row.tobytes() if allowed else None)


@settings(max_examples=examples(50), deadline=None)
@given(
    st.dictionaries(
        st.text(max_size=5),
        hnp.arrays(np.float64, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)),
        max_size=4,
    )
)
def test_memory_comes_back_as_it_was_and_cannot_be_written(memory: dict[str, np.ndarray]) -> None:
    class Keeps:
        lookback = 1

        def act(self, view: View, given: Memory) -> tuple[np.ndarray, Memory]:
            return np.zeros(3), memory

    back = memory_of(answer(Keeps(), ask()))
    assert list(back) == list(memory)
    for name, array in memory.items():
        assert back[name].shape == array.shape
        np.testing.assert_array_equal(back[name], array)
        with pytest.raises(ValueError, match="WRITEABLE"):
            back[name].flags.writeable = True


def test_memory_of_exactly_the_limit_passes_and_one_number_more_does_not(tmp_path: Path) -> None:
    room = (MEMORY_BYTES - len("m") - 8) // 8
    assert user(tmp_path, f"def act(view):\n    return [0, 0, 0], {{'m': [0.0] * {room}}}\n").failed == ""
    assert user(tmp_path, f"def act(view):\n    return [0, 0, 0], {{'m': [0.0] * {room + 1}}}\n").failed


def test_a_memory_keeps_integers_floats_and_arrays_apart(tmp_path: Path) -> None:
    (tmp_path / "value.py").write_text(
        "def act(view, memory):\n"
        "    kinds = [type(v).__name__ for v in memory.values()] + [str(memory['days'].dtype)] if memory else []\n"
        "    seen = (list(memory), kinds, memory and memory['days'][memory['n']])\n"
        "    kept = (['n', 'x', 'days', 'row'], ['int', 'float64', 'ndarray', 'ndarray', 'int64'], 30)\n"
        "    if memory and seen != kept:\n"
        "        raise ValueError(str(seen))\n"
        "    return [0, 0, 0], {'n': 1, 'x': 2.5, 'days': [20, 30], 'row': [0.5, 1.0]}\n"
    )
    policy = load("value.py:act", {}, tmp_path)
    first = answer(policy, ask())
    second = answer(policy, ask(memory_of(first)))
    assert (first.failed, second.failed) == ("", "")
    assert first.memory == second.memory


def test_a_pair_of_numbers_is_two_weights_and_no_memory(tmp_path: Path) -> None:
    (tmp_path / "value.py").write_text(
        "import numpy as np\ndef act(view):\n    return np.float32(0.5), np.float32(0.25)\n"
    )
    seen = view()
    two = View(
        universe=Universe(seen.universe.instruments[:2]), ring=Ring(2, 20), prices=seen.prices[:2], weights=np.zeros(2),
        cash=1.0, equity=1e5, time=7, sample_time=7,
    )  # fmt: skip
    decided = answer(load("value.py:act", {}, tmp_path), ask(seen=two))
    assert (decided.failed, np.frombuffer(decided.weights or b"").tolist()) == ("", [0.5, 0.25])


def test_a_class_takes_its_parameters_and_says_its_lookback(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from dataclasses import dataclass\n"
        "@dataclass\n"
        "class Mine:\n"
        "    lookback: int = 9\n"
        "    size: float = 0.1\n"
        "    def act(self, view):\n"
        "        return [self.size] * len(view.universe.symbols)\n"
    )
    policy = load("own.py:Mine", {"size": 0.2}, tmp_path)
    assert policy.lookback == 9
    assert weights_in(answer(policy, ask())) == [0.2] * 3
    with pytest.raises(PolicyError, match=r"own\.py: Mine has no parameter 'sise'; it takes lookback, size"):
        load("own.py:Mine", {"sise": 0.2}, tmp_path)


def test_a_functions_lookback_comes_from_params_or_its_file(tmp_path: Path) -> None:
    (tmp_path / "v.py").write_text("LOOKBACK = 40\ndef act(view, lookback=40, k=2):\n    return [k / lookback, 0, 0]\n")
    assert load("v.py:act", {}, tmp_path).lookback == 40
    policy = load("v.py:act", {"lookback": 50, "k": 5}, tmp_path)
    assert policy.lookback == 50
    assert weights_in(answer(policy, ask())) == [0.1, 0, 0]


@pytest.mark.parametrize(
    ("head", "takes"),
    [("view", "add it to def act, or remove it from params"), ("view, memory, k=2, n=1", "it takes k, n")],
)
@pytest.mark.parametrize("key", ["lookback", "window"])
def test_a_function_gets_no_parameter_that_it_does_not_take(tmp_path: Path, head: str, takes: str, key: str) -> None:
    (tmp_path / "v.py").write_text(f"LOOKBACK = 40\ndef act({head}):\n    return [0, 0, 0]\n")
    with pytest.raises(PolicyError, match=f"act has no parameter '{key}'; {takes}$"):
        load("v.py:act", {key: 50}, tmp_path)


@pytest.mark.parametrize(
    ("source", "name", "reason"),
    [
        ("def act(view):\n    return [\n", "value.py:act", r"value\.py:2: .*; correct that line"),
        ("import numpy\n1 / 0\n", "value.py:act", r"value\.py:2: ZeroDivisionError: division by zero"),
        ("raise SystemExit('bye')\n", "value.py:act", r"value\.py:1: SystemExit: bye"),
        ("def act(view):\n    pass\n", "value.py:akt", r"value\.py: has no 'akt'; did you mean 'act'\?"),
        ("def act():\n    pass\n", "value.py:act", r"value\.py: act has no parameter for the view; define act\(view\)"),
        ("async def act(view):\n    pass\n", "value.py:act", r"value\.py: act is async or yields; .* def and return"),
        ("def act(view):\n    yield 1\n", "value.py:act", r"value\.py: act is async or yields; .* def and return"),
        ("act = 5\n", "value.py:act", r"value\.py: 'act' is not a function"),
        ("LOOKBACK = 0\ndef act(view):\n    pass\n", "value.py:act", r"value\.py: lookback = 0"),
        ("", "other.py:act", r"other\.py: No such file or directory; name a Python file"),
        ("", "equal_wait", r"no policy 'equal_wait'; did you mean 'equal_weight'\?"),
        ("", "trained/one", r"policy 'trained/one': no manifest\.json"),
    ],
)
def test_a_policy_that_cannot_be_loaded_names_file_line_and_remedy(
    tmp_path: Path, source: str, name: str, reason: str
) -> None:
    (tmp_path / "value.py").write_text(source)
    with pytest.raises(PolicyError, match=reason):
        load(name, {}, tmp_path)


def test_a_users_file_leaves_no_trace_beside_it_and_prints_to_standard_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = list(sys.path)
    user(tmp_path, "print('loaded')\ndef act(view):\n    print('asked')\n    return 'hold'\n")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["value.py"]
    assert sys.path == path
    assert capsys.readouterr() == ("", "loaded\nasked\n")


def test_two_agents_of_one_file_share_no_globals(tmp_path: Path) -> None:
    (tmp_path / "g.py").write_text("n = 0\ndef act(view):\n    global n\n    n += 1\n    return [n / 10, 0, 0]\n")
    one, two = (load("g.py:act", {}, tmp_path) for _ in range(2))
    assert weights_in(answer(one, ask())) == weights_in(answer(two, ask()))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def act(view):\n    return [0.1, 0.2, 0.3]\n", ""),
        ("n = [0]\ndef act(view):\n    n[0] += 1\n    return [0.1, n[0] / 10, 0]\n", "differ: TLT 0.1 and 0.2"),
        (
            "n = [0]\ndef act(view):\n    n[0] += 1\n    return 'hold' if n[0] == 1 else [0, 0, 0]\n",
            "one held, one traded",
        ),
        ("n = [0]\ndef act(view):\n    n[0] += 1\n    return [0, 0, 0], {'n': n}\n", "different memory"),
        ("def act(view):\n    raise ValueError('x')\n", "it fails: ValueError: x at value.py:2"),
    ],
)
def test_a_probe_finds_a_policy_that_answers_differently_when_asked_again(
    tmp_path: Path, source: str, expected: str
) -> None:
    (tmp_path / "value.py").write_text(source)
    finding = probe(load("value.py:act", {}, tmp_path), view())
    assert expected in finding if expected else finding == ""


class Speaks:
    lookback = 1

    def __init__(self, note: str, warns: bool = False) -> None:
        self.note, self.warns = note, warns

    def act(self, seen: View, memory: Memory) -> tuple[Noted, Memory]:
        return Noted(np.zeros(3), self.note, warns=self.warns), memory


def test_a_word_of_a_policy_travels_with_its_weights_printable_and_bounded() -> None:
    said = answer(Speaks("no solution:\x1b[31m equal weight" + "x" * 1000, warns=True), ask())
    assert said.weights == np.zeros(3).tobytes()
    assert said.note.startswith("no solution: [31m equal weight")
    assert len(said.note) == 300
    assert said.warns
    held = answer(Speaks(""), ask())
    assert (held.note, held.warns) == ("", False)
