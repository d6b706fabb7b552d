"""The gateway as an edge: a listener of its own, which opens before the first step and closes after the last."""

from typing import Final

import structlog
from aiohttp import web

from quantd.daemon.edges.edge_records import Edge, EdgeContext, OpenEdge
from quantd.server.api.access.keyring import Keyring
from quantd.server.api.run_reader import RunReader
from quantd.server.api.server import ApiUnavailable
from quantd.server.gateway.alpaca import Gateway
from quantd.server.gateway.vendor_data import vendor_data

log = structlog.get_logger("quantd.gateway")

KEYS: Final = "quantd connect alpaca stores them, or set QUANTD_ALPACA_KEY and QUANTD_ALPACA_SECRET"


def opened(context: EdgeContext) -> OpenEdge | None:
    """Make the gateway of a service; None without the table [gateway]."""
    table = context.config.gateway
    if table is None:
        return None
    service, port = context.service, table.port
    keyring = Keyring(context.folder, context.config.api.tokens, service.alert, notes=False)
    vendor = vendor_data(context.config)
    if table.data == "pass" and vendor is None:
        log.warning("gateway.own_data", why="no key of Alpaca is set, so programs read the bars of the run", next=KEYS)
    gateway = Gateway(RunReader(service, context.parts, context.config, context.folder), keyring, vendor)
    runner = web.AppRunner(gateway.application(), access_log=None, handle_signals=False)

    async def start() -> None:
        await gateway.rebuild()
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
        except OSError as why:
            text = f"[gateway] port = {port}: the gateway cannot listen there ({why.strerror}); set another port"
            raise ApiUnavailable(text) from None

    async def close() -> None:
        await runner.cleanup()
        if vendor is not None:
            await vendor.close()

    return OpenEdge(start=start, close=close)


GATEWAY: Final = Edge("gateway", 31, opened)
