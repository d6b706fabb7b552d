"""A run that traded nothing begins with the reason, and the remedy in its text gives a run with fills."""

import json
import re
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

import quantd
from tests.support.command_line import one_agent
from tests.support.command_line import quantd as command

SYMBOLS = ("SPY", "IWM")
Answer = Callable[[Any], object]


@pytest.fixture(scope="module")
def bars() -> pl.DataFrame:
    frame = quantd.example_bars()
    return frame.filter(pl.col("symbol").is_in(SYMBOLS) & pl.col("ts").dt.year().is_between(2012, 2013))


def run(policy: object, frame: pl.DataFrame, **settings: object) -> Any:
    keys = {name.replace("__", "."): value for name, value in settings.items()}
    return quantd.backtest(policy, bars=frame, compare=False, settings=keys)


def lead(result: Any) -> str:
    """The first line of a result, which has to be the reason."""
    first, second, *_ = str(result).splitlines()
    assert first.startswith("Nothing was traded: "), first
    assert second == "No verdict: nothing was traded, so the figures are no result of a policy."
    assert "+0.00%" not in str(result)
    assert result.summary.fills == 0
    return first


def typed(text: str) -> dict[str, object]:
    """The settings that a line names for Python."""
    settings: dict[str, object] = json.loads(re.search(r"settings=(\{.*?\})", text).group(1))  # type: ignore[union-attr]
    return settings


@pytest.mark.long
@pytest.mark.parametrize("impact", [0.0, 10.0])
def test_without_volume_nothing_is_filled_and_the_named_settings_fill(bars: pl.DataFrame, impact: float) -> None:
    flat = bars.with_columns(volume=pl.lit(0.0))
    text = lead(run("buy_and_hold", flat, broker__impact=impact))
    assert "every volume of IWM, SPY is 0" in text
    assert re.search(r"[\d,]+ of [\d,]+ orders expired, and none was filled", text)
    named = typed(text)
    assert set(named) == {"broker.participation", *(["broker.impact"] if impact else [])}
    settings = {"broker.impact": impact, **named}
    filled = quantd.backtest("buy_and_hold", bars=flat, compare=False, settings=settings)
    right = quantd.backtest("buy_and_hold", bars=bars, compare=False, settings=settings)
    assert filled.summary.fills == right.summary.fills > 0
    assert filled.summary.equity == right.summary.equity


def test_a_share_of_the_volume_below_a_lot_is_named(bars: pl.DataFrame) -> None:
    thin = bars.with_columns(volume=3.0 + pl.int_range(pl.len()) % 4)
    text = lead(run("buy_and_hold", thin))
    assert "a share of 10% of it is less than a lot" in text
    assert run("buy_and_hold", thin, **typed(text)).summary.fills > 0


@pytest.mark.one_of(2)
@pytest.mark.quick_cases(1)
@pytest.mark.parametrize(("count", "least"), [(500, 0.005), (300, 0.005), (500, 0.01), (40, 0.05), (1000, 0.002)])
def test_weights_that_are_together_below_min_trade_are_named_with_a_value_that_trades(
    bars: pl.DataFrame, count: int, least: float
) -> None:
    """Equal weights, each below `min_trade`, are bought; a share of the account below it in sum is not."""
    one = bars.filter(pl.col("symbol") == "SPY").head(40)
    cheap = one.with_columns(pl.col("open", "high", "low", "close") / 50)
    many = pl.concat([cheap.with_columns(symbol=pl.lit(f"S{k}")) for k in range(count)])
    share = least * 0.9
    part: Answer = lambda view: np.full(count, share / count)  # noqa: E731 - a policy as users write it
    rich = {"broker__cash": "1000000000"}  # lots are worth less than any weight
    text = lead(run(part, many, agents__policy__min_trade=least, **rich))
    assert f"does not trade changes that are together below {least:.2%} of its equity (min_trade)" in text
    assert f"its weights were together {share:.3%} ({count:,} symbols)" in text
    assert run(part, many, **rich, **typed(text)).summary.fills >= count
    # of equal weights less than `min_trade` in sum may be left
    assert run("equal_weight", many, agents__policy__min_trade=least).summary.fills > count * (1.0 - least) - 1


