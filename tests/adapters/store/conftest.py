"""One store in each database: SQLite in a folder, PostgreSQL in a schema of a server of its own, where it is
installed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.postgres import postgres_server
from tests.support.store import Desk, new_schema


@pytest.fixture
def cluster() -> str:
    """URL of the PostgreSQL server of this session."""
    return postgres_server()[0]


@pytest.fixture
def crash() -> Callable[[], None]:
    """Kill the server, without its writing anything more, and start it again."""
    return postgres_server()[1]


@pytest.fixture
def postgres(cluster: str, tmp_path: Path) -> Desk:
    return Desk(new_schema(cluster), tmp_path / "state")


@pytest.fixture(params=["sqlite", "postgresql"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Desk:
    if request.param == "sqlite":
        return Desk(tmp_path, tmp_path)
    postgres_desk: Desk = request.getfixturevalue("postgres")
    return postgres_desk
