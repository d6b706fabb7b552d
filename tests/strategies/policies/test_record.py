"""Policies are found by their records: those of the modules, and those of installed packages."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from quantd.daemon.assembly.names import known_names
from quantd.daemon.policies.loading import PolicyError, load
from quantd.strategies.policies import COMPOSITES, POLICIES, RECORDS, record
from quantd.strategies.policies.equal_weight import EqualWeight

MODULE = """
from msgspec import Struct
from quantd.strategies.policies.equal_weight import EqualWeight, EqualWeightParams
from quantd.strategies.policies.record import record

RECORD = record("level", EqualWeightParams, EqualWeight)
"""


def install(site: Path, package: str, points: str) -> None:
    """An installed package as pip leaves it: a module and its metadata."""
    (site / f"{package}.py").write_text(MODULE)
    info = site / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[quantd.policies]\n{points}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    record._offered.cache_clear()
    yield tmp_path
    record._offered.cache_clear()


def test_every_record_is_registered_by_its_name() -> None:
    names = [record.name for record in RECORDS]
    assert names == sorted(set(names))
    assert set(names) == {*POLICIES, *COMPOSITES}


@pytest.mark.requirement("R-116")
def test_a_policy_of_an_installed_package_is_traded_by_its_name(site: Path) -> None:
    install(site, "levels", "level = levels:RECORD")
    policy = load("level", {"invested": 0.5}, site)
    assert isinstance(policy, EqualWeight)
    assert policy.params.invested == 0.5
    assert "level" in known_names().policies
    assert "level" not in COMPOSITES
    assert "level" not in list(POLICIES)


def test_a_name_that_nobody_offers_is_none_of_the_policies(site: Path) -> None:
    install(site, "levels", "level = levels:RECORD")
    assert "levels" not in POLICIES
    with pytest.raises(KeyError):
        POLICIES["levels"]


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        ("level = levels:MISSING", "policy 'level' of levels: AttributeError"),
        ("level = levels:EqualWeightParams", "levels:EqualWeightParams is no record of that name"),
    ],
)
def test_a_record_that_cannot_be_loaded_is_refused(site: Path, points: str, reason: str) -> None:
    install(site, "levels", points)
    with pytest.raises(PolicyError, match=reason):
        load("level", {}, site)


def test_a_name_that_two_packages_offer_is_refused(site: Path) -> None:
    install(site, "levels", "level = levels:RECORD")
    install(site, "others", "level = others:RECORD")
    with pytest.raises(PolicyError, match=r"offered by (levels and others|others and levels); uninstall all but one"):
        load("level", {}, site)


def test_a_built_in_name_takes_precedence(site: Path) -> None:
    install(site, "levels", "momentum = levels:RECORD")
    assert not isinstance(load("momentum", {}, site), EqualWeight)