def test_a_weight_below_min_trade_and_below_a_lot_names_the_lot(bars: pl.DataFrame) -> None:
    one = bars.filter(pl.col("symbol") == "SPY").head(40)
    many = pl.concat([one.with_columns(symbol=pl.lit(f"S{k}")) for k in range(40)])
    # a fortieth is 100, and a share costs more; all weights together are not below min_trade
    text = lead(run("equal_weight", many, broker__cash="4000", agents__policy__min_trade=0.05))
    assert "no weight of policy is worth one lot" in text


@pytest.mark.parametrize("cash", [5, 40, 90])
def test_a_capital_below_the_price_of_a_lot_is_named_with_one_that_trades(bars: pl.DataFrame, cash: int) -> None:
    half: Answer = lambda view: np.array([0.5, 0.4])  # noqa: E731 - a policy as users write it
    text = lead(run(half, bars, broker__cash=str(cash)))
    assert f"its capital is {cash:,.2f}, and its largest weight 50.00%" in text
    more = re.search(r'\[broker\] cash = "(\d+)"', text)
    assert more is not None
    assert run(half, bars, broker__cash=more.group(1)).summary.fills > 0


def test_a_limit_that_leaves_no_lot_is_named(bars: pl.DataFrame) -> None:
    limit = "max_gross_exposure"
    half: Answer = lambda view: np.array([0.5, 0.4])  # noqa: E731 - a policy as users write it
    assert f"the targets of policy may hold nothing, by {limit} = 0" in lead(run(half, bars, **{f"risk__{limit}": 0.0}))
    text = lead(run(half, bars, broker__cash="10000", **{f"risk__{limit}": 0.01}))
    assert f"after {limit} = 0.01" in text
    more = re.search(r'\[broker\] cash = "(\d+)"', text)
    assert more is not None
    assert run(half, bars, broker__cash=more.group(1), **{f"risk__{limit}": 0.01}).summary.fills > 0


@pytest.mark.parametrize("answer", ["hold", "zeros"])
def test_a_policy_that_holds_or_asks_for_nothing_is_named(bars: pl.DataFrame, answer: str) -> None:
    given = "hold" if answer == "hold" else [0.0, 0.0]
    text = lead(run(lambda view: given, bars))
    said = 'policy answered "hold" at each of' if answer == "hold" else "policy asked for no position at any of"
    assert said in text


def test_orders_that_limits_refuse_are_named(bars: pl.DataFrame) -> None:
    text = lead(run("buy_and_hold", bars, risk__restricted=list(SYMBOLS)))
    assert "most of them restricted" in text


class Once:
    """Buys at its first call, and holds."""

    def __init__(self) -> None:
        self.calls = 0

    def act(self, view: Any) -> object:
        self.calls += 1
        return [0.5, 0.4] if self.calls == 1 else "hold"


def counting() -> Answer:
    calls = 0

    def act(view: Any) -> object:
        nonlocal calls
        calls += 1
        return [0.5, 0.4] if calls == 1 else "hold"

    return act


calls = 0


def of_its_module(view: Any) -> object:
    global calls
    calls += 1
    return [0.5, 0.4] if calls == 1 else "hold"


@pytest.mark.parametrize("factory", [Once, counting, lambda: of_its_module], ids=["object", "closure", "module"])
def test_the_state_of_a_policy_is_as_it_was_when_the_run_begins(
    bars: pl.DataFrame, factory: Callable[[], object]
) -> None:
    policy = factory()
    first = run(policy, bars)
    assert first.summary.fills == 2, "the first decision of the run was the first call"
    second = run(policy, bars)
    assert 'answered "hold" at each of' in lead(second)


