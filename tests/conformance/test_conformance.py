"""Every broker adapter behaves alike: each case at each venue."""

import pytest

from tests.conformance.cases import play
from tests.conformance.rig import NotOffered
from tests.conformance.suite import CASES, RIGS


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("venue", RIGS)
async def test_every_broker_adapter_behaves_alike(venue: str, name: str) -> None:
    try:
        await play(CASES[name], RIGS[venue]())
    except NotOffered as why:
        pytest.skip(f"not offered by {venue}: {why}")


def test_there_are_at_least_sixty_cases() -> None:
    assert len(CASES) >= 60
