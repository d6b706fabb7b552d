"""The entries of one shadow agent (simulated beside the account) in a run's journal: the market, the reports of its
simulated venue and its own effects."""

from collections.abc import Iterable, Iterator

from quantd.trading.codec import Entry
from quantd.trading.effects import JournalEffect, Shadowed
from quantd.trading.events import Action, Bars, ShadowReport, SliceRef, Started
from quantd.trading.market import JumpExplained, PriceJumped

MARKET = (SliceRef, Bars, Action, PriceJumped, JumpExplained)


def shadow_entries(entries: Iterable[tuple[int, Entry]], name: str) -> Iterator[tuple[int, Entry]]:
    """Iterate over (seq, entry) of the shadow agent `name`, in the form of the entries of the account.

    A shadow agent decides and trades on paper only. A ShadowReport is a report about the orders of one shadow, which it
    names by index. The Shadowed effects since the last start say which name has which index.
    """
    names: dict[int, str] = {}
    for seq, entry in entries:
        event, shadow_effects = entry.event, list[JournalEffect]()
        if isinstance(event, Started):
            names.clear()
        for effect in entry.effects:
            if isinstance(effect, Shadowed):
                names[effect.agent] = effect.name
                if effect.name == name:
                    shadow_effects.extend(effect.effects)
        if isinstance(event, ShadowReport):
            if names.get(event.agent) == name:
                yield seq, Entry(event.news, shadow_effects)
        elif shadow_effects or isinstance(event, MARKET):
            yield seq, Entry(event, shadow_effects)
