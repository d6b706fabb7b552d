"""What an exception of ccxt means for what was asked: one table, by the name of its class."""

from enum import Enum
from typing import Final


class Outcome(Enum):
    """What became of a request. Whether an order was accepted is known for all but UNKNOWN."""

    REFUSED = "the venue says no"
    AGAIN = "nothing was accepted; the same may be asked again after a while"
    UNKNOWN = "nobody knows: it may have been accepted"
    NOT_FOUND = "the venue does not know the order that was named"
    TAKEN = "the venue has it already"
    DENIED = "the key is wrong, or may not do this"


OUTCOMES: Final[dict[str, Outcome]] = {
    "BaseError": Outcome.UNKNOWN,
    # the exchange read the request and answered that it will not
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
    # who asks is not let in
    "AuthenticationError": Outcome.DENIED,
    "PermissionDenied": Outcome.DENIED,
    "AccountNotEnabled": Outcome.DENIED,
    "AccountSuspended": Outcome.DENIED,
    # turned away at the door
    "RateLimitExceeded": Outcome.AGAIN,
    "DDoSProtection": Outcome.AGAIN,
    # requests that overtook each other on the way; the exchange reads nothing but the first line
    "InvalidNonce": Outcome.AGAIN,
    # no answer, or one that says nothing. ccxt has these for a closed connection, a time-out and every 5xx alike, and all
    # of them also happen after an order was accepted; maintenance too, which some exchanges say with a bare 503
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
    """An answer that is not what was agreed: cut off, or somebody else's page."""


def outcome(error: BaseException, refusals: tuple[str, ...] = ()) -> Outcome:
    """What an exception means, by its class or the nearest one above it; UNKNOWN for any that ccxt does not name.
    `refusals` are an exchange's own words for a no, whatever class ccxt gives them."""
    import aiohttp  # not above: the record of ccxt is read at each start

    if isinstance(error.__cause__, (aiohttp.ClientError, OSError, TimeoutError)):
        # ccxt calls a connection lost in the middle of an answer an ExchangeError
        return Outcome.UNKNOWN
    if any(words in str(error) for words in refusals):
        return Outcome.REFUSED
    for kind in type(error).__mro__:
        if kind.__name__ in OUTCOMES and kind.__module__.startswith("ccxt"):
            return OUTCOMES[kind.__name__]
    return Outcome.UNKNOWN
