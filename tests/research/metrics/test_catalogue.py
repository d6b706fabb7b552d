"""The catalogue: every metric once, defined or None, varied by its input, and documented as it is."""

import subprocess
import sys
from dataclasses import replace
from math import isfinite
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as replace_struct

from quantd.research.metrics.catalogue import (
    METRIC_OF,
    METRICS,
    SYMBOLS,
    by_name,
    is_annual,
    measure,
)
from quantd.research.metrics.track_record import TrackRecord
from tests.support.checkout import ROOT, environment
from tests.support.examples import examples
from tests.support.metric_references import (
    REFERENCES,
    differences,
    needs,
    random_record,
    record_of,
    table,
    trip,
    worlds,
)

PAGE = ROOT / "docs/research/metrics.md"
NAMES = [metric.name for metric in METRICS]


def test_two_metrics_of_one_name_or_title_are_refused_with_their_places() -> None:
    sharpe = METRIC_OF["sharpe"]
    for other in (replace_struct(sharpe, title="Another"), replace_struct(sharpe, name="another")):
        with pytest.raises(ValueError, match=r"two metrics are called .* in quantd.research.metrics.excess_ratios and"):
            by_name([sharpe, other])


PACKAGE_METRIC = """
from quantd.research.metrics.metric import metric

@metric("Number of returns", "count", "T", "Nobody 2026")
def returns_of_theirs(record):
    return float(record.samples)

METRICS = (returns_of_theirs,)
"""


def test_an_installed_package_adds_a_metric_by_an_entry_point(tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text(PACKAGE_METRIC)
    metadata = tmp_path / "theirs-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[quantd.metrics]\ntheirs = theirs:METRICS\n")
    variables = environment(ROOT)
    variables["PYTHONPATH"] += f":{tmp_path}"
    program = "from quantd.research.metrics.catalogue import METRICS; print(METRICS[-1].title)"
    done = subprocess.run([sys.executable, "-c", program], env=variables, text=True, capture_output=True, timeout=100)
    assert (done.stdout, done.stderr) == ("Number of returns\n", "")


def test_every_metric_has_a_reference() -> None:
    remedy = "write the references of each metric into REFERENCES of tests/support/metric_references.py"
    assert set(REFERENCES) == set(NAMES), remedy


MONEY = st.floats(1e-6, 1e12)
SERIES = st.one_of(
    st.lists(MONEY, min_size=1, max_size=40),
    st.lists(st.floats(90.0, 110.0), min_size=1, max_size=40),
    st.tuples(MONEY, st.integers(1, 40)).map(lambda pair: [pair[0]] * pair[1]),
    st.tuples(MONEY, st.floats(0.9, 1.1), st.integers(1, 40)).map(
        lambda three: [three[0] * three[1] ** k for k in range(three[2])]
    ),
    st.lists(st.floats(1e-300, 1e300), min_size=1, max_size=10),
)
AMOUNT = st.one_of(st.none(), st.just(0.0), st.floats(0.0, 1e12))


@pytest.mark.long
@given(
    equity=SERIES,
    other=SERIES,
    rate=st.one_of(st.floats(-0.5, 1.0), st.just("series")),
    costs=st.tuples(AMOUNT, AMOUNT, AMOUNT, AMOUNT),
    profits=st.one_of(st.none(), st.lists(st.one_of(st.just(0.0), st.floats(-1e15, 1e15)), max_size=8)),
    periods=st.sampled_from([1.0, 12.0, 252.0, 365.25, 98_280.0]),
)
@settings(max_examples=examples(800), deadline=None)
def test_a_value_is_finite_or_none_and_never_an_error(
    equity: list[float],
    other: list[float],
    rate: float | str,
    costs: tuple[float | None, ...],
    profits: list[float] | None,
    periods: float,
) -> None:
    count = len(equity)
    benchmark = np.resize(np.array(other), count)
    record = TrackRecord(
        np.array(equity),
        np.arange(count) * 86_400 * 10**9,
        periods,
        np.linspace(-0.1, 0.2, count - 1) if isinstance(rate, str) else rate,
        benchmark=benchmark if count % 3 else None,
        gross=np.ones(count) if count % 2 else None,
        traded=costs[0],
        commission=costs[1],
        slippage_paid=costs[2],
        borrow=costs[3],
        trips=None if profits is None else tuple(trip(profit) for profit in profits),
    )
    figures = measure(record)
    assert list(figures) == NAMES
    assert [name for name, value in figures.items() if value is not None and not isfinite(value)] == []
    assert {type(value) for value in figures.values()} <= {float, type(None)}


