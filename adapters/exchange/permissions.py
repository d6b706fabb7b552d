"""Whether a key may withdraw: exchanges that say what their keys may do, each in its own words.

After the documentation of Binance (GET /sapi/v1/account/apiRestrictions), Bybit (GET /v5/user/query-api) and OKX
(GET /api/v5/account/config).
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from quantd.adapters.exchange.client import Exchange


def _binance(answer: Mapping[str, Any]) -> bool:
    return bool(answer["enableWithdrawals"])


def _bybit(answer: Mapping[str, Any]) -> bool:
    return "Withdraw" in answer["result"]["permissions"]["Wallet"]


def _okx(answer: Mapping[str, Any]) -> bool:
    return any("withdraw" in each["perm"].split(",") for each in answer["data"])


ASKED: Final[dict[str, tuple[str, Callable[[Mapping[str, Any]], bool]]]] = {
    "binance": ("sapi_get_account_apirestrictions", _binance),
    "bybit": ("private_get_v5_user_query_api", _bybit),
    "okx": ("private_get_account_config", _okx),
}
"""Exchange -> the question as ccxt names it, and whether its answer lets the key withdraw."""


async def may_withdraw(exchange: Exchange) -> bool | None:
    """None where the exchange does not say; an answer in other words than agreed lets it withdraw, as nobody may conclude
    that it cannot. Raises what ccxt raises."""
    known = ASKED.get(exchange.id)
    if known is None:
        return None
    ask, means = known
    answer = await getattr(exchange, ask)()
    try:
        return means(answer)
    except (KeyError, TypeError, AttributeError):
        return True
