"""`quantd report --export` from outside: columns, and fills that rebuild the account."""

import csv
import io
from decimal import Decimal

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
