"""Each input missing or broken in turn: refused, with the reason, at the gate, and not traded by a backtest.

One table of rows; every field of a context, an account and a set of limits has one, or the test of completeness is red.
"""

import inspect
import json
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import msgspec
import numpy as np
import pytest

from quantd.risk.limits import catalogue
from quantd.risk.limits.catalogue import DAY_NS, Correlation, Limits, Liquidity, Rate, Reason, Stress, Tail, override
from quantd.risk.measures.stress import Shock
from quantd.risk.pretrade.gate import Account, Context, gate
from quantd.trading.instruments import NANO, Instrument, Universe
from quantd.trading.sessions import Sessions
from tests.support.command_line import Done, answer, quantd, write

NAN, INF = float("nan"), float("inf")
NAMES = ("A", "B", "C")
PX = np.array([100.0, 50.0, 20.0])
RETURNS = np.random.default_rng(3).normal(0.0, 0.01, (80, 3))
LONG = Tail(limit=0.5, lookback=80)
SHOCK = Stress(limit=0.5, shocks=(Shock("fall", {"x": -0.2}),))


def with_at(base: Any, k: int, value: float) -> Any:
    """A copy of a column with one entry changed."""
    out = np.array(base, dtype=np.float64)
    out[k] = value
    return out


def universe(sector: str = "x", tick_nano: int = NANO // 100) -> Universe:
    middle = Instrument("B", tick_nano=tick_nano, sector=sector)
    return Universe((Instrument("A", sector="x"), middle, Instrument("C", sector="x")))


def judged(ctx: dict[str, Any], account: dict[str, Any], limits: Limits, asked: Any) -> tuple[list[float], list[int]]:
    """Lots and reasons of a verdict on 10 lots of each, where only the given inputs differ from good ones."""
    market: dict[str, Any] = {
        "px": PX,
        "prices_nano": (PX * NANO).astype(np.int64),
        "age_ns": np.zeros(3, dtype=np.int64),
        "volume_lots": np.full(3, 1e6),
        "returns": lambda k: RETURNS[-k:],
        "universe": universe(),
    }
    book: dict[str, Any] = {"lots": np.zeros(3), "cash": 1e5, "equity": 1e5}
    verdict = gate(Context(**{**market, **ctx}), Account(**{**book, **account}), np.asarray(asked, float), limits)
    return verdict.lots.tolist(), verdict.reason.tolist()


class Row(NamedTuple):
    """`field` of `part` takes `value`; then of 10 lots of each of A, B and C only `passes` pass, the others for
    `reason`."""

    part: str
    field: str
    value: Any
    reason: Reason
    passes: tuple[int, int, int] = (10, 0, 10)
    limits: Limits = Limits()


NOTHING = (0, 0, 0)
SHARE, SLOW = Limits(max_share_of_volume=0.1), Limits(liquidity=Liquidity(days=1.0))
TAIL, PAIR = Limits(var=LONG), Limits(correlation=Correlation(lookback=80))
RISKY = (
    TAIL, PAIR, Limits(cvar=LONG), Limits(max_volatility=5.0, volatility_lookback=80),
    *(Limits(var=Tail(limit=0.5, lookback=80, method=m)) for m in get_args(catalogue.Method)),
)  # fmt: skip


def prices() -> list[Row]:
    rows = [Row("context", "px", with_at(PX, 1, bad), Reason.PRICE_MISSING) for bad in (NAN, INF, -INF, 0.0, -5.0)]
    nano = (PX * NANO).astype(np.int64)
    for bad in (0, -1):
        rows.append(Row("context", "prices_nano", np.where([False, True, False], bad, nano), Reason.PRICE_MISSING))
    for age in (-1, Limits().max_price_age_ns + 1, 400 * DAY_NS):
        rows.append(Row("context", "age_ns", np.array([0, age, 0]), Reason.PRICE_AGE))
    return rows


def volumes() -> list[Row]:
    rows = [
        Row("context", "volume_lots", with_at(np.full(3, 1e6), 1, bad), Reason.VOLUME_MISSING, limits=limits)
        for bad in (NAN, INF, -1.0)
        for limits in (SHARE, SLOW)
    ]
    none = with_at(np.full(3, 1e6), 1, 0.0)
    return [
        *rows,
        Row("context", "volume_lots", none, Reason.SHARE_OF_VOLUME, limits=SHARE),
        Row("context", "volume_lots", none, Reason.LIQUIDITY, limits=SLOW),
        Row("context", "volume_lots", np.full(3, NAN), Reason.VOLUME_MISSING, NOTHING, SHARE),
    ]


def histories() -> list[Row]:
    short, gap, infinite = RETURNS.copy(), RETURNS.copy(), RETURNS.copy()
    short[:21, 1], gap[::3, 1], infinite[:30, 1] = NAN, NAN, INF
    disjoint = RETURNS.copy()
    disjoint[:20, 0], disjoint[60:, 1] = NAN, NAN
    rows = []
    for limits in RISKY:
        for name, bad, passes in (
            ("too short", short, (10, 0, 10)),
            ("gaps", gap, (10, 0, 10)),
            ("not finite", infinite, (10, 0, 10)),
            ("none", np.full((80, 3), NAN), NOTHING),
            ("fewer rows than asked for", RETURNS[:59], NOTHING),
            # 60 rows each and 40 together
            ("of other days", disjoint, NOTHING),
        ):
            rows.append(Row("context", "returns", (name, bad), Reason.HISTORY, passes, limits))
    return rows


ROWS: list[Row] = [
    *prices(),
    *volumes(),
    *histories(),
    Row("context", "universe", universe(sector=""), Reason.SECTOR_MISSING, limits=Limits(max_sector_weight=0.9)),
    Row("context", "universe", universe(sector="y"), Reason.SHOCK_MISSING, limits=Limits(stress=SHOCK)),
    Row("context", "universe", universe(tick_nano=1_000 * NANO), Reason.WORST_PRICE),
    *(Row("account", key, bad, Reason.NOT_FINITE, NOTHING)
      for key in ("cash", "equity", "up_cash", "open_loss", "open_gain", "traded") for bad in (NAN, INF, -INF)),
    *(Row("account", key, with_at(np.zeros(3), k, bad), Reason.NOT_FINITE, NOTHING)
      for key in ("lots", "up", "down") for k in (0, 2) for bad in (NAN, INF)),
    *(Row("account", "equity", bad, Reason.EQUITY, NOTHING) for bad in (0.0, -1.0)),
    Row("account", "cash", 0.0, Reason.CASH, NOTHING),
    Row("account", "cash", -1e5, Reason.CASH, NOTHING),
    Row("account", "open_orders", NAN, Reason.OPEN_ORDERS, NOTHING, Limits(max_open_orders=5)),
    Row("account", "recent_orders", NAN, Reason.ORDER_RATE, NOTHING, Limits(order_rate=Rate(5))),
    Row("account", "session_orders", NAN, Reason.ORDERS_PER_DAY, NOTHING, Limits(max_orders_per_day=5)),
    Row("account", "repeated", np.array([0.0, 10.0, 0.0]), Reason.DUPLICATE),
    Row("account", "blocked", np.array([False, True, False]), Reason.PROTECTED),
    Row("account", "halted", np.array([False, True, False]), Reason.HALTED),
    Row("account", "jumped", np.array([False, True, False]), Reason.PRICE_JUMP),
]  # fmt: skip


def named(row: Row) -> str:
    value = row.value[0] if isinstance(row.value, tuple) else np.asarray(row.value, dtype=object)
    keys = [k for k in Limits.__struct_fields__ if getattr(row.limits, k) != getattr(Limits(), k)]
    return f"{row.field} {value if np.ndim(value) < 2 else ''} {' '.join(keys)}"


@pytest.mark.requirement("R-158")
@pytest.mark.parametrize("row", ROWS, ids=named)
def test_an_input_that_is_missing_or_broken_is_refused_with_the_reason(row: Row) -> None:
    asked = [10.0, 10.0, 10.0]
    value = (lambda k: row.value[1][-k:]) if row.field == "returns" else row.value
    given: dict[str, dict[str, Any]] = {"context": {}, "account": {}, row.part: {row.field: value}}
    lots, reasons = judged(given["context"], given["account"], row.limits, asked)
    assert lots == list(row.passes)
    assert [Reason(code) for code in reasons] == [Reason.NONE if kept else row.reason for kept in row.passes]
    # and the same with good inputs passes whole
    assert judged({}, {}, row.limits, asked) == (asked, [Reason.NONE] * 3)


def test_what_was_asked_a_moment_ago_and_is_no_number_refuses() -> None:
    given = {"repeated": np.array([0.0, NAN, 0.0])}
    assert judged({}, given, Limits(), [10.0, 10.0, 10.0])[0] == [10, 0, 10]


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("limits", [Limits(), *RISKY, SHARE, SLOW], ids=range(len(RISKY) + 3))
def test_an_intent_that_is_no_number_is_refused_and_its_neighbours_are_not(bad: float, limits: Limits) -> None:
    lots, reasons = judged({}, {}, limits, [10.0, bad, 10.0])
    assert lots == [10, 0, 10]
    assert reasons == [Reason.NONE, Reason.NOT_FINITE, Reason.NONE]


@pytest.mark.parametrize("field", ["px", "prices_nano"])
def test_beside_a_position_without_a_price_nothing_is_added(field: str) -> None:
    good = {"px": PX, "prices_nano": (PX * NANO).astype(np.int64)}[field]
    held = {"lots": np.array([0.0, 5.0, 0.0]), "cash": 1e5}
    lots, reasons = judged({field: np.where([False, True, False], 0, good)}, held, Limits(), [10.0, 0.0, 10.0])
    assert (lots, reasons) == ([0, 0, 0], [Reason.NOT_FINITE, Reason.NONE, Reason.NOT_FINITE])


# ---- limits -----------------------------------------------------------------------------------------------------

NESTED: dict[type, dict[str, Any]] = {
    Tail: {"limit": 0.1},
    Correlation: {},
    Rate: {"orders": 5},
    Liquidity: {"days": 2.0},
    catalogue.Protective: {},
    catalogue.AccountCap: {"limit": 0.1, "money": 1.0},
    catalogue.Ramp: {"limit": 0.1, "session": 1, "days": 20},
}
"""Parts of a set of limits and what they need."""

OTHERWISE = {
    "group_caps": lambda bad: {"group_caps": (("g", bad),)},
    "extra": lambda bad: {"extra": (("some", bad),)},
    "stress": lambda bad: {"stress": Stress(limit=bad, shocks=SHOCK.shocks)},
}
"""Fields whose numbers lie deeper."""

WITHOUT_NUMBERS = {"allow_short", "no_borrow", "restricted"}


def numbers_in(hint: Any) -> bool:
    """Whether a field may hold a number that is not a flag."""
    inner = get_args(hint) if get_origin(hint) is UnionType or str(hint).startswith("typing.") else (hint,)
    return any(kind in (int, float) for kind in inner)


def of_limits() -> list[tuple[type, str]]:
    """(struct, field) of every number of a set of limits, nested ones too."""
    fields: list[tuple[type, str]] = []
    for struct in (Limits, *NESTED):
        fields += [(struct, name) for name, hint in get_type_hints(struct).items() if numbers_in(hint)]
    return fields


@pytest.mark.parametrize("bad", [NAN, INF, -INF, -0.01])
@pytest.mark.parametrize(("struct", "field"), of_limits(), ids=lambda x: getattr(x, "__name__", x))
def test_a_limit_that_is_no_number_or_negative_cannot_be_built(struct: type, field: str, bad: float) -> None:
    with pytest.raises(ValueError, match=field.removesuffix("_ns")):
        struct(**{**NESTED.get(struct, {}), field: bad})


@pytest.mark.parametrize("bad", [NAN, INF, -0.01])
@pytest.mark.parametrize("field", OTHERWISE)
def test_a_number_deep_in_a_limit_cannot_be_anything(field: str, bad: float) -> None:
    with pytest.raises(ValueError, match="limit" if field == "stress" else field):
        Limits(**OTHERWISE[field](bad))
    with pytest.raises(ValueError, match="shocks"):
        Stress(limit=0.1, shocks=())


def test_every_input_has_a_row() -> None:
    """By introspection: a field that is added without a row here is a field nobody has broken yet."""
    covered = {part: {row.field for row in ROWS if row.part == part} for part in ("context", "account")}
    # the running sums are made of the returns, and only decide what is measured
    assert covered["context"] == set(inspect.signature(Context).parameters) - {"sums"}
    assert covered["account"] == set(Account.__struct_fields__) - {"by_hand"}  # a bool has no missing value
    fields = get_type_hints(Limits)
    inner = {name: [a for a in get_args(hint) if a is not NoneType] or [hint] for name, hint in fields.items()}
    covered_fields = {name for _, name in of_limits()} | set(OTHERWISE) | WITHOUT_NUMBERS
    unknown = {name for name, kinds in inner.items() if name not in covered_fields and not set(kinds) <= set(NESTED)}
    assert unknown == set()
    for struct in NESTED:
        texts = {name for name, hint in get_type_hints(struct).items() if hint is bool or get_origin(hint) is Literal}
        assert set(struct.__struct_fields__) == {n for s, n in of_limits() if s is struct} | texts


def test_what_is_not_a_limit_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="max_gross_exposure"):
        override(Limits(), max_gros_exposure=1.0)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"max_gros_exposure": 1.0}, Limits)


