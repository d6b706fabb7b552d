"""Facts about the artifacts of policies, from their manifests."""

from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from quantd import bundled
from quantd.models.artifacts.agent_policy import LearnedArtifact
from quantd.models.artifacts.folder import digest_of, first_line
from quantd.models.artifacts.loader import KINDS
from quantd.models.artifacts.manifest import AgentManifest, ArtifactError, EnsembleManifest, ScorerManifest
from quantd.models.artifacts.occlusion import Learned, training_mean
from quantd.models.artifacts.runtime import Checked
from quantd.models.artifacts.scorer_policy import ScorerArtifact
from quantd.models.artifacts.versions import CURRENT, current, versions
from quantd.models.artifacts.weights import MEAN, tensors_of
from quantd.models.forests.prediction import ForestArtifact
from quantd.models.observation.sight import entry_names
from quantd.strategies.policies.members import leaves_with_memory
from quantd.trading.display_text import instant_text
from quantd.trading.ports import Policy, leaves
from quantd.trading.view import EMPTY_MEMORY


class Inputs(Struct, frozen=True):
    """The inputs of a model beside prices. A series per symbol counts as ESG or sentiment by its name."""

    esg: bool = False
    sentiment: bool = False
    macro: tuple[str, ...] = ()
    series: tuple[str, ...] = ()
    bars: bool = False
    own_book: bool = False


class Artifact(Struct, frozen=True):
    """An artifact that decides as a part of a policy.

    `part` is its path in a composed policy, `folder` as the configuration names it. `assets` are the symbols of its
    training; with `any_universe` it also trades other symbols. `version` is empty outside a folder of versions.
    """

    part: str
    name: str
    folder: str
    version: str
    digest: str
    kind: str
    algorithm: str
    network: str
    assets: tuple[str, ...]
    any_universe: bool
    transformer: bool
    inputs: Inputs
    capabilities: list[str]
    trained_until: str


class Described(Struct, frozen=True):
    """An artifact with its manifest (as `quantd models list --json` prints it) and its card (the text that describes
    the model).

    `record` has the results by window, `entries` the names of the observation's values in order. `versions` are all
    complete versions in its folder of versions, and `current` is the version that decides.
    """

    artifact: Artifact
    manifest: dict[str, Any]
    record: dict[str, Any]
    entries: list[str]
    card: str
    versions: list[str]
    current: str


def stated(artifact: Checked) -> dict[str, Any]:
    """The manifest of an artifact as plain values; for a forest also the seconds that its training took."""
    facts: dict[str, Any] = msgspec.to_builtins(artifact.manifest)
    if isinstance(artifact, ForestArtifact):
        facts["training_seconds"] = artifact.seconds
    return facts


def artifacts_of(policy: Policy, home: Path) -> list[tuple[Artifact, Checked]]:
    """(facts, loaded artifact) of each artifact of a policy, in order; `home` is the configuration's folder."""
    artifacts = []
    for part, leaf, _ in leaves_with_memory(policy, EMPTY_MEMORY):
        for artifact in getattr(leaf, "artifacts", ()):
            artifacts.append((_facts(part, leaf, artifact, home), artifact))
    return artifacts


def described(artifact: Artifact, held: Checked) -> Described:
    """The facts of an artifact with its manifest, card and versions, which are read from its folder.

    `held` is the loaded artifact. A card that has changed since the manifest is left out; one that cannot be read is
    replaced by the error.
    """
    manifest, folder = stated(held), held.folder
    card, version_names, current_version = "", [], ""
    try:
        card_bytes = (folder / "card.md").read_bytes()
        if digest_of(card_bytes) == held.manifest.files["card.md"].blake2b:
            card = card_bytes.decode()
    except (OSError, UnicodeDecodeError) as error:
        card = first_line(error)
    if (folder.parent / CURRENT).is_file():
        version_names = versions(folder.parent)
        try:
            current_version = current(folder.parent)
        except ArtifactError as error:
            current_version = first_line(error)
    # a forest names its results `together`: over all assets
    results = manifest.get("results") or manifest.get("together") or {}
    return Described(artifact, manifest, results, entries_of(held), card, version_names, current_version)


