"""Responses of a daemon, decoded to a typed value or raised as an error whose text names the remedy."""

from typing import TypeVar

import msgspec

from quantd.server.api.client_side.transport import CODES, Address, Response
from quantd.server.api.problems import FieldFault, Problem
from quantd.trading.exit_codes import CHECK_FAILED, TRY_LATER, ExplainedError

T = TypeVar("T")


class ApiError(ExplainedError):
    """A request that failed: its text names the remedy, and `fields` has the fields at fault.

    `status` is the HTTP status, 0 without a response. `code` is a fixed word for programs; docs/operate/api.md lists
    the codes.
    """

    def __init__(self, status: int, code: str, text: str, fields: tuple[FieldFault, ...] = ()) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.fields = fields
        self.exit_code = CODES.get(status, CHECK_FAILED) if status else TRY_LATER


def decoded(response: Response, kind: type[T], address: Address, accepted: tuple[int, ...] = (200,)) -> T:
    """The response as a value of `kind`. Raises ApiError for a status that is not accepted, or an answer
    that is not of this type.
    """
    if response.status not in accepted:
        refused(response, address)
    try:
        return msgspec.json.decode(response.body, type=kind)
    except msgspec.DecodeError as why:
        text = f"the daemon at {address} answered in the format of another version ({why}); use its version of quantd"
        raise ApiError(response.status, "answer", text) from None


def refused(response: Response, address: Address) -> Response:
    """Return the response unless its status is an error.

    Raises ApiError for a status of 400 or more, with the daemon's text.
    """
    if response.status < 400:
        return response
    try:
        problem = msgspec.json.decode(response.body, type=Problem)
    except msgspec.DecodeError:
        text = f"the server at {address} is not quantd ({response.status} {response.reason}); correct the url"
        raise ApiError(response.status, "answer", text) from None
    raise ApiError(problem.status, problem.code, problem.detail, tuple(problem.errors))


def away(address: Address, why: OSError) -> ApiError:
    """The error for a daemon that cannot be reached."""
    return ApiError(0, "unreachable", f"the daemon at {address} does not answer ({why}); start it with `quantd run`")
