"""The meaning of ccxt exceptions for a request: one table, by class name."""

from collections.abc import Callable
from typing import Final

from quantd.adapters.exchange.refusal_words import Outcome, service_class

_NAMES: Final = {
    # an error without a class of its own: an exchange's words that ccxt does not know
    Outcome.STRANGE: "ExchangeError",
    # the exchange read the request and refused it
    Outcome.REFUSED: """
        ArgumentsRequired BadRequest BadSymbol OperationRejected NoChange MarginModeAlreadySet
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


def outcome(error: BaseException, classify: Callable[[str], Outcome | None] | None = None) -> Outcome:
    """Classify an exception by the exchange's own table, else by its class or the nearest base class.

    `own` takes the text of an answer and returns None where it has no error. A refusal whose words are about the
    service is UNKNOWN, and so is an exception that ccxt does not name.
    """
    import aiohttp  # not above: the record of ccxt is read at each start

    if isinstance(error.__cause__, (aiohttp.ClientError, OSError, TimeoutError)):
        # ccxt reports a connection lost during an answer as ExchangeError
        return Outcome.UNKNOWN
    named = next((k for k in type(error).__mro__ if k.__name__ in OUTCOMES and k.__module__.startswith("ccxt")), None)
    if named is None:
        return Outcome.UNKNOWN
    means = OUTCOMES[named.__name__]
    answer = classify(str(error)) if classify is not None else None
    if answer is not None and answer is not Outcome.STRANGE:
        return answer
    if answer is Outcome.STRANGE and means in (Outcome.REFUSED, Outcome.DENIED):
        means = Outcome.STRANGE
    if means in (Outcome.REFUSED, Outcome.STRANGE) and service_class(str(error)):
        return Outcome.UNKNOWN
    return means
