"""The proxy through which an address is reached, by the variables of the environment that curl and pip read too.

aiohttp reads these variables only on request, has no ALL_PROXY, and looks for WSS_PROXY at a WebSocket, so that a
daemon behind a proxy had REST without a stream. One function therefore answers for REST, WebSockets and downloads.
"""

from typing import Final
from urllib.parse import urlsplit

from quantd.adapters.listener import is_loopback

VARIABLES: Final = {"https": "HTTPS_PROXY", "wss": "HTTPS_PROXY", "http": "HTTP_PROXY", "ws": "HTTP_PROXY"}
"""Scheme of an address -> the variable with its proxy. ALL_PROXY counts where that variable is not set."""


class ProxyWrong(ConnectionError):
    """The proxy of the environment cannot be used; the text names its variable and the remedy."""

    def __init__(self, wrong: str, remedy: str) -> None:
        self.wrong, self.remedy = wrong, remedy
        super().__init__(f"{wrong}: {remedy}")


def proxy_of(url: str) -> str | None:
    """Return the address of the proxy for a URL of the scheme http, https, ws or wss; None for a direct connection.

    NO_PROXY lists the hosts that are reached directly; loopback always is. Raises ProxyWrong for a proxy that does not
    speak HTTP.
    """
    from urllib.request import getproxies, proxy_bypass  # it imports the HTTP client of the standard library

    address = urlsplit(url)
    variable = VARIABLES.get(address.scheme, "")
    proxies = getproxies()
    scheme = variable.removesuffix("_PROXY").lower()
    proxy = proxies.get(scheme) or proxies.get("all")
    if not variable or not proxy or not address.hostname or is_loopback(address.hostname):
        return None
    host = address.hostname if address.port is None else f"{address.hostname}:{address.port}"
    if proxy_bypass(host):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if urlsplit(proxy).scheme not in ("http", "https"):
        named = variable if proxies.get(scheme) else "ALL_PROXY"
        raise ProxyWrong(
            f"{named} names a {urlsplit(proxy).scheme} proxy, and quantd speaks to HTTP proxies only",
            f"Set {variable} to http://HOST:PORT, or NO_PROXY to {address.hostname} for a direct connection",
        )
    return proxy


def through(url: str) -> str:
    """Return " through the proxy HOST:PORT", without a login, for an address that a proxy reaches; else an empty
    text."""
    try:
        proxy = proxy_of(url)
    except ProxyWrong:
        return ""
    return "" if proxy is None else f" through the proxy {urlsplit(proxy).netloc.rpartition('@')[2]}"
