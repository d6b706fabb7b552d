"""The short form of the fuzz of the API: no request makes it fail; the long form measures lag."""

from pathlib import Path

import pytest

from tests.attacks.api_fuzz import TEXT, fuzzed
from tests.support.api_world import standing_at_the_end


@pytest.mark.long
async def test_no_random_request_has_status_500_or_no_response(tmp_path: Path) -> None:
    async with standing_at_the_end(tmp_path, TEXT) as world:
        outcome = await fuzzed(world, 2_000)
    assert outcome.faults == []
    assert outcome.statuses[200] > 100
    assert len(outcome.statuses) > 8
