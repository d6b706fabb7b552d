"""Requests of `quantd connect` to a service; a request without an answer fails with its cause and the remedy."""

import asyncio
import os
import ssl
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from quantd.adapters.proxies import ProxyWrong, proxy_of, through
from quantd.daemon.cli.failures import Failure
from quantd.trading.exit_codes import CONFIG, TRY_LATER

TIMEOUT_S: Final = 10.0
MOST_BYTES: Final = 1 << 20
"""Bytes of an answer after which no more is read."""


class Answer(NamedTuple):
    """The HTTP status and the body of a service's answer."""

    status: int
    body: bytes


def ask(url: str, headers: Mapping[str, str], command: str) -> Answer:
    """Send a GET, and return the answer. Raises Failure with the cause, a remedy and the next command."""
    return asyncio.run(_ask(url, headers, command))


async def _ask(url: str, headers: Mapping[str, str], command: str) -> Answer:
    """Return the answer to a GET of `url`, up to MOST_BYTES of its body; a redirect is not followed.

    Raises Failure, which tells the user to run `command` again.
    """
    import aiohttp

    host = urlsplit(url).netloc
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session,
            session.get(url, headers=dict(headers), allow_redirects=False, proxy=proxy_of(url)) as answer,
        ):
            body = bytearray()
            async for chunk in answer.content.iter_chunked(1 << 16):  # a single read could end after the first packet
                body += chunk
                if len(body) > MOST_BYTES:
                    break
            return Answer(answer.status, bytes(body))
    except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError, ssl.SSLError) as error:
        raise Failure(certificate_text(host, _reason(error), command), CONFIG) from None
    except TimeoutError:
        text = f"{host} did not answer within {TIMEOUT_S:g} s. Check the network"
        raise Failure(f"{text}, then: {command}", TRY_LATER) from None
    except ProxyWrong as wrong:
        raise Failure(f"no network to {host}: {wrong}. Then: {command}", TRY_LATER) from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        cause = getattr(error, "os_error", error)
        text = f"no network to {host}{through(url)}: {getattr(cause, 'strerror', None) or type(error).__name__}"
        raise Failure(f"{text}. Check the network, a proxy's rule and --url, then: {command}", TRY_LATER) from None


def _reason(error: Exception) -> str:
    """Return why a certificate is not trusted, or TLS failed."""
    inner = getattr(error, "certificate_error", error)
    return str(getattr(inner, "verify_message", "") or getattr(inner, "reason", "") or type(error).__name__)


def certificate_text(host: str, reason: str, command: str) -> str:
    """Return the text about a certificate that this machine does not trust, with the remedy."""
    certificate_file = os.environ.get("SSL_CERT_FILE")
    file_note = f" (SSL_CERT_FILE is {certificate_file})" if certificate_file else ""
    text = f"the certificate of {host} is not trusted: {reason}{file_note}. A company's proxy may answer in its place"
    return f"{text}: save the proxy's certificate as proxy.pem, then: SSL_CERT_FILE=proxy.pem {command}"