def test_one_sample_and_one_return_have_few_values() -> None:
    assert set(measure(record_of([100.0])).values()) == {None}
    figures = measure(record_of([100.0, 101.0]))
    assert figures["total_return"] == pytest.approx(0.01, rel=1e-12)
    undefined = ("volatility", "sharpe", "skewness", "stability", "serial_correlation", "beta", "trips", "turnover")
    assert {figures[name] for name in undefined} == {None}


def test_every_metric_varies_with_its_input() -> None:
    one, other = measure(random_record(41, 300)), measure(random_record(43, 420, tail=4.0, drift=0.001))
    assert {name for name in NAMES if one[name] is None or other[name] is None} == set()
    assert {name for name in NAMES if one[name] == other[name]} == set()


@pytest.mark.parametrize(
    ("needs", "changed"),
    [
        ("benchmark", {"benchmark": random_record(43, 300).benchmark}),
        ("trips", {"trips": random_record(43, 300).trips}),
        (
            "book",
            {
                name: getattr(random_record(43, 300), name)
                for name in ("gross", "net", "traded", "commission", "slippage_paid", "borrow")
            },
        ),
    ],
)
def test_an_input_changes_the_metrics_that_need_it_and_no_others(needs: str, changed: dict[str, object]) -> None:
    one, other = measure(random_record(41, 300)), measure(random_record(41, 300, **changed))
    assert {name for name in NAMES if one[name] != other[name]} == {e.name for e in METRICS if e.needs == needs}


@pytest.mark.parametrize("needs", ["benchmark", "trips", "book"])
def test_a_metric_without_its_input_is_none(needs: str) -> None:
    record = random_record(41, 300)
    bare = TrackRecord(record.equity, record.days_ns, 252.0, 0.02)
    assert set(measure(bare, [metric.name for metric in METRICS if metric.needs == needs]).values()) == {None}
    assert None not in measure(bare, [metric.name for metric in METRICS if metric.needs == "equity"]).values()


def documented() -> list[str]:
    """The rows of the catalogue: four cells. Other tables of the page have fewer."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.startswith("| `") and line.count(" | ") == 3]


@pytest.mark.requirement("R-272")
def test_the_page_lists_the_catalogue_as_it_is() -> None:
    remedy = "run python -m tests.support.metric_references docs/research/metrics.md"
    assert documented() == table()[2:], remedy
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert all(f"- {letters}: {meaning}" in text for letters, meaning in SYMBOLS.items())
    assert " ".join(needs().split()) in text, remedy
    assert f"{len(METRICS)} metrics" in text, remedy


@pytest.mark.requirement("R-237", "R-238", "R-239", "R-240")
def test_every_metric_is_within_a_billionth_of_its_references() -> None:
    measured = differences(worlds())
    assert set(measured) == set(NAMES)
    assert {name: value for name, value in measured.items() if value > 1e-9} == {}


def test_a_metric_is_marked_as_annualised_just_where_it_scales_with_the_samples_a_year():
    record = replace(random_record(21, 400), risk_free_annual=0.0)
    values = [measure(replace(record, periods=periods)) for periods in (252.0, 12.0, 300.0)]
    scaling = {name for name in values[0] if len({figures[name] for figures in values}) > 1}
    assert scaling == {metric.name for metric in METRICS if is_annual(metric)}
