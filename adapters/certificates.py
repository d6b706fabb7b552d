"""TLS of a server with a certificate that is read again when its files change."""

import os
import ssl
import threading
import time
from pathlib import Path
from typing import Final

import structlog

CHECK_S: Final = 1.0
"""Minimum time between two checks of the files for a change."""

log = structlog.get_logger("quantd.tls")


class Certificate:
    """The certificate and key of a server. A new connection uses the newest certificate; open connections keep the
    one they began with."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises OSError for files that cannot be used."""
        self._files = certificate, key
        self._stamps = self._stamp()
        self._next_s = time.monotonic() + CHECK_S
        self.context = self._new_context()
        # OpenSSL calls it at each handshake, with or without a host name from the client
        self.context.sni_callback = self._use_newest
        self._newest = self.context
        self._reading: threading.Thread | None = None

    def _use_newest(self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, first: ssl.SSLContext) -> None:
        """Use the newest certificate for a new connection, and start to read the files again if they changed.

        OpenSSL calls this function at each handshake. `name` is the host name that the client sent, `first` the context
        with which the server began.
        """
        now = time.monotonic()
        if now >= self._next_s and (self._reading is None or not self._reading.is_alive()):
            self._next_s = now + CHECK_S
            if (stamps := self._stamp()) != self._stamps:
                # in a thread, so that no file delays the event loop; until it ends, connections get the previous
                # certificate
                self._reading = threading.Thread(target=self._refresh, args=(stamps,), daemon=True)
                self._reading.start()
        if self._newest is not first:
            connection.context = self._newest

    def _refresh(self, stamps: tuple[tuple[int, int, int] | None, ...]) -> None:
        """Read the files again; after an error the previous certificate stays in use.

        `stamps` has (inode, size, time of modification) of each file: files that could not be read are tried again only
        after a change.
        """
        self._stamps, file = stamps, str(self._files[0])
        try:
            self._newest = self._new_context()
        except OSError as why:
            # perhaps only one of the two files is replaced so far: the second replacement starts another attempt
            reason = why.reason if isinstance(why, ssl.SSLError) else why.strerror
            log.error("certificate.refused", file=file, why=str(reason), effect="the old certificate stays in force")
        else:
            log.info("certificate.changed", file=file)

    def _new_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # an empty passphrase makes an encrypted key fail; without it OpenSSL would prompt on the terminal
        context.load_cert_chain(*self._files, "")
        return context

    def _stamp(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_stamp(path) for path in self._files)


def end_s(certificate: Path) -> float:
    """Return the end of the validity of the first certificate in a file, in seconds since 1970. Raises OSError and
    ValueError."""
    from cryptography import x509

    leaf, *_ = x509.load_pem_x509_certificates(certificate.read_bytes())
    return leaf.not_valid_after_utc.timestamp()


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Return (inode, size, time of modification) of a file, which differ after a change; None without it."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
