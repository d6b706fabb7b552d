"""What is kept of stops that rest at the venue, beside their orders: whose they are, what waits for them, what was
tried."""

from msgspec import Struct

from quantd.risk.protective import Kind


class Rest(Struct):
    """What the stops of one basket are of, by row: all of `agent`. `stop_nano` are triggers as they are now (a split
    rescales them), `entry` the prices their levels were taken from, `asked` when they were to be cancelled, 0 for
    never: from then on they go, whatever the venue says to it."""

    agent: int
    stop_nano: list[int]
    entry: list[float]
    kind: list[Kind]
    asked: list[int]


class Postponed(Struct):
    """A plan that waits until stops in these `symbols` have ended, as `planning.plan` was asked for it."""

    symbols: list[int]
    answers: dict[int, bytes]
    sample: int
    used: int
    flatten: bool
    lots: dict[int, bytes] | None = None


class Own(Struct):
    """Levels that a person gave one position of an agent, nano-currency, 0 for none; `since` when."""

    agent: int
    symbol: int
    stop_nano: int
    target_nano: int
    since: int


class Retry(Struct):
    """A stop that did not come to rest: how often, and when it is tried again."""

    agent: int
    symbol: int
    times: int
    at: int


class Stops(Struct, frozen=True):
    """All of it: `rests` by basket beside `State.stops`, and the rest in order."""

    rests: list[tuple[tuple[int, int], Rest]] = []
    postponed: list[Postponed] = []
    own: list[Own] = []
    retries: list[Retry] = []
    leaving: bool = False
