"""Every broker adapter behaves alike: each case at each venue that offers what it is about.

What a venue does not offer is written down with its reason (`python -m tests.proofs.conformance --write`), and compared."""

import asyncio
from functools import cache

import pytest

from tests.proofs.conformance.rig import NotOffered
from tests.proofs.conformance.suite import CASES, RIGS, play_all, written


@cache
def played(venue: str) -> dict[str, Exception | None]:
    """All cases at one venue, several at a time."""
    return asyncio.run(play_all(venue, CASES))


NETWORK = [venue for venue in RIGS if venue != "paper"]
VENUES = ["paper", *(pytest.param(venue, marks=pytest.mark.long) for venue in NETWORK)]
OFFERED = [(venue, name) for venue in RIGS for name in CASES if name not in written().get(venue, {})]


@pytest.mark.parametrize(("venue", "name"), OFFERED)
def test_every_broker_adapter_behaves_alike(venue: str, name: str) -> None:
    ended = played(venue)[name]
    if ended is not None:
        raise ended


@pytest.mark.parametrize("venue", RIGS)
def test_what_a_venue_does_not_offer_is_written_down_with_its_reason(venue: str) -> None:
    found = {name: str(ended) for name, ended in played(venue).items() if isinstance(ended, NotOffered)}
    assert found == written().get(venue, {})
    assert all(found.values())


def test_there_are_at_least_sixty_cases_and_each_network_venue_offers_them() -> None:
    for venue in RIGS:
        assert len(CASES) - len(written().get(venue, {})) >= (30 if venue == "paper" else 60), venue
