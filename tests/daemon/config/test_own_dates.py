"""Shares and a coin in one book: policies relate them by session date, and each row of a result is valued at the prices
that were known at its instant."""

import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import quantd as api
from quantd.adapters.calendars import sessions
from quantd.daemon.app import Options, read_config
from quantd.daemon.assembly.parts import Assembly, assemble
from quantd.daemon.policies.loading import answer
from quantd.models.history.panel_files import read_panel
from quantd.models.observation.return_features import LOOKBACK, measure
from quantd.models.observation.table import sight
from quantd.strategies.policies.feature_rank import Signals
from quantd.trading.effects import Ask
from quantd.trading.events import Decided
from quantd.trading.instruments import LAST_PRICES
from quantd.trading.sessions import DAY_NS
from quantd.trading.statistics import RISK_FREE_ANNUAL
from quantd.trading.view import View
from tests.daemon.assembly.snapshot_runs import straight_and_restored
from tests.support.command_line import ROOT, one_agent, quantd
from tests.support.command_line import answer as document
from tests.support.market_frames import random_frame

SYMBOLS = ("SPY", "TLT", "GLD", "BTC-USD")

FEED = f'actions = "{ROOT}/data/seed4_actions.csv"\nstart = 2022-12-14\nwarmup = 504'
SHARED = one_agent(SYMBOLS, "min_variance", FEED, path=f"{ROOT}/data/seed4_daily.parquet")
SHARED = SHARED.replace("[feed]", 'benchmark = "SPY"\n[feed]').replace("[risk]", "commission_bp = 10.0\n[risk]")
CONFIG = f'{SHARED}[[universe.instruments]]\nsymbol = "BTC-USD"\ncalendar = "24/7"\nlot = "0.0001"\n'


def assembled(folder: Path, text: str = CONFIG) -> Assembly:
    (folder / "config.toml").write_text(text)
    return assemble(read_config(Options(folder / "config.toml")))


def watched(assembly: Assembly, look: Callable[[View], None]) -> None:
    """Take the run of `assembly` to its end, with a look at each view."""
    shell = assembly.shell()

    def ask(question: Ask) -> Decided:
        look(question.view)
        return answer(assembly.policies[question.policy], question)

    shell.answer = ask
    for item in assembly.items():
        shell.take(item)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Assembly:
    return assembled(tmp_path_factory.mktemp("mixed"))


