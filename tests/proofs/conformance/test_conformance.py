"""Every broker adapter behaves alike: each case at each venue that offers what it is about.

What a venue does not offer is written down with its reason (`python -m tests.proofs.conformance --write`), and
compared."""

import asyncio
from functools import cache

import pytest

from tests.proofs.conformance.rig import NotOffered
from tests.proofs.conformance.suite import CASES, PAGE, RIGS, page, play_all, written

GROUPS = sorted({case.group for case in CASES.values()})


@cache
def played(venue: str, group: str) -> dict[str, Exception | None]:
    """All cases of a group at one venue, several at a time."""
    return asyncio.run(play_all(venue, [name for name, case in CASES.items() if case.group == group]))


def is_quick(venue: str, group: str) -> bool:
    """A case at a venue across a network waits for time-outs, except in these groups."""
    return venue == "paper" or group in ("cancel", "submit")


OFFERED = [
    pytest.param(venue, name, marks=() if is_quick(venue, case.group) else pytest.mark.long)
    for venue in RIGS
    for name, case in CASES.items()
    if name not in written().get(venue, {}) and case.venue in ("", venue)
]


@pytest.mark.quick_cases(1)
@pytest.mark.requirement("R-168")
@pytest.mark.parametrize(("venue", "name"), OFFERED)
def test_every_broker_adapter_behaves_alike(venue: str, name: str) -> None:
    ended = played(venue, CASES[name].group)[name]
    if ended is not None:
        raise ended


@pytest.mark.parametrize(
    "venue", [pytest.param(venue, marks=() if venue == "paper" else pytest.mark.long) for venue in RIGS]
)
def test_what_a_venue_does_not_offer_is_written_down_with_its_reason(venue: str) -> None:
    ended = {name: why for group in GROUPS for name, why in played(venue, group).items()}
    reasons = {name: str(why) for name, why in ended.items() if isinstance(why, NotOffered)}
    assert reasons == written().get(venue, {})
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
