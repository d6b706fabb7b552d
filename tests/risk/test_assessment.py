"""The whole assessment against each measure on its own, and what is said where an input is missing."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.risk.assessment import BY_HISTORY, BY_RETURNS, BY_WEIGHT, METHODS, Assessment, Book, Settings, assess_all
from quantd.risk.measures import contributions, diversification, portfolio, tails
from quantd.risk.measures.liquidity import book_days, unwind_days
from quantd.risk.measures.stress import SHIPPED, Shock
from quantd.trading.covariance import covariance, ewma_covariance, ledoit_wolf
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.statistics import calmar, performance, simple_returns, sortino

SECTORS = ("energy", "financials", "gold", "", "crypto", "technology")
ALL = Settings(shocks=(SHIPPED["2020"], SHIPPED["2022"], Shock("mine", moves={"*": -0.2})))


def book(seed: int = 0, size: int = 6, **other: object) -> Book:
    rng = np.random.default_rng(seed)
    px = rng.uniform(20.0, 400.0, size)
    universe = Universe(
        tuple(Instrument(f"S{k}", sector=SECTORS[k % len(SECTORS)]) for k in range(size)), benchmark="S0"
    )
    given_ = {
        "universe": universe,
        "lots": np.trunc(rng.uniform(-0.3, 1.0, size) * 1e6 / size / px),
        "px": px,
        "equity": 1e6,
        "returns": rng.standard_t(5, size=(252, 1)) * 0.006 + rng.standard_t(5, size=(252, size)) * 0.008,
        "history": 1e6 * np.cumprod(1.0 + rng.normal(0.0005, 0.01, 300)),
        "volume_lots": rng.uniform(1e3, 1e5, size),
    }
    return Book(**{**given_, **other})


def assess(given_book: Book, settings: Settings | None = None) -> Assessment:
    return assess_all([(given_book, settings or Settings())])[0]


def unexplained(report: Assessment) -> set[str]:
    """Fields and entries that are None without a reason, or that have both a value and a reason."""
    wrong = set()
    for name in report.__struct_fields__:
        if (getattr(report, name) is None) != (name in report.missing) and "." not in name:
            wrong.add(name)
    for name, entries in (("stress", report.stress), ("unwind_days", report.unwind_days)):
        wrong |= {f"{name}.{k}" for k, v in entries.items() if (v is None) != (f"{name}.{k}" in report.missing)}
    return wrong


def every_number(value: object) -> list[float]:
    plain = msgspec.to_builtins(value)

    def walk(x: object) -> list[float]:
        if isinstance(x, dict):
            return [n for v in x.values() for n in walk(v)]
        if isinstance(x, list | tuple):
            return [n for v in x for n in walk(v)]
        return [x] if isinstance(x, float) else []

    return walk(plain)


@pytest.mark.requirement("R-196")
def test_every_figure_is_that_of_the_measure_on_its_own() -> None:
    given_ = book()
    report = assess(given_, ALL)
    w = given_.lots * given_.px / 1e6
    series, cov = given_.returns @ w, covariance(given_.returns)
    assert report.missing == {}
    assert unexplained(report) == set()
    assert (report.samples, report.confidence, report.horizon, report.equity) == (252, 0.95, 1, 1e6)
    assert report.gross == pytest.approx(np.abs(w).sum())
    assert report.net == pytest.approx(w.sum())
    assert report.hhi == pytest.approx(portfolio.herfindahl(w))
    assert report.volatility_annual == pytest.approx(math.sqrt(252 * (w @ cov @ w)))
    shrunk = math.sqrt(w @ ledoit_wolf(given_.returns) @ w)
    weighed = math.sqrt(w @ ewma_covariance(given_.returns) @ w)
    then = -tails.filtered(given_.returns) @ w
    modified = tails.cornish_fisher(-series, 0.95)
    expected = {
        "historical": (portfolio.historical_var(-series, 0.95), portfolio.historical_cvar(-series, 0.95)),
        "parametric": (shrunk * tails.normal_quantile(0.95), shrunk * tails.normal_shortfall(0.95)),
        "ewma": (weighed * tails.normal_quantile(0.95), weighed * tails.normal_shortfall(0.95)),
        "cornish_fisher": (float(modified[0]), float(modified[1])),
        "filtered": (portfolio.historical_var(then, 0.95), portfolio.historical_cvar(then, 0.95)),
    }
    assert set(expected) == set(METHODS)
    for method, pair in expected.items():
        assert (getattr(report, method).var, getattr(report, method).cvar) == pytest.approx(pair, rel=1e-9)
    assert report.beta == pytest.approx(portfolio.beta(series, given_.returns[:, 0]))
    assert report.benchmark_correlation == pytest.approx(portfolio.correlation_with(series, given_.returns[:, 0]))
    assert report.effective_bets == pytest.approx(diversification.effective_bets(w, cov))
    assert report.diversification_ratio == pytest.approx(diversification.diversification_ratio(w, cov))
    assert report.diversification == pytest.approx(diversification.diversification(w, cov))
    past = performance(given_.history)
    assert (report.sharpe, report.max_drawdown) == (past.sharpe, past.max_drawdown)
    assert report.sortino == sortino(simple_returns(given_.history))
    assert report.calmar == calmar(given_.history)
    assert report.drawdown == pytest.approx(1.0 - given_.history[-1] / given_.history.max())
    assert report.stress["mine"] == pytest.approx(0.2 * w.sum())
    assert report.worst_stress == max(report.stress.items(), key=lambda entry: entry[1])
    days = unwind_days(given_.lots, given_.volume_lots)
    assert list(report.unwind_days.values()) == days.tolist()
    assert list(report.book_days.values()) == book_days(w * 1e6, days)
    assert list(report.book_days) == ["50%", "90%", "100%"]


@pytest.mark.parametrize("size", [1, 6, 90])
def test_parts_add_up_to_the_whole_and_are_under_their_names(size: int) -> None:
    given_ = book(size=size)
    report = assess(given_, Settings(min_history=60))
    held = [name for name, lots in zip(given_.universe.symbols, given_.lots, strict=True) if lots]
    assert list(report.positions) == held
    parts = report.positions.values()
    assert sum(p.component_var for p in parts) == pytest.approx(report.historical.var)
    assert sum(p.component_cvar for p in parts) == pytest.approx(report.historical.cvar)
    assert sum(p.component_volatility for p in parts) == pytest.approx(report.volatility_annual)
    assert sum(p.parametric_component_var for p in parts) == pytest.approx(report.parametric.var)
    assert all(p.component_var == pytest.approx(p.weight * p.marginal_var) for p in parts)
    var, _ = contributions.historical(given_.returns, given_.lots * given_.px / 1e6, 0.95)
    assert [p.incremental_var for p in parts] == pytest.approx(
        [x for x, n in zip(var.incremental, given_.lots, strict=True) if n]
    )


def test_a_longer_horizon_scales_by_its_root_and_another_confidence_moves_every_method() -> None:
    one, ten, far = (assess(book(), s) for s in (Settings(), Settings(horizon=10), Settings(confidence=0.99)))
    for part in ("marginal_var", "component_var", "incremental_var", "component_cvar", "parametric_component_var"):
        scaled = math.sqrt(10.0) * getattr(one.positions["S1"], part)
        assert getattr(ten.positions["S1"], part) == pytest.approx(scaled)
    assert ten.positions["S1"].component_volatility == one.positions["S1"].component_volatility
    for method in METHODS:
        assert getattr(ten, method).var == pytest.approx(math.sqrt(10.0) * getattr(one, method).var)
        assert getattr(ten, method).cvar == pytest.approx(math.sqrt(10.0) * getattr(one, method).cvar)
        assert getattr(far, method).var > getattr(one, method).var
    assert ten.volatility_annual == one.volatility_annual


@given(st.permutations(range(6)), st.integers(0, 50))
def test_figures_belong_to_instruments_and_not_to_columns(order: list[int], seed: int) -> None:
    one = book(seed)
    turned = Book(
        universe=Universe(tuple(one.universe.instruments[k] for k in order), benchmark="S0"),
        lots=one.lots[order],
        px=one.px[order],
        equity=one.equity,
        returns=one.returns[:, order],
        history=one.history,
        volume_lots=one.volume_lots[order],
    )
    a, b = assess(one, ALL), assess(turned, ALL)
    for name in (
        "historical",
        "parametric",
        "filtered",
        "volatility_annual",
        "effective_bets",
        "beta",
        "stress",
        "pairs",
    ):
        ours, right = every_number(getattr(a, name)), every_number(getattr(b, name))
        if name == "pairs":
            ours, right = sorted(ours), sorted(right)
        assert ours == pytest.approx(right, rel=1e-7)
    for symbol, position in a.positions.items():
        assert every_number(position) == pytest.approx(every_number(b.positions[symbol]), rel=1e-7, abs=1e-12)


def test_what_is_not_held_changes_nothing_even_without_prices_returns_or_volumes() -> None:
    one = book()
    hole = np.full((252, 1), math.nan)
    more = Book(
        universe=Universe((*one.universe.instruments, Instrument("NEW")), benchmark="S0"),
        lots=np.append(one.lots, 0.0),
        px=np.append(one.px, math.nan),
        equity=one.equity,
        returns=np.hstack((one.returns, hole)),
        history=one.history,
        volume_lots=np.append(one.volume_lots, math.nan),
    )
    assert msgspec.to_builtins(assess(more, ALL)) == msgspec.to_builtins(assess(one, ALL))


def test_only_samples_in_which_everything_held_has_a_return_count() -> None:
    one = book()
    gaps = one.returns.copy()
    gaps[[3, 50, 51], [0, 1, 1]] = math.nan
    complete = np.delete(one.returns, [3, 50, 51], axis=0)
    report = assess(book(returns=gaps))
    assert report.samples == 249
    assert report.historical == assess(book(returns=complete)).historical


def test_the_benchmark_need_not_be_held_and_its_gaps_are_left_out() -> None:
    one = book()
    lots, gaps = one.lots.copy(), one.returns.copy()
    lots[0] = 0.0
    gaps[:20, 0] = math.nan
    report = assess(book(lots=lots, returns=gaps))
    assert report.samples == 252
    w = lots * one.px / 1e6
    assert report.beta == pytest.approx(portfolio.beta((one.returns @ w)[20:], one.returns[20:, 0]))


def test_pairs_that_lose_together_come_first_and_a_hedge_is_none() -> None:
    rng = np.random.default_rng(1)
    base = rng.normal(0.0, 0.01, 252)
    noise = rng.normal(0.0, 0.01, (252, 4))
    returns = np.column_stack((base, base + 0.1 * noise[:, 0], -base + 0.2 * noise[:, 1], noise[:, 3]))
    lots = np.array([100.0, 100.0, -50.0, 10.0])
    report = assess(book(size=4, returns=returns, lots=lots))
    named = [(p.first, p.second) for p in report.pairs]
    assert named[:3] == [("S0", "S1"), ("S0", "S2"), ("S1", "S2")]
    assert report.pairs[0].correlation == pytest.approx(np.corrcoef(returns.T)[0, 1])
    assert report.pairs[1].correlation < 0.0 > report.pairs[1].second_weight
    hedged = assess(book(size=4, returns=returns, lots=np.abs(lots)))
    assert ("S0", "S2") not in [(p.first, p.second) for p in hedged.pairs]
    assert len(assess(book(size=4, returns=returns, lots=lots), Settings(pairs=1)).pairs) == 1


MISSING = {
    "a price": ({"px": np.array([math.nan, *[50.0] * 5])}, {*BY_WEIGHT, *BY_RETURNS, "book_days"}, "no price of S0"),
    "a position": ({"lots": np.array([math.nan, *[50.0] * 5])}, {*BY_WEIGHT, *BY_RETURNS},
    "a position is not a number"),
    "equity": ({"equity": 0.0}, {*BY_WEIGHT, *BY_RETURNS}, "equity is not positive"),
    "returns": ({"returns": np.full((252, 6), math.nan)}, {*BY_RETURNS}, "0 samples in which everything held"),
    "enough returns": ({"returns": np.full((59, 6), 0.01)}, {*BY_RETURNS}, "59 samples"),
    "the history": ({"history": np.array([])}, {*BY_HISTORY}, "the equity history is empty"),
    "a sample of the history": ({"history": np.array([1.0, math.nan])}, {*BY_HISTORY}, "past equity is not finite"),
    "a positive history": ({"history": np.array([1.0, -1.0])}, {*BY_HISTORY}, "past equity is not finite and positive"),
    "a long history": ({"history": np.full(60, 5.0)}, {"sharpe", "sortino", "calmar"}, "59 samples of equity returns"),
    "a moving history": ({"history": np.full(61, 5.0)}, {"sharpe", "calmar"}, "equity"),
    "volumes": ({"volume_lots": np.full(6, math.nan)}, {"book_days"}, "no volume is known of S0, S1, S2 and 3 more"),
    "moving returns": ({"returns": np.zeros((252, 6))}, {"effective_bets", "diversification", "diversification_ratio"},
    "nothing held moved"),
    "a holding": ({"lots": np.zeros(6)}, {*BY_RETURNS}, "nothing is held"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISSING)
def test_without_an_input_its_measures_are_none_with_the_reason_and_the_others_stay(name: str) -> None:
    without, gone, said = MISSING[name]
    report = assess(book(**without), ALL)
    assert unexplained(report) == set()
    for measure in gone:
        assert getattr(report, measure) is None, measure
        assert said in report.missing[measure] or report.missing[measure] == "no price is known of a position"
    complete = assess(book(), ALL)
    kept = {n for n in complete.__struct_fields__ if n not in report.missing}
    assert {"gross", "sharpe", "drawdown", "book_days"} & kept
    assert all(math.isfinite(n) for n in every_number(report) if n is not report.equity or math.isfinite(report.equity))


@pytest.mark.requirement("R-041")
def test_sixty_samples_are_enough_unless_set() -> None:
    one = book()
    short = assess(book(returns=one.returns[-60:], history=one.history[-61:]))
    assert short.missing.keys() - {"cornish_fisher"} == {"worst_stress"}
    report = assess(one, Settings(min_history=253))
    assert report.missing["historical"].startswith("252 samples in which everything held has a return, fewer than 253")


@pytest.mark.parametrize(("benchmark", "said"), [("", "no benchmark is set"), ("DAX", "DAX is not in the universe")])
def test_without_its_benchmark_a_book_has_no_beta(benchmark: str, said: str) -> None:
    one = book()
    report = assess(book(universe=Universe(one.universe.instruments, benchmark=benchmark)))
    assert report.beta is report.benchmark_correlation is None
    assert report.missing == {"beta": said, "benchmark_correlation": said, "worst_stress": "no stress scenario is set"}


def test_a_benchmark_known_in_too_few_samples_or_that_stands_still_gives_no_beta() -> None:
    one = book()
    lots, gaps, still = one.lots.copy(), one.returns.copy(), one.returns.copy()
    lots[0] = 0.0
    gaps[:200, 0] = math.nan
    still[:, 0] = 0.0
    assert "52 samples with the benchmark" in assess(book(lots=lots, returns=gaps)).missing["beta"]
    assert assess(book(lots=lots, returns=still)).missing["beta"] == "the benchmark never moved"


def test_a_scenario_that_does_not_know_a_holding_is_named_and_the_worst_is_of_the_others() -> None:
    settings = Settings(shocks=(SHIPPED["2008"], SHIPPED["2020"]))
    report = assess(book(), settings)
    assert report.stress["2008"] is None
    assert report.missing == {"stress.2008": "no move is known of S4"}
    assert report.worst_stress == ("2020", report.stress["2020"])
    alone = assess(book(), Settings(shocks=(SHIPPED["2008"],)))
    assert alone.worst_stress is None
    assert alone.missing["worst_stress"] == "no scenario knows the move of everything held"


def test_skewness_and_tails_outside_the_expansion_give_no_modified_var() -> None:
    returns = np.zeros((252, 6))
    returns[0] = -0.5
    report = assess(book(returns=returns, lots=np.full(6, 10.0)))
    assert report.cornish_fisher is None
    assert "outside the domain" in report.missing["cornish_fisher"]


def test_a_perfect_hedge_has_no_ratio_but_is_wholly_diversified() -> None:
    returns = np.repeat(book().returns[:, :1], 2, axis=1)
    report = assess(book(size=2, returns=returns, lots=np.array([10.0, -10.0]), px=np.array([100.0, 100.0])))
    assert report.diversification == 1.0
    assert report.diversification_ratio is None
    assert report.missing["diversification_ratio"] == "a perfect hedge"


def test_an_empty_book_has_no_exposure_and_loses_nothing_in_any_scenario() -> None:
    report = assess(book(lots=np.zeros(6)), ALL)
    assert (report.gross, report.net, report.hhi) == (0.0, 0.0, 0.0)
    assert set(report.stress.values()) == {0.0}
    assert report.book_days == {"50%": 0.0, "90%": 0.0, "100%": 0.0}
    assert report.unwind_days == {}


def test_a_history_is_too_short_by_one_sample_or_by_gaps_that_no_one_symbol_has() -> None:
    returns = book().returns.copy()
    returns[:192, 2], returns[:193, 3] = np.nan, np.nan
    said = assess(book(returns=returns)).missing["volatility_annual"]
    assert said == "59 samples in which everything held has a return, fewer than 60; too few of S3"
    returns = book().returns.copy()
    returns[:140, 2], returns[170:, 3] = np.nan, np.nan
    said = assess(book(returns=returns)).missing["volatility_annual"]
    assert said == "30 samples in which everything held has a return, fewer than 60"


def test_what_does_not_move_with_another_is_no_pair_and_none_are_listed_where_none_are_asked() -> None:
    returns = book(size=3).returns.copy()
    returns[:, 2] = 0.0
    given_ = book(size=3, returns=returns, lots=np.full(3, 10.0))
    assert [(p.first, p.second) for p in assess(given_).pairs] == [("S0", "S1")]
    assert assess(given_, Settings(pairs=0)).pairs == ()
