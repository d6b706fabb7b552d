"""`quantd report --export` from outside: columns, and fills that rebuild the account."""

import csv
import io
import json
from collections import defaultdict
from decimal import Decimal
from fractions import Fraction

import pytest

from tests.support.checkout import ROOT
from tests.support.command_line import CONFIG, one_agent, quantd, write


def test_the_account_can_be_rebuilt_from_the_exported_fills(ran):
    folder, run = ran
    fills = list(csv.DictReader(io.StringIO(quantd(folder, "report", "--export", "fills").stdout)))
    assert list(fills[0]) == ["ts", "order", "symbol", "side", "qty", "price", "fee", "agent"]
    held = {}
    for fill in fills:
        side = 1 if fill["side"] == "buy" else -1
        held[fill["symbol"]] = held.get(fill["symbol"], 0) + side * Decimal(fill["qty"])
        assert fill["ts"].endswith("Z")
    assert {s: str(q) for s, q in held.items() if q} == run["positions"]
    assert len(fills) == run["fills"]
    shares = list(csv.DictReader(io.StringIO(quantd(folder, "report", "--export", "agent-fills").stdout)))
    assert {row["agent"] for row in shares} == {"even", "trend"}


def test_orders_and_equity_are_exported_with_their_columns(ran):
    folder, run = ran
    orders = list(csv.reader(io.StringIO(quantd(folder, "report", "--export", "orders").stdout)))
    assert orders[0] == ["ts", "order", "symbol", "side", "qty", "limit", "state", "price", "fee", "reason", "agent"]
    assert len(orders) - 1 == run["orders"]
    fills = list(csv.DictReader(io.StringIO(quantd(folder, "report", "--export", "fills").stdout)))
    one = {fill["order"]: (fill["price"], fill["fee"]) for fill in fills}
    assert len(one) == len(fills) > 0, "each order fills at once here, so that its mean price is that of its fill"
    assert {row[1]: (row[7], row[8]) for row in orders[1:] if row[6] == "filled"} == one
    done = quantd(folder, "report", "--export", "equity", "--out", "e.csv")
    assert done.returncode == 0
    rows = list(csv.DictReader((folder / "e.csv").open()))
    assert list(rows[0]) == ["ts", "equity", "cash", "gross", "limit_drawdown"]
    assert Decimal(rows[-1]["equity"]) == Decimal(run["equity"])


@pytest.mark.parametrize("period", [("--from", "2030-01-01"), ("--to", "2010-01-01")])
def test_a_period_without_a_sample_is_named(ran, period):
    folder, run = ran
    for what in ("fills", "equity"):
        done = quantd(folder, "report", "--export", what, *period)
        assert done.stdout.count("\n") == 1
        assert f"no sample is in this period: the record of run {run['run']} is of " in done.stderr
    assert "no sample" not in quantd(folder, "report", "--export", "fills").stderr


def test_an_order_without_a_limit_price_has_none(tmp_path):
    write(
        tmp_path,
        one_agent(["SPY", "QQQ"], path=f"{ROOT}/data/us_daily.parquet", feed="start = 2012-01-03\nend = 2012-03-30"),
    )
    assert quantd(tmp_path, "backtest", "--journal", "--no-compare").returncode == 0
    stored = ("--state", "state/backtests")
    assert {row["limit"] for row in rows_of(tmp_path, "orders", *stored)} == {""}
    (listed,) = json.loads(quantd(tmp_path, "orders", "--last", "1", "--json", *stored).stdout)["orders"]
    assert listed["limit"] == ""


def rows_of(folder, what, *more):
    done = quantd(folder, "report", "--export", what, *more)
    assert done.returncode == 0, done.stderr
    return list(csv.DictReader(io.StringIO(done.stdout)))


def average_cost(fills, key):
    """An own fold of exported fills without short positions -> (cost, proceeds, realised) of what was sold, by key."""
    held, sums = defaultdict(lambda: [Fraction(0), Fraction(0), Fraction(0)]), defaultdict(lambda: [Fraction(0)] * 3)
    for fill in fills:
        position = held[key(fill)]
        qty, price, fee = (Fraction(fill[name]) for name in ("qty", "price", "fee"))
        if fill["side"] == "buy":
            position[:] = position[0] + qty, position[1] + qty * price, position[2] + fee
            continue
        part = qty / position[0]
        cost, fees = position[1] * part, position[2] * part
        position[:] = position[0] - qty, position[1] - cost, position[2] - fees
        amounts = cost + fees, qty * price - fee, qty * price - cost
        sums[key(fill)] = [total + amount for total, amount in zip(sums[key(fill)], amounts, strict=True)]
    return sums


