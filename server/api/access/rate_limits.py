"""Rate limits of requests (token buckets), and counts of wrong API tokens; each table has a maximum size.

What can go wrong: a client changes its address for each guessed token, or fills the memory with addresses. So wrong
tokens are also counted for all addresses together, and an IPv6 client counts as its /64 network. A full table drops the
client that was idle longest; that client has a full bucket when it returns.
"""

import ipaddress
from collections import OrderedDict, deque
from typing import Final

MOST_KEYS: Final = 1_024
"""Most clients in a table. A further client replaces the one that was idle longest."""

WRONG_TOKENS: Final = 10
"""Wrong tokens of one address in a minute; the address's further wrong tokens get status 429."""

WRONG_IN_ALL: Final = 100
"""Wrong tokens of all addresses together in a minute; every further wrong token gets status 429."""

MINUTE_S: Final = 60.0


class Buckets:
    """A rate limit (token bucket) for each client: `burst` requests at once, and `per_s` a second in the long run."""

    def __init__(self, per_s: float, burst: int) -> None:
        self._per_s = per_s
        self._burst = float(burst)
        self._filled: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._filled)

    def wait_s(self, key: str, now_s: float) -> float:
        """Count a request and return 0 if it is allowed, else return the seconds to wait.

        A refused request does not count. `key` names the client.
        """
        allowance, at_s = self._filled.pop(key, (self._burst, now_s))
        allowance = min(self._burst, allowance + (now_s - at_s) * self._per_s)
        wait_s = 0.0 if allowance >= 1.0 else (1.0 - allowance) / self._per_s
        self._filled[key] = (allowance if wait_s else allowance - 1.0), now_s
        if len(self._filled) > MOST_KEYS:
            self._filled.popitem(last=False)
        return wait_s


class WrongTokens:
    """Counts of requests with a wrong token in the last minute, by client address and in all."""

    def __init__(self) -> None:
        self._by_address: OrderedDict[str, deque[float]] = OrderedDict()
        self._all: deque[float] = deque(maxlen=WRONG_IN_ALL)

    def __len__(self) -> int:
        return len(self._by_address)

    def clear(self) -> None:
        self._by_address.clear()
        self._all.clear()

    def count(self, address: str, now_s: float) -> bool:
        """Count a wrong token. Returns False if this address, or all addresses together, had reached the limit."""
        address_times = self._by_address.pop(address, None) or deque(maxlen=WRONG_TOKENS)
        self._by_address[address] = address_times
        if len(self._by_address) > MOST_KEYS:
            self._by_address.popitem(last=False)
        for times in (address_times, self._all):
            while times and now_s - times[0] > MINUTE_S:
                times.popleft()
        if len(address_times) >= WRONG_TOKENS or len(self._all) >= WRONG_IN_ALL:
            return False
        address_times.append(now_s)
        self._all.append(now_s)
        return True


def address_of(remote: str | None) -> str:
    """The text under which a client is counted: its IPv4 address, or the /64 network of its IPv6 address."""
    try:
        address = ipaddress.ip_address((remote or "").partition("%")[0])
    except ValueError:
        return remote or ""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False).network_address)
    return str(address)