# ---- limits in config.toml ----------------------------------------------------------------------------------------

CONFIG = """
[universe]
symbols = ["A", "B", "C"]
[feed]
path = "bars.csv"
stamps = "session"
start = 2024-04-15
warmup = 70
pace = "fast"
at_end = "stop"
[broker]
cash = "100000.00"
[risk]
max_position_weight = 0.25
[[agents]]
name = "all"
policy = "own.py:act"
capital = 1.0
profile = "research"
[bus]
port = 0
[api]
port = 0
"""
LINE = CONFIG.splitlines().index("max_position_weight = 0.25") + 1


def test_a_configuration_with_a_limit_that_is_no_number_ends_with_78_and_names_line_and_remedy(tmp_path: Path) -> None:
    for written, remedy in (("nan", "finite number"), ("15", "0.15")):
        write(tmp_path, CONFIG.replace("max_position_weight = 0.25", f"max_position_weight = {written}"))
        done = quantd(tmp_path, "backtest", "--json")
        stderr = done.stderr
        assert done.returncode == 78
        assert "config.toml" in stderr
        assert str(LINE) in stderr
        assert "max_position_weight" in stderr
        assert remedy in stderr
        assert "Traceback" not in stderr
        assert done.stdout == ""


# ---- through a backtest of a small file
# -------------------------------------------------------------------------------

