"""The description of a broker as data (`Venue`), and the data with which a broker is opened (`Login`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from quantd.adapters.plugins import Option
from quantd.trading.instruments import Universe


@dataclass(frozen=True, slots=True)
class Login:
    """The account with which a broker is opened, and the address of its venue.

    `url` replaces the venue's standard address, and `venue` is the exchange of ccxt. Without `live` the venue's sandbox
    is used. The client ids of orders are derived from `run`.
    """

    universe: Universe
    run: str
    secrets: Mapping[str, str] = field(repr=False)
    live: bool = False
    url: str = ""
    venue: str = ""
    timeout_s: float = 10.0
    settle_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Venue:
    """A broker as data. Its module imports neither the venue's library nor another heavy package.

    Three fields name functions, as "module:function", which take a Login. The function of `broker` returns a
    `quantd.trading.ports.Broker` and raises VenueError; the field is empty for a simulated venue. The function of
    `may_withdraw` is async and returns whether the key may withdraw, or None if the venue does not report it. The
    function of `account_exit` returns an AccountExit, for `quantd emergency`. `key` is the name of the secret that
    identifies the account. `paper_url` and `live_url` are the venue's addresses. `coin_fee_bp` is the highest fee in
    basis points that the venue deducts at a trade of a pair, from the bought coin or the money received, and lists only
    later. `rounding_micro` is the difference in cash, in micro-currency, that comes of its fees in finer units, which
    the books round one by one. `stops_at` are the exchanges that accept stop orders, None for all. `exchanges` are
    those at which orders are sent, None where the kind is one venue. `module` is the Python module that must
    be installed, by the extra `extra` of quantd.
    """

    kind: str
    broker: str = ""
    may_withdraw: str = ""
    account_exit: str = ""
    key: str = ""
    options: tuple[Option, ...] = ()
    secrets: Mapping[str, str] = field(default_factory=dict)
    paper_url: str = ""
    live_url: str = ""
    coin_fee_bp: float = 0.0
    rounding_micro: int = 0
    stops_at: tuple[str, ...] | None = None
    exchanges: tuple[str, ...] | None = None
    module: str = ""
    extra: str = ""