@pytest.mark.parametrize("factory", [Once, counting])
def test_a_state_that_the_run_changed_is_noted(bars: pl.DataFrame, factory: Callable[[], object]) -> None:
    assert any("changed its own state" in note for note in run(factory(), bars).verdict.notes)
    assert run(lambda view: [0.5, 0.4], bars).verdict.notes == ()


def test_a_policy_that_cannot_be_copied_is_noted(bars: pl.DataFrame) -> None:
    class Locked(Once):
        def __init__(self) -> None:
            super().__init__()
            self.lock = threading.Lock()

    result = run(Locked(), bars)
    lead(result)
    assert any("cannot be copied, so it was asked for its first decision once before the run" in note
               for note in result.verdict.notes)  # fmt: skip
    Locked.LOOKBACK = 1  # type: ignore[attr-defined]
    assert run(Locked(), bars).summary.fills == 2


def test_a_run_with_a_fill_has_no_reason(bars: pl.DataFrame) -> None:
    result = run("buy_and_hold", bars)
    assert result.verdict.untraded is None
    assert not str(result).startswith("Nothing")


@pytest.mark.parametrize("leverage", [-3.0, -2.0])
def test_an_account_beyond_ruin_has_its_date(bars: pl.DataFrame, leverage: float) -> None:
    one = bars.filter(pl.col("symbol") == "SPY").head(60).with_columns(pl.lit(1e7).alias("volume"))
    rise = 1.06 ** pl.int_range(pl.len())
    up = one.with_columns(open=20 * rise, high=20.5 * rise, low=19.8 * rise, close=20.2 * rise)
    settings = {"risk.allow_short": True, "feed.jumps": "real"}
    calls = iter([[leverage]])
    policy: Answer = lambda view: next(calls, "hold")  # noqa: E731
    policy.lookback = 1  # type: ignore[attr-defined]
    result = quantd.backtest(policy, bars=up, compare=False, settings=settings)
    equity = result.equity
    date = str(equity.filter(pl.col("equity") <= 0)["ts"][0].date())
    assert str(result).startswith(f"No verdict: the account lost everything on {date}: its equity was -")
    for read in ("monthly", "metrics", "track", "rolling"):
        with pytest.raises(quantd.Error, match=f"lost everything on {date}"):
            getattr(result, read)


@pytest.mark.long
def test_the_command_begins_with_the_reason_and_check_and_run_warn_of_small_shares(tmp_path: Any) -> None:
    one = quantd.example_bars().filter((pl.col("symbol") == "SPY") & (pl.col("ts").dt.year() == 2012)).head(40)
    cheap = one.with_columns(pl.col("open", "high", "low", "close") / 50)
    pl.concat([cheap.with_columns(symbol=pl.lit(f"S{k}")) for k in range(500)]).write_parquet(tmp_path / "bars.parquet")
    (tmp_path / "config.toml").write_text(one_agent([f"S{k}" for k in range(500)], feed='at_end = "stop"'))
    said = (
        "even: changes below min_trade = 0.50% of its equity are traded only if they are worth it together, and an "
        "equal share of 500 symbols is 0.2"
    )
    checked = command(tmp_path, "config", "check")
    assert checked.returncode == 0, checked.stderr
    assert f"{said}00%; where it holds many of them, write min_trade = 0.001" in checked.stdout
    assert said in json.loads(command(tmp_path, "config", "check", "--json").stdout)["small_shares"][0]
    # all weights together are below `min_trade`; with much cash each is worth a lot
    few = ("backtest", "--no-compare", "--set", "agents.even.params.invested=0.004", "--set", "broker.cash=1000000000")
    done = command(tmp_path, *few)
    assert done.stdout.startswith("Nothing was traded: even does not trade changes that are together below 0.50% of")
    typed = re.search(r"--set (agents\.even\.min_trade=[\d.e-]+);", done.stdout)
    assert typed is not None
    again = command(tmp_path, *few, "--set", typed.group(1))
    assert not again.stdout.startswith("Nothing")
    assert said not in command(tmp_path, "config", "check", "--set", typed.group(1)).stdout
