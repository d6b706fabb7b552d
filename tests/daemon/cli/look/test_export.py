"""`quantd report --export` from outside: columns, and fills that rebuild the account."""

import csv
import io
import json
from collections import defaultdict
from decimal import Decimal
from fractions import Fraction

from tests.support.command_line import quantd


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


def test_the_sums_of_gains_are_those_of_an_own_fold_of_the_fills(ran):
    folder, _ = ran
    for gains, fills, book in (
        ("gains", "fills", lambda _: "account"),
        ("agent-gains", "agent-fills", lambda f: f["agent"]),
    ):
        rows = rows_of(folder, gains)
        sums = {(row["book"], row["symbol"]): row for row in rows if row["kind"] == "sum"}
        oracle = average_cost(rows_of(folder, fills), lambda fill, book=book: (book(fill), fill["symbol"]))
        assert sums.keys() == oracle.keys()
        for key, row in sums.items():
            # each sale rounds its average cost and its part of a fee down to a micro
            for name, amount in zip(("cost", "proceeds", "realised"), oracle[key], strict=True):
                assert abs(Fraction(row[name]) - amount) < Fraction("0.0005"), (key, name)
            for name in ("cost", "proceeds", "gain", "fees", "realised"):
                lots = [Decimal(one[name]) for one in rows if (one["book"], one["symbol"]) == key and one["term"]]
                assert sum(lots) == Decimal(row[name])
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
