"""The meaning of ccxt exceptions for a request: one table, by class name."""

from enum import Enum
from typing import Final


class Outcome(Enum):
    """The outcome of a request. Every value except UNKNOWN determines whether an order was accepted."""

    REFUSED = "the venue refused it"
    AGAIN = "nothing was accepted; it may be repeated after a pause"
    UNKNOWN = "it may have been accepted"
    NOT_FOUND = "the venue does not know the order"
    TAKEN = "the venue has it already"
    DENIED = "the key is wrong, or lacks the permission"


_NAMES: Final = {
    # the exchange read the request and refused it
    Outcome.REFUSED: """
        ExchangeError ArgumentsRequired BadRequest BadSymbol OperationRejected NoChange MarginModeAlreadySet
        MarketClosed ManualInteractionNeeded RestrictedLocation InsufficientFunds InvalidAddress AddressPending
        InvalidOrder OrderImmediatelyFillable OrderNotFillable ContractUnavailable NotSupported InvalidProxySettings
    """,
    Outcome.NOT_FOUND: "OrderNotFound OrderNotCached",
    Outcome.TAKEN: "DuplicateOrderId CancelPending",
    # the credentials are refused
    Outcome.DENIED: "AuthenticationError PermissionDenied AccountNotEnabled AccountSuspended",
    # refused before it was read; an InvalidNonce is of requests that overtook each other on the network
    Outcome.AGAIN: "RateLimitExceeded DDoSProtection InvalidNonce",
    # No answer, or an answer without information: closed connections, time-outs, every 5xx status. All of them can
    # follow an accepted order. Maintenance is included, because some exchanges report it with a bare 503.
    Outcome.UNKNOWN: """
        BaseError OperationFailed NetworkError ExchangeNotAvailable OnMaintenance ChecksumError RequestTimeout
        BadResponse NullResponse ExchangeClosedByUser UnsubscribeError
    """,
}

OUTCOMES: Final = {name: outcome for outcome, names in _NAMES.items() for name in names.split()}
"""Every class of ccxt.base.errors."""


class MalformedAnswer(Exception):
    """An answer of the wrong form: truncated, or a page of another server."""


def outcome(error: BaseException, refusals: tuple[str, ...] = ()) -> Outcome:
    """Classify an exception by its class or the nearest base class; UNKNOWN for any that ccxt does not name.

    `refusals` are an exchange's refusal texts, which take precedence over the class.
    """
    import aiohttp  # not above: the record of ccxt is read at each start

    if isinstance(error.__cause__, (aiohttp.ClientError, OSError, TimeoutError)):
        # ccxt reports a connection lost during an answer as ExchangeError
        return Outcome.UNKNOWN
    if any(words in str(error) for words in refusals):
        return Outcome.REFUSED
    for kind in type(error).__mro__:
        if kind.__name__ in OUTCOMES and kind.__module__.startswith("ccxt"):
            return OUTCOMES[kind.__name__]
    return Outcome.UNKNOWN
