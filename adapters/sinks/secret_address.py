"""A receiver whose address is a secret, such as the incoming webhook of a chat: posts JSON to it."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from quantd.adapters.sinks.http_post import HttpPost, check_address
from quantd.adapters.sinks.sink import SinkError

HEADERS: Final = {"Content-Type": "application/json"}


class SecretAddress:
    """Posts JSON to an address that is itself a secret. Every HTTP status from 200 to 299 counts as delivered,
    except for a page of another server.

    `name` is the name of the secret. No error contains the address.
    """

    def __init__(self, name: str, address: str, timeout_s: float) -> None:
        self._name = name
        self._address = address
        self._http = HttpPost(timeout_s)

    async def post(self, document: Mapping[str, Any]) -> None:
        """Return once the receiver has the document.

        Raises SinkError for a wrong address, an unsuccessful status, or a page in place of the receiver's answer.
        """
        try:
            check_address(self._address)
        except ValueError:
            raise SinkError(f"the secret {self._name} is not the https address of a webhook; copy it again") from None
        answer = await self._http.post(self._address, msgspec.json.encode(document), HEADERS)
        answer.require_success()

    async def close(self) -> None:
        await self._http.close()
