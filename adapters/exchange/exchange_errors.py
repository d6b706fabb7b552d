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
    """An answer has the wrong form: it is truncated, or a page of another server."""


class Incomplete(Exception):
    """A list of the exchange has more pages than are read: what is not in the pages read may exist."""

    def __init__(self, pages: int) -> None:
        super().__init__(f"the list has more than {pages} pages, and the rest was not read")


def outcome(error: BaseException, classify: Callable[[str], Outcome | None] | None = None) -> Outcome:
    """Return the outcome of a request that raised `error`: by `classify`, else by the exception's nearest ccxt class.

    `classify`, the exchange's table of errors, takes the text of the exception and returns None without a known error.
    A refusal whose words are about the service of the exchange is UNKNOWN, and so is an exception that is not ccxt's.
    """
    import aiohttp  # not above: the record of ccxt is read at each start

    if isinstance(error.__cause__, (aiohttp.ClientError, OSError, TimeoutError)):
        # ccxt reports a connection lost during an answer as ExchangeError
        return Outcome.UNKNOWN
    ccxt_class = next(
        (k for k in type(error).__mro__ if k.__name__ in OUTCOMES and k.__module__.startswith("ccxt")), None
    )
    if ccxt_class is None:
        return Outcome.UNKNOWN
    class_outcome = OUTCOMES[ccxt_class.__name__]
    text_outcome = classify(str(error)) if classify is not None else None
    if text_outcome is not None and text_outcome is not Outcome.STRANGE:
        return text_outcome
    # STRANGE: a refusal whose text is in no document
    if text_outcome is Outcome.STRANGE and class_outcome in (Outcome.REFUSED, Outcome.DENIED):
        class_outcome = Outcome.STRANGE
    if class_outcome in (Outcome.REFUSED, Outcome.STRANGE) and service_class(str(error)):
        return Outcome.UNKNOWN
    return class_outcome
