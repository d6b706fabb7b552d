"""The meaning of ccxt exceptions for a request: one table, by class name."""

from enum import Enum
from typing import Final


class Outcome(Enum):
    """The outcome of a request. Every value except UNKNOWN determines whether an order was accepted."""

    REFUSED = "the venue says no"
    AGAIN = "nothing was accepted; the same may be asked again after a while"
    UNKNOWN = "nobody knows: it may have been accepted"
    NOT_FOUND = "the venue does not know the order that was named"
    TAKEN = "the venue has it already"
    DENIED = "the key is wrong, or may not do this"


OUTCOMES: Final[dict[str, Outcome]] = {
    "BaseError": Outcome.UNKNOWN,
    # the exchange read the request and refused it
    "ExchangeError": Outcome.REFUSED,
    "ArgumentsRequired": Outcome.REFUSED,
    "BadRequest": Outcome.REFUSED,
    "BadSymbol": Outcome.REFUSED,
    "OperationRejected": Outcome.REFUSED,
    "NoChange": Outcome.REFUSED,
    "MarginModeAlreadySet": Outcome.REFUSED,
    "MarketClosed": Outcome.REFUSED,
    "ManualInteractionNeeded": Outcome.REFUSED,
    "RestrictedLocation": Outcome.REFUSED,
    "InsufficientFunds": Outcome.REFUSED,
    "InvalidAddress": Outcome.REFUSED,
    "AddressPending": Outcome.REFUSED,
    "InvalidOrder": Outcome.REFUSED,
    "OrderImmediatelyFillable": Outcome.REFUSED,
    "OrderNotFillable": Outcome.REFUSED,
    "ContractUnavailable": Outcome.REFUSED,
    "NotSupported": Outcome.REFUSED,
    "InvalidProxySettings": Outcome.REFUSED,
    "OrderNotFound": Outcome.NOT_FOUND,
    "OrderNotCached": Outcome.NOT_FOUND,
    "DuplicateOrderId": Outcome.TAKEN,
    "CancelPending": Outcome.TAKEN,
    # the credentials are refused
    "AuthenticationError": Outcome.DENIED,
    "PermissionDenied": Outcome.DENIED,
    "AccountNotEnabled": Outcome.DENIED,
    "AccountSuspended": Outcome.DENIED,
    # refused before it was read
    "RateLimitExceeded": Outcome.AGAIN,
    "DDoSProtection": Outcome.AGAIN,
    # requests overtook each other on the network; the exchange discards one without processing it
    "InvalidNonce": Outcome.AGAIN,
    # No answer, or an answer without information. ccxt raises these for closed connections, time-outs and every 5xx
    # status. All of them can follow an accepted order. Maintenance is included, because some exchanges report it with a
    # bare 503.
    "OperationFailed": Outcome.UNKNOWN,
    "NetworkError": Outcome.UNKNOWN,
    "ExchangeNotAvailable": Outcome.UNKNOWN,
    "OnMaintenance": Outcome.UNKNOWN,
    "ChecksumError": Outcome.UNKNOWN,
    "RequestTimeout": Outcome.UNKNOWN,
    "BadResponse": Outcome.UNKNOWN,
    "NullResponse": Outcome.UNKNOWN,
    "ExchangeClosedByUser": Outcome.UNKNOWN,
    "UnsubscribeError": Outcome.UNKNOWN,
}
"""Every class of ccxt.base.errors."""


class NotWhole(Exception):
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
