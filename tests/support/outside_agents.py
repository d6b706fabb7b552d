"""Outside agents as programs: a momentum agent, one that knows the future, and faulty ones."""

import json
from datetime import date
from pathlib import Path

import polars as pl

from tests.support.checkout import DATA

AGENT = '''"""An outside agent on standard input and output; its first argument is its kind."""
import json, sys, time
kind = sys.argv[1]
future = json.load(open("future.json")) if kind == "planted" else {}

def momentum(question):
    total = [1.0] * len(question["symbols"])
    for row in question["returns"]:
        total = [t * (1.0 + (r or 0.0)) for t, r in zip(total, row)]
    return {question["symbols"][total.index(max(total))]: 0.5}

for line in sys.stdin:
    question = json.loads(line)
    id, weights, end = question["id"], momentum(question), "\\n"
    if kind == "planted":
        known = {s: future.get(s, {}).get(question["time"][:10]) for s in question["symbols"]}
        if None not in known.values():
            best = max(known, key=known.get)
            weights = {best: 0.5} if known[best] > 0 else {}
    if kind == "noisy":
        draw = int(id[:8], 16)
        weights = weights if draw % 2 else {question["symbols"][draw // 2 % 3]: 0.5}
    if kind == "slow":
        time.sleep(0.05)
    if kind == "hang":
        time.sleep(60)
    if kind == "garbage":
        print("thinking ...", flush=True)
    if kind == "endless":
        for _ in range(1600):
            sys.stdout.write("x" * 65536)
    if kind == "list":
        print("[" * 100000, flush=True)
    if kind == "nan":
        print('{"id": "%s", "weights": {"SPY": NaN}}' % id, flush=True)
    if kind == "huge":
        print('{"id": "%s", "weights": {"SPY": 1e999}}' % id, flush=True)
    if kind == "unknown":
        weights = {"SPYX": 0.5}
    if kind == "sum":
        weights = {"SPY": 0.8, "QQQ": 0.8}
    if kind == "short":
        weights = {"SPY": -0.5}
    if kind == "other":
        id = "0" * 40
    if kind == "two":
        end = "\\n{}\\n"
    if kind == "dies":
        sys.exit("no credit left")
    print(json.dumps({"id": id, "weights": weights, "reason": kind}), end=end, flush=True)
'''


def future_returns(symbols: tuple[str, ...], first: date, last: date) -> str:
    """JSON of the return to the next close by symbol and date."""
    frame = pl.read_parquet(DATA / "us_daily.parquet").filter(pl.col("symbol").is_in(symbols)).sort("ts")
    returns: dict[str, dict[str, float]] = {}
    for symbol in symbols:
        bars = frame.filter(pl.col("symbol") == symbol)
        days, closes = bars["ts"].dt.date().to_list(), bars["close"].to_list()
        returns[symbol] = {
            str(day): after / close - 1.0
            for day, close, after in zip(days, closes, closes[1:], strict=False)
            if first <= day <= last
        }
    return json.dumps(returns)


def agent_in(folder: Path) -> None:
    """Write the program of the agents, and the future."""
    (folder / "agent.py").write_text(AGENT)
    (folder / "future.json").write_text(future_returns(("SPY", "QQQ", "IWM"), date(2019, 1, 1), date(2019, 12, 31)))
