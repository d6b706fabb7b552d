"""Settings of the networks of PPO and A2C. This module imports no torch."""

from typing import Literal

import msgspec

from quantd.training.networks.sizes import Layout, Sizes

Simplex = Literal["softmax_gaussian", "dirichlet"]


class NetworkPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Network settings; the default is an MLP of 256 and 256 with LayerNorm.

    Raises ValueError for `hidden` without widths, for a width below 1, and for an LSTM with more than one width in
    `hidden`.
    """

    network: Literal["mlp", "lstm", "transformer", "shared"] = "mlp"
    """A shared network scores each asset by the same parameters."""
    gains: bool = False
    """Whether each asset of a shared network multiplies its market entries by learned factors of its own."""
    hidden: tuple[int, ...] = (256, 256)
    """Widths of layers; an LSTM has one, and a transformer has its own sizes."""
    transformer: Sizes = Sizes()
    layout: Layout | None = None
    """Position of the market in an observation, required by a transformer and a shared network."""
    simplex: Simplex = "softmax_gaussian"
    log_spread: float = 0.0
    """Initial logarithm of the standard deviation of each coordinate of Gaussian actions."""
    bfloat16: bool = False
    """Products of the MLP's trunk in bfloat16: faster for large minibatches, with processor support."""

    def __post_init__(self) -> None:
        if not self.hidden or min(self.hidden) < 1 or (self.network == "lstm" and len(self.hidden) != 1):
            raise ValueError(f"hidden {list(self.hidden)}: widths must be 1 or more, and just one for an lstm")