def first_in_first_out(fills, key):
    """The same of the lots themselves, the oldest first -> (cost, proceeds, cost by day of purchase)."""
    held, sums = defaultdict(list), defaultdict(lambda: [Fraction(0), Fraction(0), defaultdict(Fraction)])
    for fill in fills:
        lots, (qty, price, fee) = held[key(fill)], (Fraction(fill[name]) for name in ("qty", "price", "fee"))
        if fill["side"] == "buy":
            lots.append([fill["ts"][:10], qty, price + fee / qty])
            continue
        sums[key(fill)][1] += qty * price - fee
        while qty:
            day, size, paid = lots[0]
            part = min(qty, size)
            sums[key(fill)][0] += part * paid
            sums[key(fill)][2][day] += part * paid
            qty, lots[0][1] = qty - part, size - part
            if part == size:
                del lots[0]
    return sums


@pytest.fixture(scope="module")
def carried(tmp_path_factory):
    """The account of a run, carried in March into a run with one more symbol and another third agent -> its folder."""
    folder = tmp_path_factory.mktemp("carried")
    third = '[[agents]]\nname = "third"\npolicy = "equal_weight"\ncapital = 0.1\n'
    idle = third.replace("third", "idle").replace("equal_weight", "hold")
    write(folder, CONFIG.replace("end = 2019-03-29", "end = 2019-03-14") + idle)
    assert quantd(folder, "run", "--quiet").returncode == 0
    later = CONFIG.replace('["SPY", "QQQ", "IWM"]', '["BAC", "IWM", "SPY", "QQQ"]')
    later = later.replace("start = 2019-01-02", "start = 2019-03-15").replace("end = 2019-03-29", "end = 2019-06-28")
    write(folder, later + third)
    assert quantd(folder, "run", "--quiet", "--carry").returncode == 0
    return folder


@pytest.mark.parametrize("cost", ["average", "fifo"])
def test_the_sums_of_gains_are_those_of_an_own_fold_of_the_fills(carried, cost):
    folder = carried
    for gains, fills, book in (
        ("gains", "fills", lambda _: "account"),
        ("agent-gains", "agent-fills", lambda f: f["agent"]),
    ):
        rows = rows_of(folder, gains, "--cost", cost)
        sums = {(row["book"], row["symbol"]): row for row in rows if row["kind"] == "sum"}
        trades = rows_of(folder, fills), lambda fill, book=book: (book(fill), fill["symbol"])
        average, first_out = average_cost(*trades), first_in_first_out(*trades)
        assert sums.keys() == average.keys()
        bought = defaultdict(Fraction)
        for row in rows:
            bought[row["book"], row["symbol"], row["bought"]] += Fraction(row["cost"]) if row["term"] else 0
        for key, row in sums.items():
            # each sale rounds its cost and its part of a fee down to a micro
            expected = (first_out if cost == "fifo" else average)[key][:2]
            for name, amount in zip(("cost", "proceeds", "realised"), (*expected, average[key][2]), strict=True):
                assert abs(Fraction(row[name]) - amount) < Fraction("0.0005"), (key, name)
            for day, amount in first_out[key][2].items():
                assert abs(bought[*key, day] - amount) < Fraction("0.0005") or cost == "average", (key, day)
            for name in ("cost", "proceeds", "gain", "fees", "realised"):
                lots = [Decimal(one[name]) for one in rows if (one["book"], one["symbol"]) == key and one["term"]]
                assert sum(lots) == Decimal(row[name])
    assert {row["method"] for row in rows} == {"average cost" if cost == "average" else "first in, first out", ""}
    assert {row["term"] for row in rows} == {"short", ""}
    assert sum(Decimal(row["proceeds"]) for row in rows if row["kind"] == "dividend") > 0


