"""Several policies as one artifact, and the combination of their weights.

The folder of an ensemble has manifest.json, card.md, and a folder for each member policy, which is a complete artifact.
The manifest has the digests of the members. A member cannot itself be an ensemble.
"""

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import assert_never

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from quantd.models.artifacts.agent_policy import LearnedAgent, load_agent
from quantd.models.artifacts.card import ensemble_card
from quantd.models.artifacts.folder import kind_of, read, write
from quantd.models.artifacts.manifest import (
    MANIFEST,
    ArtifactError,
    Combination,
    EnsembleManifest,
    MemberEntry,
    ensemble_fault,
)
from quantd.models.artifacts.runtime import NoParams
from quantd.models.artifacts.scorer_policy import LearnedPolicy, load_policy
from quantd.models.history.panel import MacroSource
from quantd.models.isolation.graph_process import opener
from quantd.models.isolation.session import OpenGraph, Session
from quantd.strategies.policies.params import parse
from quantd.strategies.weights.combination import mean_of, median_of
from quantd.trading.instruments import Universe
from quantd.trading.market import Floats
from quantd.trading.statistics import sum_in_order
from quantd.trading.view import MEMORY_BYTES, Memory, Noted, View

Member = LearnedPolicy | LearnedAgent


class EnsembleArtifact(Struct, frozen=True):
    """An ensemble's artifact in memory, checked against its manifest, which names the members.

    The members are loaded from folders below `folder`.
    """

    folder: Path
    manifest: EnsembleManifest


class LearnedEnsemble:
    """The policy of an ensemble's members (quantd.trading.ports.Policy); each member has its own memory.

    Raises ArtifactError if the memories together are too large.
    """

    __slots__ = ("_shares", "artifact", "members")

    def __init__(self, artifact: EnsembleArtifact, members: Sequence[Member]) -> None:
        self.artifact = artifact
        self.members = tuple(members)
        self._shares = np.array([member.share for member in artifact.manifest.members])
        size = sum(8 * (m.artifact.manifest.network.carry + 4) for m in members if isinstance(m, LearnedAgent))
        if size > MEMORY_BYTES:
            raise ArtifactError(
                f"{artifact.folder}: the memories of its members need {size} bytes, and {MEMORY_BYTES} are permitted"
            )

    @property
    def lookback(self) -> int:
        """The longest lookback of a member, in samples."""
        return max(member.lookback for member in self.members)

    @property
    def digest(self) -> str:
        """The digest of the ensemble's manifest, which contains the digests of its members."""
        return self.artifact.manifest.digest

    @property
    def sessions(self) -> tuple[Session, ...]:
        return tuple(session for member in self.members for session in member.sessions)

    @property
    def trained_until_ns(self) -> int:
        """End of the latest training window of a member, in ns UTC."""
        return max(member.trained_until_ns for member in self.members)

    @property
    def candidates(self) -> dict[str, int]:
        """Return member's digest -> number of trials behind it."""
        return {name: count for member in self.members for name, count in member.candidates.items()}

    @property
    def artifacts(self) -> tuple[EnsembleArtifact, ...]:
        """The loaded artifact of the ensemble. Its signature covers the members, because its manifest has their
        digests."""
        return (self.artifact,)

    def fit(self, universe: Universe) -> None:
        """Fit the members to `universe`. Raises ArtifactError when a member cannot trade it."""
        for member in self.members:
            member.fit(universe)

    @property
    def uses_bars(self) -> bool:
        """True when a member's observation has columns of features, which need whole bars (open, high, low, close,
        volume)."""
        return any(getattr(member, "uses_bars", False) for member in self.members)

    @property
    def sources(self) -> tuple[MacroSource, ...]:
        """The macro series and series per symbol of the members' trainings, each name once."""
        return tuple({source.name: source for m in self.members for source in getattr(m, "sources", ())}.values())

    @property
    def uses_macro(self) -> tuple[str, ...]:
        """The names of the series under [feed] macro that the members require."""
        return self._needed("uses_macro")

    @property
    def uses_series(self) -> tuple[str, ...]:
        """The names of the series under [feed] series that the members require."""
        return self._needed("uses_series")

    def _needed(self, attribute: str) -> tuple[str, ...]:
        return tuple(sorted({name for member in self.members for name in getattr(member, attribute, ())}))

    def act(self, view: View, memory: Memory) -> tuple[Floats | Noted, Memory]:
        """Return the members' target weights, combined as the manifest says, and the new memory.

        If any member holds, the ensemble holds, and its memory is unchanged. The memory has the members' values under
        the member's index, a dot, and the name.
        """
        votes: list[Floats] = []
        memories: dict[str, NDArray[np.float64]] = {}
        for index, member in enumerate(self.members):
            weights, remembered = member.act(view, self.own_memory(index, memory))
            if isinstance(weights, Noted):  # a member without its inputs holds, and so does the ensemble
                return weights, memory
            votes.append(weights)
            memories |= {f"{index}.{name}": value for name, value in remembered.items()}
        return self.combined(np.stack(votes)), memories

    def own_memory(self, number: int, memory: Memory) -> dict[str, NDArray[np.float64]]:
        """Return the part of `memory` that belongs to the member at index `number`."""
        prefix = f"{number}."
        return {name.removeprefix(prefix): value for name, value in memory.items() if name.startswith(prefix)}

    def combined(self, votes: Floats) -> Floats:
        """Combine the members' weights float64[M, N] (M members, N assets) into weights float64[N]."""
        combination = self.artifact.manifest.combination
        match combination:
            case "mean":
                return mean_of(votes)
            case "vote":
                return median_of(votes)
            case "performance":
                return mean_of(votes, self._shares)
            case _:
                assert_never(combination)


