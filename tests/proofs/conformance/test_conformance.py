"""Every broker adapter behaves alike: each case at each venue that offers what it is about.

What a venue does not offer is written down with its reason (`python -m tests.proofs.conformance --write`), and
compared."""

import asyncio

import pytest

from tests.proofs.conformance.rig import NotOffered
from tests.proofs.conformance.suite import CASES, PAGE, RIGS, page, play_all, written

GROUPS = sorted({case.group for case in CASES.values()})


@pytest.mark.requirement("R-168")
@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize(
    "venue", [pytest.param(venue, marks=() if venue == "paper" else pytest.mark.long) for venue in RIGS]
)
def test_every_broker_adapter_behaves_alike_and_what_a_venue_does_not_offer_is_written_down(
    venue: str, group: str
) -> None:
    """The cases of a group are played several at a time: at a venue across a network most wait for time-outs."""
    names = [name for name, case in CASES.items() if case.group == group]
    ended = asyncio.run(play_all(venue, names))
    reasons = {name: str(why) for name, why in ended.items() if isinstance(why, NotOffered)}
    faults = []
    for name, why in ended.items():
        if why is not None and name not in reasons:
            why.add_note(f"case: {name}")
            faults.append(why)
    if faults:
        raise ExceptionGroup(f"{venue}: {len(faults)} of {len(ended)} cases failed", faults)
    assert reasons == {name: why for name, why in written().get(venue, {}).items() if name in names}
    assert all(reasons.values())


def test_the_page_of_the_table_is_what_the_suite_says() -> None:
    """Each cell without a reason is a test of this module, so an equal page has no cell that did not pass."""
    if len(RIGS) < len(written()):
        pytest.skip("the extra ccxt is not installed")
    assert PAGE.read_text() == page({venue: written().get(venue, {}) for venue in RIGS}), (
        "run python -m tests.proofs.conformance --table"
    )


def test_there_are_at_least_sixty_cases_and_each_network_venue_offers_them() -> None:
    for venue in RIGS:
        assert len(CASES) - len(written().get(venue, {})) >= (30 if venue == "paper" else 60), venue
