"""An order on its way to a silent venue, and the reports of its fills."""

from quantd.risk.limits.catalogue import PROFILES
from quantd.trading.orders import Cause, OrderBasket, Reports
from quantd.trading.sessions import DAY_NS
from tests.support.engine import World

HOUR = DAY_NS // 24
RESEARCH = PROFILES["research"]


def sent(world: World) -> OrderBasket:
    """One basket on its way, nothing reported."""
    world.shell.broker = Silent()  # type: ignore[assignment]
    for item in list(world.items())[:2]:
        world.shell.take(item)
    return world.of(OrderBasket)[0]


class Silent:
    """A venue that says nothing of itself."""

    def submit(self, basket: OrderBasket, rows: object = None) -> tuple[()]:
        return ()

    def cancel(self, *_: int) -> tuple[()]:
        return ()

    query = on_action = on_slice = on_time = cancel


def report(basket: OrderBasket, cum: int, lots: int, cause: Cause, price: int = 100 * 10**9, ts: int = 0) -> Reports:
    return Reports(basket.sample, basket.n, ts or basket.ts + HOUR, [0], [cum], [lots], [price], [0], [int(cause)])
