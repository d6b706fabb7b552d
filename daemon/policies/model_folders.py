"""Folders of the artifacts that decide, by their names in a backup."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from quantd.daemon.config import Config
from quantd.daemon.policies.loading import artifact_folder
from quantd.models.artifacts.manifest import MANIFEST, ArtifactError
from quantd.trading.ports import Policy, leaves


class _ManifestDigest(msgspec.Struct):
    digest: str


def loaded_models(policies: Iterable[Policy]) -> dict[str, Path]:
    """Return name -> folder of the artifacts of loaded policies, also of policies inside composed ones.

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
    texts = (text for agent in config.seats for text in _strings_in((agent.policy, agent.params)))
    return _by_name(artifact_folder(text, config.source.folder) for text in texts if "/" in text)


def _strings_in(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case Mapping():
            yield from (text for inner in value.values() for text in _strings_in(inner))
        case list() | tuple():
            yield from (text for inner in value for text in _strings_in(inner))


def _by_name(folders: Iterable[Path]) -> dict[str, Path]:
    """NAME-DIGEST -> folder for each folder with a manifest: its last component and 12 hex digits of its digest."""
    by_name = {}
    for folder in folders:
        file = folder / MANIFEST
        if not file.is_file():
            continue
        try:
            digest = msgspec.json.decode(file.read_bytes(), type=_ManifestDigest).digest
        except (OSError, msgspec.MsgspecError) as error:
            raise ArtifactError(f"{file}: {error}; the model cannot be backed up") from None
        by_name[f"{folder.name}-{digest[:12]}"] = folder
    return by_name