def entries_of(held: Checked, symbols: tuple[str, ...] = ()) -> list[str]:
    """The names of an observation's values in order; empty for a model that reads no observation.

    `symbols` are the symbols of the question; a model that was trained for fixed symbols does not use them.
    """
    match held.manifest:
        case AgentManifest() as manifest:
            return list(entry_names(manifest.sight, manifest.universe))
        case ScorerManifest() as manifest:
            asset_names = symbols if symbols and manifest.network.equivariant else manifest.universe
            return [f"{name} {symbol}" for symbol in asset_names for name in (*manifest.features.names, "known")]
        case _:
            return []


def shown_folder(folder: Path, home: Path) -> str:
    """A folder as a configuration in `home` names it; only its last component where it lies outside `home`."""
    for root in (home, bundled.FOLDER):
        if folder.absolute().is_relative_to(root.absolute()):
            return str(folder.absolute().relative_to(root.absolute()))
    return folder.name


def _facts(part: str, leaf: Policy, loaded: Checked, home: Path) -> Artifact:
    """The facts of a loaded artifact, its folder relative to `home`; `part` is its path in a composed policy."""
    manifest, folder = loaded.manifest, loaded.folder
    members = getattr(leaf, "members", ())
    manifests = [member.artifact.manifest for member in members] or [manifest]
    sights = [model.sight for model in manifests if isinstance(model, AgentManifest)]
    series = tuple(sorted({name for sight in sights for name in sight.series}))
    equivariant = [isinstance(model, ScorerManifest) and model.network.equivariant for model in manifests]
    networks = [model.network.kind for model in manifests if isinstance(model, AgentManifest | ScorerManifest)]
    assets = tuple(dict.fromkeys(symbol for model in manifests for symbol in getattr(model, "universe", ())))
    if isinstance(manifest, EnsembleManifest):
        algorithm = f"{manifest.combination} of {len(manifest.members)}"
    else:
        algorithm = getattr(manifest, "algorithm", "") or "forest"
    until = getattr(leaf, "trained_until_ns", 0)
    return Artifact(
        part=part,
        name=manifest.name,
        folder=shown_folder(folder, home),
        version=folder.name if (folder.parent / CURRENT).is_file() else "",
        digest=manifest.digest,
        kind=KINDS[getattr(manifest, "kind", "")].name if (folder / "manifest.json").is_file() else "",
        algorithm=algorithm,
        network=", ".join(dict.fromkeys(networks)),
        assets=assets,
        any_universe=all(equivariant),
        transformer="transformer" in networks,
        inputs=Inputs(
            esg=any("esg" in name.lower() for name in series),
            sentiment=any("sentiment" in name.lower() for name in series),
            macro=tuple(sorted({name for sight in sights for name in sight.macro})),
            series=series,
            bars=any(sight.columns for sight in sights),
            own_book=any(sight.book for sight in sights),
        ),
        capabilities=_capabilities(leaf, loaded),
        trained_until=instant_text(until)[:10] if until else "",
    )


def _capabilities(leaf: Policy, loaded: Checked) -> list[str]:
    """The names of what a model can do: "predict", "explain", "any universe", "memory", "seats", "scores".

    A model can explain an answer if it has the mean of its inputs, which then replaces one input after the other.
    "seats" are agents that were trained together, "scores" a number for each of the model's allocations.
    """
    capabilities = ["predict"] if isinstance(leaf, Learned) else []
    manifest = loaded.manifest
    if isinstance(manifest, ScorerManifest) and manifest.network.equivariant:
        capabilities.append("any universe")
    if isinstance(loaded, LearnedArtifact) and training_mean(loaded) is not None:
        capabilities.append("explain")
    if isinstance(loaded, ScorerArtifact) and MEAN in tensors_of(loaded.weights):
        capabilities.append("explain")
    if isinstance(manifest, AgentManifest):
        names = {"memory": manifest.network.carry, "seats": manifest.seats, "scores": manifest.action.allocations}
        capabilities += [name for name, available in names.items() if available]
    return capabilities


def learned_in(policy: Policy) -> list[Learned]:
    """The learned (trained) policies inside a policy."""
    return [leaf for leaf in leaves(policy) if isinstance(leaf, Learned)]
