"""Requests of `quantd connect` to a service, with the cause and the remedy of each that has no answer."""

import asyncio
import os
import ssl
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from quantd.daemon.cli.failures import Failure
from quantd.trading.exit_codes import CONFIG, TRY_LATER

TIMEOUT_S: Final = 10.0
MOST_BYTES: Final = 1 << 20


class Answer(NamedTuple):
    """The answer of a service."""

    status: int
    body: bytes


def ask(url: str, headers: Mapping[str, str], command: str) -> Answer:
    """Send a GET, and return the answer. Raises Failure with the cause, a remedy and the next command."""
    return asyncio.run(_ask(url, headers, command))


async def _ask(url: str, headers: Mapping[str, str], command: str) -> Answer:
    import aiohttp

    host = urlsplit(url).netloc
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session,
            session.get(url, headers=dict(headers), allow_redirects=False) as answer,
        ):
            body = bytearray()
            async for part in answer.content.iter_chunked(1 << 16):  # one read would end with the first packet
                body += part
                if len(body) > MOST_BYTES:
                    break
            return Answer(answer.status, bytes(body))
    except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError, ssl.SSLError) as error:
        raise Failure(certificate_text(host, _reason(error), command), CONFIG) from None
    except TimeoutError:
        text = f"{host} did not answer within {TIMEOUT_S:g} s. Check the network"
        raise Failure(f"{text}, then: {command}", TRY_LATER) from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        cause = getattr(error, "os_error", error)
        text = f"no network to {host}: {getattr(cause, 'strerror', None) or type(error).__name__}"
        raise Failure(f"{text}. Check the network, a proxy's rule and --url, then: {command}", TRY_LATER) from None


def _reason(error: Exception) -> str:
    inner = getattr(error, "certificate_error", error)
    return str(getattr(inner, "verify_message", "") or getattr(inner, "reason", "") or type(error).__name__)


def certificate_text(host: str, reason: str, command: str) -> str:
    """Return the text about a certificate that this machine does not trust, with the remedy."""
    given = os.environ.get("SSL_CERT_FILE")
    there = f" (SSL_CERT_FILE is {given})" if given else ""
    text = f"the certificate of {host} is not trusted: {reason}{there}. A company's proxy may answer in its place"
    return f"{text}: save the proxy's certificate as proxy.pem, then: SSL_CERT_FILE=proxy.pem {command}"
