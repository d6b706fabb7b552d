"""What must hold of an order whatever became of its requests: checked against the venue's truth at every step."""

from quantd.trading.orders import ENDED, OrderBasket, OrderState
from tests.proofs.conformance.scene import Scene

NEVER = (OrderState.REJECTED, OrderState.EXPIRED)


def wrong(scene: Scene, basket: OrderBasket) -> list[str]:
    """What the engine was told of a basket that is not so at the venue."""
    errors = []
    states, filled = scene.books.states(basket), scene.books.filled(basket)
    for row, state in enumerate(states):
        there = scene.rig.has(basket, row)
        name = f"{basket.sample}/{basket.n}/{row} {state.name}"
        if len(there) > 1:
            errors.append(f"{name}: doubled, {len(there)} orders")
        if state in ENDED and any(order.open for order in there):
            errors.append(f"{name}: assumed, it is open at the venue")
        if filled[row] > sum(order.filled for order in there):
            errors.append(f"{name}: assumed, {filled[row]} lots that the venue did not fill")
        if state == OrderState.FILLED and filled[row] != abs(basket.lots[row]):
            errors.append(f"{name}: assumed, {filled[row]} lots are not all")
    return errors


def settled(scene: Scene, basket: OrderBasket) -> list[str]:
    """As `wrong`, once everything was asked for: nothing may be unknown any more, and all fills are known."""
    errors = wrong(scene, basket)
    states, filled = scene.books.states(basket), scene.books.filled(basket)
    for row, state in enumerate(states):
        there = scene.rig.has(basket, row)
        name = f"{basket.sample}/{basket.n}/{row} {state.name}"
        if state in (OrderState.SENT, OrderState.UNKNOWN):
            errors.append(f"{name}: not resolved")
            continue
        if (state in ENDED) == any(order.open for order in there):
            errors.append(f"{name}: {there}")
        if filled[row] != sum(order.filled for order in there):
            errors.append(f"{name}: {filled[row]} lots here, {there} there")
    return errors