OWN = "def act(view, memory=None):\n    return [0.2, 0.2, 0.2]\n"


def sessions() -> Sessions:
    from datetime import date

    from quantd.adapters.calendars import sessions as calendar

    return calendar("XNYS", date(2024, 1, 2), date(2024, 6, 30))


DAYS = [str(np.datetime64(day, "ns").astype("datetime64[D]")) for day in sessions().day_ns[:90]]


def bars(change: dict[str, str] | None = None, last: int = 90, drop: str = "") -> str:
    """A file of 90 sessions of A, B and C; in the first `last` B has the given values. `drop` leaves a column out."""
    columns = [c for c in ("ts", "symbol", "open", "high", "low", "close", "volume") if c != drop]
    rng, lines = np.random.default_rng(1), [",".join(columns)]
    price = dict(zip(NAMES, PX.tolist(), strict=True))
    for number, day in enumerate(DAYS):
        for name in NAMES:
            opened = price[name]
            close = price[name] = round(opened * (1.0 + float(rng.normal(0.0, 0.01))), 2)
            row = {"ts": day, "symbol": name, "open": f"{opened}", "close": f"{close}", "volume": "100000",
                   "high": f"{max(opened, close) + 0.1:.2f}", "low": f"{min(opened, close) - 0.1:.2f}"}  # fmt: skip
            if name == "B" and number < last:
                row |= change or {}
            lines.append(",".join(row[c] for c in columns))
    return "\n".join(lines) + "\n"


