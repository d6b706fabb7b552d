"""A folder of versions stands for one of them, and can stand for an earlier one again."""

import shutil
from pathlib import Path

import pytest

import models
from models.artifacts import ArtifactError
from models.loading import load_artifact
from models.versions import CURRENT, current, resolved, use, versions

SCORER = Path(models.__file__).parent / "shipped" / "scorer"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("v20190329-1a2b3c", "v20190628-ffee00"):
        shutil.copytree(SCORER, tmp_path / "mine" / name)
    return tmp_path / "mine"


def test_a_folder_stands_for_the_version_that_was_said_last_and_goes_back(folder: Path) -> None:
    assert versions(folder) == ["v20190329-1a2b3c", "v20190628-ffee00"]
    assert current(folder) is None
    assert resolved(folder) == folder
    for version in reversed(versions(folder)):
        use(folder, version)
        assert current(folder) == resolved(folder) == folder / version
    assert load_artifact(folder, {}).artifact.folder == folder / "v20190329-1a2b3c"
    assert sorted(p.name for p in folder.iterdir()) == [CURRENT, *versions(folder)]


def test_a_version_that_is_not_there_is_refused_with_those_that_are(folder: Path) -> None:
    use(folder, "v20190329-1a2b3c")
    with pytest.raises(ArtifactError, match=r"no version 'v1'; it has v20190329-1a2b3c, v20190628-ffee00"):
        use(folder, "v1")
    assert current(folder) == folder / "v20190329-1a2b3c"


@pytest.mark.parametrize("text", ["../mine/v20190329-1a2b3c", "v1", "", "/etc", "v" + "1" * 300, "v20190329-1a2b3c/.."])
def test_a_pointer_to_anywhere_else_is_not_followed(folder: Path, text: str) -> None:
    (folder / CURRENT).write_text(text)
    with pytest.raises(ArtifactError, match="versions there: v20190329-1a2b3c"):
        load_artifact(folder, {})


def test_an_unfinished_version_and_other_folders_are_none(folder: Path) -> None:
    (folder / "v20200101-000000").mkdir()
    (folder / ".making-v2").mkdir()
    (folder / "decisions").mkdir()
    assert len(versions(folder)) == 2
    assert versions(folder / "nowhere") == []
