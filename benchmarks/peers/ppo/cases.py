"""The sides and the planted markets of the comparison. This module imports no torch."""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple


class Side(NamedTuple):
    """Who learns: a library, whose network it has, and whose hyper-parameters."""

    library: Literal["quantd", "sb3", "cleanrl"]
    network: Literal["shared", "mlp"]
    """The shared network of quantd's plan; or the library's MLP of 64 and 64."""
    values: Literal["plan", "defaults"]
    """Hyper-parameters and accounts of quantd's plan; or those of the library's authors, in rollouts of their size."""
    simplex: Literal["dirichlet", "softmax_gaussian"] = "softmax_gaussian"


SIDES: Final = {
    "quantd, its plan": Side("quantd", "shared", "plan", "dirichlet"),
    "quantd, softmax of a Gaussian": Side("quantd", "shared", "plan"),
    "SB3, network and values of the plan": Side("sb3", "shared", "plan"),
    "CleanRL, network and values of the plan": Side("cleanrl", "shared", "plan"),
    "quantd, MLP, values of the plan": Side("quantd", "mlp", "plan"),
    "SB3, its MLP, values of the plan": Side("sb3", "mlp", "plan"),
    "CleanRL, its MLP, values of the plan": Side("cleanrl", "mlp", "plan"),
    "SB3, its MLP and values": Side("sb3", "mlp", "defaults"),
    "CleanRL, its MLP and values": Side("cleanrl", "mlp", "defaults"),
}

STOCKS: Final = (
    "AAPL", "AMZN", "BA", "BAC", "COST", "CVX", "GS", "HD", "JNJ", "KO", "MRK", "MSFT", "NEE", "PEP", "PFE", "PG",
    "UPS", "VZ", "WMT", "XOM"
)  # fmt: skip

TWENTY: Final[Mapping[str, object]] = {
    "data.bars": "data/us20_daily.parquet", "data.actions": "data/us20_actions.csv", "data.symbols": list(STOCKS),
    "splits.train.first": "2005-03-01", "splits.train.last": "2010-12-31", "splits.validation.first": "2011-01-03",
    "splits.validation.last": "2011-12-30", "splits.test.first": "2012-01-03", "splits.test.last": "2021-12-30",
}  # fmt: skip


class Scene(NamedTuple):
    """A plan's market with a plant at one cost of one side."""

    text: str
    changes: Mapping[str, object]
    ic: float
    cost_bp: float


SCENES: Final = {
    "five": Scene("five stocks, 2017-18, IC 1, 15 bp", {}, 1.0, 15.0),
    "us20": Scene("20 stocks, 2012-21, IC 0.1, 1 bp", TWENTY, 0.1, 1.0),
}
