"""Short forms of the daemon's answers for a language model, which pays for each character.

A list of records is a table: its first row has the names of the columns. What is empty is left out. The API has the
whole answers.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from quantd.trading.display_text import instant_text

Document = dict[str, Any]

NEAR: Final = 6
"""Most limits of a standing, those nearest to their bounds."""

REASON_CHARS: Final = 200
"""Longest text of a sender in an explanation."""


def table(records: Iterable[Mapping[str, Any]], *columns: str) -> list[list[Any]]:
    """The records as rows after a row with the names of the columns; empty without records."""
    rows = [[number(record.get(column)) for column in columns] for record in records]
    return [list(columns), *rows] if rows else []


def number(value: Any) -> Any:
    """A float with five digits, which are enough to decide; any other value unchanged."""
    return float(f"{value:.5g}") if isinstance(value, float) else value


def filled(**fields: Any) -> Document:
    """The fields that have a value."""
    return {key: number(value) for key, value in fields.items() if value not in (None, "", [], {}, False)}


def picked(document: Mapping[str, Any], *keys: str) -> Document:
    """The fields of a document that have one of the keys and a value."""
    return filled(**{key: document.get(key) for key in keys})


def standing(document: Mapping[str, Any]) -> Document:
    """The standing of a book: positions, the limits that are nearest, and the room of each symbol."""
    limits = sorted((row for row in document["limits"] if row["use"] is not None), key=lambda row: -row["use"])
    switch = {} if document["switch"] == "RUN" else picked(document, "switch_reason")
    return (
        picked(document, "time", "mode", "book", "equity", "cash", "switch", "house_switch", "open_orders")
        | switch
        | filled(seat="" if document["seat"] == document["book"] else document["seat"])
        | filled(
            positions=table(document["positions"], "symbol", "qty", "weight", "target"),
            limits=table(limits[:NEAR], "limit", "value", "bound"),
            room=room(document["room"]),
            challenges=table(document["challenges"], "champion", "challenger", "samples", "needed", "looks", "p"),
        )
    )


def room(rows: Iterable[Mapping[str, Any]]) -> list[list[Any]]:
    """The largest orders of symbols, with the owner and the code of the limit that stops more."""
    lines = []
    for row in rows:
        buy, sell = row["buy"], row["sell"]
        by = {name: f"{side['by']} {side['reason']}".strip() for name, side in (("buy_by", buy), ("sell_by", sell))}
        lines.append({"symbol": row["symbol"], "price": row["price"], "buy": buy["qty"], "sell": sell["qty"]} | by)
    return table(lines, "symbol", "price", "buy", "buy_by", "sell", "sell_by")


def answer(document: Mapping[str, Any]) -> Document:
    """The answer to a preview or a proposal: the verdict, the orders, and what was cut or skipped."""
    verdict, trades = document["verdict"], document.get("trades") or {}
    costs = trades.get("commission", 0.0) + trades.get("slippage", 0.0)
    skipped = [line for line in verdict["symbols"] if line["outcome"] == "skipped"]
    return filled(
        verdict=picked(verdict, "id", "mode", "outcome", "text"),
        repeated=document["repeated"],
        orders=table(trades.get("orders", ()), "symbol", "side", "qty", "limit"),
        cuts=table(verdict["cuts"], "symbol", "side", "asked", "allowed", "by", "reason"),
        skipped=table(skipped, "symbol", "text"),
        expected=picked(document.get("expected") or {}, "expected_return", "volatility", "sharpe")
        if document["preview"]
        else {},
        value=trades.get("value"),
        costs=costs,
        plan=document["plan"] if document["preview"] else "",
        decision=document["decision"],
        **picked(trades, "crossed", "cancels", "waits"),
    )


def proposals(document: Mapping[str, Any]) -> Document:
    """The newest proposals with their outcomes."""
    return {"proposals": table(document["proposals"], "id", "time", "outcome", "text", "reason")}


def ended(document: Mapping[str, Any]) -> Document:
    """What became of a proposal and of its orders."""
    passed = document["outcome"] == "passed"
    return picked(document, "id", "outcome", "time", "waits") | filled(
        text="" if passed else document["text"],
        ended=True if document["ended"] else "no",
        orders=table(document["orders"], "symbol", "qty", "filled", "price", "state"),
    )


def events(document: Mapping[str, Any]) -> Document:
    """Events of a book, and `next` for later ones."""
    rows = table(document["events"], "time", "kind", "symbol", "text")
    return {"next": document["next"]} | filled(events=rows, more=document["more"])


def calendar(document: Mapping[str, Any]) -> Document:
    """The present market time and the coming sessions."""
    keys = "time", "zone", "interval", "status", "next_sample"
    return picked(document, *keys) | {
        "open": document["open"], "sessions": table(document["sessions"], "date", "open", "close"),
    }  # fmt: skip


def bars(documents: Sequence[Mapping[str, Any]]) -> Document:
    """Bars of symbols, oldest first; `time` is the end of a bar in UTC."""
    columns = "time", "open", "high", "low", "close"
    return {
        document["symbol"]: table(
            ({**bar, "time": minute(bar["ts"])} for bar in document["bars"]), *columns
        )
        for document in documents
    }  # fmt: skip


def minute(ts: int) -> str:
    """An instant in ns UTC as text, to the minute."""
    return instant_text(ts)[:16]


def why(document: Mapping[str, Any]) -> Document:
    """Why an order was made or not: who asked, what limits cut, and the largest size that would have passed."""
    parts = [
        picked(part, "agent", "wanted", "had", "asked", "allowed", "kept") | {"because": part["because"][:REASON_CHARS]}
        for part in document["agents"]
    ]
    stages = [(part["agent"], part) for part in document["agents"]]
    stages.append(("house", {**document, "asked": document["net"]}))
    cuts = [{"by": by, **stage} for by, stage in stages if stage["asked"] != stage["allowed"] or stage["reason"]]
    largest = next((part["largest"] for part in (document, *document["agents"]) if part["largest"]), None)
    keys = "address", "order", "symbol", "state", "side", "qty", "limit", "note", "time", "price", "shadow", "cancelled"
    return picked(document, *keys) | filled(
        asked_by=table(parts, "agent", "wanted", "had", "asked", "allowed", "because"),
        cuts=table(cuts, "by", "asked", "allowed", "reason", "text"),
        largest=None if largest is None else picked(largest, "side", "qty", "reason", "text"),
        fills=table(document["fills"], "time", "qty", "price"),
        text="" if cuts or document["order"] else next((part["text"] for part in document["agents"]), ""),
        more="call again with detail = true for every limit",
    )