def load(folder: Path) -> EnsembleArtifact:
    """Load the manifest of the ensemble in `folder`. Raises ArtifactError for a fault of the manifest or the card."""
    manifest, _ = read(folder, EnsembleManifest)
    if fault := ensemble_fault(manifest):
        raise ArtifactError(f"{folder / MANIFEST}: {fault}")
    return EnsembleArtifact(folder, manifest)


def load_ensemble(folder: Path, params: Mapping[str, object], opened: OpenGraph | None = None) -> LearnedEnsemble:
    """Load the ensemble in `folder` and its members with all checks. Raises ArtifactError or ParamsError."""
    parse(str(folder), params, NoParams)
    artifact, opened = load(folder), opened or opener()
    members = []
    for entry in artifact.manifest.members:
        member_folder = folder / entry.folder
        if member_folder.is_symlink():
            raise ArtifactError(f"{member_folder}: it is a link; copy the member's folder into the ensemble")
        member = load_member(member_folder, opened)
        if member.digest != entry.digest:
            raise ArtifactError(
                f"{member_folder}: it is not the member of which the ensemble was made (its digest differs)"
            )
        members.append(member)
    return LearnedEnsemble(artifact, members)


def load_member(place: Path, opened: OpenGraph | None = None) -> Member:
    """Load a policy that may be a member. Raises ArtifactError for another kind of artifact, and for a faulty one."""
    match kind_of(place):
        case "":
            return load_policy(place, {}, opened)
        case "learned":
            return load_agent(place, {}, opened)
        case kind:
            raise ArtifactError(f"{place}: an artifact of kind {kind[:40]!r} cannot be a member; name a policy")


def combine(
    out: Path,
    folders: Sequence[Path],
    combination: Combination,
    command: str,
    shares: Sequence[float] | None = None,
    measured: str = "",
) -> EnsembleManifest:
    """Write an ensemble of copies of the artifacts in `folders` to `out`, a new folder.

    `shares` are the members' weights in the combination "performance". By default they are proportional to the members'
    Sharpe ratios on their validation windows; a ratio of 0 or less gives no share. Raises ArtifactError for shares that
    do not fit, members that trade different symbols, a faulty member, and a folder with content.
    """
    members = [load_member(folder) for folder in folders]
    folder_names = [
        f"{index}-{re.sub('[^A-Za-z0-9_-]', '-', folder.resolve().name)[:40]}" for index, folder in enumerate(folders)
    ]
    if combination != "performance":
        shares = [1.0 / len(folders)] * len(folders) if folders else []
    elif shares is None:
        shares, measured = _by_validation(members), "Sharpe ratios on the members' validation windows"
    total = sum_in_order(shares)
    if len(shares) != len(folders) or not total > 0.0:
        raise ArtifactError(f"{len(shares)} shares that add up to {total:g} for {len(folders)} members")
    shares = [share / total for share in shares]
    entries = tuple(
        MemberEntry(name, member.digest, share)
        for name, member, share in zip(folder_names, members, shares, strict=True)
    )
    manifest = EnsembleManifest(
        name=out.name, combination=combination, members=entries, made=command, measured=measured
    )
    if fault := ensemble_fault(manifest):
        raise ArtifactError(f"{out}: {fault}")
    universes = {member.artifact.manifest.universe for member in members if isinstance(member, LearnedAgent)}
    if len({frozenset(universe) for universe in universes}) > 1:
        raise ArtifactError(
            f"{out}: its members trade different symbols: "
            f"{'; '.join(', '.join(symbols) for symbols in sorted(universes))}"
        )
    if out.exists() and any(out.iterdir()):
        raise ArtifactError(f"{out}: the folder has content already; name a new folder")
    for name, member, folder in zip(folder_names, members, folders, strict=True):
        (out / name).mkdir(parents=True)
        for file in (MANIFEST, *member.artifact.manifest.files):
            shutil.copyfile(folder / file, out / name / file)
    algorithms = [member.artifact.manifest.algorithm for member in members]
    written = write(out, manifest, {"card.md": ensemble_card(manifest, algorithms).encode()})
    load_ensemble(out, {})  # checks the files as any later load does
    return written


def _by_validation(members: Sequence[Member]) -> list[float]:
    """Return the members' Sharpe ratios on their validation windows, 0 for a negative one."""
    ratios = []
    for member in members:
        result = member.artifact.manifest.results.get("validation")
        if result is None or not np.isfinite(result.policy.sharpe):
            raise ArtifactError(
                f"{member.artifact.folder}: it was not judged on a validation window; give the shares (--share)"
            )
        ratios.append(max(0.0, result.policy.sharpe))
    return ratios