def test_a_closing_adds_up_by_row_and_by_book_and_continues_the_one_before(ran):
    folder, run = ran
    amounts = ("deposits", "moved", "realised", "unrealised", "dividends", "interest", "borrow", "fees")
    months = [("2019-01-01", "2019-01-31"), ("2019-02-01", "2019-02-28"), ("2019-03-01", "2019-03-31")]
    closings = [rows_of(folder, "closing", "--from", first, "--to", last) for first, last in months]
    for rows in closings:
        books = {row["book"]: row for row in rows if not row["symbol"]}
        for row in books.values():
            assert Decimal(row["opening"]) + sum(Decimal(row[name]) for name in amounts) == Decimal(row["closing"])
        account = books.pop("account")
        for name in ("opening", *amounts, "closing", "cash"):
            assert sum(Decimal(row[name]) for row in books.values()) == Decimal(account[name])
        for book, row in books.items():
            positions = [one for one in rows if one["symbol"] and one["book"] == book]
            assert sum(Decimal(one["value"]) for one in positions) + Decimal(row["cash"]) == Decimal(row["closing"])
    one, two, three = ({row["book"]: row for row in rows if not row["symbol"]} for rows in closings)
    assert [row["opening"] for row in two.values()] == [row["closing"] for row in one.values()]
    assert three["account"]["closing"] == run["equity"]
    equity = {row["ts"]: row["equity"] for row in rows_of(folder, "equity")}
    assert equity[two["account"]["ts"]] == two["account"]["closing"]
    realised = defaultdict(Decimal)
    for row in rows_of(folder, "agent-gains", "--from", "2019-02-01", "--to", "2019-02-28"):
        realised[row["book"]] += Decimal(row["realised"] or 0) if row["kind"] == "sum" else 0
    assert {book: Decimal(two[book]["realised"]) for book in realised} == realised
    document = json.loads(quantd(folder, "report", "--export", "closing", "--from", "2019-03-01", "--json").stdout)
    assert document["rows"] == closings[2]
    none = quantd(folder, "report", "--export", "closing", "--from", "2021-01-01")
    assert (none.returncode, "no sample between" in none.stderr) == (1, True)


def test_exports_go_through_a_carry_over_and_name_a_period_that_begins_before_the_account(carried):
    half_year, *parts = (
        {row["book"]: row for row in rows_of(carried, "closing", "--from", first, "--to", last) if not row["symbol"]}
        for first, last in (
            ("2019-01-02", "2019-06-30"), ("2019-01-02", "2019-02-28"), ("2019-03-01", "2019-03-31"),
            ("2019-04-01", "2019-06-30"),
        )
    )  # fmt: skip
    amounts = ("deposits", "moved", "realised", "unrealised", "dividends", "interest", "borrow", "fees")
    assert half_year.keys() == {"even", "trend", "idle", "third", "account"}
    for book, row in half_year.items():
        assert Decimal(row["opening"]) + sum(Decimal(row[name]) for name in amounts) == Decimal(row["closing"])
        for name in amounts:
            assert sum(Decimal(part[book][name]) for part in parts if book in part) == Decimal(row[name]), (book, name)
    assert (half_year["account"]["opening"], Decimal(half_year["account"]["moved"])) == ("100000.00", 0)
    assert Decimal(half_year["third"]["moved"]) == -Decimal(half_year["idle"]["moved"]) == 10_000
    march = {
        row["ts"]: row["equity"] for row in rows_of(carried, "equity", "--from", "2019-02-28", "--to", "2019-03-31")
    }
    days = list(march)
    assert len({day[:10] for day in days}) == len(days) == 22, "each session once, of both runs"
    assert [parts[1]["account"][name] for name in ("opening", "closing")] == [march[days[0]], march[days[-1]]]
    gains = rows_of(carried, "gains", "--from", "2019-03-15")
    assert {row["bought"] < "2019-03-15" for row in gains if row["bought"]} == {True, False}
    runs = {row["order"].split("-")[1]: row["ts"][:7] for row in rows_of(carried, "orders")}
    assert sorted(runs.values()) == ["2019-03", "2019-06"]
    done = quantd(carried, "report", "--export", "fills", "--from", "2018-12-31", "--out", "f.csv")
    first, second = sorted(runs, key=runs.__getitem__)
    assert f"--from 2018-12-31 is before the record of this account: run {first} begins on 2019-01-02" in done.stderr
    assert (done.returncode, f"rows of runs {first}, {second}" in done.stdout) == (0, True)
    done = quantd(carried, "report", "--export", "fills", "--cost", "fifo")
    assert (done.returncode, "--cost is the cost of closed lots" in done.stderr) == (2, True)


def test_a_closing_needs_the_market_of_the_runs_of_its_period_alone(carried):
    april = rows_of(carried, "closing", "--from", "2019-04-01", "--to", "2019-04-30")
    first = min((carried / "state" / "configs").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    first.rename(carried / "aside")
    try:
        assert rows_of(carried, "closing", "--from", "2019-04-01", "--to", "2019-04-30") == april
        done = quantd(carried, "report", "--export", "closing", "--from", "2019-03-01")
    finally:
        (carried / "aside").rename(first)
    run = rows_of(carried, "orders")[0]["order"].split("-")[1]
    assert f"run {run}: the recorded market of the run is missing or has changed" in done.stderr
    assert done.returncode == 1
