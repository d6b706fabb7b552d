"""A renewed certificate of a server is served to new connections without a restart; a damaged one never is."""

import asyncio
import contextlib
import shutil
import ssl

import pytest
from structlog.testing import capture_logs

from quantd.adapters import certificates
from quantd.adapters.bus.embedded_broker import EmbeddedBroker
from quantd.adapters.bus.embedded_settings import EmbeddedSettings
from tests.support.api_world import standing_at_the_end
from tests.support.command_line import CONFIG
from tests.support.mqtt import certificate


async def served(port: int) -> bytes:
    """The certificate that a new connection gets."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    certificate_bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return certificate_bytes


async def served_after(count: int, logs: list, port: int) -> bytes:
    """The certificate of a new connection once the server has read its files so often: it reads them in a thread."""
    async with asyncio.timeout(10.0):
        while len(logs) < count:
            await served(port)
    return await served(port)


def der(path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(path.read_text())


@pytest.mark.long
@pytest.mark.requirement("R-234")
@pytest.mark.parametrize("server", ["api", "broker"])
async def test_a_renewed_certificate_is_served_and_a_damaged_one_is_not(tmp_path, monkeypatch, server):
    monkeypatch.setattr(certificates, "CHECK_S", 0.0)
    cert, key = certificate(tmp_path)
    first = der(cert)
    (tmp_path / "new").mkdir()
    new_cert, new_key = certificate(tmp_path / "new")
    async with (api if server == "api" else broker)(tmp_path, cert, key) as port:
        assert await served(port) == first
        with capture_logs() as logs:
            shutil.copy(new_cert, cert)  # the key does not fit yet
            assert await served_after(1, logs, port) == first
            shutil.copy(new_key, key)
            assert await served_after(2, logs, port) == der(new_cert) != first
            cert.write_text("damaged")
            assert await served_after(3, logs, port) == der(new_cert)
            cert.unlink()
            assert await served_after(4, logs, port) == der(new_cert)
        names = [line["event"] for line in logs]
        assert names == ["certificate.refused", "certificate.changed", *["certificate.refused"] * 2]


@contextlib.asynccontextmanager
async def api(folder, cert, key):
    text = CONFIG.replace("[api]", f'[api]\ntls = {{ certificate = "{cert}", key = "{key}" }}')
    async with standing_at_the_end(folder, text) as world:
        yield int(world.api.url.rsplit(":", 1)[1].strip("/"))


@contextlib.asynccontextmanager
async def broker(folder, cert, key):
    embedded_broker = EmbeddedBroker(EmbeddedSettings(port=0, cert_file=str(cert), key_file=str(key)))
    embedded_broker.start()
    yield embedded_broker.port
    assert embedded_broker.stop()
