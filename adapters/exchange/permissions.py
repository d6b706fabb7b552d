"""Detects whether an API key may withdraw funds, for exchanges that report key permissions.

The formats follow the documentation of Binance (GET /sapi/v1/account/apiRestrictions), Bybit (GET /v5/user/query-api)
and OKX (GET /api/v5/account/config).
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from quantd.adapters.exchange.client import Exchange

ASKED: Final[dict[str, tuple[str, Callable[[Mapping[str, Any]], bool]]]] = {
    "binance": ("sapi_get_account_apirestrictions", lambda answer: bool(answer["enableWithdrawals"])),
    "bybit": ("private_get_v5_user_query_api", lambda answer: "Withdraw" in answer["result"]["permissions"]["Wallet"]),
    "okx": (
        "private_get_account_config",
        lambda answer: any("withdraw" in each["perm"].split(",") for each in answer["data"]),
    ),
}
"""Exchange -> the query's name in ccxt, and a function that tells whether the answer permits withdrawals."""


async def may_withdraw(exchange: Exchange) -> bool | None:
    """Return whether the key may withdraw; None where the exchange does not report it. Raises ccxt's errors.

    An answer of unexpected form counts as permission, because it does not prove the contrary.
    """
    known = ASKED.get(exchange.id)
    if known is None:
        return None
    ask, means = known
    answer = await getattr(exchange, ask)()
    try:
        return means(answer)
    except (KeyError, TypeError, AttributeError):
        return True
