"""Loads an artifact of any kind from its folder. The code of a kind is imported on first use.

What can go wrong, and what prevents it. Every policy would load the code of every kind: a kind is only a name until its
first use. A module named in the folder of an artifact would be a way to run code: the module names are in a table of
this file, and an unknown kind is refused.
"""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NamedTuple

from quantd.models.artifacts.folder import kind_of
from quantd.models.artifacts.manifest import MANIFEST, ArtifactError
from quantd.models.artifacts.runtime import Checked, Trained
from quantd.models.artifacts.versions import resolved
from quantd.models.isolation.session import OpenGraph


class Kind(NamedTuple):
    """A kind of artifact, with the names of its two functions as "module:function" inside quantd.models.

    The function `artifact` checks a folder, the function `policy` makes the policy of a checked folder.
    """

    name: str
    artifact: str
    policy: str


KINDS: Final[Mapping[str, Kind]] = {
    "": Kind("policy", "artifacts.scorer_policy:load", "artifacts.scorer_policy:load_policy"),
    "learned": Kind("learned", "artifacts.agent_policy:load", "artifacts.agent_policy:load_agent"),
    "ensemble": Kind("ensemble", "artifacts.ensemble:load", "artifacts.ensemble:load_ensemble"),
    "forest": Kind("forest", "forests.prediction:load", "forests.allocation:allocation_with"),
}
"""The field `kind` of a manifest -> its record."""


def load_artifact(folder: Path, params: Mapping[str, object], opened: OpenGraph | None = None) -> Trained:
    """Load the policy in `folder`, or in its current version if it is a folder of versions.

    `opened` loads its ONNX graphs; by default, those that are not shipped in a separate process. Raises ArtifactError
    or ParamsError.
    """
    folder = resolved(folder)
    policy: Trained = _named(kind_in(folder).policy)(folder, params, opened)
    return policy


def checked(folder: Path) -> Checked:
    """Load and verify the artifact in `folder`, without running it. Raises ArtifactError for a fault of its files."""
    artifact: Checked = _named(kind_in(folder).artifact)(folder)
    return artifact


def kind_in(folder: Path) -> Kind:
    """Return the kind of the artifact in `folder`. Raises ArtifactError for an unknown one."""
    kind = kind_of(folder)
    if kind not in KINDS:
        names = ", ".join(record.name for record in KINDS.values())
        raise ArtifactError(f"{folder / MANIFEST}: an artifact of kind {kind[:40]!r}; this quantd knows {names}")
    return KINDS[kind]


def _named(path: str) -> Any:
    """Import and return the function named "module:function"."""
    module, _, function = path.partition(":")
    return getattr(import_module(f"quantd.models.{module}"), function)
