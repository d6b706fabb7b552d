"""Policies that hold: always, or until target weights come from an outside agent, which a backtest asks."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Final

from msgspec import Meta, Struct

from quantd.strategies.policies.params import Lookback
from quantd.strategies.policies.record import record
from quantd.trading.market import Floats
from quantd.trading.view import HOLD, Hold, Memory, View

AskAgent = Callable[[View], Floats | Hold]
"""Asks the agent one question, and returns its checked weights."""

ASKED: Final = "asked"
"""Name of the policy of an outside agent that a backtest asks."""


class OutsideParams(Struct, frozen=True):
    """How a backtest asks an outside agent: by a `command` or at an `address`, with `timeout_s` seconds for an answer.

    `model` and the content of the file `prompt` are parts of the key under which an answer is stored. A question has
    the returns of `lookback` samples. Raises ValueError where both `command` and `address` are set.
    """

    command: tuple[str, ...] = ()
    address: Annotated[str, Meta(pattern=r"^(https?://[^\s]+)?$")] = ""
    model: Annotated[str, Meta(max_length=200)] = ""
    prompt: str = ""
    lookback: Lookback = 60
    timeout_s: Annotated[float, Meta(gt=0.0, le=3600.0)] = 60.0

    def __post_init__(self) -> None:
        if self.command and self.address:
            raise ValueError("command and address are both given; a backtest asks one of them, so remove the other")


class NoParams(Struct, frozen=True):
    """Parameters of the policies `hold` and `targets`: there are none."""


@dataclass(frozen=True, slots=True)
class HoldAll:
    """A policy that never trades; a book that starts in cash stays in cash."""

    lookback: ClassVar[int] = 1

    def act(self, view: View, memory: Memory) -> tuple[Hold, Memory]:
        return HOLD, memory


@dataclass(frozen=True, slots=True)
class Proposing:
    """The policy of an outside agent in a daemon: it holds until a proposal arrives.

    In a backtest, an agent without a command or an address cannot be asked, and this policy always holds.
    """

    params: OutsideParams
    lookback: int = 1

    def act(self, view: View, memory: Memory) -> tuple[Hold, Memory]:
        return HOLD, memory


@dataclass(slots=True)
class OutsidePolicy:
    """The policy of an outside agent in a backtest, which holds until the backtest sets the function `ask`."""

    params: OutsideParams
    ask: AskAgent | None = field(default=None)

    @property
    def lookback(self) -> int:
        """The number of samples of returns that the outside agent may read (parameter `lookback`)."""
        return self.params.lookback

    def act(self, view: View, memory: Memory) -> tuple[Floats | Hold, Memory]:
        """Implements `Policy.act`: the outside agent's weights; HOLD before `ask` is set.

        Raises the errors of `ask`.
        """
        return (HOLD if self.ask is None else self.ask(view)), memory


RECORDS: Final = (
    record("hold", NoParams, lambda _: HoldAll()),
    # a book whose targets come as events, from a portfolio's rebalance: between them it holds
    record("targets", NoParams, lambda _: HoldAll()),
    record("external", OutsideParams, Proposing),
    record(ASKED, OutsideParams, OutsidePolicy),
)