def backtest(folder: Path, text: str, config: str = CONFIG, policy: str = OWN) -> Any:
    return answer(backtested(folder, text, config, policy))


def backtested(folder: Path, text: str, config: str = CONFIG, policy: str = OWN) -> Done:
    (folder / "bars.csv").write_text(text)
    (folder / "own.py").write_text(policy)
    write(folder, config.replace("[feed]", '[feed]\nholes = "known"'))
    return quantd(folder, "backtest", "--json", "--no-compare")


def test_with_nothing_missing_all_three_are_bought(tmp_path: Path) -> None:
    assert set(backtest(tmp_path, bars())["positions"]) == set(NAMES)


WITH_VOLUME = CONFIG.replace("[risk]", "[risk]\nmax_share_of_volume = 0.1")
WITH_VAR = CONFIG.replace("[risk]", "[risk]\nvar = { limit = 0.2, lookback = 60 }")
SECTORS = "".join(f'[[universe.instruments]]\nsymbol = "{s}"\nsector = "x"\n' for s in "AC")
WITH_SECTORS = CONFIG.replace("[feed]", SECTORS + "[feed]").replace("[risk]", "[risk]\nmax_sector_weight = 0.9")


@pytest.mark.quick_cases(3)
@pytest.mark.parametrize(
    ("what", "text", "config"),
    [
        *((f"a close of {bad}", bars({"close": bad}), CONFIG) for bad in ("nan", "0")),
        ("an open that is no number", bars({"open": "nan"}), CONFIG),
        ("bars of tomorrow", bars({"ts": "2038-01-04"}), CONFIG),
        *((f"a volume of {bad}", bars({"volume": bad}), WITH_VOLUME) for bad in ("nan", "-1")),
        ("too short a history", bars({"close": "nan"}, last=60), WITH_VAR),
        ("no sector under a cap", bars(), WITH_SECTORS),
    ],
    ids=lambda x: x if isinstance(x, str) and len(x) < 40 else "",
)  # fmt: skip
def test_what_is_broken_in_a_file_is_not_traded_and_the_rest_is(
    what: str, text: str, config: str, tmp_path: Path
) -> None:
    assert set(backtest(tmp_path, text, config)["positions"]) == {"A", "C"}


def test_a_file_without_volumes_is_refused_by_the_name_of_the_column(tmp_path: Path) -> None:
    (tmp_path / "bars.csv").write_text(bars(drop="volume"))
    (tmp_path / "own.py").write_text(OWN)
    write(tmp_path, WITH_VOLUME)
    done = quantd(tmp_path, "backtest", "--json", "--no-compare")
    assert done.returncode != 0
    assert "bars.csv: column volume is missing, and max_share_of_volume of [risk] would refuse" in done.stderr
    assert "Traceback" not in done.stderr
    no_cap = CONFIG.replace("[broker]", "[broker]\nparticipation = 0")
    assert set(backtest(tmp_path, bars(drop="volume"), no_cap)["positions"]) == set(NAMES), "nothing reads volumes"


def test_weights_that_are_no_numbers_hold_the_whole_book(tmp_path: Path) -> None:
    policy = "def act(view, memory=None):\n    return [0.2, float('nan'), 0.2]\n"
    done = backtested(tmp_path, bars(), policy=policy)
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert report["positions"] == {}
    assert report["alerts"] > 0
    assert "the weight of B is" in report["failures"][0]["reason"]
