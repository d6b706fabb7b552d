"""Folders of the artifacts that decide, by their names in a backup."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from quantd.daemon.config import Config
from quantd.daemon.policies.loading import artifact_folder
from quantd.models.artifacts.manifest import MANIFEST, ArtifactError
from quantd.trading.ports import Policy, leaves


class _Named(msgspec.Struct):
    digest: str


def loaded_models(policies: Iterable[Policy]) -> dict[str, Path]:
    """Return name -> folder of the artifacts of loaded policies, those inside composed policies included.

    Raises ArtifactError for a folder without a readable manifest.
    """
    folders = (
        getattr(getattr(leaf, "artifact", None), "folder", None) for policy in policies for leaf in leaves(policy)
    )
    return _by_name(folder for folder in folders if isinstance(folder, Path))


def configured_models(config: Config) -> dict[str, Path]:
    """Return name -> folder of the artifacts that agents of a configuration name, as `policy` or inside `params`.

    Raises ArtifactError for a folder without a readable manifest.
    """
    texts = (text for agent in config.seats for text in _texts((agent.policy, agent.params)))
    return _by_name(artifact_folder(text, config.source.folder) for text in texts if "/" in text)


def _texts(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case Mapping():
            yield from (text for inner in value.values() for text in _texts(inner))
        case list() | tuple():
            yield from (text for inner in value for text in _texts(inner))


def _by_name(folders: Iterable[Path]) -> dict[str, Path]:
    """Folder name and digest -> folder, of those with a manifest."""
    by_name = {}
    for folder in folders:
        file = folder / MANIFEST
        if not file.is_file():
            continue
        try:
            digest = msgspec.json.decode(file.read_bytes(), type=_Named).digest
        except (OSError, msgspec.MsgspecError) as error:
            raise ArtifactError(f"{file}: {error}; the model cannot be backed up") from None
        by_name[f"{folder.name}-{digest[:12]}"] = folder
    return by_name