@pytest.mark.long
@pytest.mark.requirement("R-127")
def test_policies_see_how_shares_and_bitcoin_move_together_by_date_and_never_ahead_of_time(mixed: Assembly) -> None:
    bars = pl.read_parquet(ROOT / "data" / "seed4_daily.parquet").pivot(on="symbol", index="ts", values="close")
    days = bars["ts"].dt.timestamp("ns").to_numpy()
    closes = bars.select(SYMBOLS).to_numpy()
    seen: list[tuple[float, float]] = []

    def look(view: View) -> None:
        rows, returns = view.synchronous(252), view.returns(252)
        # the newest row is that of the session before: the coin's bar of this date ends hours after the decision
        at = int(np.searchsorted(days, view.sample_time // DAY_NS * DAY_NS))
        assert rows[-1, 3] == pytest.approx(closes[at - 1, 3] / closes[at - 2, 3] - 1.0)
        assert returns[-1, 0] != rows[-1, 0]
        seen.append((np.corrcoef(returns[:, [0, 3]].T)[0, 1], np.corrcoef(rows[:, [0, 3]].T)[0, 1]))

    watched(mixed, look)
    by_price, by_date = np.array(seen).mean(axis=0)
    assert len(seen) == 514
    assert abs(by_price) < 0.1
    assert by_date > 0.3


@pytest.mark.long
def test_beta_and_correlation_to_the_benchmark_are_of_the_same_dates(tmp_path: Path) -> None:
    params = "params = { features = { correlation_60 = 1.0, momentum_20 = 1.0 }, top = 2 }"
    assembly = assembled(tmp_path, CONFIG.replace('policy = "min_variance"', f'policy = "signals"\n{params}'))
    policy = assembly.policies[0]
    assert isinstance(policy, Signals)
    count = 0

    def look(view: View) -> None:
        nonlocal count
        count += 1
        if count % 50:
            return
        features = policy.features(view)
        rows, returns = view.synchronous(60), view.returns(60)
        assert features[3, 0] == pytest.approx(np.corrcoef(rows[:, [0, 3]].T)[0, 1])
        assert features[3, 0] != pytest.approx(np.corrcoef(returns[:, [0, 3]].T)[0, 1], abs=1e-3)
        # an instrument's own momentum is as new as its last price
        assert features[0, 1] == pytest.approx(np.prod(1.0 + returns[-20:, 0]) - 1.0)

    watched(assembly, look)
    assert count == 514


@pytest.mark.long
def test_a_mixed_run_taken_up_from_snapshots_has_the_digest_of_one_that_went_on(mixed: Assembly) -> None:
    straight, shell = straight_and_restored(mixed)
    assert shell.digest.hexdigest() == straight.digest.hexdigest()
    rows = straight.state.history.by_date.returns(252)
    np.testing.assert_array_equal(shell.state.history.by_date.returns(252), rows)


@pytest.mark.long
def test_training_shows_the_rows_that_trading_has(mixed: Assembly) -> None:
    """At each close the features of a panel are those of the view, for a late asset and for the others."""
    first, last = (np.datetime64(day, "D").item() for day in ("2020-01-02", "2024-12-31"))
    panel = read_panel(ROOT / "data" / "seed4_daily.parquet", ROOT / "data" / "seed4_actions.csv", SYMBOLS, first, last)
    shown = sight(panel)
    count = 0

    def look(view: View) -> None:
        nonlocal count
        row = int(np.searchsorted(panel.day_ns, view.sample_time // DAY_NS * DAY_NS))
        features, mask = measure(view.synchronous(LOOKBACK))
        np.testing.assert_allclose(shown.features[row], features, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(shown.mask[row], mask)
        count += 1

    assert panel.late == {"BTC-USD"}
    watched(mixed, look)
    assert count == 514


@pytest.mark.parametrize(
    ("share", "calendar", "coin"),
    [("SPY", "XNYS", "BTC-USD"), ("SAP.DE", "XETR", "ETH-EUR"), ("7203.T", "XTKS", "BTC")],
)
def test_each_row_of_equity_is_cash_and_lots_at_the_prices_seen_at_its_instant(
    share: str, calendar: str, coin: str
) -> None:
    """The account is an own one: the cash of the fills up to the row, and their units at the prices of the view."""
    frame = random_frame(7, 2, 160)
    first = date(2023, 1, 2)
    every_day = [first + timedelta(days=k) for k in range(160)]
    opened = list(sessions(calendar, first, every_day[-1]).day_ns)
    parts = [
        part.with_columns(pl.Series("ts", every_day).cast(pl.Datetime("us")), symbol=pl.lit(name)).filter(
            pl.lit(name == coin) | pl.col("ts").dt.epoch("ns").is_in(opened)
        )
        for name, (_, part) in zip((share, coin), frame.group_by("symbol", maintain_order=True), strict=True)
    ]
    seen: dict[int, dict[str, float]] = {}

    def act(view):
        seen[view.time] = dict(zip(view.universe.symbols, view.prices, strict=True))
        return [0.2, 0.6] if len(seen) % 20 == 1 else [0.6, 0.2] if len(seen) % 20 == 11 else "hold"

    act.lookback = 1  # type: ignore[attr-defined]
    settings = {"universe.calendar": calendar, "universe.instruments": [{"symbol": coin, "calendar": "24/7"}]}
    result = api.backtest(act, bars=pl.concat(parts), compare=False, settings=settings)
    rows = dict(result.equity.select(pl.col("ts").dt.epoch("ns"), "equity").iter_rows())
    assert list(rows) == list(seen), "a row has the instant of its decision"
    fills = result.fills.with_columns(
        pl.col("ts").dt.epoch("ns"), sign=pl.when(pl.col("side") == "buy").then(1).otherwise(-1)
    )
    assert set(fills["symbol"]) == {share, coin}
    for ts, prices in seen.items():
        done = fills.filter(pl.col("ts") <= ts)
        cash = (
            100_000.0
            - done.select((pl.col("sign") * pl.col("quantity") * pl.col("price") + pl.col("fee")).sum()).item()
        )
        units = dict(done.group_by("symbol").agg((pl.col("sign") * pl.col("quantity")).sum()).iter_rows())
        worth = sum(quantity * prices[name] for name, quantity in units.items())
        assert rows[ts] == pytest.approx(cash + worth, abs=1e-4)
    returns = np.diff(list(rows.values())) / np.array(list(rows.values()))[:-1]
    ratio = (returns.mean() - RISK_FREE_ANNUAL / 252) / returns.std(ddof=1) * 252**0.5
    assert result.verdict.performance.sharpe == pytest.approx(ratio)
    assert LAST_PRICES in result.verdict.notes


@pytest.mark.long
def test_backtest_and_report_have_one_ratio_and_say_of_which_prices(tmp_path: Path) -> None:
    text = CONFIG.replace("start = 2022-12-14", 'start = 2024-01-02\npace = "fast"\nat_end = "stop"')
    text = text.replace('"min_variance"', '"equal_weight"')
    (tmp_path / "config.toml").write_text(text)
    backtest = document(quantd(tmp_path, "backtest", "--json", "--no-compare"))
    assert LAST_PRICES in backtest["notes"]
    run = document(quantd(tmp_path, "run", "--json", "--quiet"))
    assert run["digest"] == backtest["digest"]
    study = document(quantd(tmp_path, "study", "rebalance", "--cost", "10", "--json"))
    part = document(quantd(tmp_path, "study", "rebalance", "--cost", "10", "--json", "--to", "2024-03-01"))
    assert [row["rule"] for row in part["rows"]] == [row["rule"] for row in study["rows"]]
    assert part["rows"][0]["total_return"] != study["rows"][0]["total_return"]
    assert study["last_prices"] == LAST_PRICES
    page = tmp_path / "page.html"
    quantd(tmp_path, "report", "--out", str(page))
    report = json.loads(page.with_suffix(".json").read_text())
    span = next(span for span in report["spans"] if span["name"] == "all")
    assert span["sharpe"] == pytest.approx(backtest["performance"]["sharpe"])
    assert report["header"]["returns"] == LAST_PRICES
    assert LAST_PRICES in page.read_text()
    measured = report["assessment"]["sharpe"]
    assert measured == pytest.approx(span["sharpe"])  # a year of samples is all there is
    equity = [
        float(row.split(",")[1]) for row in quantd(tmp_path, "report", "--export", "equity").stdout.splitlines()[1:]
    ]
    returns = np.diff(equity) / equity[:-1]
    of_the_rows = (returns.mean() - RISK_FREE_ANNUAL / 252) / returns.std(ddof=1) * 252**0.5
    assert of_the_rows == pytest.approx(span["sharpe"]), "the exported rows have the printed ratio"


@pytest.mark.long
def test_house_and_its_only_agent_have_one_ratio_in_a_report(tmp_path: Path) -> None:
    text = CONFIG.replace("start = 2022-12-14", "start = 2024-01-02").replace('"min_variance"', '"equal_weight"')
    (tmp_path / "config.toml").write_text(text + f'[quantd]\nname = "one"\nstate = "{tmp_path}/state"\n')
    run = api.backtest(tmp_path / "config.toml", compare=False)
    report = json.loads(run.report(tmp_path / "report.json").read_text())
    house, alone = ([account["name"] for account in report["accounts"]].index(name) for name in ("house", "even"))
    of = {metric["name"]: metric["values"] for metric in report["metrics"]}
    assert LAST_PRICES in report["notes"]
    for name in ("sharpe", "volatility", "max_drawdown", "total_return"):
        assert of[name][alone] == pytest.approx(of[name][house], rel=1e-9), name
    assert of["sharpe"][house] == pytest.approx(run.verdict.performance.sharpe)
    assert run.attribution.total == pytest.approx(of["total_return"][house])
    books = run.books.group_by("ts", maintain_order=True).agg(pl.col("equity").sum())
    np.testing.assert_allclose(books["equity"].to_numpy(), run.equity["equity"].to_numpy(), rtol=1e-9)


def test_on_one_calendar_both_views_are_equal(tmp_path: Path) -> None:
    assembly = assembled(tmp_path, SHARED.replace(', "BTC-USD"]', "]"))
    count = 0

    def look(view: View) -> None:
        nonlocal count
        np.testing.assert_array_equal(view.synchronous(252), view.returns(252))
        count += 1

    watched(assembly, look)
    assert count == 514
