"""An outside agent as a LangGraph: one node reads the market, one decides, one turns the decision into weights.

    pip install langgraph
    quantd backtest --config examples/agents/langgraph.toml --rename

`decide` is a rule here, so that the example needs no key and gives the same answer twice. A chat model goes into its
place: give it `state["facts"]` as text, and read its choice of symbols from the reply.
"""

import json
import math
import sys
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph


class State(TypedDict, total=False):
    question: dict[str, Any]
    facts: dict[str, dict[str, float]]
    chosen: list[str]
    weights: dict[str, float]


def read(state: State) -> State:
    """Return and volatility of each symbol over the question's samples."""
    question, facts = state["question"], {}
    for column, symbol in enumerate(question["symbols"]):
        changes = [row[column] or 0.0 for row in question["returns"]]
        mean = sum(changes) / len(changes)
        facts[symbol] = {
            "return": math.prod(1.0 + change for change in changes) - 1.0,
            "volatility": math.sqrt(sum((change - mean) ** 2 for change in changes) / len(changes)),
        }
    return {"facts": facts}


def decide(state: State) -> State:
    """The symbols that rose, per unit of volatility the best two. This is the place of a chat model."""
    facts = state["facts"]
    rose = [symbol for symbol in facts if facts[symbol]["return"] > 0.0 and facts[symbol]["volatility"] > 0.0]
    return {"chosen": sorted(rose, key=lambda symbol: -facts[symbol]["return"] / facts[symbol]["volatility"])[:2]}


def weigh(state: State) -> State:
    """Weights by inverse volatility among the chosen symbols, at most half of the book in each; 0 sells the others."""
    inverse = {symbol: 1.0 / state["facts"][symbol]["volatility"] for symbol in state["chosen"]}
    whole = sum(inverse.values())
    shares = {symbol: round(min(0.5, each / whole), 4) for symbol, each in inverse.items()}
    return {"weights": {symbol: shares.get(symbol, 0.0) for symbol in state["facts"]}}


graph = StateGraph(State)
for step in (read, decide, weigh):
    graph.add_node(step.__name__, step)
graph.add_edge(START, "read")
graph.add_edge("read", "decide")
graph.add_edge("decide", "weigh")
graph.add_edge("weigh", END)
agent = graph.compile()

for line in sys.stdin:
    question = json.loads(line)
    weights = agent.invoke({"question": question})["weights"]
    print(json.dumps({"id": question["id"], "weights": weights, "reason": "langgraph"}), flush=True)  # noqa: T201
