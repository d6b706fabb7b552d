"""From a folder to the policy in it, whatever kind of artifact it is."""

from collections.abc import Mapping
from pathlib import Path

from quantd.models.artifacts import agent_manifest as learned
from quantd.models.artifacts import ensemble
from quantd.models.artifacts.agent_policy import LearnedAgent, load_agent
from quantd.models.artifacts.ensemble import LearnedEnsemble, load_ensemble
from quantd.models.artifacts.manifest import MANIFEST, ArtifactError, kind_of
from quantd.models.artifacts.runtime import LearnedPolicy, load_policy
from quantd.models.artifacts.versions import resolved
from quantd.models.forests import artifact as forests
from quantd.models.forests.allocation import LearnedAllocation, allocation_with

Loaded = LearnedPolicy | LearnedAllocation | LearnedAgent | LearnedEnsemble


def load_artifact(folder: Path, params: Mapping[str, object]) -> Loaded:
    """A trained policy, or the allocation by a forest, all of it checked; of a folder of versions the one it stands for. Raises
    ArtifactError or ParamsError."""
    folder = resolved(folder)
    match kind_of(folder):
        case "":
            return load_policy(folder, params)
        case forests.KIND:
            return allocation_with(folder, params)
        case learned.KIND:
            return load_agent(folder, params)
        case ensemble.KIND:
            return load_ensemble(folder, params)
        case kind:
            raise ArtifactError(
                f"{folder / MANIFEST}: an artifact of kind {kind[:40]!r}; this quantd knows policies, learned ones, ensembles and forests"
            )
